"""What DuckDB with polars and what Spark take to read, clean and match the lines of a sample on this machine, one after the other.

Run: `.venv/bin/python benchmarks/engines.py [--lines 500000 2500000 5000000] [--months 13] [--memory 8g] [--folder DIR]`. Needs `make spark`.
Counted are the landing (Parquet files by month), `raw_transactions`, `transactions` and `returns`, from an empty home, with the start of Python, the
code location and Java. What comes after these steps is the same work with both engines, but for mining.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from processes import Cost, measure, print_table

RETAIL = Path(sys.executable).with_name("retail")
_QUICK = [100_000]
_ENGINES = ("duckdb", "spark")
_STEPS = {
    "raw_transactions": ("raw/raw_transactions",),
    "transactions": ("core/transactions", "core/quarantine"),
    "returns": ("core/returns",),
}
"""Assets by the step that makes them."""


def main() -> None:
    """Run and print; or, as the process that is measured, do the work of one engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=_QUICK, help=f"sizes of the samples (default: {_QUICK})")
    parser.add_argument("--months", type=int, default=13, help="months of each (default: %(default)s)")
    parser.add_argument("--memory", default="4g", help="memory of Spark's JVM (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where samples and homes lie for the time being (default: a temporary folder)")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        _work()
        return
    rows = []
    for line_count in options.lines:
        with tempfile.TemporaryDirectory(prefix="engines-", dir=options.folder) as folder:
            landing = Path(folder) / "landing"
            measure([RETAIL, "sample", "--lines", str(line_count), "--months", str(options.months), "--format", "parquet", "--out", landing])
            costs = {engine: _measure(engine, Path(folder), landing, options.memory) for engine in _ENGINES}
        for engine, (cost, seconds) in costs.items():
            rows.append(
                [
                    f"{line_count:,}",
                    engine,
                    f"{cost.wall_seconds:.0f}",
                    f"{cost.cpu_seconds:.0f}",
                    f"{1e6 * cost.cpu_seconds / line_count:.1f}",
                    *(f"{second:.1f}" for second in seconds.values()),
                    f"{cost.together_mb / 1024:.1f}",
                ]
            )
    header = [
        "lines",
        "engine",
        "wall, s",
        "processor, s",
        "processor, µs a line",
        *(f"{step}, s" for step in ("landing", *_STEPS)),
        "all processes, GB",
    ]
    print_table(f"Reading, cleaning and matching with both engines, {os.cpu_count()} cores", header, rows)


def _measure(engine: str, folder: Path, landing: Path, memory: str) -> tuple[Cost, dict[str, float]]:
    home = folder / engine
    environment = {"RETAIL_HOME": str(home), "RETAIL_LANDING": str(landing), "RETAIL_ENGINE": engine, "DAGSTER_DISABLE_TELEMETRY": "1"}
    # Spark's JVM takes its memory from what starts it.
    cost = measure([sys.executable, Path(__file__), "--work"], {**environment, "PYSPARK_SUBMIT_ARGS": f"--driver-memory {memory} pyspark-shell"})
    return cost, json.loads((home / "seconds.json").read_text(encoding="utf-8"))


def _work() -> None:
    import dagster as dg  # noqa: PLC0415

    from retail_assets import home, pipeline  # noqa: PLC0415
    from retail_assets.partitions import RANGE_END, RANGE_START  # noqa: PLC0415
    from retail_assets.settings import Settings  # noqa: PLC0415

    settings = Settings.from_environment()
    home.prepare(settings)
    started = time.perf_counter()
    months = pipeline.land(settings).pending
    seconds = {"landing": time.perf_counter() - started}
    from retail_assets.definitions import defs  # noqa: PLC0415

    job = defs().resolve_job_def("refresh")
    tags = {RANGE_START: months[0].isoformat(), RANGE_END: months[-1].isoformat()}
    with dg.DagsterInstance.get() as instance:
        for step, assets in _STEPS.items():
            started = time.perf_counter()
            job.execute_in_process(instance=instance, tags=tags, asset_selection=[dg.AssetKey(asset.split("/")) for asset in assets])
            seconds[step] = time.perf_counter() - started
    (settings.home / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
