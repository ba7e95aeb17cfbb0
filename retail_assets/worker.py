"""Workers: Python processes beside a run, for mining, fitting and drawing. One interpreter keeps one core busy, and the run's own has the warehouse.

`call` runs a pure function in one of them, or here where none runs, or where it is gone: the place makes no difference to the result. What is
computed stands in `lib/`. A worker gets frames and gives frames; the warehouse is never opened there.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, TypeVar

import polars as pl

from retail_assets.processes import collect_seldom, copies, loaded_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from retail_assets.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

MOST_LINES: Final = 5_000_000
"""With more landed lines, memory is what is short: nothing runs beside a run that it can do without, and its months take turns."""

_LARGEST_BYTES: Final = 64 * 2**20
"""Larger frames stay where they are: a copy would double the memory, and the work on them is in libraries that use all cores anyway."""

_MOST: Final = 4
"""Each takes memory (docs/operations.md), and the steps of a run go on one after another."""

_FEWEST_LINES: Final = 10_000
"""Fewer are worked on sooner than a worker has loaded."""

_AT_ONCE: Final = 2
"""Calls that a worker answers at once, so that a short one need not wait for a long one."""

_LOADED_ONCE: Final = (
    "scipy.sparse",
    "scipy.special",
    "sklearn.cluster",
    "sklearn.metrics",
    "sklearn.preprocessing",
    "sklearn.tree",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)
"""What takes a second to load. The first worker loads it while the first steps of a run go on, and the others are copies of it."""

_LOADED_BY_EACH: Final = (
    "retail_assets.lib.baskets",
    "retail_assets.lib.segments",
    "retail_assets.lib.charts.rules",
    "retail_assets.lib.charts.segments",
)
"""What is of polars, whose threads no copy would have; a tenth of a second."""


class _WorkerGoneError(Exception):
    """The worker has not done what it was asked, or could not say what came out."""


class _Worker:
    """The side of the run: sends calls, and hands the answers out as they come."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._receive, daemon=True).start()

    def begin(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """What the function will give, or the error it raises; `_WorkerGoneError` where nobody answers."""
        answer: Future[T] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = answer
            try:
                self._connection.send((number, function, args, kwargs))
            except OSError as error:
                del self._waiting[number]
                answer.set_exception(_WorkerGoneError(error))
        return answer

    def _receive(self) -> None:
        # Until the end of the pipe, or an error that cannot be read here: whoever waits does it himself.
        with suppress(Exception):
            while True:
                number, is_done, result, error = self._connection.recv()
                answer = self._waiting.pop(number)
                if not is_done:
                    answer.set_exception(_WorkerGoneError())
                elif error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(result)
        with self._lock:
            self._connection.close()
            for answer in self._waiting.values():
                answer.set_exception(_WorkerGoneError())

    def load(self) -> int:
        """Calls that it has not answered; more than any has where it is gone."""
        return sys.maxsize if self._connection.closed else len(self._waiting)


_running: list[_Worker] = []


@contextmanager
def running(settings: Settings, line_count: int) -> Iterator[None]:
    """Workers for the calls inside the block, one per core, where the landed lines are worth them. Another engine has workers of its own."""
    if settings.engine != "duckdb" or not _FEWEST_LINES <= line_count <= MOST_LINES:
        yield
        return
    # Elsewhere, a copy of a process that has loaded such libraries may not work.
    worker_count = min(os.cpu_count() or 1, _MOST) if sys.platform == "linux" else 1
    ours, theirs = zip(*(Pipe() for _ in range(worker_count)), strict=True)
    descriptors = [connection.fileno() for connection in theirs]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            # -P: what lies in the current folder is no code of ours, whatever it is called.
            [sys.executable, "-P", "-m", "retail_assets.worker", *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # A group of their own: Ctrl-C means the run, which ends them all, whatever they are doing.
            process_group=0,
        )
    except OSError:
        # The machine lets no further process start: the run does all of it.
        process = None
    for connection in theirs if process else (*ours, *theirs):
        connection.close()
    if process is None:
        yield
        return
    _running.extend(map(_Worker, ours))
    try:
        yield
    finally:
        _running.clear()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def count() -> int:
    """How many workers run."""
    return len(_running)


def begin(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """Begin a call, and wait for what it gives where that is asked for. Where no worker runs, it is done then."""
    size = sum(argument.estimated_size() for argument in (*args, *kwargs.values()) if isinstance(argument, pl.DataFrame))
    if not _running or size > _LARGEST_BYTES:
        return lambda: function(*args, **kwargs)
    answer = min(_running, key=_Worker.load).begin(function, *args, **kwargs)

    def result() -> T:
        try:
            return answer.result()
        except _WorkerGoneError:
            return function(*args, **kwargs)

    return result


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a pure function gives, which anyone can import by its name: from a worker, where one runs and the frames are not too large."""
    return begin(function, *args, **kwargs)()


def _serve(connection: Connection) -> NoReturn:
    """The side of the worker: answer calls until the run is gone."""
    _load(_LOADED_BY_EACH)
    sending = threading.Lock()

    def answer(number: int, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        result, error, is_done = None, None, True
        try:
            result = function(*args, **kwargs)
        except Exception as raised:  # noqa: BLE001 - the caller gets it
            raised.add_note(f"In the worker:\n{traceback.format_exc()}")
            error = raised
        except BaseException:  # noqa: BLE001 - a panic of polars is no Exception, and whoever waits must hear of it: he tries it himself
            is_done = False
        with sending, suppress(OSError):
            try:
                connection.send((number, is_done, result, error))
            except BaseException:  # noqa: BLE001 - whatever it is about the result that cannot be sent
                connection.send((number, False, None, None))

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        while True:
            try:
                call = connection.recv()
            except (EOFError, OSError):
                os._exit(0)
            threads.submit(answer, *call)


def _load(modules: Iterable[str]) -> None:
    for name in modules:
        importlib.import_module(name)


def _main() -> NoReturn:
    """The first worker: loads what all of them need, and makes the others."""
    collect_seldom()
    loaded_aside(lambda: _load(_LOADED_ONCE))
    connections = [Connection(int(descriptor)) for descriptor in sys.argv[1:]]
    mine = connections[copies(len(connections) - 1)]
    for other in connections:
        # One that stays open here would hide from the run that its worker is gone.
        if other is not mine:
            other.close()
    _serve(mine)


if __name__ == "__main__":
    _main()
