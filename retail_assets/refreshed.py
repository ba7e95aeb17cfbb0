"""Which months have to be refreshed: those whose files, settings or code differ from what they were last published from, and all months after them.

Later months look back on earlier ones, so a change in January reaches every month from January on, and none before. Kept in the warehouse by
`retail run` alone: months refreshed in the UI count as not refreshed here, which costs a repetition and never a stale result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version

import duckdb
import polars as pl

from retail_assets import months as m
from retail_assets.contracts import REFRESHED_MONTHS
from retail_assets.landing import LandedFile, LandingReport
from retail_assets.settings import Settings
from retail_assets.warehouse import read, replace_month, transaction


def pending_months(connection: duckdb.DuckDBPyConnection, report: LandingReport, settings: Settings) -> list[date]:
    """The months to refresh, in order: from the first one that is not up to date to the last landed one. Empty where all are.

    A month that was refreshed and has no landed lines any more leaves the publication: then at least the last landed month is refreshed, because
    being the last one changes what is asked of it.
    """
    landed = m.window(report.months[0], report.months[-1])
    known = set(read(connection, "select * from quality.refreshed_months").select(REFRESHED_MONTHS.polars_schema.names()).rows())
    stale = [month for month in landed if _origin(month, report.landed, settings) not in known]
    if not stale and any(month not in landed for month, *_ in known):
        return landed[-1:]
    return m.window(stale[0], landed[-1]) if stale else []


def record(connection: duckdb.DuckDBPyConnection, months: Iterable[date], report: LandingReport, settings: Settings) -> None:
    """Note that the months are published as they follow from the landed files and the settings."""
    with transaction(connection):
        landed = {"first": report.months[0], "last": report.months[-1]}
        connection.execute("delete from quality.refreshed_months where invoice_month not between $first and $last", landed)
        for month in months:
            row = pl.DataFrame([_origin(month, report.landed, settings)], schema=REFRESHED_MONTHS.polars_schema, orient="row")
            replace_month(connection, REFRESHED_MONTHS, month, row)


def _origin(month: date, files: Iterable[LandedFile], settings: Settings) -> tuple[date, str, str, str]:
    """What a month is made from, as a row of `quality.refreshed_months`: the files of the month and of all months before it."""
    contents = sorted(file.file_id for file in files if min(file.months) <= month)
    return month, hashlib.sha256("".join(contents).encode()).hexdigest(), settings.results_hash(), version("retail_assets")
