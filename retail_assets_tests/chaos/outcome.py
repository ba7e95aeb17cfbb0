"""What became of a fault, held against the undisturbed run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from retail_assets.settings import REPOSITORY
from retail_assets_tests.chaos import state
from retail_assets_tests.chaos.homes import Case, Command


@dataclass
class Outcome:
    """What became of a fault: where it struck, what is wrong now (nothing, if all is well), lines lost, reads."""

    fault: str
    kind: str
    struck: str = ""
    skipped: str = ""
    """Why the fault could not be injected here."""
    problems: list[str] = field(default_factory=list)
    lines_lost: int = 0
    reads: int = 0
    seconds: float = 0.0

    def expect_run(self, command: Command, exit_code: int, *words: str) -> None:
        """Note a problem where a command does not exit so, does not say the words, or shows a traceback."""
        said = command.said[-800:]
        self.expect(command.process.returncode == exit_code, f"exits {command.process.returncode}, not {exit_code}: {said}")
        self.problems += [f"does not say {word!r}: {said}" for word in words if word not in command.said]
        self.expect("Traceback" not in command.said, f"shows a traceback: {said}")

    def expect(self, is_so: bool, otherwise: str) -> None:
        """Note a problem where something is not as it should be."""
        if not is_so:
            self.problems.append(otherwise)


@contextmanager
def watched(home: Path) -> Iterator[dict[str, list[str]]]:
    """A reader looks on during the block; afterwards the dictionary holds what it saw."""
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        stop = Path(folder) / "stop"
        process = subprocess.Popen(
            [sys.executable, "-m", "retail_assets_tests.chaos.reader", str(home), str(stop)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        try:
            yield found
        finally:
            stop.touch()
            found |= json.loads(process.communicate()[0])


def judge(outcome: Outcome, case: Case, home: Path) -> None:
    """Hold a home against the undisturbed run: the same tables and reports, and nothing left over. Where a run went wrong, that is problem enough."""
    if outcome.problems:
        return
    outcome.lines_lost = case.line_count - state.line_count(home)
    outcome.expect(outcome.lines_lost == 0, f"{outcome.lines_lost} lines lost")
    for place, expected, found in (
        ("published", case.tables, state.published(home)),
        ("warehouse", case.stored, state.warehouse(home)),
        ("report", case.reports, state.reports(home)),
    ):
        differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        outcome.expect(not differing, f"{place}: other than undisturbed: {', '.join(differing)}")
    outcome.problems += [f"left over: {what}" for what in state.leftovers(home)]


def judge_reader(outcome: Outcome, seen: dict[str, list[str]], known: Sequence[str]) -> None:
    """Readers saw whole publications, those that are known, and never an older one after a newer one."""
    outcome.reads += int(str(seen["reads"]))
    order = [state_seen for state_seen in known if state_seen]
    outcome.problems += [f"a reader failed: {error}" for error in seen["errors"]]
    outcome.expect(all(found in order for found in seen["seen"]), "a reader saw what was never published")
    outcome.expect(len(seen["seen"]) <= len(set(order)), "a reader saw an older publication after a newer one")
