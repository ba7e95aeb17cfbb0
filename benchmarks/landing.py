"""How long reading the real data takes, as daily CSV files and as one workbook, beside what pandas takes in the same run.

Run: `python benchmarks/landing.py`. The data lies in the folder RETAIL_REAL_DATA (default ../shared/data/online-retail). pandas, openpyxl,
python-calamine and xlsxwriter are no dependencies of the project: `pip install pandas openpyxl python-calamine xlsxwriter` beside it.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from retail_assets.lib import parsing

_NUMERIC = ("Quantity", "UnitPrice", "CustomerID")


def main() -> None:
    """Print the table of `docs/landing.md`."""
    folder = Path(os.environ.get("RETAIL_REAL_DATA", "../shared/data/online-retail"))
    files = sorted(folder.glob("by-day/*.csv"))
    if not files:
        sys.exit(f"No CSV files in {folder / 'by-day'}: set RETAIL_REAL_DATA to the folder of the real data.")
    pandas, openpyxl, calamine, xlsxwriter = (_optional(name) for name in ("pandas", "openpyxl", "python_calamine", "xlsxwriter"))
    print("| file | reader | lines | seconds | ratio |\n|---|---|---|---|---|")
    readers: dict[str, Callable[[], int]] = {"retail_assets, text": lambda: _read_csvs(files), "retail_assets, values": lambda: _parse_csvs(files)}
    if pandas:
        readers["pandas"] = lambda: len(pandas.concat(pandas.read_csv(path, parse_dates=["InvoiceDate"]) for path in files))
    _compare(f"{len(files)} CSV files", readers)
    if not xlsxwriter:
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "online_retail.xlsx"
        _write_workbook(files, path, xlsxwriter)
        readers = {"retail_assets, text": lambda: _read_workbook(path), "retail_assets, values": lambda: _parse_workbook(path)}
        for engine, module in (("calamine", calamine), ("openpyxl", openpyxl)):
            if pandas and module:
                readers[f"pandas + {engine}"] = lambda engine=engine: len(pandas.read_excel(path, engine=engine))  # type: ignore[misc]
        _compare(f"one xlsx, {path.stat().st_size / 1e6:.0f} MB", readers)


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed: what needs it is left out.", file=sys.stderr)
        return None


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


def _write_workbook(files: list[Path], path: Path, xlsxwriter: Any) -> None:
    """Write the lines as the publisher did: numbers and dates as such, plain invoice numbers and product codes as numbers too."""
    lines = pl.concat([pl.read_csv(file, infer_schema=False) for file in files]).with_columns(
        pl.col(_NUMERIC).cast(pl.Float64), pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S")
    )
    with xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_numbers": True, "default_date_format": "d/m/yy h:mm"}) as workbook:
        sheet = workbook.add_worksheet("Online Retail")
        sheet.write_row(0, 0, lines.columns)
        for number, row in enumerate(lines.iter_rows(), start=1):
            sheet.write_row(number, 0, row)


if __name__ == "__main__":
    main()
