"""Kill -9 at a seeded moment of a real run, while a reader looks on; then the same command again, which must end as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final, Literal

from retail_assets.settings import REPOSITORY
from retail_assets_tests.chaos import state
from retail_assets_tests.chaos.homes import LATEST_SECONDS, MONTHS, Case, Command, finish, start
from retail_assets_tests.chaos.outcome import Outcome, judge, judge_reader, watched

TOO_LATE: Final = "too late"
"""Where the run had ended before the moment of the kill."""

Target = Literal["group", "process", "children", "Ctrl-C"]
"""Who is killed: the process with all it started, the process alone (what it started lives on), or only what it started. Ctrl-C asks all to stop."""


@dataclass(frozen=True)
class Kill:
    """Kill during a case: `at` the begin of a step, or the appearance of a file (a pattern from `./`, the home), `after` so many seconds more."""

    case: str
    at: str
    after: float
    target: Target = "group"

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.case}: {self.target} at {self.at} + {self.after:.2f} s"


def random_kills(case: Case, count: int, seed: int) -> list[Kill]:
    """Moments spread evenly over the undisturbed run, told as a step and seconds into it, so that they hold on a machine that is slower or faster."""
    chance = random.Random(f"{case.name} {seed}")
    begins = list(accumulate((seconds for _, seconds in case.timeline), initial=0.0))
    kills = []
    for number in range(count):
        moment = begins[-1] * (number + chance.random()) / count
        begin, step = max((begin, step) for (step, _), begin in zip(case.timeline, begins[:-1], strict=True) if begin <= moment)
        kills.append(Kill(case.name, step, moment - begin, chance.choice(["group", "group", "process"])))
    return kills


def inject(case: Case, kill: Kill, folder: Path) -> Outcome:
    """Kill, run again, and say what is not as it should be."""
    outcome = Outcome(kill.name, f"kill -9, {kill.case}")
    home = case.copy(folder)
    with watched(home) as seen:
        command = start(home, case.command)
        follower = threading.Thread(target=command.follow)
        follower.start()
        _wait_for(kill, home, command)
        outcome.struck = _strike(command, kill.target)
        follower.join(LATEST_SECONDS)
        again = finish(home, case.command)
    outcome.expect_run(again, 0)
    judge(outcome, case, home)
    judge_reader(outcome, seen, [case.before, case.after])
    return outcome


def inject_elsewhere(case: Case, after: float, folder: Path) -> Outcome:
    """Kill a run that was launched past the command line, a while after it took its turn at the warehouse, with no daemon to see it; then run."""
    outcome = Outcome(f"{case.name}: a run begun elsewhere, killed {after} s after it took its turn", "kill -9, elsewhere")
    home = case.copy(folder)
    project = ("--target-path", str(REPOSITORY))
    # What has arrived must be a partition when the code location loads.
    outcome.expect_run(finish(home, ("launch", "--job", "land", *project), "dg"), 0)
    months = f"{MONTHS[0]}-01...{MONTHS[-1]}-01"
    with watched(home) as seen:
        command = start(home, ("launch", "--job", "refresh", "--partition-range", months, *project), "dg")
        follower = threading.Thread(target=command.follow)
        follower.start()
        command.wait_until(lambda: state.turns(home))
        moment = time.monotonic() + after
        command.wait_until(lambda: time.monotonic() >= moment and state.turns(home))
        outcome.struck = TOO_LATE if command.process.poll() is not None else ", ".join(step for _, step in state.turns(home))
        os.killpg(command.process.pid, signal.SIGKILL)
        follower.join(LATEST_SECONDS)
        again = finish(home, case.command)
    outcome.expect_run(again, 0)
    judge(outcome, case, home)
    judge_reader(outcome, seen, [case.before, case.after])
    return outcome


def _wait_for(kill: Kill, home: Path, command: Command) -> None:
    """Return at the moment of the kill, or when the command ends before it."""
    is_file = kill.at.startswith("./")
    command.wait_until(lambda: next(home.glob(kill.at[2:]), None) if is_file else kill.at in [step for _, step in command.steps()])
    moment = time.monotonic() + kill.after
    known = len(command.steps())
    # Where a step is shorter than in the undisturbed run, its end is the moment.
    command.wait_until(lambda: time.monotonic() >= moment or (not is_file and len(command.steps()) > known))


def _strike(command: Command, target: Target) -> str:
    """Kill; says where that was."""
    if command.process.poll() is not None:
        return TOO_LATE
    children = _descendants(command.process.pid)
    if target == "group" or (target == "children" and not children):
        os.killpg(command.process.pid, signal.SIGKILL)
    elif target == "Ctrl-C":
        os.killpg(command.process.pid, signal.SIGINT)
    elif target == "process":
        os.kill(command.process.pid, signal.SIGKILL)
    else:
        for child in children:
            os.kill(child, signal.SIGKILL)
    return f"{command.steps()[-1][1]}, {len(children)} children"


def _descendants(pid: int) -> list[int]:
    """The processes that a process started, and theirs. Empty where the system tells nothing (`/proc`)."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, fresh = [], [pid]
    while fresh:
        fresh = [child for parent in fresh for child in parents.get(parent, [])]
        found += fresh
    return found
