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

LINES, SEED, LAST_MONTH = 2_500, 5, "2011-03"

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


def hashes(home: Path) -> dict[str, str]:
    with duckdb.connect(home / "serving" / "retail.duckdb", read_only=True) as reader:
        stated = reader.execute("select content_hashes from marts.publication").fetchall()[0][0]
    return dict(json.loads(stated))


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(table for table in one.keys() | other.keys() if one.get(table) != other.get(table))


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four months of the sample, a file each."""
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
    done = run([BESIDE_PYTHON / "retail", "run"], home)
    assert done.returncode == 0, done.stderr[-2_000:]
    return hashes(home)


def test_another_machine_gives_the_same_tables(landing: Path, straight: dict[str, str], tmp_path: Path) -> None:
    home = tmp_path / "quite" / "another place"
    home.mkdir(parents=True)
    on_one_processor = ["taskset", "-c", min(os.sched_getaffinity(0))] if sys.platform == "linux" and shutil.which("taskset") else []
    done = run([*on_one_processor, BESIDE_PYTHON / "retail", "run", "--landing", landing], home, **ANOTHER_MACHINE)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert differing(straight, hashes(home)) == []


def test_files_that_arrive_one_by_one_backwards_give_the_same_tables(landing: Path, straight: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    files = sorted(landing.iterdir(), reverse=True)
    # The first half at once, written in reverse; then the other half, and with it the earlier months.
    for part in (files[: len(files) // 2], files[len(files) // 2 :]):
        for file in part:
            (tmp_path / "landing" / file.name).write_bytes(file.read_bytes())
        done = run([BESIDE_PYTHON / "retail", "run"], tmp_path)
        assert done.returncode == 0, done.stderr[-2_000:]
    assert differing(straight, hashes(tmp_path)) == []


def test_a_process_per_step_gives_the_same_tables(landing: Path, straight: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(landing, tmp_path / "landing")
    assert run([BESIDE_PYTHON / "dg", "launch", "--job", "land"], tmp_path).returncode == 0
    launch = [BESIDE_PYTHON / "dg", "launch", "--assets", "*", "--partition-range", f"2010-12-01...{LAST_MONTH}-01"]
    done = run(launch, tmp_path, RETAIL_EXECUTOR="multiprocess")
    assert done.returncode == 0, done.stderr[-2_000:]
    assert differing(straight, hashes(tmp_path)) == []
