"""Workbooks as text lines: every sheet that has the columns, with numbers as they are shown and dates as ISO text."""

from __future__ import annotations

import re
from typing import Final

import fastexcel
import polars as pl

from retail_assets.lib.parsing.fields import FIELDS, TEXT_SCHEMA, Part, RefusedFileError, TextFile, known_fields, numbered_on, require_fields
from retail_assets.lib.parsing.kinds import require_kind
from retail_assets.lib.parsing.unpacking import Allowance, open_zip, stream_member

_FAR_CELL: Final = re.compile(rb' r="(?:[A-Z]{3,}\d|[B-Z][A-Z]\d|[A-Z]*\d{8})')
"""A cell from column BA on, or below any row that Excel has. The library lays a sheet out up to its last cell in both directions, so that one stray
cell in the last column costs all memory. The pattern starts as all known programs write it: a plain beginning makes the search three times faster."""

_FALSE_COUNT: Final = re.compile(rb"""[cC]ount\s*=\s*["']\d{8}""")
"""The library sets memory aside for as many texts as a workbook says it has, and the process ends where there is not as much."""

_OVERLAP: Final = 64
"""Bytes looked at again with the next chunk, for a cell that stands across two."""


def read_xlsx(content: bytes) -> TextFile:
    """Read every sheet of a workbook, hidden ones too, numbering the lines on from sheet to sheet; in the first, a number is that of the row.

    The first filled row of a sheet is its header. Empty rows and sheets are skipped. Error cells such as `#DIV/0!` are null.

    Raises:
        RefusedFileError: Damaged, encrypted, too large when unpacked, or with a filled sheet that has not the eight columns.
    """
    require_kind(content, "xlsx")
    _check_archive(content)
    try:
        workbook = fastexcel.read_excel(content)
        sheets = [(name, _read_sheet(workbook, name)) for name in workbook.sheet_names]
    except (fastexcel.FastExcelError, pl.exceptions.PolarsError) as error:
        raise RefusedFileError(f"The workbook cannot be read ({str(error)[:200]}). Open it in Excel and save it again as .xlsx.") from error
    parts = [Part(lines, f"sheet {name!r}") for name, lines in sheets if not lines.is_empty()]
    if not parts:
        raise RefusedFileError("No sheet of the workbook holds a line. Land the complete file.")
    return TextFile(numbered_on(parts) if len(parts) > 1 else (Part(parts[0].lines),))


def _check_archive(content: bytes) -> None:
    """Go through the whole workbook once, which is the zip archive of its sheets, before a library that trusts it does."""
    allowance = Allowance(len(content))
    with open_zip(content) as archive:
        for member in archive.infolist():
            is_sheet = member.filename.startswith("xl/worksheets/")
            tail = b""
            for chunk in stream_member(archive, member, allowance):
                window = tail + chunk
                if is_sheet and _FAR_CELL.search(window):
                    raise RefusedFileError(
                        "A sheet has cells far to the right of the columns, from column BA on. Delete all columns after the last one that is used."
                    )
                if not is_sheet and _FALSE_COUNT.search(window):
                    raise RefusedFileError("The workbook says it holds more texts than it can. Open it in Excel and save it again as .xlsx.")
                tail = chunk[-_OVERLAP:]


def _read_sheet(workbook: fastexcel.ExcelReader, name: str) -> pl.DataFrame:
    """The lines of a sheet, none where it is empty; row numbers are those of the sheet."""
    # Without a header, and with no row skipped, every row comes with its place, and every cell as text.
    cells = pl.DataFrame(workbook.load_sheet(name, header_row=None, skip_rows=0, dtypes="string"))
    if not cells.width:
        return pl.DataFrame(schema=TEXT_SCHEMA)
    columns = cells.columns
    rows = cells.select(pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias("line_no"), pl.all()).filter(pl.any_horizontal(pl.col(columns) != ""))
    if rows.is_empty():
        return pl.DataFrame(schema=TEXT_SCHEMA)
    header = [cell or "" for cell in rows.row(0)[1:]]
    fields = _require_fields(name, header)
    wanted = [pl.col(columns[fields.index(field)]).replace("", None).alias(field) for field in FIELDS]
    return rows[1:].select("line_no", *wanted)


def _require_fields(name: str, header: list[str]) -> list[str]:
    if not set(known_fields(header)) & set(FIELDS):
        shown = ", ".join(repr(cell[:40]) for cell in header if cell)
        raise RefusedFileError(
            f"Sheet {name!r} has no header with the columns of a sale; its first row holds {shown[:300]}. "
            "Delete the sheet if it is something else, or give it its header."
        )
    try:
        return require_fields(header)
    except RefusedFileError as error:
        raise RefusedFileError(f"Sheet {name!r}: {error}") from error
