"""What all kinds of file have in common: the eight fields and their spellings, the shape of what a reader returns, and how a file is refused.

No kind of file is read in here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

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


MOST_COLUMNS: Final = 1_000
"""A file has eight columns that count and some beside them; every further one costs memory for every line."""

MOST_LINES: Final = 10_000_000
"""A line takes some 700 bytes while it is read, however short it is: empty lines in text, equal ones in Parquet cost next to nothing in the file."""


class RefusedFileError(ValueError):
    """The file cannot be read as a whole. The message says why and what to do."""


@dataclass(frozen=True)
class Part:
    """The lines of a file, or of one sheet or archive member, under its name.

    `lines` has the columns of `TEXT_SCHEMA`; grain: one row per line below the header. Date format and decimal mark are decided for each part.
    """

    lines: pl.DataFrame
    name: str | None = None


@dataclass(frozen=True)
class TextFile:
    """The text lines of one file in its parts, most files being one, and the encoding they were read with (null where the format is binary)."""

    parts: tuple[Part, ...]
    encoding: str | None = None

    @property
    def lines(self) -> pl.DataFrame:
        """The lines of all parts."""
        return pl.concat([part.lines for part in self.parts])


Reader = Callable[[bytes], TextFile]


def numbered_on(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Number the lines of each part on from the last line of the part before, so that a number stands for one line of the file."""
    numbered: list[Part] = []
    last = 0
    for part in parts:
        numbered.append(replace(part, lines=part.lines.with_columns(pl.col("line_no") + last)))
        last += int(part.lines.item(-1, "line_no"))
    return tuple(numbered)


def refuse_too_many_lines(line_count: int) -> None:
    """Raise RefusedFileError for a file of more lines than are read at once."""
    if line_count > MOST_LINES:
        raise RefusedFileError(f"The file holds {line_count:,} lines. Land it in pieces of at most {MOST_LINES:,}.")


def known_fields(columns: Iterable[str]) -> list[str]:
    """Name each column by the field it holds, or as it is called where it holds none."""
    return [_FIELD_OF.get(re.sub(r"[^a-z]", "", column.lower()), column) for column in columns]


def require_fields(columns: list[str]) -> list[str]:
    """Name the columns as `known_fields` does.

    Raises:
        RefusedFileError: A field has no column, or two, or there are more columns than any file of sales has.
    """
    if len(columns) > MOST_COLUMNS:
        raise RefusedFileError(f"There are {len(columns):,} columns, and at most {MOST_COLUMNS:,} are read. Leave out what is not of the sale.")
    fields = known_fields(columns)
    if missing := [field for field in FIELDS if field not in fields]:
        raise RefusedFileError(_describe_missing(missing, columns))
    if doubled := sorted({field for field in FIELDS if fields.count(field) > 1}):
        raise RefusedFileError(f"Two columns of the header mean the same: {', '.join(_SPELLINGS[field][0] for field in doubled)}. Keep one of them.")
    return fields


def _describe_missing(missing: list[str], found: list[str]) -> str:
    names = []
    for field in missing:
        likely = difflib.get_close_matches(_SPELLINGS[field][0].lower(), [column.lower() for column in found], n=1, cutoff=0.6)
        names.append(_SPELLINGS[field][0] + (f" (is it {likely[0][:40]!r}?)" if likely else ""))
    shown = ", ".join(repr(column[:40]) for column in found[:12]) or "nothing"
    return f"Columns are missing: {', '.join(names)}. Found: {shown}. Rename them in the header, or land the file with its header."
