"""How our processes load and end: what each of them does about Python's garbage collector, and about those that are needed sooner."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_YOUNG_OBJECTS: Final = 50_000
_LOW_PRIORITY: Final = 10


def collect_seldom() -> None:
    """Look for garbage less often than Python does by itself.

    Modules and definitions are hundreds of thousands of objects that stay, and looking through them again and again took a fifth of a start. What
    matters for memory, frames and arrays, is freed without the collector as soon as nobody refers to it.
    """
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)


def loaded_aside(load: Callable[[], T]) -> T:
    """What `load` gives, at a low priority where threads have one (Linux): the process that started this one is loading too, and is needed sooner."""

    def run() -> T:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, 0, _LOW_PRIORITY)
        return load()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def copies(count: int) -> int:
    """Make `count` copies of this process as it stands, in which no thread of Python's may run: 0 here, and 1, 2, ... in the copies."""
    for number in range(1, count + 1):
        if not os.fork():
            return number
    return 0


def leaving_at_once() -> Callable[[int], NoReturn]:
    """`sys.exit`, but that Python does not take its objects apart one by one: that takes a second after a run, and the system frees them anyway.

    Ask for it before anything else is loaded: what is to be done at the end is done in reverse order, and this is the last of it. A process that
    ends by an error ends as ever.
    """
    codes: list[int] = []

    def end() -> None:
        if codes:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(codes[0])

    atexit.register(end)

    def leave(code: int) -> NoReturn:
        codes.append(code)
        sys.exit(code)

    return leave
