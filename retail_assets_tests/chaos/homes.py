"""Homes to start from, made once per suite with the program itself, and what an undisturbed run of each ends in."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from retail_assets.lib import sample
from retail_assets_tests.chaos import state
from retail_assets_tests.processes import BESIDE_PYTHON, environment

LINES, SEED = 15_000, 9
MONTHS: Final = ("2010-12", "2011-01", "2011-02")
"""The months of the sample that are used; the last one arrives later."""

_LOOK_SECONDS: Final = 0.005
LATEST_SECONDS: Final = 300
"""How long anything is waited for."""

RUN: Final = ("run",)


@dataclass(frozen=True)
class Case:
    """A home as it is before a command, the command, and what follows from it."""

    name: str
    home: Path
    command: tuple[str, ...]
    before: str
    """Digest of the tables that readers see before; empty where nothing is published."""
    tables: state.Tables
    stored: state.Tables
    reports: state.Tables
    line_count: int
    timeline: tuple[tuple[str, float], ...]
    """The steps of the undisturbed run, with the seconds that each took; `start` is what comes before the first."""

    @property
    def after(self) -> str:
        """Digest of the tables that readers see in the end."""
        return state.digest(self.tables)

    def copy(self, to: Path) -> Path:
        """A home of its own to do harm to."""
        shutil.copytree(self.home, to, symlinks=True)
        return to


@dataclass
class Command:
    """A command of the program at work in a process group of its own, and what it has said so far."""

    process: subprocess.Popen[str]
    started: float
    lines: list[tuple[float, str]] = field(default_factory=list)

    def follow(self) -> None:
        """Collect what it says until it ends. To be run in a thread."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append((time.monotonic() - self.started, line.rstrip("\n")))
        self.process.wait()

    def wait_until(self, is_so: Callable[[], object]) -> None:
        """Return as soon as something is so, or when the command ends before that."""
        deadline = time.monotonic() + LATEST_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline and not is_so():
            time.sleep(_LOOK_SECONDS)

    def steps(self) -> list[tuple[float, str]]:
        """The steps it has come to, with the seconds since its start."""
        return [(0.0, "start"), *((seconds, line) for seconds, line in self.lines if _is_step(line))]

    @property
    def said(self) -> str:
        """All that it said on stderr."""
        return "\n".join(line for _, line in self.lines)


def start(home: Path, command: Sequence[str] = RUN, program: str = "retail", **variables: str) -> Command:
    """Start `retail COMMAND` in a home, or another program of ours or of Dagster."""
    state.scratch(home).mkdir(exist_ok=True)
    process = subprocess.Popen(
        [str(BESIDE_PYTHON / program), *command],
        cwd=home,
        env=environment(home, TMPDIR=str(state.scratch(home)), **variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return Command(process, time.monotonic())


def finish(home: Path, command: Sequence[str] = RUN, program: str = "retail", **variables: str) -> Command:
    """The same, to its end."""
    started = start(home, command, program, **variables)
    started.follow()
    return started


def _is_step(line: str) -> bool:
    return bool(line) and not line[0].isspace() and " " not in line


def prepare(folder: Path, names: Sequence[str]) -> dict[str, Case]:
    """The cases of the given names.

    `first`: nothing is done yet. `monthly`: a new month has arrived. `corrected`: the first month has come anew. `publish`: `retail publish`, nothing
    new. `again`: every month is refreshed although nothing changed.
    """
    files = folder / "files"
    sample.write(sample.generate(LINES, SEED), files)
    empty = folder / "empty"
    (empty / "landing").mkdir(parents=True)
    for month in MONTHS[:-1]:
        shutil.copy(files / f"{month}.csv", empty / "landing")
    cases: dict[str, Case] = {}

    def add(name: str, home: Path, command: tuple[str, ...] = RUN) -> Path:
        """Run a copy undisturbed; returns the home as it is then."""
        done = Path(shutil.copytree(home, folder / f"{name}-done", symlinks=True))
        before = state.digest(state.published(home)) if (home / "serving" / "retail.duckdb").exists() else ""
        run = finish(done, command)
        if run.process.returncode != 0:
            raise RuntimeError(run.said)
        begins = [*run.steps(), (time.monotonic() - run.started, "end")]
        timeline = tuple((step, later - begin) for (begin, step), (later, _) in pairwise(begins))
        stored, lines = state.warehouse(done), state.line_count(done)
        cases[name] = Case(name, home, command, before, state.published(done), stored, state.reports(done), lines, timeline)
        return done

    first = add("first", empty)
    arrived = Path(shutil.copytree(first, folder / "arrived", symlinks=True))
    shutil.copy(files / f"{MONTHS[-1]}.csv", arrived / "landing")
    complete = add("monthly", arrived)
    if "corrected" in names:
        anew = Path(shutil.copytree(complete, folder / "anew", symlinks=True))
        file = anew / "landing" / f"{MONTHS[0]}.csv"
        file.write_text("".join(file.read_text(encoding="utf-8").splitlines(keepends=True)[:-3]), encoding="utf-8")
        add("corrected", anew)
    if "publish" in names:
        add("publish", complete, ("publish",))
    if "again" in names:
        add("again", complete, ("run", "--all"))
    return {name: cases[name] for name in names}
