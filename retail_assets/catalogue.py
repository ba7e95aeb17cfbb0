"""Names of products as of a month, for the layers that show them. How a name is chosen: docs/decisions.md, 10."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retail_assets.warehouse import read

if TYPE_CHECKING:
    from datetime import date

    import duckdb
    import polars as pl


def product_names(connection: duckdb.DuckDBPyConnection, month: date) -> pl.DataFrame:
    """`stock_code` and `description` of every product sold or returned up to the month, sorted by code."""
    query = """
        select stock_code, min(description) as description
        from core.transactions
        where invoice_month <= $month
        group by stock_code
        order by stock_code
    """
    return read(connection, query, {"month": month})
