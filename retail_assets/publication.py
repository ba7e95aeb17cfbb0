"""The file that BI reads: built aside, verified, and put in place by one rename; earlier ones are kept, and one can be put back.

    serving/retail.duckdb -> versions/<time>/retail.duckdb      a symbolic link, replaced atomically
    serving/versions/<time>/retail.duckdb                       read-only; always this name, because DuckDB takes the catalog's name from it

Why a link to a directory per version and not a rename over the file: docs/decisions.md, 4.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import duckdb

from retail_assets import months as m
from retail_assets import provenance, quality
from retail_assets.contracts import BUILT_MONTHS, BUILT_TABLES, LANDED_LINES, PRODUCT_NAMES, TABLES, Column, Table
from retail_assets.settings import Settings
from retail_assets.warehouse import STORAGE_VERSION, create_statement, sql_text

FILE_NAME: Final = "retail.duckdb"
_BUILDING_SUFFIX: Final = ".building"
_CATALOG: Final = "published"
"""Name of the new file while it is being built."""
_TIME_FORMAT: Final = "%Y%m%dT%H%M%S.%fZ"

_PUBLISHED_TABLES: Final = tuple(table for table in TABLES if table not in (LANDED_LINES, PRODUCT_NAMES, BUILT_MONTHS))
"""Working tables are left out: what readers need of the landing is in raw.raw_transactions."""

PUBLICATION = Table(
    schema="marts",
    name="publication",
    grain="One row: what this published file is and where it comes from.",
    key=("published_at",),
    columns=(
        Column("published_at", "TIMESTAMP", "When the file was published, in UTC."),
        Column("code_version", "VARCHAR", "Version of retail_assets."),
        Column("settings_hash", "VARCHAR", "Changes when a setting changes that can change a result."),
        Column("seed", "INTEGER", "Seed of everything random."),
        Column("run_id", "VARCHAR", "Dagster run that published the file."),
        Column("first_month", "DATE", "First day of the first month in the file."),
        Column("last_month", "DATE", "First day of the last month in the file."),
        Column("month_count", "INTEGER", "Months in the file."),
        Column("file_count", "INTEGER", "Landed files whose lines count."),
        Column("raw_line_count", "BIGINT", "Raw lines in the file."),
    ),
)


class PublicationRefusedError(RuntimeError):
    """What stands in the warehouse must not be published. The published file stays as it is."""


@dataclass(frozen=True)
class Publication:
    """A published version: its directory, and the rows of each table in it."""

    directory: Path
    row_counts: dict[str, int]

    @property
    def path(self) -> Path:
        """The DuckDB file of this version."""
        return self.directory / FILE_NAME


def publish(connection: duckdb.DuckDBPyConnection, settings: Settings, published_at: datetime, run_id: str) -> Publication:
    """Copy the warehouse into a new version, verify it and put it in place.

    Raises:
        PublicationRefusedError: An ERROR check has failed, there is nothing to publish, or the copy is not what the warehouse holds.
    """
    _refuse_failed_checks(connection)
    _refuse_emptied_tables(connection)
    versions = settings.serving_dir / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(versions)
    name = published_at.strftime(_TIME_FORMAT)
    building = versions / f"{name}{_BUILDING_SUFFIX}"
    building.mkdir()
    file = building / FILE_NAME
    row_counts = _build(connection, file, settings, published_at, run_id)
    _verify(file, row_counts)
    file.chmod(0o444)
    _flush(file)
    directory = building.rename(versions / name)
    _flush(versions)
    _point_to(settings.serving_dir, directory)
    _prune(settings)
    return Publication(directory, row_counts)


def versions(settings: Settings) -> list[Path]:
    """The directories of the kept versions, newest first."""
    directory = settings.serving_dir / "versions"
    return sorted((path for path in directory.glob("*Z") if (path / FILE_NAME).exists()), reverse=True) if directory.exists() else []


def current(settings: Settings) -> Path | None:
    """The directory of the version that readers see now; None where nothing is published."""
    link = settings.serving_dir / FILE_NAME
    return link.resolve().parent if link.exists() else None


def rollback(settings: Settings) -> Path:
    """Put the version before the current one back in place, and return its directory.

    Raises:
        PublicationRefusedError: There is no earlier version.
    """
    now = current(settings)
    earlier = [path for path in versions(settings) if now is None or path.name < now.name]
    if not earlier:
        raise PublicationRefusedError("There is no earlier publication to put back. `retail run` makes a new one.")
    _point_to(settings.serving_dir, earlier[0])
    return earlier[0]


def _refuse_failed_checks(connection: duckdb.DuckDBPyConnection) -> None:
    failed = quality.blocking_failures(connection)
    if failed.height:
        listed = "; ".join(
            f"{row['table_name']}.{row['check_name']} {m.label(row['invoice_month']) if row['invoice_month'] else ''}: {row['recovery']}"
            for row in failed.head(5).to_dicts()
        )
        raise PublicationRefusedError(f"{failed.height} blocking checks have failed, so the last good publication stays: {listed}")


def _refuse_emptied_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """After an upgrade that changed a table, it is empty until its months are built again."""
    built = {table for table, _ in provenance.built(connection)}
    emptied = [table.full_name for table in BUILT_TABLES if table.full_name not in built]
    if built - {provenance.PUBLISHED} and emptied:
        raise PublicationRefusedError(f"No month of {', '.join(emptied)} is built yet, so the last good publication stays. Run `retail run` first.")


def _build(connection: duckdb.DuckDBPyConnection, file: Path, settings: Settings, published_at: datetime, run_id: str) -> dict[str, int]:
    with _attached(connection, file):
        for statement in (*_table_statements(), *_view_statements(connection)):
            connection.execute(statement)
        _describe_publication(connection, settings, published_at, run_id)
        return _row_counts(connection, _CATALOG)


@contextmanager
def _attached(connection: duckdb.DuckDBPyConnection, file: Path) -> Iterator[None]:
    connection.execute(f"attach {sql_text(str(file))} as {_CATALOG} (storage_version '{STORAGE_VERSION}')")
    try:
        yield
        connection.execute("checkpoint published")
    finally:
        connection.execute("detach published")


def _table_statements() -> Iterator[str]:
    """Empty tables from the contracts, with comments, then their rows in the order of the key."""
    for table in _PUBLISHED_TABLES:
        yield create_statement(table, _CATALOG)
        yield f"insert into published.{table.full_name} by name select * from {table.full_name} order by {', '.join(table.key)}"  # noqa: S608


def _view_statements(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Tables from the views that dbt made, with the comments that dbt wrote on them."""
    views = connection.execute(
        "select schema_name, view_name, coalesce(comment, '') from duckdb_views() "
        "where database_name = current_database() and not internal and schema_name in ('core', 'marts') order by all"
    ).fetchall()
    if not views:
        raise PublicationRefusedError("There are no marts yet. Materialize the group `marts` first.")
    for schema, view, comment in views:
        name = f"published.{_identifier(schema)}.{_identifier(view)}"
        yield f"create schema if not exists published.{_identifier(schema)}"
        yield f"create table {name} as select * from {_identifier(schema)}.{_identifier(view)} order by all"  # noqa: S608 - names of our own views
        yield f"comment on table {name} is {sql_text(comment)}"
        columns = connection.execute(
            "select column_name, comment from duckdb_columns() where database_name = current_database() and schema_name = $schema "
            "and table_name = $view and comment is not null order by column_index",
            {"schema": schema, "view": view},
        ).fetchall()
        for column, column_comment in columns:
            yield f"comment on column {name}.{_identifier(column)} is {sql_text(column_comment)}"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _describe_publication(connection: duckdb.DuckDBPyConnection, settings: Settings, published_at: datetime, run_id: str) -> None:
    connection.execute(create_statement(PUBLICATION, _CATALOG))
    connection.execute(
        """
        insert into published.marts.publication by name
        select
            $published_at::timestamp as published_at,
            $code_version as code_version,
            $settings_hash as settings_hash,
            $seed as seed,
            $run_id as run_id,
            min(invoice_month) as first_month,
            max(invoice_month) as last_month,
            count(distinct invoice_month) as month_count,
            (select count(*) from raw.landed_files where status = 'landed') as file_count,
            count(*) as raw_line_count
        from raw.raw_transactions
        """,
        {
            "published_at": published_at,
            "code_version": version("retail_assets"),
            "settings_hash": settings.results_hash(),
            "seed": settings.seed,
            "run_id": run_id,
        },
    )


