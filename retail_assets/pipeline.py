"""Runs of the pipeline from the command line: ordinary Dagster runs of the same jobs on the instance below `RETAIL_HOME`.

Loads the code location only after landing, because the landed months are the partitions.
"""

from __future__ import annotations

import contextlib
import io
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

from retail_assets import landing, publication, refreshed
from retail_assets.landing import LandingReport
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import dagster as dg

_RANGE_START: Final = "dagster/asset_partition_range_start"
_RANGE_END: Final = "dagster/asset_partition_range_end"


def land(settings: Settings) -> tuple[LandingReport, list[date]]:
    """Bring the landing up to date and note which months exist: a run cannot name a month that is no partition yet.

    Returns:
        What landed, and the months that have to be refreshed.
    """
    with _warehouse(settings).get_connection() as connection:
        report = landing.land(connection, settings.landing_dir, datetime.now(UTC).replace(tzinfo=None), settings.date_order)
        is_published = publication.current(settings) is not None
        pending = refreshed.pending_months(connection, report, settings) if report.months and is_published else list(report.months)
    landing.write_months(settings.months_path, report.months)
    return report, pending


def refresh(months: list[date], report: LandingReport, settings: Settings) -> tuple[bool, list[str]]:
    """Materialize every layer for the months in one run, and publish. Whether it succeeded, and what failed."""
    succeeded, failures = _execute("refresh", {_RANGE_START: months[0].isoformat(), _RANGE_END: months[-1].isoformat()})
    if succeeded:
        with _warehouse(settings).get_connection() as connection:
            refreshed.record(connection, months, report, settings)
    return succeeded, failures


def _warehouse(settings: Settings) -> Warehouse:
    return Warehouse(database=str(settings.warehouse_path), lock_timeout_seconds=settings.lock_timeout_seconds)


def publish() -> tuple[bool, list[str]]:
    """Build the marts and publish. Whether it succeeded, and what failed."""
    return _execute("publish", {})


def _execute(job_name: str, tags: dict[str, str]) -> tuple[bool, list[str]]:
    import dagster as dg  # noqa: PLC0415

    from retail_assets.definitions import defs  # noqa: PLC0415
    from retail_assets.run_storage import relaxed_sqlite  # noqa: PLC0415

    definitions = defs()
    # dbt's own lines go to its log: what it finds comes back as events, and stdout is for results.
    with relaxed_sqlite(), dg.DagsterInstance.get() as instance, contextlib.redirect_stdout(io.StringIO()):
        result = definitions.resolve_job_def(job_name).execute_in_process(
            instance=instance, tags=tags, raise_on_error=False, run_config={"loggers": {"progress": {}}}
        )
        return result.success, _failures(result)


def _failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """What a person has to know of the steps and checks that failed."""
    failures = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            reason = data.user_failure_data.description if data.user_failure_data else None
            failures.append(f"{event.step_key}: {reason or (data.error.cause or data.error).message.strip() if data.error else 'failed'}")
    return failures
