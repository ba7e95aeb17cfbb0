"""The lake: tables of one row per line as Parquet by month, for engines that work beyond one machine.

    <lake>/core/transactions/<write>/month=2011-01-01/*.parquet       never changed once written

Which files make up a month is said by `lake.parts` in the warehouse, so that a month of the lake and whatever the warehouse holds of it change in
one transaction: a write that is rolled back, or whose process dies, leaves files that nothing names, and the next landing sweeps them. In the
warehouse each table of the lake is a view over the files that count now: checks and dbt models read it as they read a table. Of a lake in an object
store the files that count are copied below the home, once, and the views read the copies.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from retail_assets.contracts import BUILT_TABLES, LANDED_LINES, QUARANTINE, RAW_TRANSACTIONS, RETURNS, TABLES, TRANSACTIONS, Table
from retail_assets.engines import EngineError, store
from retail_assets.engines.store import PARTS
from retail_assets.warehouse import append, create_statement, note_unpublished, read, sql_text, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

LAKE_TABLES: Final = (LANDED_LINES, RAW_TRANSACTIONS, TRANSACTIONS, QUARANTINE, RETURNS)
"""Tables of one row per line, which the lake holds. Of all others the warehouse does."""

_OTHER_ENGINE: Final = (
    "The home {home} was begun with the engine {began}, and its lines are kept {kept}. Set RETAIL_ENGINE={began} (or `--engine {began}`), or take "
    "another home and land the files there."
)


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one month of a table, written aside as Parquet: nobody sees them before they are put in place."""

    files: pl.DataFrame
    """As in `lake.parts`."""

    @property
    def height(self) -> int:
        """How many rows."""
        return int(self.files["line_count"].sum())


