"""Customer segments and market baskets from raw retail transactions, as Dagster assets on DuckDB."""
