"""Disks that are full or read-only below a folder of the home: a real file system in memory, mounted there, so this needs root and Linux."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Final

from retail_assets_tests.chaos.homes import Case, finish
from retail_assets_tests.chaos.outcome import Outcome, judge, judge_reader, watched

FULL: Final = (
    *((".", kilobytes) for kilobytes in (6_000, 12_000, 18_000)),
    *(("warehouse", kilobytes) for kilobytes in (300, 3_000)),
    ("serving", 1_000),
    ("reports", 8),
    *(("dagster", kilobytes) for kilobytes in (200, 11_000)),
)
"""Folder of the home, and what is left on its disk, which ends at once, while months are written, dbt is at work or a file is published."""

_ROOMY: Final = "size=1g"

READ_ONLY: Final = (".", "warehouse", "serving", "reports", "dagster")


@cache
def refusal(folder: Path) -> str:
    """Why no file system can be mounted below a folder; empty where one can."""
    try:
        with disk(folder, "probe"):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no file system can be mounted here, which takes root and Linux ({error})"


@contextmanager
def disk(home: Path, folder: str) -> Iterator[Path]:
    """A folder of the home on a disk of its own during the block, with what it holds."""
    place = home / folder
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as aside:
        shutil.copytree(place, aside, symlinks=True, dirs_exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", _ROOMY, "tmpfs", str(place)], check=True, capture_output=True)
        try:
            shutil.copytree(aside, place, symlinks=True, dirs_exist_ok=True)
            yield place
        finally:
            subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


def fill(case: Case, folder: str, kilobytes: int, home: Path) -> Outcome:
    """No space while the folder is written; then there is some again."""

    def spoil(place: Path) -> None:
        _remount(f"size={shutil.disk_usage(place).used // 1024 + kilobytes}k", place)

    outcome = Outcome(f"{case.name}: no space in {folder} but for {kilobytes} kB", "disk full")
    return _refused_then_mended(outcome, case, home, folder, spoil, partial(_remount, _ROOMY), ("is full", "Make room"))


def lock(case: Case, folder: str, home: Path) -> Outcome:
    """The folder is read-only; then it can be written again."""
    outcome = Outcome(f"{case.name}: read-only {folder}", "read-only")
    return _refused_then_mended(outcome, case, home, folder, partial(_remount, "ro"), partial(_remount, "rw"), ("cannot be written", "--home"))


def _remount(options: str, place: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def _refused_then_mended(
    outcome: Outcome, case: Case, home: Path, folder: str, spoil: Callable[[Path], None], mend: Callable[[Path], None], words: Sequence[str]
) -> Outcome:
    if reason := refusal(home.parent):
        outcome.skipped = reason
        return outcome
    case.copy(home)
    with disk(home, folder) as place:
        spoil(place)
        with watched(home) as seen:
            refused = finish(home, case.command)
            mend(place)
            outcome.struck = refused.steps()[-1][1]
            outcome.expect_run(refused, 1, *words)
            outcome.expect_run(finish(home, case.command), 0)
        judge(outcome, case, home)
        judge_reader(outcome, seen, [case.before, case.after])
    return outcome


def read_only_landing(case: Case, home: Path) -> Outcome:
    """A landing folder that cannot be written is all right."""
    outcome = Outcome(f"{case.name}: read-only landing", "read-only")
    if reason := refusal(home.parent):
        outcome.skipped = reason
        return outcome
    case.copy(home)
    with disk(home, "landing") as place:
        _remount("ro", place)
        outcome.expect_run(finish(home, case.command), 0)
        judge(outcome, case, home)
    return outcome