def _row_counts(connection: duckdb.DuckDBPyConnection, database: str) -> dict[str, int]:
    names = connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables() where database_name = $database order by all", {"database": database}
    ).fetchall()
    return {name: connection.execute(f"select count(*) from {database}.{name}").fetchall()[0][0] for (name,) in names}  # noqa: S608


def _verify(file: Path, row_counts: dict[str, int]) -> None:
    """Open the copy as a reader would, and hold it against what was copied and against itself."""
    with closing(duckdb.connect(file, read_only=True)) as reader:
        if (found := _row_counts(reader, reader.execute("select current_database()").fetchall()[0][0])) != row_counts:
            raise PublicationRefusedError(f"The copy differs from the warehouse: {set(found.items()) ^ set(row_counts.items())}. Publish again.")
        unbalanced = reader.execute(
            """
            with raw_lines as (
                select invoice_month, count(*) as line_count, sum(amount) as amount from raw.raw_transactions group by invoice_month
            ),
            kept as (
                select invoice_month, amount from core.transactions union all select invoice_month, amount from core.quarantine
            ),
            kept_lines as (
                select invoice_month, count(*) as line_count, sum(amount) as amount from kept group by invoice_month
            )
            select coalesce(raw_lines.invoice_month, kept_lines.invoice_month) as invoice_month
            from raw_lines full join kept_lines on raw_lines.invoice_month = kept_lines.invoice_month
            where raw_lines.line_count is distinct from kept_lines.line_count or raw_lines.amount is distinct from kept_lines.amount
            order by invoice_month
            """
        ).fetchall()
    if unbalanced:
        listed = m.window_label([month for (month,) in unbalanced])
        raise PublicationRefusedError(f"Raw lines and cleaned lines differ in {listed}. Materialize core/transactions of these months, then publish.")


def _flush(path: Path) -> None:
    """Make sure that what was written is on the disk before a name points to it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _point_to(serving_dir: Path, directory: Path) -> None:
    temporary = serving_dir / f".{FILE_NAME}.next"
    with suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(Path("versions") / directory.name / FILE_NAME)
    temporary.replace(serving_dir / FILE_NAME)
    _flush(serving_dir)


def _remove_leftovers(versions_dir: Path) -> None:
    for path in versions_dir.glob(f"*{_BUILDING_SUFFIX}"):
        shutil.rmtree(path)


def _prune(settings: Settings) -> None:
    """Delete all but the newest versions; never the one that readers see."""
    for path in versions(settings)[settings.kept_publications :]:
        if path != current(settings):
            shutil.rmtree(path)
