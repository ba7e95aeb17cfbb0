"""Every benchmark in turn, as one page: what `make bench` prints, and with `--write` the committed page of results.

Run: `make bench`, or `make bench FULL=1` for the sizes of the committed page (an hour on two cores). Each benchmark is a process of its own and
can be run alone; what it measures stands in its first lines.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent

QUICK: tuple[tuple[str, ...], ...] = (("whole.py", "--rounds", "1"), ("steps.py",), ("landing.py",), ("growth.py",), ("history.py",))
FULL: tuple[tuple[str, ...], ...] = (
    ("whole.py", "--rounds", "2"),
    ("steps.py",),
    ("landing.py",),
    ("history.py", "--months", "12", "24", "60", "--lines-per-year", "250000"),
    ("growth.py", "--lines", "500000", "5000000", "50000000"),
)


def main() -> None:
    """Run them all, printing each as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes of the committed page")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there as well")
    options = parser.parse_args()
    page = [f"# Benchmarks\n\n{_machine()}\n"]
    print(page[0], flush=True)
    for script, *arguments in FULL if options.full else QUICK:
        printed = subprocess.run([sys.executable, HERE / script, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout
        print(printed, flush=True)
        page.append(printed)
    if options.write:
        options.write.write_text("\n".join(page), encoding="utf-8")


def _machine() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Written by `make bench FULL=1` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {memory_gb:.0f} GB of memory, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}. Contenders of a table ran side by side in one run; "
        "compare ratios, not seconds, with another machine. Mining at other supports, against other miners: "
        "[benchmarks-mining.md](benchmarks-mining.md); Spark: [spark.md](spark.md)."
    )


if __name__ == "__main__":
    main()
