"""Real Dagster processes for tests and for the screenshots: a home of their own, loopback only, stopped whatever happens."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retail_assets.settings import REPOSITORY

BESIDE_PYTHON = Path(sys.executable).parent
_START_SECONDS = 120
_STOP_SECONDS = 20
_LOOK_SECONDS = 0.5


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a process whose home is `home`; nothing of ours is inherited."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RETAIL_", "DAGSTER_HOME"))}
    return {**inherited, "RETAIL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "DAGSTER_DISABLE_TELEMETRY": "1", **variables}


def run(command: Sequence[object], home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=environment(home, **variables))


@dataclass(frozen=True)
class Dagster:
    """A running webserver with daemon and code location."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    log: Path

    def graphql(self, query: str, **variables: object) -> Any:
        """The data of a query; errors raise."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        if "errors" in answer:
            raise RuntimeError(answer["errors"])
        return answer["data"]

    def launch_backfill(self, months: list[str]) -> str:
        """Launch the job `refresh` over partitions, as the UI does; returns the id of the backfill."""
        query = """
            mutation ($backfill: LaunchBackfillParams!) {
                launchPartitionBackfill(backfillParams: $backfill) { __typename ... on LaunchBackfillSuccess { backfillId } }
            }
        """
        repository = {"repositoryName": "__repository__", "repositoryLocationName": "retail_assets"}
        selector = {"partitionSetName": "refresh_partition_set", "repositorySelector": repository}
        launched = self.graphql(query, backfill={"selector": selector, "partitionNames": months})["launchPartitionBackfill"]
        if launched["__typename"] != "LaunchBackfillSuccess":
            raise RuntimeError(launched)
        return str(launched["backfillId"])

    def is_loaded(self) -> bool:
        """The webserver answers and has loaded the code location."""
        query = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } } } }"
        try:
            entries = self.graphql(query)["workspaceOrError"]["locationEntries"]
        except OSError:
            return False
        return bool(entries) and entries[0]["loadStatus"] == "LOADED" and entries[0]["locationOrLoadError"]["__typename"] == "RepositoryLocation"

    def runs(self, job: str | None = None) -> list[dict[str, Any]]:
        """The runs, oldest first: `runId`, `jobName`, `status`, and `tags` as a dictionary."""
        found = self.graphql("{ runsOrError { ... on Runs { results { runId jobName status tags { key value } } } } }")["runsOrError"]["results"]
        runs = [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in reversed(found)]
        return [run for run in runs if job in (None, run["jobName"])]

    def wait_for(self, what: str, is_there: Callable[[], bool], seconds: float = 180) -> None:
        """Return once it is there.

        Raises:
            AssertionError: It did not come in time, or the process ended; the end of the log says more.
        """
        deadline = time.monotonic() + seconds
        while not is_there():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come:\n{self.log.read_text(errors='replace')[-4_000:]}")
            time.sleep(_LOOK_SECONDS)


def free_port() -> int:
    """A port of the loopback that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(command: Sequence[object], log: Path, variables: dict[str, str], folder: Path = REPOSITORY) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, stopped at the end of the block with all it started."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def dagster(home: Path, **variables: str) -> Iterator[Dagster]:
    """`dagster dev` on a free port of the loopback, as `make dev` starts it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    prepared = run([BESIDE_PYTHON / "retail", "home"], home, **variables)
    assert prepared.returncode == 0, prepared.stderr
    command = [BESIDE_PYTHON / "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", port]
    log = home / "dagster_dev.log"
    with started(command, log, environment(home, RETAIL_WEBSERVER_URL=url, **variables)) as process:
        server = Dagster(url, home, process, log)
        server.wait_for("the code location", server.is_loaded, _START_SECONDS)
        yield server
