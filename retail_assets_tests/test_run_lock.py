"""One command at a time per home; who was killed leaves a word, and nothing that blocks."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from retail_assets import run_lock
from retail_assets.settings import Settings

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60
HOLD = """
import sys
from pathlib import Path
from retail_assets import run_lock
from retail_assets.settings import Settings
settings = Settings(home=Path(sys.argv[1]))
with run_lock.held(settings, "retail run", print), run_lock.executing(settings, "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock, and executes a run of Dagster, until its input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def held(home: Path, told: list[str], seconds: float = 0) -> bool:
    with run_lock.held(Settings(home=home, lock_timeout_seconds=seconds), "retail run", told.append) as was_killed:
        return was_killed


def test_who_waits_is_told_for_whom_and_who_waits_too_long_does_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    told: list[str] = []
    with pytest.raises(
        run_lock.HomeBusyError, match=rf"`retail run`, process {holder.pid} is at work in this home, and still is after 0.3 s. Nothing was done"
    ):
        held(tmp_path, told, 0.3)
    assert told == [f"`retail run`, process {holder.pid} is at work in this home: waiting for it, up to 0.3 s."]
    holder.communicate("")
    assert held(tmp_path, told) is False
    assert len(told) == 1


def test_the_lock_goes_with_the_process_that_is_killed_and_the_next_one_knows_once(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert [held(tmp_path, []) for _ in range(2)] == [True, False]


def test_a_block_that_raises_is_unfinished_work_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_lock.held(Settings(home=tmp_path), "retail run", print):
        _ = 1 / 0
    assert held(tmp_path, []) is True


def test_what_makes_no_sense_beside_a_command_says_who_is_at_work_and_leaves_the_word_of_a_killed_one(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    settings = Settings(home=tmp_path)
    busy = rf"^`retail run`, process {holder.pid} is at work in this home. Nothing was done: run again when it has ended.$"
    with pytest.raises(run_lock.HomeBusyError, match=busy), run_lock.at_rest(settings):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with run_lock.at_rest(settings):
        pass
    assert held(tmp_path, []) is True


def test_a_run_is_known_to_be_killed_once_its_process_is_gone_without_a_word(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    settings = Settings(home=tmp_path)
    assert run_lock.killed_runs(settings) == []
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert run_lock.killed_runs(settings) == ["run"]
    run_lock.forget(settings, "run")
    assert run_lock.killed_runs(settings) == []


def test_a_run_that_ends_or_fails_is_no_killed_one(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(ZeroDivisionError), run_lock.executing(settings, "run"):
        _ = 1 / 0
    assert run_lock.killed_runs(settings) == []
    assert list(run_lock.executing_folder(settings).iterdir()) == []


def test_a_run_that_begins_while_somebody_looks_for_killed_ones_has_its_lock(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    folder = run_lock.executing_folder(settings)
    folder.mkdir(parents=True)
    begun, looked = threading.Event(), threading.Event()

    def run() -> None:
        with run_lock.executing(settings, "run"):
            begun.set()
            looked.wait(PATIENCE_SECONDS)

    with (folder / "run.next").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_EX)
        thread = threading.Thread(target=run)
        thread.start()
        assert run_lock.killed_runs(settings) == [], "what is not begun yet is nobody's"
    assert begun.wait(PATIENCE_SECONDS)
    assert run_lock.killed_runs(settings) == []
    looked.set()
    thread.join()


def test_a_disk_on_which_no_run_can_be_shown_is_no_reason_to_stop(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "file")
    settings.home.touch()
    with run_lock.executing(settings, "run"):
        assert run_lock.killed_runs(settings) == []
