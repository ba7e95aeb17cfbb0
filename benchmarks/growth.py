"""How time and memory of a whole run grow with the number of lines: generated lines in Parquet files by month, landed, refreshed and published.

Run: `.venv/bin/python benchmarks/growth.py [--lines 500000 5000000 50000000] [--memory-limit 1500MB] [--folder DIR]`. Each run is a `retail run` of
its own on an empty home; samples are made before and not counted.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from processes import measure, print_table

RETAIL = Path(sys.executable).with_name("retail")
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
    header = [
        "lines",
        "wall, s",
        "processor, s",
        "wall per million lines, s",
        "largest process, GB",
        "all together, GB",
        "warehouse, MB",
        "published, MB",
    ]
    print_table(f"Growth: `retail run` on an empty home, RETAIL_MEMORY_LIMIT={options.memory_limit}", header, rows)


def _row(folder: Path, line_count: int, memory_limit: str) -> list[str]:
    landing, home = folder / "landing", folder / "home"
    measure([RETAIL, "sample", "--lines", str(line_count), "--format", "parquet", "--out", landing])
    found = measure([RETAIL, "run", "--home", home, "--landing", landing], {"RETAIL_MEMORY_LIMIT": memory_limit})
    sizes = [(home / place / "retail.duckdb").stat().st_size / 1e6 for place in ("warehouse", "serving")]
    for used in (landing, home):
        shutil.rmtree(used)
    return [
        f"{line_count:,}",
        f"{found.wall_seconds:.0f}",
        f"{found.cpu_seconds:.0f}",
        f"{found.wall_seconds / line_count * 1e6:.0f}",
        f"{found.peak_mb / 1024:.2f}",
        f"{found.together_mb / 1024:.2f}",
        *(f"{size:.0f}" for size in sizes),
    ]


if __name__ == "__main__":
    main()
