"""Which columns of which tables a column of a query is made of, read from the SQL alone. No Dagster and no dbt in here."""

from __future__ import annotations

from collections.abc import Mapping

Relation = tuple[str, str]
"""Schema and name of a table."""


def origins(sql: str, columns: Mapping[Relation, Mapping[str, str]]) -> dict[str, list[tuple[Relation, str]]]:
    """Where the columns of a query come from: column -> the columns of tables that its values are computed from, sorted.

    Args:
        sql: A query in DuckDB's dialect; tables with or without a catalog.
        columns: Column name -> type, for every table that the query reads.

    Raises:
        sqlglot.errors.SqlglotError: The text cannot be parsed, is no query, or reads a column that no table has.
    """
    # A third of a second to import, for a notebook that needs none of it.
    from sqlglot import MappingSchema, exp, parse_one  # noqa: PLC0415
    from sqlglot.errors import SqlglotError  # noqa: PLC0415
    from sqlglot.lineage import lineage  # noqa: PLC0415
    from sqlglot.optimizer.qualify import qualify  # noqa: PLC0415
    from sqlglot.optimizer.scope import build_scope  # noqa: PLC0415

    schema = MappingSchema(dialect="duckdb")
    for (schema_name, table_name), types in columns.items():
        schema.add_table(exp.table_(table_name, db=schema_name), dict(types), dialect="duckdb")
    parsed = parse_one(sql, dialect="duckdb")
    for table in parsed.find_all(exp.Table):
        table.set("catalog", None)
    # Qualified and scoped once for all columns: `lineage` would do both, and copy the query, for each.
    qualified = qualify(parsed, schema=schema, dialect="duckdb")
    if not isinstance(qualified, exp.Query):
        raise SqlglotError(f"This is no query: {sql[:80]}")
    scope = build_scope(qualified)
    found: dict[str, list[tuple[Relation, str]]] = {}
    for name in qualified.named_selects:
        nodes = lineage(name, qualified, schema=schema, dialect="duckdb", scope=scope, copy=False, trim_selects=False).walk()
        leaves = [node for node in nodes if not node.downstream]
        tables = [(node.expression.find(exp.Table), exp.to_column(node.name).name) for node in leaves]
        found[name] = sorted({((table.db, table.name), column) for table, column in tables if table and (table.db, table.name) in columns})
    return found
