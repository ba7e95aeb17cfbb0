"""What the benchmarks share: a command measured as a whole, with all processes it starts, and Markdown tables. No benchmark of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    wall_seconds: float
    cpu_seconds: float
    """Of all its processes, user and system."""
    peak_mb: float
    """Resident memory of its largest process."""


class CommandError(RuntimeError):
    """A measured command failed; the message is what it said."""


def measure(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end.

    Raises:
        CommandError: It exits with another code than 0.
    """
    with tempfile.TemporaryFile("w+") as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise CommandError(f"{' '.join(map(str, command))} exited with {process.returncode}:\n{said.read()[-2000:]}")
    return Cost(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def best(costs: Iterable[Cost]) -> Cost:
    """The least of each figure: what is above it is other work on the machine."""
    tried = list(costs)
    return Cost(min(one.wall_seconds for one in tried), min(one.cpu_seconds for one in tried), min(one.peak_mb for one in tried))


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """One Markdown table under its title."""
    lines = [f"## {title}\n", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *(f"| {' | '.join(row)} |" for row in rows), ""]
    print("\n".join(lines), flush=True)
