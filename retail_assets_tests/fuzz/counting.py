"""How many lines a file holds, counted by other means than the product: letter by letter for text, by the footer for Parquet."""

from __future__ import annotations

import io
from typing import Final

import pyarrow as pa
from pyarrow import parquet

_SEPARATORS: Final = ",;\t"


def line_count(name: str, content: bytes) -> int | None:
    """Lines below the header; None where there is no other way to count them."""
    lowered = name.lower()
    if lowered.endswith((".csv", ".tsv", ".txt")):
        return _text_lines(content)
    if lowered.endswith(".parquet"):
        try:
            return int(parquet.ParquetFile(io.BytesIO(content)).metadata.num_rows)
        except (pa.ArrowException, OSError):
            return None
    return None


def _text_lines(content: bytes) -> int | None:
    """Records as RFC 4180 splits them: a quotation mark counts at the beginning of a field, a line without a letter does not count.

    None where the text cannot be split in one way only: it ends within quotes, or a quoted field goes on behind its second mark.
    """
    text = _decoded(content)
    if "\n" not in text:
        text = text.replace("\r", "\n")
    header, _, body = text.partition("\n")
    separator = max(_SEPARATORS, key=header.count)
    records, is_filled, state = 0, False, "start"
    for letter in body:
        if state == "quoted":
            state = "closing" if letter == '"' else "quoted"
            continue
        if state == "closing" and letter == '"':
            state = "quoted"
        elif letter in "\r\n":
            records += is_filled
            is_filled, state = False, "start"
            continue
        elif letter == separator:
            state = "start"
        elif state == "closing":
            return None
        else:
            state = "quoted" if letter == '"' and state == "start" else "plain"
        is_filled = True
    return None if state == "quoted" else records + is_filled


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("iso-8859-1")
