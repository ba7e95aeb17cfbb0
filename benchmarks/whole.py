"""`retail run` on the real data beside the usual notebook and beside the floor: Python's imports and one start of dbt.

Run: `uv run --group bench python benchmarks/whole.py [--rounds 3]`. The real data lies in the folder RETAIL_REAL_DATA (default
../shared/data/online-retail). All contenders are whole processes and take turns, round after round; each figure is the least of its rounds.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from processes import Cost, best, measure, print_table
from real_data import csv_files, write_workbook

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent / "dbt_sql"
BESIDE_PYTHON = Path(sys.executable).parent
IMPORTS = "import dagster, dagster_dbt, dagster_duckdb, duckdb, polars, sklearn.cluster, scipy.sparse, scipy.special, retail_assets.definitions"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    files = csv_files()
    with tempfile.TemporaryDirectory() as folder:
        costs = _compare(files, Path(folder), rounds)
    _print(costs)


def _compare(files: list[Path], folder: Path, rounds: int) -> dict[str, Cost]:
    workbook = folder / "online_retail.xlsx"
    write_workbook(files, workbook)
    data = files[0].parent
    home, ready = folder / "home", folder / "ready"
    run = [BESIDE_PYTHON / "retail", "run", "--landing", data, "--home"]
    measure([*run, ready])
    notebook = [sys.executable, HERE / "notebook.py"]
    dbt = {"RETAIL_WAREHOUSE": str(ready / "warehouse" / "retail.duckdb"), "DBT_PROFILES_DIR": str(PROJECT), "DBT_TARGET_PATH": str(folder / "dbt")}
    contenders = {
        "notebook, xlsx": lambda: measure([*notebook, workbook, folder]),
        "notebook, CSV files": lambda: measure([*notebook, data, folder]),
        "imports": lambda: measure([sys.executable, "-c", IMPORTS], {"RETAIL_HOME": str(ready)}),
        "dbt start": lambda: measure([BESIDE_PYTHON / "retail-dbt", "ls", "--quiet", "--project-dir", PROJECT], dbt),
        "first run": lambda: measure([*run, home]),
        "all months again": lambda: measure([*run, ready, "--all"]),
        "one month": lambda: measure([*run, ready, "--months", "2011-11"]),
        "nothing changed": lambda: measure([*run, ready]),
    }
    taken: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contend in contenders.items():
            shutil.rmtree(home, ignore_errors=True)
            taken[name].append(contend())
    return {name: best(costs) for name, costs in taken.items()}


def _print(costs: dict[str, Cost]) -> None:
    floor = costs["imports"].wall_seconds + costs["dbt start"].wall_seconds
    usual = costs["notebook, xlsx"].wall_seconds
    print_table(
        "Whole processes on the real data",
        ("what", "seconds", "CPU seconds", "peak MB", "times the floor", "times the notebook"),
        (
            (
                name,
                f"{cost.wall_seconds:.1f}",
                f"{cost.cpu_seconds:.1f}",
                f"{cost.peak_mb:,.0f}",
                f"{cost.wall_seconds / floor:.2f}",
                f"{cost.wall_seconds / usual:.2f}",
            )
            for name, cost in costs.items()
        ),
    )


if __name__ == "__main__":
    main()
