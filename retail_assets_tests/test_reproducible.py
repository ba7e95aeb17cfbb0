"""The same input gives the same published tables: on another machine, in another order, with other threads, in one process or many."""

import json
import os
import shutil
import sys
from pathlib import Path

import duckdb
import pytest

from retail_assets.lib import sample
from retail_assets_tests.processes import BESIDE_PYTHON, run

pytestmark = pytest.mark.slow

LINES, SEED, LAST_MONTH = 12_000, 5, "2011-02"
SETTINGS = {"RETAIL_MIN_GROUP_BASKETS": "20", "RETAIL_MIN_BASKET_COUNT": "5"}
"""So that there are rules of segments and countries in so small a sample."""


ANOTHER_MACHINE = {
    "TZ": "Pacific/Auckland",
    "LC_ALL": "C",
    "USER": "somebody",
    "PYTHONHASHSEED": "7",
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Processors differ in the instructions by which sums are formed: as one of 2008 would do it.
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
}


EMPTY = "0" * 32
"""Hash of a table without rows."""


def hashes(home: Path) -> dict[str, str]:
    with duckdb.connect(home / "serving" / "retail.duckdb", read_only=True) as reader:
        stated = reader.execute("select content_hashes from marts.publication").fetchall()[0][0]
    return dict(json.loads(stated))


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(table for table in one.keys() | other.keys() if one.get(table) != other.get(table))


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three months of the sample, a file each."""
    folder = tmp_path_factory.mktemp("files")
    sample.write(sample.generate(LINES, SEED), folder)
    for file in folder.iterdir():
        if file.stem > LAST_MONTH:
            file.unlink()
    return folder


@pytest.fixture(scope="module")
def straight(landing: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes after one run over all files."""
    home = tmp_path_factory.mktemp("straight")
    shutil.copytree(landing, home / "landing")
    done = run([BESIDE_PYTHON / "retail", "run"], home, **SETTINGS)
    assert done.returncode == 0, done.stderr[-2_000:]
    return hashes(home)


def test_another_machine_gives_the_same_tables(landing: Path, straight: dict[str, str], tmp_path: Path) -> None:
    home = tmp_path / "quite" / "another place"
    home.mkdir(parents=True)
    on_one_processor = ["taskset", "-c", min(os.sched_getaffinity(0))] if sys.platform == "linux" and shutil.which("taskset") else []
    done = run([*on_one_processor, BESIDE_PYTHON / "retail", "run", "--landing", landing], home, **SETTINGS, **ANOTHER_MACHINE)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert differing(straight, hashes(home)) == []


def test_files_that_arrive_one_by_one_backwards_give_the_same_tables(landing: Path, straight: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    files = sorted(landing.iterdir(), reverse=True)
    # The first half at once, written in reverse; then the other half, and with it the earlier months.
    for part in (files[: len(files) // 2], files[len(files) // 2 :]):
        for file in part:
            (tmp_path / "landing" / file.name).write_bytes(file.read_bytes())
        done = run([BESIDE_PYTHON / "retail", "run"], tmp_path, **SETTINGS)
        assert done.returncode == 0, done.stderr[-2_000:]
    assert differing(straight, hashes(tmp_path)) == []


def test_months_that_arrive_one_after_the_other_and_a_month_refreshed_again_give_the_same_tables(
    landing: Path, straight: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "landing").mkdir()
    for file in sorted(landing.iterdir()):
        shutil.copy(file, tmp_path / "landing")
        done = run([BESIDE_PYTHON / "retail", "run"], tmp_path, **SETTINGS)
        assert done.returncode == 0, done.stderr[-2_000:]
    assert differing(straight, hashes(tmp_path)) == []
    # Means over months that were stored in another order once differed in their last digit.
    again = run([BESIDE_PYTHON / "retail", "run", "--months", "2011-01"], tmp_path, **SETTINGS)
    assert again.returncode == 0, again.stderr[-2_000:]
    assert differing(straight, hashes(tmp_path)) == []


def test_there_is_something_to_compare_in_every_table(straight: dict[str, str]) -> None:
    assert sorted(table for table, found in straight.items() if found == EMPTY) == []


def test_a_process_per_step_gives_the_same_tables(landing: Path, straight: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(landing, tmp_path / "landing")
    assert run([BESIDE_PYTHON / "dg", "launch", "--job", "land"], tmp_path, **SETTINGS).returncode == 0
    launch = [BESIDE_PYTHON / "dg", "launch", "--assets", "*", "--partition-range", f"2010-12-01...{LAST_MONTH}-01"]
    done = run(launch, tmp_path, RETAIL_EXECUTOR="multiprocess", **SETTINGS)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert differing(straight, hashes(tmp_path)) == []
