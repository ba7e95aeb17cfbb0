"""Sensors and the schedule, tick by tick: what is asked for, once, and what is said instead; and what a person is told when a step fails."""

import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster_graphql import DagsterGraphQLClient, ReloadRepositoryLocationInfo, ReloadRepositoryLocationStatus

from retail_assets import alerts, landing
from retail_assets.contracts import LANDED_FILES
from retail_assets.definitions import defs
from retail_assets.defs import automation
from retail_assets.defs.raw import PENDING_MONTHS
from retail_assets.monthly import key_of
from retail_assets.partitions import RANGE_END, RANGE_START
from retail_assets.settings import Settings
from retail_assets.warehouse import ContractError, WarehouseBusyError


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(automation, "_SETTINGS", Settings(home=tmp_path))
    (tmp_path / "landing").mkdir()
    (tmp_path / "warehouse").mkdir()
    return tmp_path


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None) -> tuple[list[dict[str, str]] | str, str | None]:
    """The tags of the runs a tick asks for, or why it asks for none; and the cursor after it."""
    data = sensor.evaluate_tick(dg.build_sensor_context(instance, cursor=cursor))
    asked = [{name: value for name, value in request.tags.items() if not name.startswith("dagster/sensor")} for request in data.run_requests or []]
    return asked or str(data.skip_message), data.cursor


def looks(instance: dg.DagsterInstance, cursor: str | None, count: int) -> tuple[int, str | None]:
    """How many landings some looks in a row ask for."""
    asked = 0
    for _ in range(count):
        found, cursor = tick(automation.arrived_files, instance, cursor)
        asked += isinstance(found, list)
    return asked, cursor


def test_files_are_landed_once_when_they_have_come_to_rest(home: Path, instance: dg.DagsterInstance) -> None:
    assert looks(instance, None, 2) == (0, looks(instance, None, 1)[1]), "an empty folder is nothing new"
    file = home / "landing" / "january.csv"
    file.write_text("half")
    asked, cursor = looks(instance, None, 1)
    assert asked == 0, "it may still be arriving"
    file.write_text("half and the rest")
    asked, cursor = looks(instance, cursor, 1)
    assert asked == 0, "it has grown since"
    assert looks(instance, cursor, 3)[0] == 1
    cursor = looks(instance, cursor, 3)[1]
    assert looks(instance, cursor, 3)[0] == 0, "a restart with the same cursor lands nothing again"
    file.unlink()
    assert looks(instance, cursor, 3)[0] == 1, "a file that is gone changes what is refused"


def test_the_fingerprint_of_a_folder_follows_names_sizes_and_times_and_no_hidden_files(tmp_path: Path) -> None:
    empty = landing.fingerprint(tmp_path)
    (tmp_path / ".part").write_text("x")
    assert landing.fingerprint(tmp_path) == empty
    (tmp_path / "a.csv").write_text("x")
    first = landing.fingerprint(tmp_path)
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    assert len({empty, first, landing.fingerprint(tmp_path)}) == 3


def note_landing(instance: dg.DagsterInstance, job_name: str, pending: list[str]) -> None:
    """A materialization as the landing step of a job reports it."""

    @dg.op
    def land(context: dg.OpExecutionContext) -> None:
        context.log_event(dg.AssetMaterialization(key_of(LANDED_FILES), metadata={PENDING_MONTHS: pending}))

    @dg.job(name=job_name)
    def job() -> None:
        land()

    assert job.execute_in_process(instance=instance).success


