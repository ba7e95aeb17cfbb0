"""automation: what starts runs by itself. Files that arrive are landed, landed months are refreshed, a month that has closed is refreshed.

Off at first (`RETAIL_AUTOMATION=on` for a deployment); the UI switches each. Sensors never open the warehouse: a tick must not wait for a run.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from urllib.parse import urlsplit

import dagster as dg

from retail_assets import landing
from retail_assets import months as m
from retail_assets.calendar_checks import HOLIDAYS_OF
from retail_assets.contracts import LANDED_FILES
from retail_assets.defs.jobs import land, refresh
from retail_assets.defs.published import LONGEST_BREAK_DAYS
from retail_assets.defs.raw import PENDING_MONTHS
from retail_assets.lib import trading_days
from retail_assets.monthly import key_of
from retail_assets.partitions import RANGE_END, RANGE_START, landed_range, loaded_range, monthly_partitions
from retail_assets.settings import Settings

LOCATION = "retail_assets"
"""Name of the code location in `workspace.yaml`."""

_SETTINGS = Settings.from_environment()
_SENSOR_STATUS = dg.DefaultSensorStatus.RUNNING if _SETTINGS.automation == "on" else dg.DefaultSensorStatus.STOPPED
_SCHEDULE_STATUS = dg.DefaultScheduleStatus.RUNNING if _SETTINGS.automation == "on" else dg.DefaultScheduleStatus.STOPPED
_SATURDAY = 5
_LOOKED_AT = 50
"""Materializations among which the newest of the job `land` is looked for; refreshes land too."""


@dg.sensor(
    job=land,
    minimum_interval_seconds=_SETTINGS.sensor_seconds,
    default_status=_SENSOR_STATUS,
    description="Lands the files of the landing folder when one has come, gone or changed, and has then rested from one look to the next.",
)
def arrived_files(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """The cursor holds what was seen last and what was landed last, so a restart neither forgets nor repeats a landing."""
    cursor = json.loads(context.cursor or "{}")
    seen = landing.fingerprint(_SETTINGS.landing_dir) if _SETTINGS.landing_dir.is_dir() else ""
    is_at_rest, is_landed = seen == cursor.get("seen", ""), seen == cursor.get("landed", "")
    context.update_cursor(json.dumps({"seen": seen, "landed": seen if is_at_rest else cursor.get("landed", "")}))
    if is_landed:
        return dg.SkipReason(f"Nothing new in {_SETTINGS.landing_dir}.")
    if not is_at_rest:
        return dg.SkipReason("Files are arriving: landed once nothing has changed from one look to the next.")
    # No run key: a folder may come back to what it was, and must then be landed again.
    return dg.RunRequest()


@dg.sensor(
    job=refresh,
    minimum_interval_seconds=_SETTINGS.sensor_seconds,
    default_status=_SENSOR_STATUS,
    description="Refreshes, in one run, the months that the job `land` left to refresh: those with new lines and the months after them.",
)
def landed_months(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One request per landing. New months need the code location loaded anew first, because its partitions are read when it loads."""
    cursor = json.loads(context.cursor or "{}")
    newest = _newest_landing(context.instance, after=cursor.get("requested", 0))
    if newest is None:
        return dg.SkipReason("Nothing has landed since the last request.")
    storage_id, pending = newest
    if not pending:
        context.update_cursor(json.dumps({"requested": storage_id}))
        return dg.SkipReason("The newest landing left every month as it was.")
    if (noted := landed_range(_SETTINGS)) != loaded_range():
        reason = _reload(f"{m.label(noted[0])}..{m.label(noted[1])}", cursor)
        context.update_cursor(json.dumps(cursor))
        return dg.SkipReason(reason)
    context.update_cursor(json.dumps({"requested": storage_id}))
    first, last = (m.parse_range(label)[0].isoformat() for label in (pending[0], pending[-1]))
    return dg.RunRequest(run_key=f"landing {storage_id}", tags={RANGE_START: first, RANGE_END: last})


@dg.schedule(
    job=refresh,
    cron_schedule=f"0 6 {_SETTINGS.grace_days}-{_SETTINGS.grace_days + LONGEST_BREAK_DAYS} * *",
    execution_timezone="UTC",
    default_status=_SCHEDULE_STATUS,
    description="Refreshes the month that has closed, on the first working day from the day of grace on, so that the last exports are in.",
)
def closed_month(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """The month before, and not the last partition as schedules built from a partitioned job take it: that may be the running month."""
    today = context.scheduled_execution_time.date()
    if today != (due := _first_working_day(today.replace(day=_SETTINGS.grace_days))):
        return dg.SkipReason(f"The month that has closed is refreshed on {due:%A, %Y-%m-%d}.")
    closed = m.shift(today.replace(day=1), -1)
    if closed.isoformat() not in monthly_partitions().get_partition_keys():
        return dg.SkipReason(
            f"No lines have landed for {m.label(closed)}, which has closed. Ask the source for its exports and put them into {_SETTINGS.landing_dir}."
        )
    return dg.RunRequest(run_key=f"closed {m.label(closed)}", partition_key=closed.isoformat())


def _first_working_day(day: date) -> date:
    """The day itself, or the first one after it that is no weekend and no public holiday."""
    days = [day + timedelta(days=step) for step in range(LONGEST_BREAK_DAYS + 1)]
    off = trading_days.public_holidays(days[0], days[-1], *HOLIDAYS_OF)
    return next(candidate for candidate in days if candidate.weekday() < _SATURDAY and candidate not in off)


def _newest_landing(instance: dg.DagsterInstance, after: int) -> tuple[int, list[str]] | None:
    """The newest run of `land` after an event: its event, and the months it left to refresh."""
    records = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key_of(LANDED_FILES), after_storage_id=after), limit=_LOOKED_AT).records
    for record in records:
        run = instance.get_run_by_id(record.run_id)
        if run and run.job_name == land.name and record.asset_materialization:
            value = record.asset_materialization.metadata[PENDING_MONTHS].value
            return record.storage_id, [str(month) for month in value] if isinstance(value, list) else []
    return None


def _reload(months: str, cursor: dict[str, object]) -> str:
    """Ask the webserver once to load the code location anew, and say what is waited for."""
    if cursor.get("reloaded_for") == months:
        return f"{months} have landed, and the code location still has other months. Reload it in the UI (Deployment), or restart its process."
    from dagster_graphql import DagsterGraphQLClient, ReloadRepositoryLocationStatus  # noqa: PLC0415 - slow to import, needed now and then

    url = urlsplit(_SETTINGS.webserver_url)
    try:
        client = DagsterGraphQLClient(url.hostname or "", port_number=url.port, use_https=url.scheme == "https")
        reloaded = client.reload_repository_location(LOCATION)
    except Exception as error:  # noqa: BLE001 - whatever keeps the webserver from answering, the next tick tries again
        return f"{months} have landed. Reload the code location in the UI: {_SETTINGS.webserver_url} did not answer ({type(error).__name__})."
    if reloaded.status is not ReloadRepositoryLocationStatus.SUCCESS:
        return f"{months} have landed, and the code location does not load: {reloaded.message}"
    cursor["reloaded_for"] = months
    return f"{months} have landed: loading the code location anew."
