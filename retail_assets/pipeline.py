"""Runs of the pipeline from the command line: ordinary Dagster runs of the same jobs on the instance below `RETAIL_HOME`.

Loads the code location only after landing, because the landed months are the partitions.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from retail_assets import landing, provenance, publication
from retail_assets.dbt_start import warm
from retail_assets.engines import engine_of
from retail_assets.landing import LandingReport
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import dagster as dg


@dataclass(frozen=True)
class Arrivals:
    """What a landing found, the months it leaves to refresh, and whether the published file is what follows from the landed files."""

    report: LandingReport
    pending: list[date]
    is_published: bool


def land(settings: Settings) -> Arrivals:
    """Bring the landing up to date and note which months exist: a run cannot name a month that is no partition yet."""
    with _warehouse(settings).get_connection() as connection:
        report = engine_of(settings).land(connection, settings, datetime.now(UTC).replace(tzinfo=None))
        pending = provenance.pending_months(connection, settings)
        is_published = publication.current(settings) is not None and provenance.is_published(connection, settings)
    landing.write_months(settings.months_path, report.months)
    return Arrivals(report, pending, is_published)


def refresh(settings: Settings, months: list[date]) -> tuple[bool, list[str]]:
    """Materialize every layer for the months in one run, and publish. Whether it succeeded, and what failed."""
    from retail_assets.partitions import RANGE_END, RANGE_START  # noqa: PLC0415

    return _execute(settings, "refresh", {RANGE_START: months[0].isoformat(), RANGE_END: months[-1].isoformat()})


def _warehouse(settings: Settings) -> Warehouse:
    return Warehouse(database=str(settings.warehouse_path), lock_timeout_seconds=settings.lock_timeout_seconds)


def publish(settings: Settings) -> tuple[bool, list[str]]:
    """Build the marts and publish. Whether it succeeded, and what failed."""
    return _execute(settings, "publish", {})


def _execute(settings: Settings, job_name: str, tags: dict[str, str]) -> tuple[bool, list[str]]:
    # dbt starts first, and gets ready on another core. Its own lines go to its log: what it finds comes back as events, and stdout is for results.
    with warm(settings), contextlib.redirect_stdout(io.StringIO()):
        import dagster as dg  # noqa: PLC0415

        from retail_assets.definitions import defs  # noqa: PLC0415
        from retail_assets.run_storage import kept_connections  # noqa: PLC0415

        definitions = defs()
        with dg.DagsterInstance.get() as instance, kept_connections(instance):
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
