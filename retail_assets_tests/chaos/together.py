"""Several runs at once, and clients that hold the warehouse: one waits, or says for whom; no error, no line twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from retail_assets_tests.chaos.homes import MONTHS, Case, Command, finish, start
from retail_assets_tests.chaos.outcome import Outcome, judge, judge_reader, watched
from retail_assets_tests.processes import dagster

_HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1], read_only=True); print('held', flush=True); sys.stdin.read()"


def commands(case: Case, started: Sequence[tuple[str, ...]], home: Path) -> Outcome:
    """Several commands at once: all but the first wait for their turn."""
    outcome = Outcome(f"{case.name}: {' and '.join(' '.join(words) for words in started)} at once", "at once")
    case.copy(home)
    with watched(home) as seen:
        running: list[Command] = []
        followers = []
        for words in started:
            running.append(start(home, words))
            followers.append(threading.Thread(target=running[-1].follow))
            followers[-1].start()
        for follower in followers:
            follower.join()
    for command in running:
        outcome.expect_run(command, 0)
    waited = [command for command in running if "is at work in this home" in command.said]
    outcome.struck = f"{len(waited)} waited"
    outcome.expect(len(waited) == len(running) - 1, "not all but one waited")
    judge(outcome, case, home)
    judge_reader(outcome, seen, [case.before, case.after])
    return outcome


def rollback(case: Case, home: Path) -> Outcome:
    """A rollback while a run is at work does nothing: what the run publishes would undo it."""
    outcome = Outcome(f"{case.name}: a rollback beside a run", "at once")
    case.copy(home)
    with watched(home) as seen:
        command = start(home, case.command)
        follower = threading.Thread(target=command.follow)
        follower.start()
        command.wait_until(lambda: len(command.steps()) > 1)
        outcome.struck = command.steps()[-1][1]
        outcome.expect_run(finish(home, ("rollback",)), 1, "is at work in this home", f"process {command.process.pid}")
        follower.join()
    outcome.expect_run(command, 0)
    judge(outcome, case, home)
    judge_reader(outcome, seen, [case.before, case.after])
    return outcome


def client(case: Case, home: Path) -> Outcome:
    """A client holds the warehouse for longer than a run waits: it is named, and when it has gone the run goes on."""
    outcome = Outcome(f"{case.name}: a client holds the warehouse", "at once")
    case.copy(home)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(home / "warehouse" / "retail.duckdb")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    outcome.expect_run(finish(home, case.command, RETAIL_LOCK_TIMEOUT_SECONDS="1"), 1, "held by another process", f"PID {holder.pid}")
    holder.communicate("")
    outcome.expect_run(finish(home, case.command), 0)
    judge(outcome, case, home)
    return outcome


def backfill(case: Case, home: Path) -> Outcome:
    """Backfills of a month each from the UI, a command beside them, and readers all the while."""
    outcome = Outcome(f"{case.name}: {len(MONTHS)} backfills and retail run at once", "at once")
    case.copy(home)
    # The month that arrived must be a partition when the UI starts.
    outcome.expect_run(finish(home, ("run", "--months", MONTHS[-1])), 0)
    with dagster(home) as server, watched(home) as seen:
        known = len(server.runs())
        # One backfill over all months would be one run.
        for month in MONTHS:
            server.launch_backfill([f"{month}-01"])
        server.wait_for("the runs of the backfills", lambda: len(server.runs()) >= known + len(MONTHS))
        command = finish(home, ("run", "--all"))
        server.wait_for("the end of the runs", lambda: all(run["status"] in ("SUCCESS", "FAILURE", "CANCELED") for run in server.runs()), 600)
        failed = [run for run in server.runs() if run["status"] != "SUCCESS"]
    outcome.expect_run(command, 0)
    outcome.expect(not failed, f"runs that did not succeed: {failed}")
    outcome.struck = "beside the backfills"
    judge(outcome, case, home)
    judge_reader(outcome, seen, [case.after])
    return outcome
