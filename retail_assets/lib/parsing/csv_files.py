"""CSV files as text lines. What the text means is read in `values`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

import polars as pl

from retail_assets.lib.parsing.fields import (
    FIELDS,
    TEXT_SCHEMA,
    Part,
    RefusedFileError,
    TextFile,
    known_fields,
    refuse_too_many_lines,
    require_fields,
)
from retail_assets.lib.parsing.kinds import require_kind

_SEPARATORS: Final = (",", ";", "\t")

_LONGEST_HEADER: Final = 1_000_000
"""Letters of a first line that is still looked at."""

_PHYSICAL_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")

_MANY_LINES: Final = 50_000

_LONE_RETURN: Final = re.compile(r"\r(?!\n)")

_LINES_PER_PIECE: Final = 50_000
"""Lines that are Python objects at a time: as such they take ten times the memory."""


def read_csv(content: bytes) -> TextFile:
    """Read a CSV file of the family: UTF-8 (with or without BOM), UTF-16 with BOM, Windows-1252 or ISO-8859-1; comma, semicolon or tab.

    Line numbers count physical lines, also where a quoted field holds a line break. A line with too many fields keeps them all, the surplus joined
    to its last field, and one with too few has nulls.

    Raises:
        RefusedFileError: Empty, not text, without the eight columns, or with quotation marks that do not match.
    """
    text, encoding = _decode(content)
    if "\n" not in text:
        text = text.replace("\r", "\n")  # as Excel for the Macintosh writes lines
    line_count = text.count("\n")
    refuse_too_many_lines(line_count)
    header, _, body = text.partition("\n")
    separator, fields = _read_header(header.rstrip("\r"))
    if line_count > _MANY_LINES:
        _refuse_short_lines(body.count(separator) / line_count + 1, line_count, len(fields))
    lines = _read_plain(body, separator, fields)
    if lines is None:
        lines = _read_quoted(text, separator, fields)
    if lines.is_empty():
        raise RefusedFileError("The file holds a header and no line. Land the complete file.")
    return TextFile((Part(lines.select(TEXT_SCHEMA.names())),), encoding)


def _decode(content: bytes) -> tuple[str, str]:
    require_kind(content, "text")
    # Windows-1252 leaves five bytes undefined; ISO-8859-1 reads anything, so it comes last.
    candidates = ["utf-16"] if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "cp1252", "iso-8859-1"]
    for encoding in candidates:
        try:
            return content.decode(encoding), encoding.removesuffix("-sig")
        except UnicodeDecodeError:
            continue
    raise RefusedFileError("The file starts like UTF-16 text and does not go on like it. It may be truncated: land it again.")


def _read_header(header: str) -> tuple[str, list[str]]:
    if len(header) > _LONGEST_HEADER:
        raise RefusedFileError(f"The first line has {len(header):,} letters, so it is no header. Land the file with its header, one line per sale.")
    try:
        columns_by_separator = {separator: next(csv.reader([header], delimiter=separator), []) for separator in _SEPARATORS}
    except csv.Error as error:
        raise RefusedFileError(f"The first line cannot be split into column names ({error}). Land the file with its header.") from error
    separator, columns = max(columns_by_separator.items(), key=lambda item: (len(set(FIELDS) & set(known_fields(item[1]))), len(item[1])))
    return separator, require_fields(columns)


def _refuse_short_lines(fields_per_line: float, line_count: int, width: int) -> None:
    """A few lines that are too short are kept, and go to quarantine; where there are very many, the file is something else, and takes much memory."""
    if fields_per_line < width / 2:
        raise RefusedFileError(
            f"Its {line_count:,} lines have {fields_per_line:.1f} fields on average, and the header has {width}. Land the file again, complete."
        )


def _read_plain(body: str, separator: str, fields: list[str]) -> pl.DataFrame | None:
    """The quick way, for files in which every physical line is one line of data; None where that does not hold."""
    body = body.rstrip("\r\n")
    if not body:
        return pl.DataFrame(schema=TEXT_SCHEMA)
    # The library takes a blank line for a line of nulls, and a carriage return by itself for a letter.
    if "\n\n" in body or "\n\r\n" in body or body.startswith(("\n", "\r\n")) or ("\r" in body and _LONE_RETURN.search(body)):
        return None
    try:
        lines = pl.read_csv(
            body.encode(),
            has_header=False,
            new_columns=[f"column_{position}" for position in range(len(fields))],
            separator=separator,
            infer_schema=False,
            quote_char='"',
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    if lines.height != body.count("\n") + 1 or lines.width != len(fields):
        return None
    wanted = [pl.col(lines.columns[fields.index(field)]).alias(field) for field in FIELDS]
    return lines.select(pl.int_range(2, pl.len() + 2, dtype=pl.Int32).alias("line_no"), *wanted)


def _read_quoted(text: str, separator: str, fields: list[str]) -> pl.DataFrame:
    """The patient way, for files with line breaks in quotes, blank lines or lines of the wrong length."""
    records = _records(text, separator, len(fields))
    positions = [fields.index(field) for field in FIELDS]
    pieces = [pl.DataFrame(schema=TEXT_SCHEMA)]
    while piece := list(islice(records, _LINES_PER_PIECE)):
        columns = ([values[at] or None if at < len(values) else None for _, values in piece] for at in positions)
        pieces.append(pl.DataFrame([[line_no for line_no, _ in piece], *columns], schema=TEXT_SCHEMA))
    return pl.concat(pieces)


def _records(text: str, separator: str, width: int) -> Iterator[tuple[int, list[str]]]:
    """Each line that is not blank, with the number of the physical line that it starts on; surplus fields are joined to the last.

    Strict: a quotation mark that is never closed would otherwise swallow the lines behind it.
    """
    reader = csv.reader((line.group() for line in _PHYSICAL_LINE.finditer(text)), delimiter=separator, strict=True)
    start = 1
    try:
        for values in reader:
            if values and start > 1:
                yield start, [*values[: width - 1], separator.join(values[width - 1 :])] if len(values) > width else values
            start = reader.line_num + 1
    except csv.Error as error:
        raise RefusedFileError(
            f"Line {start} cannot be split into fields ({error}). A quotation mark may be missing, or one too many. Mend it, or land the file again."
        ) from error
