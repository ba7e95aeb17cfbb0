"""The lake: tables of one row per line as Parquet by month, for engines that work beyond one machine.

    <lake>/core/transactions/<write>/month=2011-01-01/*.parquet       never changed once written

Which folders make up a month is said by `lake.parts` in the warehouse, so that a month of the lake and whatever the warehouse holds of it change in
one transaction: a write that is rolled back, or whose process dies, leaves folders that nothing names, and the next landing sweeps them. In the
warehouse each table of the lake is a view over the folders that count now: checks and dbt models read it as they read a table.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from retail_assets.contracts import BUILT_TABLES, LANDED_LINES, QUARANTINE, RAW_TRANSACTIONS, RETURNS, TRANSACTIONS, Column, Table
from retail_assets.engines import EngineError
from retail_assets.warehouse import append, create_statement, note_unpublished, read, sql_text, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    import duckdb

LAKE_TABLES: Final = (LANDED_LINES, RAW_TRANSACTIONS, TRANSACTIONS, QUARANTINE, RETURNS)
"""Tables of one row per line, which the lake holds. Of all others the warehouse does."""

PARTS: Final = Table(
    schema="lake",
    name="parts",
    grain="One row per table of the lake, month and folder of Parquet files that holds rows of it.",
    key=("table_name", "invoice_month", "path"),
    month_column="invoice_month",
    columns=(
        Column("table_name", "VARCHAR", "Table with its schema."),
        Column("invoice_month", "DATE", "First day of the month."),
        Column("path", "VARCHAR", "Folder of the Parquet files below the lake."),
        Column("line_count", "BIGINT", "Rows in the folder."),
    ),
)

_OTHER_ENGINE: Final = (
    "The home {home} was begun with the engine {began}, and its lines are kept {kept}. Set RETAIL_ENGINE={began} (or `--engine {began}`), or take "
    "another home and land the files there."
)


@dataclass(frozen=True)
class Part:
    """Rows of one month of a table, written aside as Parquet: nobody sees them before they are put in place."""

    path: Path
    height: int

    @property
    def files(self) -> str:
        """The files, as a pattern."""
        return f"{self.path}/*.parquet"


@dataclass(frozen=True)
class Lake:
    """The folder, and what the warehouse says of it."""

    root: Path

    @cached_property
    def views(self) -> dict[str, Table]:
        """The tables of the lake by name."""
        return {table.full_name: table for table in LAKE_TABLES}

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Put views in the place of the tables that the lake holds.

        Raises:
            EngineError: Lines have landed in the warehouse itself.
        """
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
                # Always: the lake may have been moved since.
                self._show(connection, table)

    def _is_of_other_code(self, connection: duckdb.DuckDBPyConnection, table: Table) -> bool:
        """The table was written by code that declared other columns: its months are built again."""
        stored = connection.execute(
            "select column_name, data_type from duckdb_columns() where schema_name = ? and table_name = ? order by column_index",
            [table.schema, table.name],
        ).fetchall()
        return bool(stored) and stored != [(column.name, column.type) for column in table.columns]

    def new_folder(self, table: Table) -> Path:
        """A folder for one write; its months are folders in it, see `written`."""
        return self.root / table.schema / table.name / uuid.uuid4().hex

    def written(self, folder: Path, months: Iterable[date]) -> dict[date, Part]:
        """What a write left in its folder for each of `months`: the rows are counted, and those of a month that has none are none."""
        return {month: _part(folder / f"month={month}") for month in months}

    def parts(self, connection: duckdb.DuckDBPyConnection, table: Table, first: date, last: date) -> pl.DataFrame:
        """The rows of `lake.parts` of a table from one month to another, both included."""
        query = """
            select *
            from lake.parts
            where table_name = $table and invoice_month between $first and $last and line_count > 0
            order by invoice_month, path
        """
        found = read(connection, query, {"table": table.full_name, "first": first, "last": last})
        return found.with_columns(path=pl.lit(f"{self.root}/") + pl.col("path"))

    def replace_month(self, connection: duckdb.DuckDBPyConnection, table: Table, month: date, part: Part) -> None:
        """Put a month in place: by name in the lake, as rows where the warehouse holds the table. Call it inside `transaction`."""
        note_unpublished(connection, table, month)
        if table in LAKE_TABLES:
            connection.execute(
                "delete from lake.parts where table_name = $table and invoice_month = $month", {"table": table.full_name, "month": month}
            )
            self.add(connection, table, {month: part})
            return
        connection.execute(f"delete from {table.full_name} where {table.month_column} = ?", [month])  # noqa: S608 - names are our contracts
        if part.height:
            columns = ", ".join(table.polars_schema.names())
            connection.execute(f"insert into {table.full_name} by name select {columns} from read_parquet($files)", {"files": part.files})  # noqa: S608

    def add(self, connection: duckdb.DuckDBPyConnection, table: Table, parts: dict[date, Part]) -> None:
        """Add rows to months of a table of the lake. Call it inside `transaction`."""
        rows = [
            {"table_name": table.full_name, "invoice_month": month, "path": str(part.path.relative_to(self.root)), "line_count": part.height}
            for month, part in parts.items()
        ]
        append(connection, PARTS, pl.DataFrame(rows, schema=PARTS.polars_schema))
        self._show(connection, table)

    def clear_months_outside(self, connection: duckdb.DuckDBPyConnection, table: Table, first: date, last: date) -> None:
        """Take the months before `first` and after `last` out of a table of the lake. Call it inside `transaction`."""
        connection.execute(
            "delete from lake.parts where table_name = $table and invoice_month not between $first and $last",
            {"table": table.full_name, "first": first, "last": last},
        )
        self._show(connection, table)

    def sweep(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Remove the folders that no month is made of: replaced ones, and what a run left that was refused or killed."""
        named = {self.root / path for (path,) in connection.execute("select path from lake.parts").fetchall()}
        for folder in self.root.glob("*/*/*/month=*"):
            if folder not in named:
                shutil.rmtree(folder)
        for write in self.root.glob("*/*/*"):
            if not any(write.glob("month=*")):
                shutil.rmtree(write)

    def _show(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        """The view over the folders that count now. A view takes no parameters; paths are ours, and quoted."""
        columns = ", ".join(f"{column.name}::{column.type} as {column.name}" for column in table.columns)
        nothing = ", ".join(f"null::{column.type} as {column.name}" for column in table.columns)
        query = "select path from lake.parts where table_name = $table and line_count > 0 order by invoice_month, path"
        paths = read(connection, query, {"table": table.full_name})["path"].to_list()
        files = ", ".join(sql_text(f"{self.root / path}/*.parquet") for path in paths)
        source = f"select {columns} from read_parquet([{files}])" if paths else f"select {nothing} where false"  # noqa: S608 - contracts
        connection.execute(f"create or replace view {table.full_name} as {source}")
        connection.execute(f"comment on view {table.full_name} is {sql_text(table.grain)}")


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


def _part(path: Path) -> Part:
    from pyarrow import parquet  # noqa: PLC0415

    files: Sequence[Path] = sorted(path.glob("*.parquet"))
    return Part(path, sum(parquet.ParquetFile(file).metadata.num_rows for file in files))
