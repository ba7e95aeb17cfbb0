"""Runs of the pipeline from the command line: ordinary Dagster runs of the same jobs on the instance below `RETAIL_HOME`.

Loads the code location only after landing, because the landed months are the partitions. Call what is in here while holding the lock of the home
(`run_lock.py`): it follows that a run with our tag that has not ended was killed.
"""

from __future__ import annotations

import contextlib
import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from retail_assets import landing, landing_checks, provenance, publication, remedies, run_lock, worker
from retail_assets.dbt_start import remove_socket, warm
from retail_assets.engines import engine_of
from retail_assets.landing import LandingReport
from retail_assets.report import charts
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dagster as dg

_OUR_RUN = {"retail/command": "yes"}
"""Tag of the runs that live and die with a command."""


@dataclass(frozen=True)
class Arrivals:
    """What a landing found, the months it leaves to refresh, and whether the last publication is what follows from it (`publication.is_current`)."""

    report: LandingReport
    pending: list[date]
    is_published: bool


def land(settings: Settings) -> Arrivals:
    """Bring the landing up to date and note which months exist: a run cannot name a month that is no partition yet."""
    with _getting_ready(settings), Warehouse.of(settings).get_connection() as connection:
        report = engine_of(settings).land(connection, settings, datetime.now(UTC).replace(tzinfo=None))
        landing_checks.ask(connection, landing_checks.LANDING_CHECKS if report.touched_months else [landing_checks.no_file_refused])
        pending = provenance.pending_months(connection, settings)
        is_published = publication.is_current(connection, settings)
    landing.write_months(settings.months_path, report.months)
    return Arrivals(report, pending, is_published)


@contextlib.contextmanager
def _getting_ready(settings: Settings) -> Iterator[None]:
    """The first landing reads for seconds. On another core, Dagster makes its files meanwhile, and the libraries of the run that follows load."""
    if settings.months_path.exists():
        yield
        return
    with ThreadPoolExecutor(max_workers=1) as worker:
        # What is wrong with Dagster's files is told when they are needed.
        worker.submit(_get_ready)
        yield


def _get_ready() -> None:
    import dagster as dg  # noqa: PLC0415
    import dagster_dbt  # noqa: F401, PLC0415

    with dg.DagsterInstance.get():
        pass


def refresh(settings: Settings, months: list[date], line_count: int) -> tuple[bool, list[str]]:
    """Materialize every layer for the months in one run, and publish. Whether it succeeded, and what failed.

    `line_count` is of all landed files: with many lines, other processes help (`worker.py`).
    """
    from retail_assets.partitions import RANGE_END, RANGE_START  # noqa: PLC0415

    return _execute(settings, "refresh", {RANGE_START: months[0].isoformat(), RANGE_END: months[-1].isoformat()}, line_count)


def publish(settings: Settings) -> tuple[bool, list[str]]:
    """Build the marts and publish. Whether it succeeded, and what failed."""
    return _execute(settings, "publish", {})


def end_killed_runs(settings: Settings) -> None:
    """End what killed processes left unfinished in Dagster, and give back the turns at the warehouse that they held."""
    import dagster as dg  # noqa: PLC0415

    remove_socket(settings)
    with dg.DagsterInstance.get() as instance:
        _end_killed_runs(instance, settings)


def _end_killed_runs(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Nobody else does, without a daemon: a killed run looks unfinished for ever, and its turn in the pool would block every run after it."""
    import dagster as dg  # noqa: PLC0415

    from retail_assets.order import UNFINISHED  # noqa: PLC0415
    from retail_assets.progress import say  # noqa: PLC0415

    killed = run_lock.killed_runs(settings)
    ours = [run.run_id for run in instance.get_runs(dg.RunsFilter(tags=_OUR_RUN, statuses=UNFINISHED))]
    for run_id in dict.fromkeys([*ours, *killed]):
        run = instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            instance.report_run_failed(run, "The process of this run was killed. What it had written stands; the next run does the rest.")
    for run_id in instance.event_log_storage.get_concurrency_run_ids():
        holder = instance.get_run_by_id(run_id)
        if holder is None or holder.is_finished:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        else:
            say(
                f"Run {run_id[:8]} of the job {holder.job_name}, started elsewhere, has its turn at the warehouse: waiting for it. If its process is "
                "gone, end it in the UI (Runs, Terminate)."
            )
    for run_id in killed:
        run_lock.forget(settings, run_id)


def _execute(settings: Settings, job_name: str, tags: dict[str, str], line_count: int = 0) -> tuple[bool, list[str]]:
    # Workers load first, for they are needed first; dbt while the first steps go on. dbt's own lines go to its log: what it finds comes back as
    # events, and stdout is for results.
    with worker.running(settings, line_count), _charts_ready(line_count), contextlib.redirect_stdout(io.StringIO()):
        import dagster as dg  # noqa: PLC0415

        from retail_assets.definitions import defs  # noqa: PLC0415
        from retail_assets.run_storage import kept_connections  # noqa: PLC0415

        definitions = defs()
        with warm(settings), dg.DagsterInstance.get() as instance, kept_connections(instance):
            _end_killed_runs(instance, settings)
            result = definitions.resolve_job_def(job_name).execute_in_process(
                instance=instance, tags={**tags, **_OUR_RUN}, raise_on_error=False, run_config={"loggers": {"progress": {}}}
            )
            return result.success, _failures(result)


def _charts_ready(line_count: int) -> AbstractContextManager[None]:
    return charts.ready() if line_count <= worker.MOST_LINES else contextlib.nullcontext()


def _failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """What a person has to know of the steps and checks that failed."""
    failures = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            reason = data.user_failure_data.description if data.user_failure_data else None
            if reason is None and data.error:
                told = (data.error.cause or data.error).message.strip()
                reason = remedies.advice_on(told) or told
            failures.append(f"{event.step_key}: {reason or 'failed'}")
    return failures
