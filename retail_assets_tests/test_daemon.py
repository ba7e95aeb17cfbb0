"""Slow: the daemon itself lands files that arrive, refreshes exactly the months that they leave to refresh, once, and knows new months."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from retail_assets.lib import sample
from retail_assets.partitions import RANGE_END, RANGE_START
from retail_assets_tests.processes import BESIDE_PYTHON, Dagster, dagster, run

pytestmark = pytest.mark.slow

AUTOMATION = {"RETAIL_AUTOMATION": "on", "RETAIL_SENSOR_SECONDS": "3"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample as a file per month."""
    folder = tmp_path_factory.mktemp("sample")
    sample.write(sample.generate(2_000, 5), folder)
    return folder


def drop(files: Path, home: Path, *months: str) -> None:
    (home / "landing").mkdir(parents=True, exist_ok=True)
    for month in months:
        (home / "landing" / f"{month}.csv").write_bytes((files / f"{month}.csv").read_bytes())


def refreshes(server: Dagster) -> list[tuple[str, str, str]]:
    return [(run["tags"][RANGE_START], run["tags"][RANGE_END], run["status"]) for run in server.runs("refresh")]


def landings(server: Dagster) -> list[str]:
    return [run["status"] for run in server.runs("land")]


def published_months(home: Path) -> list[tuple[int, int]]:
    with duckdb.connect(home / "serving" / "retail.duckdb", read_only=True) as reader:
        query = "select distinct year(snapshot_month), month(snapshot_month) from segments.segment_model order by all"
        return reader.execute(query).fetchall()


def failed_check(server: Dagster, path: list[str], name: str) -> str | None:
    query = """
        query ($key: AssetKeyInput!, $name: String!) {
            assetCheckExecutions(assetKey: $key, checkName: $name, limit: 1) { status evaluation { success description } }
        }
    """
    found: list[dict[str, Any]] = server.graphql(query, key={"path": path}, name=name)["assetCheckExecutions"]
    return None if not found or not found[0]["evaluation"] or found[0]["evaluation"]["success"] else found[0]["evaluation"]["description"]


def test_files_that_arrive_are_landed_and_their_months_refreshed_once(tmp_path: Path, files: Path) -> None:
    drop(files, tmp_path, "2010-12", "2011-01")
    with dagster(tmp_path, **AUTOMATION) as server:
        first = ("2010-12-01", "2011-01-01", "SUCCESS")
        server.wait_for("the refresh of what lay there", lambda: refreshes(server) == [first])
        assert published_months(tmp_path) == [(2010, 12), (2011, 1)]

        # A month that was no partition when the code location loaded, beside a file that cannot be read.
        drop(files, tmp_path, "2011-02")
        (tmp_path / "landing" / "broken.csv").write_text("a,b\n1,2\n")
        second = ("2011-02-01", "2011-02-01", "SUCCESS")
        server.wait_for("the refresh of the new month alone", lambda: refreshes(server) == [first, second])
        assert published_months(tmp_path) == [(2010, 12), (2011, 1), (2011, 2)]
        assert "broken.csv" in str(failed_check(server, ["raw", "landed_files"], "no_file_refused"))

    with dagster(tmp_path, **AUTOMATION) as server:
        # After a restart nothing is landed or refreshed again; a late file for January is, with the months after it.
        late = (files / "2011-01.csv").read_text().splitlines(keepends=True)
        (tmp_path / "landing" / "late.csv").write_text(late[0] + late[1].replace(late[1].split(",")[0], "999999", 1))
        third = ("2011-01-01", "2011-02-01", "SUCCESS")
        server.wait_for("the refresh from the month of the late file on", lambda: refreshes(server) == [first, second, third])
        assert landings(server) == ["SUCCESS"] * 3, "a refused file leads to no further landing"
        assert failed_check(server, ["core", "transactions"], "months_are_current") is None


def kill_worker(server: Dagster) -> bool:
    """Kill the process of the refresh, as an operating system does that is out of memory, once it is at work."""
    query = "query ($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { ... on MessageEvent { message stepKey } } } } }"
    for found in server.runs("refresh"):
        events = server.graphql(query, id=found["runId"])["logsForRun"]["events"]
        worker = re.search(r"\(pid: (\d+)\)", " ".join(event.get("message", "") for event in events))
        if worker and any(event.get("stepKey") == "core__transactions" for event in events):
            os.kill(int(worker[1]), signal.SIGKILL)
            return True
    return False


def test_a_run_whose_process_is_killed_fails_frees_the_warehouse_and_is_tried_once_more(tmp_path: Path, files: Path) -> None:
    drop(files, tmp_path, "2010-12")
    assert run([BESIDE_PYTHON / "dg", "launch", "--job", "land"], tmp_path).returncode == 0
    with dagster(tmp_path) as server:
        server.launch_backfill(["2010-12-01"])
        server.wait_for("the run", lambda: kill_worker(server))
        server.wait_for("the run that is tried again", lambda: [found["status"] for found in server.runs("refresh")] == ["FAILURE", "SUCCESS"], 400)
    assert published_months(tmp_path) == [(2010, 12)]