@pytest.fixture
def loaded(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose landed months are those that the code location has loaded; returns their note."""
    for variable in ("RETAIL_FIRST_MONTH", "RETAIL_LAST_MONTH"):
        monkeypatch.delenv(variable)
    landing.write_months(home / "warehouse" / "months.json", [date(2010, 12, 1), date(2011, 12, 1)])
    return home / "warehouse" / "months.json"


def test_the_months_that_a_landing_leaves_to_refresh_are_asked_for_in_one_run_and_once(loaded: Path, instance: dg.DagsterInstance) -> None:
    note_landing(instance, "land", ["2011-03", "2011-04", "2011-05"])
    found, cursor = tick(automation.landed_months, instance, None)
    assert found == [{RANGE_START: "2011-03-01", RANGE_END: "2011-05-01"}]
    assert tick(automation.landed_months, instance, cursor)[0] == "Nothing has landed since the last request."


def test_a_landing_that_changed_nothing_and_one_within_a_refresh_ask_for_nothing(loaded: Path, instance: dg.DagsterInstance) -> None:
    note_landing(instance, "refresh", ["2011-03"])
    assert tick(automation.landed_months, instance, None)[0] == "Nothing has landed since the last request."
    note_landing(instance, "land", [])
    found, cursor = tick(automation.landed_months, instance, None)
    assert found == "The newest landing left every month as it was."
    assert cursor is not None
    assert json.loads(cursor)["requested"] > 0


def test_new_months_are_asked_for_after_the_code_location_was_loaded_anew(
    loaded: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloads: list[str] = []

    def reload(_: DagsterGraphQLClient, location: str) -> ReloadRepositoryLocationInfo:
        reloads.append(location)
        return ReloadRepositoryLocationInfo(status=ReloadRepositoryLocationStatus.SUCCESS)

    monkeypatch.setattr(DagsterGraphQLClient, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(DagsterGraphQLClient, "reload_repository_location", reload)
    landing.write_months(loaded, [date(2010, 12, 1), date(2012, 1, 1)])
    note_landing(instance, "land", ["2012-01"])
    found, cursor = tick(automation.landed_months, instance, None)
    assert (found, reloads) == ("2010-12..2012-01 have landed: loading the code location anew.", ["retail_assets"])
    found, cursor = tick(automation.landed_months, instance, cursor)
    assert "Reload it in the UI" in str(found)
    assert len(reloads) == 1, "asked for once, not at every look"
    monkeypatch.setattr(automation, "loaded_range", lambda: (date(2010, 12, 1), date(2012, 1, 1)))
    assert tick(automation.landed_months, instance, cursor)[0] == [{RANGE_START: "2012-01-01", RANGE_END: "2012-01-01"}]


def test_a_webserver_that_does_not_answer_is_said_and_asked_again(
    loaded: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "_SETTINGS", Settings(home=loaded.parent.parent, webserver_url="http://127.0.0.1:9"))
    landing.write_months(loaded, [date(2010, 12, 1), date(2012, 1, 1)])
    note_landing(instance, "land", ["2012-01"])
    for _ in range(2):
        found, cursor = tick(automation.landed_months, instance, None)
        assert "http://127.0.0.1:9 did not answer" in str(found)
        assert cursor == "{}"


@pytest.mark.parametrize(
    ("now", "asked"),
    [
        (datetime(2011, 12, 5, 6, tzinfo=UTC), ["2011-11-01"]),  # a Monday; December has lines already, and is not closed
        (datetime(2012, 1, 5, 6, tzinfo=UTC), ["2011-12-01"]),
        (datetime(2012, 1, 6, 6, tzinfo=UTC), []),  # done the day before
        (datetime(2011, 11, 5, 6, tzinfo=UTC), []),  # a Saturday
        (datetime(2011, 11, 7, 6, tzinfo=UTC), ["2011-10-01"]),
        (datetime(2012, 2, 6, 6, tzinfo=UTC), []),  # nothing has landed for January
    ],
)
def test_the_schedule_asks_for_the_closed_month_or_says_that_its_files_are_missing(
    now: datetime, asked: list[str], instance: dg.DagsterInstance
) -> None:
    context = dg.build_schedule_context(instance, scheduled_execution_time=now, repository_def=defs().get_repository_def())
    data = automation.closed_month.evaluate_tick(context)
    assert [request.partition_key for request in data.run_requests or []] == asked
    assert asked or "No lines have landed for 2012-01" in str(data.skip_message) or "is refreshed on" in str(data.skip_message)


def test_holidays_put_the_refresh_of_the_closed_month_off() -> None:
    # Good Friday 2012 was April 6, Easter Monday April 9.
    assert automation._first_working_day(date(2012, 4, 6)) == date(2012, 4, 10)
    every_day = [date(2010, 1, 1) + timedelta(days=step) for step in range(366 * 30)]
    assert all(automation._first_working_day(day) >= day for day in every_day), "there is one within the longest break"


def test_sensors_and_the_schedule_are_off_until_they_are_switched_on() -> None:
    assert automation.arrived_files.default_status is automation.landed_months.default_status is dg.DefaultSensorStatus.STOPPED
    assert automation.closed_month.default_status is dg.DefaultScheduleStatus.STOPPED


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (dg.Failure("core.returns 2011-02 not written. Wait for better luck."), "core.returns 2011-02 not written. Wait for better luck."),
        (WarehouseBusyError("retail.duckdb was held by another process"), "retail.duckdb was held by another process"),
        (ContractError("core.returns: quantity is missing"), "A fault of the code: nothing was written."),
        (duckdb.IOException("No space left on device"), "Make room, then run again."),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero. No month is half written"),
    ],
)
def test_every_failure_comes_with_what_to_do(error: Exception, advice: str) -> None:
    assert advice in alerts.remedy(error)


def test_a_failed_step_is_told_in_the_log_and_to_the_alert_address(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Chat(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    @dg.op
    def core__returns() -> None:
        raise dg.Failure("Wait for better luck.")

    @dg.job(hooks={alerts.say_what_to_do})
    def unlucky() -> None:
        core__returns()

    with http.server.HTTPServer(("127.0.0.1", 0), Chat) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("RETAIL_ALERT_URL", f"http://127.0.0.1:{server.server_port}/hook")
        result = unlucky.execute_in_process(instance=instance, raise_on_error=False)
    assert told == [{"text": f"core/returns failed in run {result.run_id} of the job unlucky. Wait for better luck."}]


def test_an_alert_address_that_does_not_answer_changes_nothing() -> None:
    with pytest.raises(OSError, match="refused"):
        alerts.send("http://127.0.0.1:9", "text")
    with pytest.raises(OSError, match="no http address"):
        alerts.send("file:///etc/passwd", "text")
