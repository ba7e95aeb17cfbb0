"""What the benchmarks share: a command measured as a whole, with all processes it starts, and Markdown tables. No benchmark of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    wall_seconds: float
    cpu_seconds: float
    """Of all its processes, user and system."""
    peak_mb: float
    """Resident memory of its largest process."""
    together_mb: float
    """Most resident memory of all its processes together, looked at five times a second; pages that they share count for each."""
    said: str
    """What it wrote to stderr."""


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
        ended, together = threading.Event(), [0.0]
        watcher = threading.Thread(target=_watch, args=(process.pid, ended, together))
        watcher.start()
        _, status, used = os.wait4(process.pid, 0)
        ended.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        said.seek(0)
        text = said.read()
        if process.returncode:
            raise CommandError(f"{' '.join(map(str, command))} exited with {process.returncode}:\n{text[-2000:]}")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, together[0], text)


def _watch(pid: int, ended: threading.Event, together_mb: list[float]) -> None:
    while not ended.wait(0.2):
        together_mb[0] = max(together_mb[0], resident_mb(pid))


def resident_mb(pid: int) -> float:
    """Resident memory of a process and all its descendants; nothing for what has ended meanwhile."""
    pages, waiting = 0, [pid]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        try:
            pages += int((folder / "statm").read_text().split()[1])
            waiting += [int(child) for task in (folder / "task").iterdir() for child in (task / "children").read_text().split()]
        except (OSError, ValueError, IndexError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def best(costs: Iterable[Cost]) -> Cost:
    """The least of each figure: what is above it is other work on the machine."""
    tried = list(costs)
    least = {name: min(getattr(one, name) for one in tried) for name in ("wall_seconds", "cpu_seconds", "peak_mb", "together_mb")}
    return replace(tried[0], **least)


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """One Markdown table under its title."""
    lines = [f"## {title}\n", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *(f"| {' | '.join(row)} |" for row in rows), ""]
    print("\n".join(lines), flush=True)
