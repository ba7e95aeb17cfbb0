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
        ended, together, ticks = threading.Event(), [0.0], dict[int, int]()
        watcher = threading.Thread(target=_watch, args=(process.pid, ended, together, ticks))
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
    # What nobody waits for, such as a JVM, is in no account but what was seen of it.
    cpu_seconds = max(used.ru_utime + used.ru_stime, sum(ticks.values()) / os.sysconf("SC_CLK_TCK"))
    return Cost(seconds, cpu_seconds, used.ru_maxrss / 1024, together[0], text)


def _watch(pid: int, ended: threading.Event, together_mb: list[float], ticks: dict[int, int]) -> None:
    while not ended.wait(0.2):
        together_mb[0] = max(together_mb[0], resident_mb(pid, ticks))


def resident_mb(pid: int, ticks: dict[int, int] | None = None) -> float:
    """Resident memory of a process and all its descendants, and in `ticks` their own processor time; nothing for what has ended meanwhile."""
    pages, waiting = 0, [pid]
    while waiting:
        process = waiting.pop()
        folder = Path("/proc") / str(process)
        try:
            pages += int((folder / "statm").read_text().split()[1])
            if ticks is not None:
                # After the name, which may hold anything: state, parent, ...; user and system time are the 12th and 13th.
                ticks[process] = sum(map(int, (folder / "stat").read_text().rsplit(")", 1)[1].split()[11:13]))
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
