"""Who is at work in a home: one `retail run` or `retail publish` at a time, and the runs of Dagster, whoever started them.

Locks of the operating system on files: they go with the process, so nothing stale can be left.

`run.lock` is for commands. The others wait, and are told for whom. The file holds who has the lock, and is emptied at the end; words in a file that
nobody holds are those of a run that was killed. `dagster/executing/` has a file for each run of Dagster whose process has the warehouse among its
resources, locked by that process and deleted at its end; a file that nobody holds is that of a run that was killed.

Who may write to the warehouse file is DuckDB's own lock (`warehouse.py`).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from retail_assets.errors import ToldError
from retail_assets.settings import Settings

_LOOK_SECONDS: Final = 0.2
_UNLOCKED: Final = ".next"
"""Ends the name of a run's file until the run has its lock."""


class HomeBusyError(ToldError):
    """Another command worked in this home for longer than we wait."""


@contextmanager
def held(settings: Settings, command: str, say: Callable[[str], None]) -> Iterator[bool]:
    """Hold the lock of the home during the block. Gives whether the command before was killed.

    Args:
        settings: The home, and how long to wait.
        command: What is run here, for those who wait.
        say: Is told once, when there is somebody to wait for.

    Raises:
        HomeBusyError: Another process held it for longer than `lock_timeout_seconds`.
    """
    with _locked(settings, settings.lock_timeout_seconds, say) as file:
        was_killed = bool(_holder(file))
        file.seek(0)
        # Cut to length after it is written: on a full disk the old words stay.
        file.write(f"`{command}`, process {os.getpid()}")
        file.truncate()
        file.flush()
        yield was_killed
        # Not where the block raises: what it left unfinished is for the next one to end.
        file.truncate(0)


@contextmanager
def at_rest(settings: Settings) -> Iterator[None]:
    """Keep commands from starting during the block, which is short; for what makes no sense beside one.

    Raises:
        HomeBusyError: A command is at work.
    """
    with _locked(settings, 0, lambda _: None):
        yield


@contextmanager
def _locked(settings: Settings, timeout_seconds: float, say: Callable[[str], None]) -> Iterator[TextIO]:
    path = settings.home.absolute() / "run.lock"
    path.touch()
    with path.open("r+", encoding="utf-8") as file:
        _wait(file, timeout_seconds, say)
        yield file


def _wait(file: TextIO, timeout_seconds: float, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + timeout_seconds
    is_told = False
    while not _take(file):
        if time.monotonic() >= deadline:
            waited = f", and still is after {timeout_seconds:g} s" if timeout_seconds else ""
            raise HomeBusyError(
                f"{_holder(file) or 'Another command'} is at work in this home{waited}. Nothing was done: run again when it has ended."
            )
        if not is_told:
            say(f"{_holder(file) or 'Another command'} is at work in this home: waiting for it, up to {timeout_seconds:g} s.")
            is_told = True
        time.sleep(_LOOK_SECONDS)


def _take(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: TextIO) -> str:
    file.seek(0)
    return file.read()


def executing_folder(settings: Settings) -> Path:
    """Where runs of Dagster show that their processes live."""
    return settings.dagster_home / "executing"


@contextmanager
def executing(settings: Settings, run_id: str) -> Iterator[None]:
    """Show, during the block, that the process of a run lives. On a disk that fails it is not shown: whatever needs the disk will say so."""
    path = executing_folder(settings) / run_id
    unlocked = path.with_suffix(_UNLOCKED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = unlocked.open("w", encoding="utf-8")
    except OSError:
        yield
        return
    with file:
        # Waits for whoever looks whether this is a killed run, which is for a moment.
        fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(OSError):
            unlocked.rename(path)
        try:
            yield
        finally:
            # Before the lock goes, so that nobody takes this for a killed run.
            with suppress(OSError):
                path.unlink()


def killed_runs(settings: Settings) -> list[str]:
    """Ids of the runs whose process was killed; `forget` each once it is ended."""
    found = []
    for path in sorted(path for path in executing_folder(settings).glob("*") if path.suffix != _UNLOCKED):
        # One that cannot be opened is not known to be killed.
        with suppress(OSError), path.open("r+", encoding="utf-8") as file:
            if _take(file) and path.exists():
                found.append(path.name)
    return found


def forget(settings: Settings, run_id: str) -> None:
    """Take away what a killed run left to be seen."""
    (executing_folder(settings) / run_id).unlink(missing_ok=True)
