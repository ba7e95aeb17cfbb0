"""The warehouse: one DuckDB file that the pipeline alone opens, through a connection that always closes.

Why not `DuckDBResource` as it is, or an IO manager: docs/decisions.md, 3. What the tables hold is said in `contracts.py`, not here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import duckdb
import polars as pl
from dagster_duckdb import DuckDBResource
from pydantic import Field

from retail_assets.contracts import (
    BUILT_MONTHS,
    BUILT_TABLES,
    FORMAT,
    IRREPLACEABLE_TABLES,
    TABLES,
    UNPUBLISHED_MONTHS,
    WAREHOUSE_FORMAT,
    Column,
    Table,
)
from retail_assets.errors import ToldError

if TYPE_CHECKING:
    from retail_assets.settings import Settings

STORAGE_VERSION: Final = "v1.0.0"
"""Storage version of every file we create: opened by DuckDB 1.1 to 2.0 (docs/decisions.md, 2)."""

_CONFIG: Final[dict[str, Any]] = {
    "storage_compatibility_version": STORAGE_VERSION,
    # A checkpoint every few months of a large run costs seconds; closing the connection makes one anyway.
    "checkpoint_threshold": "256MB",
}
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 2.0


_WITHOUT_BARS: Final = "set enable_progress_bar = false"
"""Bars of DuckDB's own would stand between our lines of progress."""


_as_left: dict[Path, tuple[int, ...] | None] = {}
"""Each file as this process left it, with every table in place: to look through all columns again takes longer than to open the file."""


class WarehouseBusyError(ToldError):
    """Another process held the warehouse for longer than we wait."""


class WarehouseFormatError(ToldError):
    """The warehouse was made by a version of retail_assets that this one does not follow. It is left as it is."""


class ContractError(ValueError):
    """A frame does not have the columns and types that its table declares."""


class Warehouse(DuckDBResource):
    """DuckDB file of the pipeline. Waits a bounded time for another process that holds it, and closes whatever happens."""

    lock_timeout_seconds: float = Field(default=600.0, description="How long to wait for another process that holds the file.")

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The warehouse of the settings."""
        return cls(
            database=str(settings.warehouse_path),
            connection_config=settings.duckdb_config,
            lock_timeout_seconds=settings.lock_timeout_seconds,
        )

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with every table in place, closed at the end of the block even where it raises.

        Raises:
            WarehouseBusyError: Another process held the file for longer than `lock_timeout_seconds`.
            WarehouseFormatError: Another version of retail_assets made the file, and this one cannot follow; or only its log is there.
        """
        path = Path(self.database)
        connection = _connect(path, dict(self.connection_config), self.lock_timeout_seconds)
        try:
            yield connection
        finally:
            connection.close()
            _as_left[path.absolute()] = _state(path)


def _connect(path: Path, config: dict[str, Any], timeout_seconds: float) -> duckdb.DuckDBPyConnection:
    path.parent.mkdir(parents=True, exist_ok=True)
    if (log := path.with_name(f"{path.name}.wal")).exists() and not path.exists():
        # DuckDB would play it into the new file.
        raise WarehouseFormatError(f"{log} is the log of a warehouse that is not there. Put {path} back beside it, or move the log away as well.")
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
            try:
                connection.execute(_WITHOUT_BARS)
                if (state := _state(path)) is None or state != _as_left.get(path.absolute()):
                    _create_tables(connection, path)
            except BaseException:
                connection.close()
                raise
            return connection


