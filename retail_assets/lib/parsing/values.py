"""Numbers and dates read from the text of lines, decided for each file (or sheet, or archive member) from its whole column."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import polars as pl

from retail_assets.lib.parsing.fields import PARSED_SCHEMA, TEXT_SCHEMA, RefusedFileError

DateOrder = Literal["auto", "year_first", "month_first", "day_first"]

_DATE_FORMATS: Final[dict[str, tuple[DateOrder, tuple[str, ...]]]] = {
    "year-month-day": (
        "year_first",
        ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S", "%Y/%m/%d %H:%M", "%Y-%m-%d"),
    ),
    "month/day/year": ("month_first", ("%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%y %H:%M", "%m/%d/%Y")),
    "day/month/year": (
        "day_first",
        ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%y %H:%M", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d/%m/%Y", "%d.%m.%Y"),
    ),
}
_COMMONEST_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
_YEARS: Final = (2000, 2099)
"""Another year is a typing error, or `10` taken for the year 10: such a reading is none. Every month up to such a date would be a partition."""

_FARTHEST: Final = timedelta(days=3653)
"""So is a date ten years away from the middle of its file."""

_EXCEL_SERIAL: Final = "excel serial"
_EXCEL_EPOCH: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - local shop time has no zone
_PLAUSIBLE_SERIALS: Final = (36526, 73051)
"""Days of the years 2000 to 2099: numbers beyond are amounts or codes rather than dates."""

_DECIMALS_OF_A_SECOND: Final = 5
"""Fewer decimals of a day tell minutes only: `40513.3514` stands for 08:26."""

_SMALLEST_DATED_SHARE: Final = 0.5
"""A file whose dates are mostly unreadable is not what its name says; single bad dates are lines for quarantine."""

_LARGEST_AMOUNT: Final = 10**14
"""Beyond this, an amount does not fit DECIMAL(18,4)."""


@dataclass(frozen=True)
class ParsedFiles:
    """What `parse_lines` makes of many files.

    Attributes:
        lines: `file_id`, `invoice_month` (Date) and the columns of `TEXT_SCHEMA` and `PARSED_SCHEMA`; one row per line, in the order given.
        date_formats: The date format decided for each file that was read.
        refused: Why, for each file that was not.
    """

    lines: pl.DataFrame
    date_formats: dict[str, str]
    refused: dict[str, str]


def parse_lines(lines: pl.DataFrame, date_order: DateOrder = "auto") -> ParsedFiles:
    """Read numbers and dates of text lines.

    Args:
        lines: `file_id` (String) and the columns of `TEXT_SCHEMA`, one row per line, files in one piece and in line order.
        date_order: How to read dates that could be read in two ways; `auto` decides per file from the whole column. Dates that start with the year,
            such as those of sheets and Parquet files, and Excel serial numbers are read under every setting.

    Unreadable numbers and dates become null, and so do dates before 2000, after 2099, or ten years away from the middle of their file. A line without
    a readable date belongs to the month of the line before it in its file (or of the first dated line after it), so that every line has a month. A
    file whose dates can be read in two ways is refused, and so is one with mostly unreadable dates.
    """
    dated, date_formats, refused = _parse_dates(lines, date_order)
    dated = _without_far_dates(dated)
    parsed = (
        dated.filter(pl.col("file_id").is_in(list(date_formats)))
        .with_columns(_quantity(), _unit_price())
        .with_columns(_amount())
        .with_columns(invoice_month=pl.col("parsed_invoiced_at").dt.date().dt.truncate("1mo"))
        .with_columns(pl.col("invoice_month").forward_fill().backward_fill().over("file_id"))
        .select("file_id", "invoice_month", *TEXT_SCHEMA.names(), *PARSED_SCHEMA.names())
    )
    return ParsedFiles(parsed, date_formats, refused)


def _parse_dates(lines: pl.DataFrame, date_order: DateOrder) -> tuple[pl.DataFrame, dict[str, str], dict[str, str]]:
    """Try the commonest format on all files at once, and the others on the files it does not fit."""
    tried = lines.with_columns(parsed_invoiced_at=_datetime((_COMMONEST_FORMAT,)))
    undecided = tried.filter(pl.col("parsed_invoiced_at").is_null().any().over("file_id"))["file_id"].unique(maintain_order=True)
    certain = tried.filter(~pl.col("file_id").is_in(undecided.implode()))
    decided = dict.fromkeys(certain["file_id"].unique().to_list(), "year-month-day")
    refused: dict[str, str] = {}
    pieces = [certain]
    allowed = {name: formats for name, (order, formats) in _DATE_FORMATS.items() if date_order in ("auto", order) or order == "year_first"}
    for file_lines in lines.filter(pl.col("file_id").is_in(undecided.implode())).partition_by("file_id", maintain_order=True):
        file_id = file_lines.item(0, "file_id")
        try:
            decided[file_id], dates = _decide_dates(file_lines, allowed)
        except RefusedFileError as error:
            refused[file_id] = str(error)
        else:
            pieces.append(file_lines.with_columns(parsed_invoiced_at=dates))
    return pl.concat(pieces), decided, refused


def _without_far_dates(dated: pl.DataFrame) -> pl.DataFrame:
    at = pl.col("parsed_invoiced_at")
    if not dated.select(is_wide=(at.max() - at.min()) > _FARTHEST)["is_wide"].any():
        return dated
    return dated.with_columns(pl.when((at - at.median().over("file_id")).abs() <= _FARTHEST).then(at).alias("parsed_invoiced_at"))


def _datetime(formats: tuple[str, ...]) -> pl.Expr:
    text = pl.col("invoice_date").str.strip_chars()
    readings = (text.str.to_datetime(pattern, strict=False, time_unit="us") for pattern in formats)
    return pl.coalesce(pl.when(reading.dt.year().is_between(*_YEARS)).then(reading) for reading in readings)


def _decide_dates(lines: pl.DataFrame, allowed: dict[str, tuple[str, ...]]) -> tuple[str, pl.Series]:
    if (from_serials := _serial_dates(lines["invoice_date"])) is not None:
        return _EXCEL_SERIAL, from_serials
    readings = {name: lines.select(_datetime(formats).alias("parsed_invoiced_at")).to_series() for name, formats in allowed.items()}
    read_count = {name: len(dates) - dates.null_count() for name, dates in readings.items()}
    best = max(read_count, key=lambda name: read_count[name])
    if read_count[best] < _SMALLEST_DATED_SHARE * lines["invoice_date"].count() or not read_count[best]:
        example = next(iter(lines["invoice_date"].drop_nulls()), "")
        raise RefusedFileError(
            f"Most dates of the column InvoiceDate cannot be read, such as {example[:40]!r}. Known orders: {', '.join(_DATE_FORMATS)}, "
            "each with a time of day. If RETAIL_DATE_ORDER is set, it may be wrong for this file."
        )
    rivals = [name for name in readings if name != best and read_count[name] == read_count[best] and not readings[name].equals(readings[best])]
    if rivals:
        raise RefusedFileError(
            f"The dates can be read as {best} and as {rivals[0]}: no day is above 12, such as {lines['invoice_date'].drop_nulls()[0][:40]!r}. "
            "Set RETAIL_DATE_ORDER to month_first or day_first."
        )
    return best, readings[best]


def _serial_dates(column: pl.Series) -> pl.Series | None:
    """Dates from a column of Excel serial numbers (days since 1899-12-30); None where any value is none."""
    text = column.str.strip_chars()
    filled = text.filter(text.str.len_bytes() > 0)
    if filled.is_empty() or not filled.str.contains(r"^\d{5}(\.\d+)?$").all():
        return None
    days = text.cast(pl.Float64, strict=False)
    if not days.drop_nulls().is_between(*_PLAUSIBLE_SERIALS).all():
        return None
    decimals = int(filled.str.split(".").list.get(1, null_on_oob=True).str.len_bytes().fill_null(0).max())  # type: ignore[arg-type]
    unit_seconds = 1 if decimals >= _DECIMALS_OF_A_SECOND else 60
    since_epoch = pl.duration(seconds=(pl.col("days") * (86_400 / unit_seconds)).round().cast(pl.Int64) * unit_seconds, time_unit="us")
    return days.alias("days").to_frame().select(parsed_invoiced_at=(pl.lit(_EXCEL_EPOCH) + since_epoch).cast(pl.Datetime("us"))).to_series()


def _quantity() -> pl.Expr:
    text = pl.col("quantity").str.strip_chars()
    whole = text.str.replace(r"[.,]0+$", "")
    return pl.when(whole.str.contains(r"^[+-]?\d+$")).then(whole.str.to_integer(strict=False, dtype=pl.Int32)).alias("parsed_quantity")


def _unit_price() -> pl.Expr:
    """Numbers with at most four decimals; a decimal comma where the file uses commas and no points."""
    text = pl.col("unit_price").str.strip_chars()
    has_decimal_comma = (text.str.contains(r"^[+-]?\d+,\d+$").any() & ~text.str.contains(".", literal=True).any()).over("file_id")
    number = pl.when(has_decimal_comma).then(text.str.replace(",", ".", literal=True)).otherwise(text)
    return (
        pl.when(number.str.contains(r"^[+-]?(\d+\.?\d{0,4}0*|\.\d{1,4}0*)$"))
        .then(number.cast(pl.Decimal(18, 4), strict=False))
        .alias("parsed_unit_price")
    )


def _amount() -> pl.Expr:
    product = pl.col("parsed_quantity").cast(pl.Float64) * pl.col("parsed_unit_price").cast(pl.Float64)
    exact = (pl.col("parsed_quantity").cast(pl.Decimal(18, 0)) * pl.col("parsed_unit_price")).cast(pl.Decimal(18, 4), strict=False)
    return pl.when(product.abs() < _LARGEST_AMOUNT).then(exact).alias("amount")
