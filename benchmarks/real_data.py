"""Where the benchmarks find the real data, and the workbook its publisher made of it. Nothing is measured here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import polars as pl
import xlsxwriter

_NUMERIC = ("Quantity", "UnitPrice", "CustomerID")


def csv_files() -> list[Path]:
    """The CSV files of the real data, one per day; ends the program where there are none."""
    folder = Path(os.environ.get("RETAIL_REAL_DATA", "../shared/data/online-retail")).resolve() / "by-day"
    files = sorted(folder.glob("*.csv"))
    if not files:
        sys.exit(f"No CSV files in {folder}: set RETAIL_REAL_DATA to the folder of the real data.")
    return files


def write_workbook(files: list[Path], path: Path) -> None:
    """Write the lines as the publisher did: numbers and dates as such, plain invoice numbers and product codes as numbers too."""
    lines = pl.concat([pl.read_csv(file, infer_schema=False) for file in files]).with_columns(
        pl.col(_NUMERIC).cast(pl.Float64), pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S")
    )
    with xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_numbers": True, "default_date_format": "d/m/yy h:mm"}) as workbook:
        sheet = workbook.add_worksheet("Online Retail")
        sheet.write_row(0, 0, lines.columns)
        for number, row in enumerate(lines.iter_rows(), start=1):
            sheet.write_row(number, 0, row)