@dataclass(frozen=True)
class Lake:
    """The files, and what the warehouse says of them."""

    root: Path
    """Where DuckDB reads: the lake itself, or the copy of it."""

    remote: str | None = None
    """The address of the lake where it is in an object store."""

    @property
    def address(self) -> str:
        """Where the workers read and write."""
        return self.remote or str(self.root)

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Put views in the place of the tables that the lake holds.

        Raises:
            EngineError: Lines have landed in the warehouse itself, or the object store of the lake does not answer.
        """
        if self.remote:
            _refuse_silent(self.remote)
        if not has_lake(connection):
            if connection.execute("select count(*) from raw.landed_lines").fetchall() != [(0,)]:
                raise EngineError(_OTHER_ENGINE.format(home=_home(connection), began="duckdb", kept="in the warehouse"))
            with transaction(connection):
                connection.execute(create_statement(PARTS))
                for table in LAKE_TABLES:
                    connection.execute(f"drop table {table.full_name}")
        with transaction(connection):
            for table in LAKE_TABLES:
                if table in BUILT_TABLES and self._is_of_other_code(connection, table):
                    for notes in ("lake.parts", "quality.built_months"):
                        connection.execute(f"delete from {notes} where table_name = ?", [table.full_name])  # noqa: S608 - our own names
                # Always: the lake, or the copy of it, may have been moved since.
                self._show(connection, table)

    def _is_of_other_code(self, connection: duckdb.DuckDBPyConnection, table: Table) -> bool:
        """The table was written by code that declared other columns: its months are built again."""
        stored = connection.execute(
            "select column_name, data_type from duckdb_columns() where schema_name = ? and table_name = ? order by column_index",
            [table.schema, table.name],
        ).fetchall()
        return bool(stored) and stored != [(column.name, column.type) for column in table.columns]

    def new_folder(self, table: Table) -> str:
        """A folder below the lake for one write."""
        return f"{_folder(table)}/{uuid.uuid4().hex}"

    def written(self, files: pl.DataFrame, tables: Iterable[Table], months: Iterable[date]) -> dict[Table, dict[date, Part]]:
        """What a write left, as rows of `lake.parts`, by table and month; a month without rows has a part of none."""
        by_month = files.sort("path").partition_by("table_name", "invoice_month", as_dict=True)
        none, wanted = files.clear(), list(months)
        return {table: {month: Part(by_month.get((table.full_name, month), none)) for month in wanted} for table in tables}

    def parts(self, connection: duckdb.DuckDBPyConnection, table: Table, first: date, last: date) -> pl.DataFrame:
        """The rows of `lake.parts` of a table from one month to another, both included."""
        query = """
            select *
            from lake.parts
            where table_name = $table and invoice_month between $first and $last
            order by invoice_month, path
        """
        return read(connection, query, {"table": table.full_name, "first": first, "last": last})

    def replace_month(self, connection: duckdb.DuckDBPyConnection, table: Table, month: date, part: Part) -> None:
        """Put a month in place: by name in the lake, as rows where the warehouse holds the table. Call it inside `transaction`."""
        note_unpublished(connection, table, month)
        if table in LAKE_TABLES:
            connection.execute(
                "delete from lake.parts where table_name = $table and invoice_month = $month", {"table": table.full_name, "month": month}
            )
            self.add(connection, table, [part])
            return
        connection.execute(f"delete from {table.full_name} where {table.month_column} = ?", [month])  # noqa: S608 - names are our contracts
        if part.height:
            columns = ", ".join(table.polars_schema.names())
            files = {"files": self._local(part.files)}
            connection.execute(f"insert into {table.full_name} by name select {columns} from read_parquet($files)", files)  # noqa: S608

    def add(self, connection: duckdb.DuckDBPyConnection, table: Table, parts: Iterable[Part]) -> None:
        """Add rows to months of a table of the lake. Call it inside `transaction`."""
        for part in parts:
            append(connection, PARTS, part.files)
        self._show(connection, table)

    def clear_months_outside(self, connection: duckdb.DuckDBPyConnection, table: Table, first: date, last: date) -> None:
        """Take the months before `first` and after `last` out of a table of the lake. Call it inside `transaction`."""
        connection.execute(
            "delete from lake.parts where table_name = $table and invoice_month not between $first and $last",
            {"table": table.full_name, "first": first, "last": last},
        )
        self._show(connection, table)

    def sweep(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Remove the files that no month is made of: replaced ones, and what a run left that was refused or killed."""
        named = {path for (path,) in connection.execute("select path from lake.parts").fetchall()}
        for place in {self.address, str(self.root)}:
            store.sweep(place, map(_folder, TABLES), named)

    def _show(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        """The view over the folders that count now. A view takes no parameters; paths are ours, and quoted."""
        columns = ", ".join(f"{column.name}::{column.type} as {column.name}" for column in table.columns)
        nothing = ", ".join(f"null::{column.type} as {column.name}" for column in table.columns)
        files = ", ".join(map(sql_text, self._local(self.parts(connection, table, date.min, date.max))))
        source = f"select {columns} from read_parquet([{files}])" if files else f"select {nothing} where false"  # noqa: S608 - contracts
        connection.execute(f"create or replace view {table.full_name} as {source}")
        connection.execute(f"comment on view {table.full_name} is {sql_text(table.grain)}")

    def _local(self, files: pl.DataFrame) -> list[str]:
        """Where DuckDB reads files of the lake."""
        if self.remote:
            store.fetch(files["path"], self.remote, self.root)
        return [f"{self.root}/{path}" for path in files["path"]]


def has_lake(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the lines of this warehouse are kept in a lake."""
    found = connection.execute("select count(*) from duckdb_tables() where schema_name = 'lake' and table_name = 'parts'").fetchall()
    return found != [(0,)]


def refuse_lake(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse a warehouse whose lines are kept in a lake.

    Raises:
        EngineError: They are.
    """
    if has_lake(connection):
        raise EngineError(_OTHER_ENGINE.format(home=_home(connection), began="spark", kept="in a lake of Parquet"))


def _home(connection: duckdb.DuckDBPyConnection) -> Path:
    ((path,),) = connection.execute("select path from duckdb_databases() where database_name = current_database()").fetchall()
    return Path(path).parent.parent


def _folder(table: Table) -> str:
    return f"{table.schema}/{table.name}"


def _refuse_silent(address: str) -> None:
    try:
        filesystem, path = store.opened(address)
        filesystem.create_dir(path)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"The lake {address} cannot be used ({error}). Is the bucket there, and are its credentials and endpoint in the environment of this "
            "process and of the workers (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL)? See docs/spark.md."
        ) from error
