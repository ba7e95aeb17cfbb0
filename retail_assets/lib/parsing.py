"""From the bytes of a file of the Online Retail family to lines: text as it came, and what could be read from it.

Two steps. `read_csv` turns one file into text lines with line numbers, or refuses it. `parse_lines` reads numbers and dates of many files at once,
deciding the date format and the decimal mark of each file from its whole column. What a line means (sale, return, fee) is decided in `cleaning`.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

DateOrder = Literal["auto", "year_first", "month_first", "day_first"]

FIELDS: Final = ("invoice_no", "stock_code", "description", "quantity", "invoice_date", "unit_price", "customer_id", "country")
"""The eight fields of a line, under the names used from here on."""

TEXT_SCHEMA: Final = pl.Schema({"line_no": pl.Int32(), **dict.fromkeys(FIELDS, pl.String())})
PARSED_SCHEMA: Final = pl.Schema(
    {
        "parsed_quantity": pl.Int32(),
        "parsed_unit_price": pl.Decimal(18, 4),
        "parsed_invoiced_at": pl.Datetime("us"),
        "amount": pl.Decimal(18, 4),
    }
)

_SPELLINGS: Final = {
    "invoice_no": ("InvoiceNo", "Invoice"),
    "stock_code": ("StockCode",),
    "description": ("Description",),
    "quantity": ("Quantity",),
    "invoice_date": ("InvoiceDate",),
    "unit_price": ("UnitPrice", "Price"),
    "customer_id": ("CustomerID", "Customer ID"),
    "country": ("Country",),
}
"""How Online Retail and Online Retail II spell the fields; compared without case, blanks and punctuation."""

_FIELD_OF: Final = {re.sub(r"[^a-z]", "", spelling.lower()): field for field, spellings in _SPELLINGS.items() for spelling in spellings}
_SEPARATORS: Final = (",", ";", "\t")
_DATE_FORMATS: Final[dict[str, tuple[DateOrder, tuple[str, ...]]]] = {
    "year-month-day": ("year_first", ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y/%m/%d %H:%M", "%Y-%m-%d")),
    "month/day/year": ("month_first", ("%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%y %H:%M", "%m/%d/%Y")),
    "day/month/year": (
        "day_first",
        ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%y %H:%M", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d/%m/%Y", "%d.%m.%Y"),
    ),
}
_SMALLEST_DATED_SHARE: Final = 0.5
"""A file whose dates are mostly unreadable is not what its name says; single bad dates are lines for quarantine."""

_LARGEST_AMOUNT: Final = 10**14
"""Beyond this, an amount does not fit DECIMAL(18,4)."""


class RefusedFileError(ValueError):
    """The file cannot be read as a whole. The message says why and what to do."""


@dataclass(frozen=True)
class TextFile:
    """The text lines of one file (columns of `TEXT_SCHEMA`; grain: one row per line below the header) and the encoding they were read with."""

    lines: pl.DataFrame
    encoding: str


def read_csv(content: bytes) -> TextFile:
    """Read a CSV file of the family: UTF-8 (with or without BOM), UTF-16 with BOM, Windows-1252 or ISO-8859-1; comma, semicolon or tab.

    Line numbers count physical lines, also where a quoted field holds a line break. A line with too many fields keeps them all, the surplus joined
    to its last field, and one with too few has nulls.

    Raises:
        RefusedFileError: Empty, not text, or without the eight columns.
    """
    text, encoding = _decode(content)
    header, _, body = text.partition("\n")
    separator, fields = _read_header(header.rstrip("\r"))
    lines = _read_plain(body, separator, fields)
    if lines is None:
        lines = _read_quoted(text, separator, fields)
    if lines.is_empty():
        raise RefusedFileError("The file holds a header and no line. Land the complete file.")
    return TextFile(lines.select(TEXT_SCHEMA.names()), encoding)


def _decode(content: bytes) -> tuple[str, str]:
    if not content.strip():
        raise RefusedFileError("The file is empty. Land the complete file.")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        candidates = ["utf-16"]
    elif b"\x00" in content:
        raise RefusedFileError("The file is not text (it holds null bytes). Land CSV files.")
    else:
        # Windows-1252 leaves five bytes undefined; ISO-8859-1 reads anything, so it comes last.
        candidates = ["utf-8-sig", "cp1252", "iso-8859-1"]
    for encoding in candidates:
        try:
            return content.decode(encoding), encoding.removesuffix("-sig")
        except UnicodeDecodeError:
            continue
    raise RefusedFileError("The file starts like UTF-16 text and does not go on like it. It may be truncated: land it again.")


def _read_header(header: str) -> tuple[str, list[str]]:
    columns_by_separator = {separator: next(csv.reader([header], delimiter=separator), []) for separator in _SEPARATORS}
    separator, columns = max(columns_by_separator.items(), key=lambda item: len(item[1]))
    fields = [_FIELD_OF.get(re.sub(r"[^a-z]", "", column.lower()), column) for column in columns]
    if missing := [field for field in FIELDS if field not in fields]:
        raise RefusedFileError(_describe_missing(missing, columns))
    if doubled := sorted({field for field in FIELDS if fields.count(field) > 1}):
        raise RefusedFileError(f"Two columns of the header mean the same: {', '.join(_SPELLINGS[field][0] for field in doubled)}. Keep one of them.")
    return separator, fields


def _describe_missing(missing: list[str], found: list[str]) -> str:
    names = []
    for field in missing:
        likely = difflib.get_close_matches(_SPELLINGS[field][0].lower(), [column.lower() for column in found], n=1, cutoff=0.6)
        names.append(_SPELLINGS[field][0] + (f" (is it {likely[0]!r}?)" if likely else ""))
    shown = ", ".join(repr(column[:40]) for column in found[:12]) or "nothing"
    return f"Columns are missing: {', '.join(names)}. Found: {shown}. Rename them in the header, or land the file with its header."


def _read_plain(body: str, separator: str, fields: list[str]) -> pl.DataFrame | None:
    """The quick way, for files in which every physical line is one line of data; None where that does not hold."""
    if not body.strip("\r\n"):
        return pl.DataFrame(schema=TEXT_SCHEMA)
    try:
        lines = pl.read_csv(
            body.encode(),
            has_header=False,
            new_columns=[f"column_{position}" for position in range(len(fields))],
            separator=separator,
            infer_schema=False,
            quote_char='"',
        )
    except pl.exceptions.PolarsError:
        return None
    physical = body.count("\n") + (not body.endswith("\n"))
    if lines.height != physical or lines.width != len(fields):
        return None
    wanted = [pl.col(lines.columns[fields.index(field)]).alias(field) for field in FIELDS]
    return lines.select(pl.int_range(2, pl.len() + 2, dtype=pl.Int32).alias("line_no"), *wanted)


def _read_quoted(text: str, separator: str, fields: list[str]) -> pl.DataFrame:
    """The patient way, for files with line breaks in quotes, blank lines or lines of the wrong length."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    next(reader)
    rows: list[dict[str, object]] = []
    start = reader.line_num + 1
    try:
        for values in reader:
            if values:
                head, surplus = values[: len(fields)], values[len(fields) :]
                if surplus:
                    head[-1] = separator.join([head[-1], *surplus])
                row = dict(zip(fields, head, strict=False))
                rows.append({"line_no": start, **{field: row.get(field) or None for field in FIELDS}})
            start = reader.line_num + 1
    except csv.Error as error:
        raise RefusedFileError(f"Line {start} cannot be split into fields ({error}). Mend the line, or land the file again.") from error
    return pl.DataFrame(rows, schema=TEXT_SCHEMA)


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
        date_order: `auto` decides per file from the whole column; else only formats of this order are tried.

    Unreadable numbers and dates become null. A line without a readable date belongs to the month of the line before it in its file (or of the first
    dated line after it), so that every line has a month. A file whose dates can be read in two ways is refused, and so is one with mostly unreadable
    dates.
    """
    dated, date_formats, refused = _parse_dates(lines, date_order)
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
    """Try the formats on whole columns, most files needing only the first; decide per file."""
    decided: dict[str, str] = {}
    refused: dict[str, str] = {}
    pieces: list[pl.DataFrame] = []
    allowed = {name: formats for name, (order, formats) in _DATE_FORMATS.items() if date_order in ("auto", order)}
    first = next(iter(allowed))
    tried = lines.with_columns(parsed_invoiced_at=_datetime(allowed[first]))
    undecided = tried.filter(pl.col("parsed_invoiced_at").is_null().any().over("file_id"))["file_id"].unique(maintain_order=True).to_list()
    certain = tried.filter(~pl.col("file_id").is_in(undecided))
    # Year-first dates can be read in one way only; of the other orders, a file without a failure may still be ambiguous.
    if first == "year-month-day" or len(allowed) == 1:
        pieces.append(certain)
        decided |= dict.fromkeys(certain["file_id"].unique().to_list(), first)
    else:
        undecided = lines["file_id"].unique(maintain_order=True).to_list()
    for file_id in undecided:
        file_lines = lines.filter(pl.col("file_id") == file_id)
        try:
            name, dates = _decide_dates(file_lines, allowed)
        except RefusedFileError as error:
            refused[file_id] = str(error)
        else:
            decided[file_id] = name
            pieces.append(file_lines.with_columns(parsed_invoiced_at=dates))
    return pl.concat([lines.clear().with_columns(parsed_invoiced_at=pl.lit(None, pl.Datetime("us"))), *pieces]), decided, refused


def _datetime(formats: tuple[str, ...]) -> pl.Expr:
    text = pl.col("invoice_date").str.strip_chars()
    return pl.coalesce(text.str.to_datetime(pattern, strict=False, time_unit="us") for pattern in formats)


def _decide_dates(lines: pl.DataFrame, allowed: dict[str, tuple[str, ...]]) -> tuple[str, pl.Series]:
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
