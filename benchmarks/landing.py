"""How long reading the real data takes, as daily CSV files and as one workbook, beside what pandas takes in the same run.

Run: `uv run --group bench python benchmarks/landing.py`. The data lies in the folder RETAIL_REAL_DATA (default ../shared/data/online-retail).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl
from real_data import csv_files, write_workbook

from retail_assets.lib import parsing


def main() -> None:
    """Print the table, which `docs/benchmarks.md` holds as well."""
    files = csv_files()
    print("## Reading the real data\n\n| file | reader | lines | seconds | ratio |\n|---|---|---|---|---|")
    readers: dict[str, Callable[[], int]] = {
        "retail_assets, text": lambda: _read_csvs(files),
        "retail_assets, values": lambda: _parse_csvs(files),
        "pandas": lambda: len(pd.concat(pd.read_csv(path, parse_dates=["InvoiceDate"]) for path in files)),
    }
    _compare(f"{len(files)} CSV files", readers)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "online_retail.xlsx"
        write_workbook(files, path)
        readers = {"retail_assets, text": lambda: _read_workbook(path), "retail_assets, values": lambda: _parse_workbook(path)}
        for engine in ("calamine", "openpyxl"):
            readers[f"pandas + {engine}"] = lambda engine=engine: len(pd.read_excel(path, engine=engine))  # type: ignore[misc]
        _compare(f"one xlsx, {path.stat().st_size / 1e6:.0f} MB", readers)


def _compare(what: str, readers: dict[str, Callable[[], int]]) -> None:
    """Measure the readers one after the other; ratios are to the first."""
    first = 0.0
    for name, read in readers.items():
        started = time.perf_counter()
        lines = read()
        seconds = time.perf_counter() - started
        first = first or seconds
        print(f"| {what} | {name} | {lines:,} | {seconds:.1f} | {seconds / first:.1f} |", flush=True)


def _text_of_csvs(files: list[Path]) -> pl.DataFrame:
    return pl.concat([parsing.read_csv(path.read_bytes()).lines.with_columns(file_id=pl.lit(path.name)) for path in files])


def _read_csvs(files: list[Path]) -> int:
    return _text_of_csvs(files).height


def _parse_csvs(files: list[Path]) -> int:
    return parsing.parse_lines(_text_of_csvs(files)).lines.height


def _read_workbook(path: Path) -> int:
    return parsing.read_xlsx(path.read_bytes()).lines.height


def _parse_workbook(path: Path) -> int:
    return parsing.parse_lines(parsing.read_xlsx(path.read_bytes()).lines.with_columns(file_id=pl.lit(path.name))).lines.height


if __name__ == "__main__":
    main()
