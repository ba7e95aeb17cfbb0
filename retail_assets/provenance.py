"""What each month of each table was built from, and which months are stale: other files, settings, seeds or code now, for them or a month before.

Code is the version, and the text of the modules that compute: a checkout changes without its version.

Later months look back on earlier ones, so a change in January reaches every month from January on, and none before. Noted in the transaction that
writes a month, whichever run does it; a month whose inputs were stale while it was built is not noted, and so is stale itself. No Dagster in here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

import duckdb
import polars as pl

from retail_assets import months as m
from retail_assets.contracts import BUILT_MONTHS, BUILT_TABLES, Table
from retail_assets.seeds import definitions_hash
from retail_assets.settings import Settings
from retail_assets.warehouse import append, read, transaction

_COMPUTES: Final = ("calendar_checks.py", "catalogue.py", "contracts.py", "defs", "engines", "lib", "month_parts.py", "quality.py")
"""Modules and folders of the package that decide what stands in a month."""

PUBLISHED: Final = "published.retail"
"""Stands for the published file among the tables."""


class Origin(NamedTuple):
    """What a month is built from."""

    files_hash: str
    settings_hash: str
    code_version: str


Built = Mapping[tuple[str, date], Origin]
"""By table and month."""


def origins(connection: duckdb.DuckDBPyConnection, settings: Settings) -> dict[date, Origin]:
    """What every month from the first landed to the last is built from as things stand: the files of the month and of all months before it.

    Months that the settings leave out are built from nothing, for nothing builds them.
    """
    query = "select file_id || ' ' || file_name, list_min(months) as first, list_max(months) as last from raw.landed_files where status = 'landed'"
    files = read(connection, query).drop_nulls().rows()
    if not files:
        return {}
    settings_now, code_now = settings_hash(settings), code_version()

    def hashed(month: date) -> str:
        return hashlib.sha256("\n".join(sorted(file for file, first, _ in files if first <= month)).encode()).hexdigest()

    return {
        month: Origin(hashed(month), settings_now, code_now)
        for month in settings.existing_months(min(first for _, first, _ in files), max(last for *_, last in files))
    }


def settings_hash(settings: Settings) -> str:
    """Twelve hexadecimal digits that change when a setting or a seed changes that tables are built from."""
    return hashlib.sha256(f"{settings.results_hash()} {definitions_hash()}".encode()).hexdigest()[:12]


@cache
def code_version(package: Path = Path(__file__).parent) -> str:
    """The version of the code that builds the months, and six hexadecimal digits that change when a module does that computes them."""
    modules = sorted(path for part in _COMPUTES for path in [package / part, *(package / part).rglob("*")] if path.suffix == ".py")
    digest = hashlib.sha256(b"".join(hashlib.sha256(module.read_bytes()).digest() for module in modules)).hexdigest()
    return f"{version('retail_assets')}+{digest[:6]}"


def built(connection: duckdb.DuckDBPyConnection) -> Built:
    """What the months that stand in the warehouse, and those in the published file, were built from."""
    rows = connection.execute(f"select {', '.join(BUILT_MONTHS.polars_schema.names())} from {BUILT_MONTHS.full_name}").fetchall()  # noqa: S608 - ours
    return {(table, month): Origin(*origin) for table, month, *origin in rows}


def note(connection: duckdb.DuckDBPyConnection, table_names: Sequence[str], month: date, origin: Origin | None) -> None:
    """Say what a month of some tables was built from; None where that is unknown. Call it in the transaction that writes the month."""
    connection.execute(
        "delete from quality.built_months where list_contains($table_names, table_name) and invoice_month = $invoice_month",
        {"table_names": list(table_names), "invoice_month": month},
    )
    if origin:
        rows = [{"table_name": name, "invoice_month": month, **origin._asdict()} for name in table_names]
        append(connection, BUILT_MONTHS, pl.DataFrame(rows, schema=BUILT_MONTHS.polars_schema))


def stale_months(connection: duckdb.DuckDBPyConnection, settings: Settings, tables: Iterable[Table] = BUILT_TABLES) -> dict[date, list[str]]:
    """The landed months that do not stand in the warehouse as they follow from the landed files: month -> names of the tables, in order."""
    expected, found = origins(connection, settings), built(connection)
    names = [table.full_name for table in tables]
    stale = {month: [name for name in names if found.get((name, month)) != origin] for month, origin in expected.items()}
    return {month: behind for month, behind in stale.items() if behind}


def pending_months(connection: duckdb.DuckDBPyConnection, settings: Settings) -> list[date]:
    """The months to refresh: from the first stale one to the last landed one. Empty where none is stale."""
    stale = stale_months(connection, settings)
    return m.window(min(stale), max(origins(connection, settings))) if stale else []


def note_publication(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Note which months the published file holds as they follow from the landed files."""
    stale = stale_months(connection, settings)
    with transaction(connection):
        connection.execute("delete from quality.built_months where table_name = $published", {"published": PUBLISHED})
        for month, origin in origins(connection, settings).items():
            note(connection, [PUBLISHED], month, None if month in stale else origin)


def is_published(connection: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """The last publication holds the landed months as they follow from the landed files, and no month besides."""
    return {month: origin for (table, month), origin in built(connection).items() if table == PUBLISHED} == origins(connection, settings)
