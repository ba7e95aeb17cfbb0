"""Samples too large for memory or longer than the real data: pieces of a shop that grows by branches and by years, written piece by piece.

A piece is a whole sample of `generate`'s kind: one branch in one year. All pieces sell from one catalogue, so that products stay as many as they
are while invoices and customers grow with the lines, as in a shop that opens branches; and what is bought together is the same everywhere.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import polars as pl

from retail_assets.lib.sample._catalogue import draw_catalogue
from retail_assets.lib.sample._facts import FIRST_DAY, REAL_LINES_BY_MONTH
from retail_assets.lib.sample._generate import generate_from

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE_LINES: Final = 1_000_000
"""Most lines that are in memory at a time: 1.6 s and 0.8 GB."""

_MONTHS_PER_YEAR: Final = 12
_ALL_MONTHS: Final = len(REAL_LINES_BY_MONTH)
_FIRST_INVOICE_NO: Final = 536_365
_STAYING: Final = 2
"""One in this many customer numbers of a year is one of the year before."""


_LINES_PER_NUMBER: Final = 5
"""Lines of a piece to each number that its branch may use: room for a hundred years of new customers."""


class _Piece(NamedTuple):
    branch: int
    year: int
    line_count: int
    first_day: date
    end: date
    """First day that is no day of the piece any more."""


def write_history(directory: Path, line_count: int, seed: int = 1, month_count: int = _ALL_MONTHS) -> list[Path]:
    """Write a long or large sample as one Parquet file a month, `YYYY-MM.parquet`, holding one piece at a time in memory.

    Columns and texts are those of `Sample.lines`; a row group holds the lines of one piece in that month, in the order of time. The same arguments
    give the same lines. Customer numbers of different branches differ; in every year after the first, half of a branch's numbers are new. A year
    repeats the volumes of the real one; it starts within three days of 1 December, so that weekdays stay what they are. Public holidays do not move
    with the years.

    Args:
        directory: Where to; made when missing. Files of these months that are there already are replaced.
        line_count: Lines in all. With other months than 13 the shares of the months are as drawn, and the total is within a hundredth.
        seed: Start of the random numbers, 0 or above.
        month_count: Months from December 2010 on. With 13, as in the real data, the last one ends on the 9th.

    Returns:
        The paths in the order of time.
    """
    from pyarrow import parquet  # noqa: PLC0415

    directory.mkdir(parents=True, exist_ok=True)
    catalogue = draw_catalogue(np.random.default_rng([seed]), line_count)
    invoice_no, finished = _FIRST_INVOICE_NO, {}
    with ExitStack() as stack:
        writers: dict[str, parquet.ParquetWriter] = {}
        for piece in _pieces(line_count, month_count):
            rng = np.random.Generator(np.random.PCG64([seed, piece.branch, piece.year]))
            lines = _placed(generate_from(rng, catalogue, piece.line_count).lines, piece, invoice_no)
            invoice_no = 1 + int(lines["number"].max())  # type: ignore[arg-type]
            is_of_piece = pl.col("InvoiceDate").is_between(pl.lit(str(piece.first_day)), pl.lit(str(piece.end)), closed="left")
            months = lines.drop("number").filter(is_of_piece)
            for (name,), part in months.partition_by("month", as_dict=True, include_key=False).items():
                table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
                if name not in writers:
                    path = directory / f"{name}.parquet"
                    finished[path] = unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
                    writers[str(name)] = stack.enter_context(parquet.ParquetWriter(unfinished, table.schema, compression="zstd"))
                writers[str(name)].write_table(table)
    for path, unfinished in finished.items():
        unfinished.replace(path)
    return sorted(finished)


def _pieces(line_count: int, month_count: int) -> Iterator[_Piece]:
    """The pieces, branch by branch within each year, so that months are written in the order of time."""
    years = max(1, -(-month_count // _MONTHS_PER_YEAR)) if month_count != _ALL_MONTHS else 1
    end = _month_start(month_count)
    volumes = [REAL_LINES_BY_MONTH[month % _MONTHS_PER_YEAR] for month in range(month_count)] if years > 1 else REAL_LINES_BY_MONTH[:month_count]
    per_year = line_count * sum(REAL_LINES_BY_MONTH) // sum(volumes)
    branches = max(1, -(-per_year // PIECE_LINES))
    bounds = [per_year * branch // branches for branch in range(branches + 1)]
    for year in range(years):
        first_day = _year_start(year)
        piece_end = end if year == years - 1 else min(end, _year_start(year + 1))
        for branch in range(branches):
            yield _Piece(branch, year, bounds[branch + 1] - bounds[branch], first_day, piece_end)


def _month_start(number: int) -> date:
    months = FIRST_DAY.year * _MONTHS_PER_YEAR + FIRST_DAY.month - 1 + number
    return date(months // _MONTHS_PER_YEAR, months % _MONTHS_PER_YEAR + 1, 1)


def _year_start(year: int) -> date:
    """The day with the weekday of `FIRST_DAY` that is nearest to its date in a later year."""
    exact = FIRST_DAY.replace(year=FIRST_DAY.year + year)
    weeks = round((exact - FIRST_DAY).days / 7)
    return FIRST_DAY + timedelta(weeks=weeks)


def _placed(lines: pl.DataFrame, piece: _Piece, first_invoice_no: int) -> pl.DataFrame:
    """The lines of a piece in its year and its branch: dates moved, invoices numbered on (`number`), customers of the branch; and their `month`."""
    number = pl.col("InvoiceNo").str.extract(r"(\d+)$").cast(pl.Int64) - _FIRST_INVOICE_NO + first_invoice_no
    days = (piece.first_day - FIRST_DAY).days
    distinct_dates = lines["InvoiceDate"].unique()
    moved_dates = (distinct_dates.str.to_datetime("%Y-%m-%d %H:%M:%S") + timedelta(days=days)).dt.to_string("%Y-%m-%d %H:%M:%S")
    customer = pl.col("CustomerID").str.strip_suffix(".0").cast(pl.Int64)
    # There is about one customer per 120 lines, and `generate` leaves a quarter of the numbers free.
    first_year_numbers = piece.line_count // 90
    offset = piece.branch * piece.line_count // _LINES_PER_NUMBER + piece.year * first_year_numbers // _STAYING
    return lines.with_columns(
        InvoiceNo=pl.col("InvoiceNo").str.extract(r"^(\D*)") + number.cast(pl.String),
        number=number,
        InvoiceDate=pl.col("InvoiceDate").replace_strict(distinct_dates, moved_dates, return_dtype=pl.String),
        CustomerID=(customer + offset).cast(pl.String) + ".0",
    ).with_columns(month=pl.col("InvoiceDate").str.slice(0, len("YYYY-MM")))
