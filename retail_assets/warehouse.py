"""The warehouse: one DuckDB file that the pipeline alone opens, through a connection that always closes.

Why not `DuckDBResource` as it is, or an IO manager: docs/decisions.md, 3. What the tables hold is said in `contracts.py`, not here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
from dagster_duckdb import DuckDBResource
from pydantic import Field

from retail_assets.contracts import BUILT_TABLES, TABLES, Table

STORAGE_VERSION: Final = "v1.0.0"
"""Storage version of every file we create: opened by DuckDB 1.1 to 2.0 (docs/decisions.md, 2)."""

_CONFIG: Final[dict[str, Any]] = {
    "storage_compatibility_version": STORAGE_VERSION,
    # A checkpoint every few months of a large run costs seconds; closing the connection makes one anyway.
    "checkpoint_threshold": "256MB",
}
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 2.0


class WarehouseBusyError(RuntimeError):
    """Another process held the warehouse for longer than we wait."""


class ContractError(ValueError):
    """A frame does not have the columns and types that its table declares."""


class Warehouse(DuckDBResource):
    """DuckDB file of the pipeline. Waits a bounded time for another process that holds it, and closes whatever happens."""

    lock_timeout_seconds: float = Field(default=600.0, description="How long to wait for another process that holds the file.")

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with every table in place, closed at the end of the block even where it raises.

        Raises:
            WarehouseBusyError: Another process held the file for longer than `lock_timeout_seconds`.
        """
        connection = _connect(Path(self.database), dict(self.connection_config), self.lock_timeout_seconds)
        try:
            yield connection
        finally:
            connection.close()


def _connect(path: Path, config: dict[str, Any], timeout_seconds: float) -> duckdb.DuckDBPyConnection:
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_seconds
    wait = _FIRST_WAIT_SECONDS
    while True:
        try:
            connection = duckdb.connect(path, config={**_CONFIG, **config})
        except duckdb.IOException as error:
            # Only a held lock passes by waiting. A bad path or a damaged file must fail at once.
            if "Could not set lock" not in str(error):
                raise
            if time.monotonic() >= deadline:
                raise WarehouseBusyError(
                    f"{path.name} was held by another process for {timeout_seconds:g} s ({_holder(error)}). Wait for that run to end, or close "
                    "the client: BI tools read the published file, never the warehouse."
                ) from error
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
        else:
            _create_tables(connection)
            return connection


def _holder(error: duckdb.IOException) -> str:
    text = str(error)
    start = text.find("Conflicting lock is held")
    return text[start:].split(". ", 1)[0] if start >= 0 else "holder unknown"


def _create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Every table as its contract says. One that another version made is emptied where it can be built again, and its months are stale then."""
    stored = dict(
        connection.execute(
            "select schema_name || '.' || table_name, string_agg(column_name || ' ' || data_type, ', ' order by column_index) "
            "from duckdb_columns() where database_name = current_database() and not internal group by all"
        ).fetchall()
    )
    if missing := [table for table in TABLES if table.full_name not in stored]:
        # One transaction: else each comment waits for the disk.
        with transaction(connection):
            for table in missing:
                connection.execute(create_statement(table))
    views = {name for (name,) in connection.execute("select schema_name || '.' || view_name from duckdb_views() where not internal").fetchall()}
    for table in BUILT_TABLES:
        if table.full_name in views:
            # Its rows are in a lake, whose own business it is (`engines/lake.py`).
            continue
        declared = ", ".join(f"{column.name} {column.type}" for column in table.columns)
        if stored.get(table.full_name, declared) != declared:
            with transaction(connection):
                connection.execute(f"drop table {table.full_name}")
                connection.execute(create_statement(table))
                connection.execute("delete from quality.built_months where table_name = ?", [table.full_name])


def create_statement(table: Table, catalog: str = "", *, with_key: bool = False) -> str:
    """The DDL of a table with its comments, and its key as primary key on request. Made from contracts only, never from what users bring."""
    prefix = f"{catalog}." if catalog else ""
    name = prefix + table.full_name
    columns = ", ".join(f"{column.name} {column.type}{'' if column.nullable else ' not null'}" for column in table.columns)
    columns += f", primary key ({', '.join(table.key)})" if with_key else ""
    comments = [f"comment on table {name} is {sql_text(table.grain)}"]
    comments += [f"comment on column {name}.{column.name} is {sql_text(column.comment)}" for column in table.columns]
    return ";\n".join([f"create schema if not exists {prefix}{table.schema}", f"create table {name} ({columns})", *comments])


def sql_text(text: str) -> str:
    """A text literal, for the statements that take no parameters (comments, attach)."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of the block or nothing of it."""
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def conform(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The frame with its columns in the declared order.

    Raises:
        ContractError: A column is missing, unknown, of another type, or null where it must not be.
    """
    declared = table.polars_schema
    problems = [f"{name} is missing" for name in declared if name not in frame.columns]
    problems += [f"{name} is not declared" for name in frame.columns if name not in declared]
    problems += [
        f"{name} is {frame.schema[name]}, declared {dtype}"
        for name, dtype in declared.items()
        if name in frame.columns and frame.schema[name] != dtype
    ]
    problems += [
        f"{column.name} is null in {nulls} rows"
        for column in table.columns
        if not column.nullable and column.name in frame.columns and (nulls := frame[column.name].null_count())
    ]
    if problems:
        raise ContractError(f"{table.full_name}: {'; '.join(problems)}")
    return frame.select(declared.names())


def replace_month(connection: duckdb.DuckDBPyConnection, table: Table, month: date, frame: pl.DataFrame) -> None:
    """Replace a month of a table by the frame. Call it inside `transaction`: a month is written whole or not at all.

    Raises:
        ContractError: The frame is not as the table declares, or holds another month.
    """
    if table.month_column is None:
        raise ContractError(f"{table.full_name} has no months")
    rows = conform(frame, table)
    if (others := rows.filter(pl.col(table.month_column) != month)).height:
        raise ContractError(f"{table.full_name}: {others.height} rows of {month:%Y-%m} carry another month, such as {others[table.month_column][0]}")
    connection.execute(f"delete from {table.full_name} where {table.month_column} = ?", [month])  # noqa: S608 - names are our contracts
    append(connection, table, rows)


def append(connection: duckdb.DuckDBPyConnection, table: Table, frame: pl.DataFrame) -> None:
    """Add rows to a table, columns matched by name."""
    rows = conform(frame, table)
    if rows.height:
        connection.register("appended_rows", rows)
        connection.execute(f"insert into {table.full_name} by name select * from appended_rows")  # noqa: S608 - names are our contracts
        connection.unregister("appended_rows")


def read(connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
    """The rows of a query as a polars frame; `$name` parameters carry every value."""
    frame: pl.DataFrame = connection.sql(query, params=dict(parameters or {})).pl()
    return frame


def read_months(connection: duckdb.DuckDBPyConnection, table: Table, first: date, last: date, columns: tuple[str, ...] | None = None) -> pl.DataFrame:
    """The rows of a table from one month to another, both included, in the order of its key."""
    if table.month_column is None:
        raise ContractError(f"{table.full_name} has no months")
    selected = ", ".join(columns or table.polars_schema.names())
    query = (
        f"select {selected} from {table.full_name} "  # noqa: S608 - names are our contracts
        f"where {table.month_column} between $first and $last order by {', '.join(table.key)}"
    )
    return read(connection, query, {"first": first, "last": last})
