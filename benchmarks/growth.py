"""How time and memory of a whole run grow with the number of lines: generated lines in Parquet files by month, landed, refreshed and published.

    .venv/bin/python benchmarks/growth.py [--lines 500000 5000000 50000000] [--memory-limit 1500MB] [--folder DIR]

Prints one Markdown table. Each run is a `retail run` of its own on an empty home; samples are made before and not counted.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from processes import RETAIL, measure

_QUICK = [50_000, 500_000]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=_QUICK, help=f"lines of each run (default: {_QUICK})")
    parser.add_argument("--memory-limit", default="1500MB", help="of DuckDB; what Python holds comes to it (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where samples and homes lie for the time being (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="growth-", dir=options.folder) as folder:
        rows = [_row(Path(folder), line_count, options.memory_limit) for line_count in options.lines]
    print("| lines | wall, s | processor, s | seconds per million lines | peak memory of all processes, GB | warehouse, MB | published, MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    print(*rows, sep="\n")


def _row(folder: Path, line_count: int, memory_limit: str) -> str:
    landing, home = folder / "landing", folder / "home"
    measure([RETAIL, "sample", "--lines", str(line_count), "--format", "parquet", "--out", str(landing)], {})
    found = measure([RETAIL, "run", "--home", str(home), "--landing", str(landing)], {"RETAIL_MEMORY_LIMIT": memory_limit})
    sizes = [(home / place / "retail.duckdb").stat().st_size / 1e6 for place in ("warehouse", "serving")]
    for used in (landing, home):
        shutil.rmtree(used)
    return (
        f"| {line_count:,} | {found.seconds:.0f} | {found.cpu_seconds:.0f} | {found.seconds / line_count * 1e6:.0f} "
        f"| {found.peak_bytes / 1e9:.2f} | {sizes[0]:.0f} | {sizes[1]:.0f} |"
    )


if __name__ == "__main__":
    main()
