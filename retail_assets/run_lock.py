"""One `retail run` or `retail publish` at a time per home: the others wait, and are told for whom.

A lock of the operating system on `run.lock`: it goes with the process, so nothing stale can be left. The file holds who has the lock, and is emptied
at the end; words in a file that nobody holds are those of a run that was killed. Who may write to the warehouse file is DuckDB's own lock
(`warehouse.py`).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from retail_assets.errors import ToldError
from retail_assets.settings import Settings

_LOOK_SECONDS: Final = 0.2


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
    path = settings.home.absolute() / "run.lock"
    path.touch()
    with path.open("r+", encoding="utf-8") as file:
        _wait(file, settings.lock_timeout_seconds, say)
        was_killed = bool(_holder(file))
        file.seek(0)
        # Cut to length after it is written: on a full disk the old words stay.
        file.write(f"`{command}`, process {os.getpid()}")
        file.truncate()
        file.flush()
        yield was_killed
        # Not where the block raises: what it left unfinished is for the next one to end.
        file.truncate(0)


def _wait(file: TextIO, timeout_seconds: float, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + timeout_seconds
    is_told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise HomeBusyError(
                    f"{_holder(file) or 'Another command'} has been at work in this home for more than {timeout_seconds:g} s. Nothing was done: run "
                    "again when it has ended."
                ) from error
            if not is_told:
                say(f"{_holder(file) or 'Another command'} is at work in this home: waiting for it, up to {timeout_seconds:g} s.")
                is_told = True
            time.sleep(_LOOK_SECONDS)
        else:
            return


def _holder(file: TextIO) -> str:
    file.seek(0)
    return file.read()
