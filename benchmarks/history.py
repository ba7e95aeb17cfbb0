"""What the refresh of one further month costs after a history of 12, 24 and 60 months of the same size each.

Run: `.venv/bin/python benchmarks/history.py [--months 12 24 60] [--lines-per-year 500000] [--memory-limit 1500MB] [--folder DIR]`. For each length,
all months but the last are landed, refreshed and published before (not counted); then the last one lands, and one `retail run` brings everything up
to date. The last month is the November of its year in each.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from processes import Cost, measure, print_table

RETAIL = Path(sys.executable).with_name("retail")
_QUICK = [12, 24]
_STEPS_SHOWN = 6


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, nargs="+", default=_QUICK, help=f"months of each history (default: {_QUICK})")
    parser.add_argument("--lines-per-year", type=int, default=100_000, help="size of the shop (default: %(default)s)")
    parser.add_argument("--memory-limit", default="1500MB", help="of DuckDB (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where samples and homes lie for the time being (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="history-", dir=options.folder) as folder:
        found = [_refresh(Path(folder), months, options.lines_per_year, options.memory_limit) for months in options.months]
    seconds = [_seconds_by_step(cost.said) for cost, _ in found]
    slowest = sorted(seconds[-1], key=lambda step: -seconds[-1][step])[:_STEPS_SHOWN]
    rows = [
        [
            str(months),
            f"{cost.wall_seconds:.1f}",
            f"{cost.wall_seconds / found[0][0].wall_seconds:.2f}",
            f"{cost.cpu_seconds:.1f}",
            f"{cost.peak_mb / 1024:.2f}",
            f"{published / 1e6:.0f}",
            *(f"{by_step.get(step, 0):.1f}" for step in slowest),
        ]
        for months, (cost, published), by_step in zip(options.months, found, seconds, strict=True)
    ]
    header = ["months", "wall, s", "ratio", "processor, s", "largest process, GB", "published, MB", *(f"{step}, s" for step in slowest)]
    print_table(f"Refresh of one further month, {options.lines_per_year:,} lines a year, and its slowest steps", header, rows)


def _refresh(folder: Path, month_count: int, lines_per_year: int, memory_limit: str) -> tuple[Cost, int]:
    sample, landing, home = (folder / name for name in ("sample", "landing", "home"))
    line_count = lines_per_year * month_count // 12
    measure([RETAIL, "sample", "--lines", str(line_count), "--months", str(month_count), "--format", "parquet", "--out", sample])
    landing.mkdir()
    *history, last = sorted(sample.iterdir())
    for path in history:
        shutil.move(path, landing)
    run, environment = [RETAIL, "run", "--home", home, "--landing", landing], {"RETAIL_MEMORY_LIMIT": memory_limit}
    measure(run, environment)
    shutil.move(last, landing)
    found = measure(run, environment)
    size = (home / "serving" / "retail.duckdb").stat().st_size
    for used in (sample, landing, home):
        shutil.rmtree(used)
    return found, size


def _seconds_by_step(progress: str) -> dict[str, float]:
    """Seconds of each step, from what a run says of itself."""
    found: dict[str, float] = {}
    step = ""
    for line in progress.splitlines():
        if line.startswith("  done in "):
            found[step] = float(line.split()[2])
        elif not line.startswith(" "):
            step = line.strip()
    return found


if __name__ == "__main__":
    main()