def _state(path: Path) -> tuple[int, ...] | None:
    """What changes when anyone writes to the file. None where there is no file, or a log beside it, which may hold anything."""
    if path.with_name(f"{path.name}.wal").exists() or not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def another(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A further connection to the same open file, for another thread or a transaction of its own."""
    opened = connection.cursor()
    opened.execute(_WITHOUT_BARS)
    return opened


def _holder(error: duckdb.IOException) -> str:
    text = str(error)
    start = text.find("Conflicting lock is held")
    return text[start:].split(". ", 1)[0] if start >= 0 else "holder unknown"


def _create_tables(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Every table as its contract says, whichever version of retail_assets made the file, or an error that leaves it as it is.

    What can be built again is emptied where its columns differ, and its months are stale then; landed lines are carried over.
    """
    rows = connection.execute(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns() where database_name = current_database() "
        "and not internal order by schema_name, table_name, column_index"
    ).fetchall()
    stored: dict[str, dict[str, str]] = {}
    for table_name, column, data_type in rows:
        stored.setdefault(table_name, {})[column] = data_type
    found = _format(connection) if WAREHOUSE_FORMAT.full_name in stored else 0
    if found > FORMAT:
        raise WarehouseFormatError(
            f"The warehouse {path} has the format {found} of a newer version of retail_assets; this one, {version('retail_assets')}, knows "
            f"formats up to {FORMAT}. Nothing was changed. Install the newer version again, or name another home with --home."
        )
    declared = {table: {column.name: column.type for column in table.columns} for table in TABLES}
    missing = [table for table in TABLES if table.full_name not in stored]
    # The rows of a view are in a lake, whose own business its columns are (`engines/lake.py`).
    views = {name for (name,) in connection.execute("select schema_name || '.' || view_name from duckdb_views() where not internal").fetchall()}
    changed = [table for table in TABLES if table.full_name not in views and stored.get(table.full_name, declared[table]) != declared[table]]
    if not missing and not changed and found == FORMAT:
        return
    # One transaction: all of a version or nothing, and else each comment waits for the disk.
    with transaction(connection):
        for table in changed:
            if table in IRREPLACEABLE_TABLES:
                _carry_over(connection, table, stored[table.full_name], path)
            else:
                connection.execute(f"drop table {table.full_name}")
                connection.execute(create_statement(table))
        for table in missing:
            # A file that was there before may have another storage version, which refuses dictionaries.
            connection.execute(create_statement(table, with_dictionaries=not stored))
        for table in changed:
            connection.execute(f"delete from {BUILT_MONTHS.full_name} where table_name = ?", [table.full_name])  # noqa: S608 - our contract
        connection.execute(f"delete from {WAREHOUSE_FORMAT.full_name}")  # noqa: S608 - our contract
        connection.execute(f"insert into {WAREHOUSE_FORMAT.full_name} values (?, ?)", [FORMAT, version("retail_assets")])  # noqa: S608 - our contract


def _format(connection: duckdb.DuckDBPyConnection) -> int:
    ((found,),) = connection.execute(f"select coalesce(max(format), 0) from {WAREHOUSE_FORMAT.full_name}").fetchall()  # noqa: S608 - our contract
    return int(found)


def _carry_over(connection: duckdb.DuckDBPyConnection, table: Table, stored: Mapping[str, str], path: Path) -> None:
    """The rows of an irreplaceable table into one as it is declared now; columns that are new are null."""
    columns = {column.name: column for column in table.columns}
    problems = [f"{name} is unknown" for name in stored if name not in columns]
    problems += [f"{name} is missing" for name, column in columns.items() if name not in stored and not column.nullable]
    problems += [f"{name} is {dtype}, not {columns[name].type}" for name, dtype in stored.items() if name in columns and dtype != columns[name].type]
    if problems:
        raise WarehouseFormatError(
            f"{table.full_name} in {path} was made by another version of retail_assets, and its lines cannot be carried over: {'; '.join(problems)}. "
            "Nothing was changed. Install that version again, or move the folder of the warehouse away and run again: everything is built from the "
            "files in the landing folder, so see first that they are all there."
        )
    connection.execute(f"create temporary table carried_over as select * from {table.full_name}")  # noqa: S608 - names are our contracts
    connection.execute(f"drop table {table.full_name}")
    connection.execute(create_statement(table))
    connection.execute(f"insert into {table.full_name} by name select * from carried_over")  # noqa: S608 - names are our contracts
    connection.execute("drop table carried_over")


def create_statement(table: Table, catalog: str = "", *, with_key: bool = False, with_dictionaries: bool = False) -> str:
    """The DDL of a table with its comments. Made from contracts only, never from what users bring.

    Args:
        table: The table.
        catalog: The attached file that it is made in; the warehouse by default.
        with_key: Its key is a primary key.
        with_dictionaries: Texts are stored as dictionaries, and no other compression is tried: only in a file of `STORAGE_VERSION`.
    """
    prefix = f"{catalog}." if catalog else ""
    name = prefix + table.full_name
    columns = ", ".join(
        f"{column.name} {column.type}"
        f"{' using compression dictionary' if with_dictionaries and _repeats(table, column) else ''}"
        f"{'' if column.nullable else ' not null'}"
        for column in table.columns
    )
    columns += f", primary key ({', '.join(table.key)})" if with_key else ""
    comments = [f"comment on table {name} is {sql_text(table.grain)}"]
    comments += [f"comment on column {name}.{column.name} is {sql_text(column.comment)}" for column in table.columns]
    return ";\n".join([f"create schema if not exists {prefix}{table.schema}", f"create table {name} ({columns})", *comments])


def _repeats(table: Table, column: Column) -> bool:
    """A text, and not the key by itself."""
    return column.type == "VARCHAR" and table.key != (column.name,)


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
    return frame if frame.columns == declared.names() else frame.select(declared.names())


class Query(NamedTuple):
    """Rows that the warehouse computes and stores by itself, without passing through Python."""

    sql: str
    parameters: Mapping[str, object]


def replace_month(connection: duckdb.DuckDBPyConnection, table: Table, month: date, rows: pl.DataFrame | Query) -> int:
    """Replace a month of a table, and return how many rows it has. Call it inside `transaction`: a month is written whole or not at all.

    Raises:
        ContractError: The rows are not as the table declares, or of another month.
    """
    _refuse_others(connection, table, month, rows)
    connection.execute(f"delete from {table.full_name} where {table.month_column} = ?", [month])  # noqa: S608 - names are our contracts
    note_unpublished(connection, table, month)
    return _insert(connection, table, rows)


def append_month(connection: duckdb.DuckDBPyConnection, table: Table, month: date, rows: pl.DataFrame | Query) -> int:
    """Add a further part to a month that `replace_month` began, and return how many rows it has.

    Raises:
        ContractError: The rows are not as the table declares, or of another month.
    """
    _refuse_others(connection, table, month, rows)
    return _insert(connection, table, rows)


def _refuse_others(connection: duckdb.DuckDBPyConnection, table: Table, month: date, rows: pl.DataFrame | Query) -> None:
    if table.month_column is None:
        raise ContractError(f"{table.full_name} has no months")
    if isinstance(rows, Query):
        # Nulls are refused by the table itself.
        conform(read(connection, f"select * from ({rows.sql}) limit 0", rows.parameters), table)  # noqa: S608 - queries of our own
    elif (found := conform(rows, table)[table.month_column].unique().drop_nulls().to_list()) not in ([], [month]):
        others = ", ".join(f"{other:%Y-%m}" for other in sorted(found) if other != month)
        raise ContractError(f"{table.full_name}: rows of {month:%Y-%m} carry another month: {others}")


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, rows: pl.DataFrame | Query) -> int:
    if isinstance(rows, Query):
        ((row_count,),) = connection.execute(f"insert into {table.full_name} by name {rows.sql}", dict(rows.parameters)).fetchall()
        return int(row_count)
    append(connection, table, rows)
    return rows.height


def append(connection: duckdb.DuckDBPyConnection, table: Table, frame: pl.DataFrame) -> None:
    """Add rows to a table, columns matched by name."""
    appended_rows = conform(frame, table)
    if appended_rows.height:
        # DuckDB finds the frame by its name. One that is registered would stay in memory until the transaction ends.
        connection.execute(f"insert into {table.full_name} by name select * from appended_rows")  # noqa: S608 - names are our contracts


def note_unpublished(connection: duckdb.DuckDBPyConnection, table: Table, month: date) -> None:
    """Note that the next publication has to take a month of a table built by month anew."""
    name = UNPUBLISHED_MONTHS.full_name
    if table in BUILT_TABLES:
        known = f"from {name} where table_name = $table_name and invoice_month = $month"
        connection.execute(
            f"insert into {name} select $table_name, $month where not exists ({known})", {"table_name": table.full_name, "month": month}
        )


def first_rows(connection: duckdb.DuckDBPyConnection, table: Table, month: date, count: int) -> pl.DataFrame:
    """Some rows of a month, for people to look at."""
    query = f"select * from {table.full_name} where {table.month_column} = $month limit {count}"  # noqa: S608 - names are our contracts
    return read(connection, query, {"month": month})


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
