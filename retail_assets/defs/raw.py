"""raw: every line of every landed file, as it came. Nothing is judged here: what a line means is decided in `core`."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import dagster as dg
import duckdb

from retail_assets import landing, landing_checks, provenance, quality
from retail_assets import months as m
from retail_assets.calendar_checks import month_is_complete
from retail_assets.contracts import LANDED_FILES, LANDED_LINES, PRODUCT_NAMES, RAW_TRANSACTIONS
from retail_assets.engines import engine_of
from retail_assets.monthly import POOL, SINGLE_RUN, Frames, check_spec, key_of, monthly_asset, table_spec
from retail_assets.order import open_warehouse
from retail_assets.settings import Settings
from retail_assets.terminal import one_line
from retail_assets.warehouse import Query, Warehouse

PENDING_MONTHS = "pending_months"
"""Metadata of a landing: the months that it leaves to refresh."""

_LANDING_TABLES = (LANDED_FILES, LANDED_LINES, PRODUCT_NAMES)
_LANDING_DESCRIPTION = """
Reads every new or changed file of the landing folder once. A file is known by the hash of its content: landed twice, it counts once; landed again
under its name with new content, it replaces its old lines. A file that cannot be read is refused by name and reason, and the others go on.
"""


@dg.multi_asset(
    name="raw__landing",
    specs=[table_spec(table, _LANDING_DESCRIPTION, [], {"csv"}) for table in _LANDING_TABLES],
    check_specs=[check_spec(check) for check in landing_checks.LANDING_CHECKS],
    backfill_policy=SINGLE_RUN,
    pool=POOL,
)
def landing_assets(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Land the files of the landing folder."""
    settings.landing_dir.mkdir(parents=True, exist_ok=True)
    with open_warehouse(warehouse) as connection:
        report = engine_of(settings).land(connection, settings, datetime.now(UTC).replace(tzinfo=None))
        results = landing_checks.ask(connection)
        pending = provenance.pending_months(connection, settings)
    landing.write_months(settings.months_path, report.months)
    for file in report.refused:
        context.log.warning("refused %s", one_line(f"{file.file_name}: {file.reason}"))
    yield from (
        dg.AssetCheckResult(
            passed=result.is_passed,
            asset_key=key_of(result.check.table),
            check_name=result.check.name,
            severity=dg.AssetCheckSeverity(result.check.severity),
            description=result.observed,
            metadata={"recovery": result.check.recovery},
        )
        for result in results
    )
    metadata: dict[str, dg.MetadataValue | int | str | list[str]] = {
        "files": len(report.landed),
        "files_read_now": len(report.read_files),
        "files_refused": len(report.refused),
        "lines": report.line_count,
        "months": m.window_label(list(report.months)),
        "touched_months": [m.label(month) for month in report.touched_months],
        PENDING_MONTHS: [m.label(month) for month in pending],
    }
    yield from (dg.MaterializeResult(asset_key=key_of(table), metadata=metadata) for table in _LANDING_TABLES)


every_landed_line_is_here = quality.Check(
    name="every_landed_line_is_here",
    table=RAW_TRANSACTIONS,
    description="The month holds exactly the lines of the landed files, none lost and none doubled.",
    query="""
        with landed as (
            select count(*) as line_count
            from raw.landed_lines
            where invoice_month = $month and file_id in (select file_id from raw.landed_files where status = 'landed')
        ),
        stored as (
            select count(*) as line_count
            from raw.raw_transactions
            where invoice_month = $month
        )
        select stored.line_count as observed, landed.line_count as expected
        from stored cross join landed
    """,
    recovery="Materialize raw/landed_files, then the month again.",
)


_RAW_LINEAGE = {column.name: [(LANDED_FILES if column.name == "file_name" else LANDED_LINES, column.name)] for column in RAW_TRANSACTIONS.columns}


@monthly_asset(
    tables=[RAW_TRANSACTIONS],
    deps=[LANDED_FILES, LANDED_LINES],
    checks=[every_landed_line_is_here, month_is_complete],
    kinds=frozenset({"sql"}),
    lineage={RAW_TRANSACTIONS: _RAW_LINEAGE},
)
def raw_transactions(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:  # noqa: ARG001 - one signature for all
    """The lines of the month from all landed files: eight fields of text as they came, and beside them what could be read.

    A line without a readable date belongs to the month of the line before it in its file, so that no line is lost.
    """
    query = """
        select
            landed_lines.invoice_month,
            landed_lines.file_id,
            landed_files.file_name,
            landed_lines.* exclude (invoice_month, file_id)
        from raw.landed_lines
        inner join raw.landed_files on landed_lines.file_id = landed_files.file_id
        where landed_lines.invoice_month = $month and landed_files.status = 'landed'
    """
    return {RAW_TRANSACTIONS: Query(query, {"month": month})}
