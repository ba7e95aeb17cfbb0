"""Workers: what they are asked comes back as if it had been done here, whatever becomes of them, and none outlives its run."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retail_assets import worker
from retail_assets.lib import baskets
from retail_assets.settings import Settings

pytestmark = pytest.mark.integration

MANY_LINES = 1_000_000
PATIENCE_SECONDS = 60
LINES = pl.DataFrame({"basket_id": [1, 1, 2, 2, 3, 3], "item": ["A", "B", "A", "B", "B", "C"]})


@pytest.fixture
def _workers() -> Iterator[None]:
    with worker.running(Settings(), MANY_LINES):
        yield


@pytest.fixture(scope="class")
def _workers_of_all() -> Iterator[None]:
    with worker.running(Settings(), MANY_LINES):
        yield


def place(frame: pl.DataFrame) -> tuple[int, int]:
    """The process this is done in, and how many rows it got."""
    return os.getpid(), frame.height


def place_once_told(told: Path) -> int:
    """The process this is done in, once somebody writes to a pipe with a name."""
    told.open().close()
    return os.getpid()


def fails() -> None:
    """Raises an error that carries more than its text."""
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "not a letter")


def panics() -> None:
    """Raises what is no `Exception`, as polars does where it meets a fault of its own."""
    raise pl.exceptions.PanicException("a fault of polars")


def gives_what_cannot_be_sent() -> Callable[[], int]:
    """A function that nobody can import."""

    def here() -> int:
        return os.getpid()

    return here


class TwoPartError(Exception):
    """An error that cannot be made again from its text, which is how errors are sent."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} in {where}")


def fails_in_two_parts() -> None:
    """Raises an error that can be sent, and cannot be read."""
    raise TwoPartError("fault", "test")


def ends_its_process_once(mark: Path) -> int:
    """Ends the first process it is done in, and says which one it was done in then."""
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return os.getpid()


def has_ended(process_id: int) -> bool:
    """Whether a process that is no child of ours ends before long."""
    try:
        watched = os.pidfd_open(process_id)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], PATIENCE_SECONDS)[0])
    finally:
        os.close(watched)


def test_without_workers_a_call_is_done_here_when_its_result_is_asked_for() -> None:
    asked = worker.begin(place, LINES)
    assert worker.count() == 0
    assert asked() == (os.getpid(), LINES.height)


@pytest.mark.usefixtures("_workers_of_all")
class TestWorkersThatStay:
    """What does no harm to the workers is asked of the same ones."""

    def test_a_call_is_done_elsewhere_and_gives_the_same(self) -> None:
        process_id, height = worker.call(place, LINES)
        assert process_id != os.getpid()
        assert height == LINES.height
        assert_frame_equal(worker.call(baskets.frequent_itemsets, LINES, 0.5, max_length=2), baskets.frequent_itemsets(LINES, 0.5, max_length=2))

    def test_calls_are_spread_over_the_workers(self, tmp_path: Path) -> None:
        told = tmp_path / "told"
        os.mkfifo(told)
        asked = [worker.begin(place_once_told, told) for _ in range(worker.count())]
        # No call is answered before the last one has begun.
        with told.open("w"):
            assert len({result() for result in asked}) == worker.count()

    def test_an_error_comes_back_as_it_was_raised(self) -> None:
        with pytest.raises(UnicodeDecodeError, match="not a letter") as raised:
            worker.call(fails)
        assert any("in fails" in note for note in raised.value.__notes__)
        assert worker.call(place, LINES)[0] != os.getpid(), "the worker goes on"

    def test_large_frames_stay_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(worker, "_LARGEST_BYTES", LINES.estimated_size() - 1)
        assert worker.call(place, LINES)[0] == os.getpid()
        assert worker.call(place, frame=LINES)[0] == os.getpid()


@pytest.mark.usefixtures("_workers")
def test_who_asks_for_what_ends_in_a_panic_is_not_left_waiting() -> None:
    with pytest.raises(pl.exceptions.PanicException, match="a fault of polars"):
        worker.call(panics)
    assert worker.call(place, LINES)[0] != os.getpid(), "the worker goes on"


@pytest.mark.usefixtures("_workers")
def test_what_cannot_be_sent_or_read_is_done_here() -> None:
    assert worker.call(gives_what_cannot_be_sent)() == os.getpid()
    assert worker.call(place, LINES)[0] != os.getpid(), "the worker goes on"
    with pytest.raises(TwoPartError, match="fault in test"):
        worker.call(fails_in_two_parts)
    assert worker.call(place, LINES)[1] == LINES.height


@pytest.mark.usefixtures("_workers")
def test_what_a_worker_leaves_undone_is_done_here(tmp_path: Path) -> None:
    assert worker.call(ends_its_process_once, tmp_path / "mark") == os.getpid()
    assert [worker.call(place, LINES)[1] for _ in range(worker.count() + 1)] == [LINES.height] * (worker.count() + 1)


def test_what_lies_in_the_current_folder_is_not_taken_for_our_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another checkout, say, whose workers speak otherwise, or a file that somebody named like a module of Python's."""
    for name in ("retail_assets", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('loaded from the current folder')")
    monkeypatch.chdir(tmp_path)
    with worker.running(Settings(), MANY_LINES):
        assert worker.call(place, LINES)[0] != os.getpid()


def test_few_lines_too_many_and_other_engines_have_no_worker() -> None:
    for line_count in (100, worker.MOST_LINES + 1):
        with worker.running(Settings(), line_count):
            assert worker.count() == 0
    with worker.running(Settings(engine="spark"), MANY_LINES):
        assert worker.count() == 0


def test_where_no_process_can_be_started_the_run_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/does/not/exist")
    with worker.running(Settings(), MANY_LINES):
        assert worker.count() == 0
        assert worker.call(place, LINES) == (os.getpid(), LINES.height)


def test_workers_end_with_the_block() -> None:
    with worker.running(Settings(), MANY_LINES):
        process_id, _ = worker.call(place, LINES)
    assert has_ended(process_id)
    assert worker.count() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux does")
def test_workers_of_a_killed_run_end_by_themselves() -> None:
    code = (
        "import os, sys\nfrom retail_assets import worker\nfrom retail_assets.settings import Settings\n"
        f"with worker.running(Settings(), {MANY_LINES}):\n    print(worker.call(os.getpid), flush=True)\n    sys.stdin.read()"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout
    process_id = int(run.stdout.readline())
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert has_ended(process_id)
