"""Numbers and dates read from the text of lines, decided for each file (or sheet, or archive member) from its whole column."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
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

_THOUSANDS: Final = r"^[+-]?[1-9]\d{0,2}[.,]"
"""A number that begins so and goes on with exactly three digits could be thousands: `1,000` is a thousand to one shop and one to another."""

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
    has_decimal_comma = _has_decimal_comma().over("file_id")
    parsed = dated.filter(pl.col("file_id").is_in(list(date_formats))).with_columns(_quantity(), _unit_price(has_decimal_comma))
    whole_files = _completed(parsed, pl.col("invoice_month").forward_fill().backward_fill().over("file_id"))
    return ParsedFiles(whole_files, date_formats, refused)


@dataclass(frozen=True)
class Conventions:
    """How one file writes dates and prices, decided from the whole of both columns: with it, the file can be parsed in slices.

    Attributes:
        date_format: As in `ParsedFiles.date_formats`.
        serial_unit_seconds: What Excel serial numbers count to; null where dates are texts.
        has_decimal_comma: Prices are written with a decimal comma.
        middle: Median of the readable dates.
        first_month: Month of the first line with a date that counts.
    """

    date_format: str
    serial_unit_seconds: int | None
    has_decimal_comma: bool
    middle: datetime
    first_month: date


def conventions(dates: pl.Series, prices: pl.Series, date_order: DateOrder = "auto") -> Conventions:
    """Decide how a file writes dates and prices, from its columns `invoice_date` and `unit_price` as text.

    Raises:
        RefusedFileError: The dates can be read in two ways, or mostly not.
    """
    column = dates.alias("invoice_date").to_frame()
    parsed = column.select(parsed_invoiced_at=_datetime((_COMMONEST_FORMAT,))).to_series()
    date_format, serial_unit = "year-month-day", None
    if parsed.null_count():
        date_format, parsed = _decide_dates(column, _allowed_formats(date_order))
        serial_unit = _serial_unit(dates) if date_format == _EXCEL_SERIAL else None
    has_decimal_comma = prices.alias("unit_price").to_frame().select(_has_decimal_comma()).item()
    middle: datetime = parsed.median()  # type: ignore[assignment]
    near = parsed.to_frame().filter(_is_near(pl.lit(middle)))["parsed_invoiced_at"]
    return Conventions(date_format, serial_unit, bool(has_decimal_comma), middle, near[0].date().replace(day=1))


def parse_slice(lines: pl.DataFrame, decided: Conventions, month_before: date) -> pl.DataFrame:
    """The lines of a slice of one file as `parse_lines` gives them, where `month_before` is the month of the line before the slice."""
    if decided.serial_unit_seconds:
        dates = _from_serials(lines["invoice_date"], decided.serial_unit_seconds)
    else:
        dates = lines.select(parsed_invoiced_at=_datetime(_DATE_FORMATS[decided.date_format][1])).to_series()
    near = pl.when(_is_near(pl.lit(decided.middle))).then("parsed_invoiced_at").alias("parsed_invoiced_at")
    dated = lines.with_columns(dates).with_columns(near, _quantity(), _unit_price(pl.lit(decided.has_decimal_comma)))
    return _completed(dated, pl.col("invoice_month").forward_fill().fill_null(month_before))


def _completed(lines: pl.DataFrame, month: pl.Expr) -> pl.DataFrame:
    """Lines with dates and numbers, with amount and month, columns in order; `month` fills the months of lines without a date."""
    return (
        lines.with_columns(_amount())
        .with_columns(invoice_month=pl.col("parsed_invoiced_at").dt.date().dt.truncate("1mo"))
        .with_columns(month.alias("invoice_month"))
        .select("file_id", "invoice_month", *TEXT_SCHEMA.names(), *PARSED_SCHEMA.names())
    )


def _allowed_formats(date_order: DateOrder) -> dict[str, tuple[str, ...]]:
    return {name: formats for name, (order, formats) in _DATE_FORMATS.items() if date_order in ("auto", order) or order == "year_first"}


def _parse_dates(lines: pl.DataFrame, date_order: DateOrder) -> tuple[pl.DataFrame, dict[str, str], dict[str, str]]:
    """Try the commonest format on all files at once, and the others on the files it does not fit."""
    tried = lines.with_columns(parsed_invoiced_at=_datetime((_COMMONEST_FORMAT,)))
    undecided = tried.filter(pl.col("parsed_invoiced_at").is_null().any().over("file_id"))["file_id"].unique(maintain_order=True)
    certain = tried.filter(~pl.col("file_id").is_in(undecided.implode()))
    decided = dict.fromkeys(certain["file_id"].unique().to_list(), "year-month-day")
    refused: dict[str, str] = {}
    pieces = [certain]
    allowed = _allowed_formats(date_order)
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
    return dated.with_columns(pl.when(_is_near(at.median().over("file_id"))).then(at).alias("parsed_invoiced_at"))


def _is_near(middle: pl.Expr) -> pl.Expr:
    return (pl.col("parsed_invoiced_at") - middle).abs() <= _FARTHEST


def _datetime(formats: tuple[str, ...]) -> pl.Expr:
    text = pl.col("invoice_date").str.strip_chars()
    readings = (text.str.to_datetime(pattern, strict=False, time_unit="us") for pattern in formats)
    return pl.coalesce(pl.when(reading.dt.year().is_between(*_YEARS)).then(reading) for reading in readings)


def _decide_dates(lines: pl.DataFrame, allowed: dict[str, tuple[str, ...]]) -> tuple[str, pl.Series]:
    if serial_unit := _serial_unit(lines["invoice_date"]):
        return _EXCEL_SERIAL, _from_serials(lines["invoice_date"], serial_unit)
    readings = {name: lines.select(_datetime(formats).alias("parsed_invoiced_at")).to_series() for name, formats in allowed.items()}
    read_count = {name: len(dates) - dates.null_count() for name, dates in readings.items()}
    best = max(read_count, key=lambda name: read_count[name])
    if read_count[best] < _SMALLEST_DATED_SHARE * lines["invoice_date"].count() or not read_count[best]:
        example = next(iter(lines["invoice_date"].drop_nulls()), "")
        raise RefusedFileError(
            f"Most dates of the column InvoiceDate cannot be read, such as {example[:40]!r}. Known orders: {', '.join(_DATE_FORMATS)}, "
            "with a time of day or without. If RETAIL_DATE_ORDER is set, it may be wrong for this file."
        )
    rivals = [name for name in readings if name != best and read_count[name] == read_count[best] and not readings[name].equals(readings[best])]
    if rivals:
        raise _undecided(lines["invoice_date"], {name: readings[name] for name in (best, rivals[0])})
    return best, readings[best]


def _undecided(column: pl.Series, readings: dict[str, pl.Series]) -> RefusedFileError:
    """Two orders that read equally many dates of a column: all of them, or each some that the other does not."""
    (one, dates), (other, others) = readings.items()
    only_one, only_other = (column.filter(a.is_not_null() & b.is_null()) for a, b in ((dates, others), (others, dates)))
    if only_one.is_empty():
        return RefusedFileError(
            f"The dates can be read as {one} and as {other}: no day is above 12, such as {column.drop_nulls()[0][:40]!r}. "
            "Set RETAIL_DATE_ORDER to month_first or day_first."
        )
    return RefusedFileError(
        f"The dates are of two orders, and as many can be read as {one} ({only_one[0][:40]!r}) as {other} ({only_other[0][:40]!r}). Write them all "
        "in one order, or set RETAIL_DATE_ORDER to month_first or day_first; the dates of the other order are then none."
    )


def _serial_unit(column: pl.Series) -> int | None:
    """Seconds that a column of Excel serial numbers (days since 1899-12-30) counts to; None where any value is no such number."""
    text = column.str.strip_chars()
    filled = text.filter(text.str.len_bytes() > 0)
    if filled.is_empty() or not filled.str.contains(r"^\d{5}(\.\d+)?$").all():
        return None
    if not filled.cast(pl.Float64).is_between(*_PLAUSIBLE_SERIALS).all():
        return None
    decimals = int(filled.str.split(".").list.get(1, null_on_oob=True).str.len_bytes().fill_null(0).max())  # type: ignore[arg-type]
    return 1 if decimals >= _DECIMALS_OF_A_SECOND else 60


def _from_serials(column: pl.Series, unit_seconds: int) -> pl.Series:
    days = column.str.strip_chars().cast(pl.Float64, strict=False)
    since_epoch = pl.duration(seconds=(pl.col("days") * (86_400 / unit_seconds)).round().cast(pl.Int64) * unit_seconds, time_unit="us")
    return days.alias("days").to_frame().select(parsed_invoiced_at=(pl.lit(_EXCEL_EPOCH) + since_epoch).cast(pl.Datetime("us"))).to_series()


def _quantity() -> pl.Expr:
    """Whole numbers, also with decimals that are all 0 and could not be thousands."""
    text = pl.col("quantity").str.strip_chars()
    whole = pl.when(text.str.contains(_THOUSANDS + "000$")).then(text).otherwise(text.str.replace(r"[.,]0+$", ""))
    return pl.when(whole.str.contains(r"^[+-]?\d+$")).then(whole.str.to_integer(strict=False, dtype=pl.Int32)).alias("parsed_quantity")


def _has_decimal_comma() -> pl.Expr:
    """Whether a whole column of prices uses commas and no points, and some comma could not be one of thousands."""
    text = pl.col("unit_price").str.strip_chars()
    shows = text.str.contains(r"^[+-]?\d+,\d+$") & ~text.str.contains(_THOUSANDS + r"\d{3}$")
    return shows.any() & ~text.str.contains(".", literal=True).any()


def _unit_price(has_decimal_comma: pl.Expr) -> pl.Expr:
    """Numbers with at most four decimals."""
    text = pl.col("unit_price").str.strip_chars()
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
