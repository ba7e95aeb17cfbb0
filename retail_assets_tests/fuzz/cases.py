"""Files for the fuzzer: valid ones of every kind, and what a seed makes of them. How they are landed and judged stands elsewhere."""

from __future__ import annotations

import gzip
import io
import random
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl
import xlsxwriter  # type: ignore[import-untyped]

HEADER: Final = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")

HOSTILE_TEXTS: Final = (
    "'; drop table core.transactions; --",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "../../etc/passwd",
    "\x1b]0;pwned\x07\x1b[2J",
    "\u202egnp.exe",
    "{{ 7 * 7 }}{% raw %}",
    "[red]bold[/red]",
    "%s %d {0} {name}",
    "| a | b |\n|---|---|",
    "zero\u200bwidth\ufeff",
    "\U0001f600 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "nul\x00byte",
    "a,b;c\td",
    'say "hi"',
    "line\nbreak",
    "carriage\rreturn",
    "\u2028separator\x85",
    "NULL",
    "\\N",
    " ",
)
"""Texts that something downstream might act on. None of them may be lost, changed or obeyed."""

_NUMBERS: Final = (
    "1e400", "-1E-400", "NaN", "inf", "-Infinity", "1.234,56", "1,234.56", "1 000", "1\u00a0000,5", "\u0661\u0662", "\uff11\uff12", "0x1F", "1_000",
    "99999999999999999999", "-2147483649", "2147483648", "0.00001", "+5", "--5", "5-", "(5)", "\u00bd", "", "9" * 400, "1" + "0" * 30 + ".5",
)  # fmt: skip
_DATES: Final = (
    "0000-00-00 00:00:00", "0001-01-01 00:00:00", "1899-12-31 23:59:59", "9999-12-31 23:59:59", "10000-01-01 00:00:00", "2011-02-30 08:00:00",
    "2011-13-01 08:00:00", "1/2/3 4:5", "31.12.2010 8:26", "12/31/10 8:26", "2010-12-01T08:26:00Z", "2010-12-01 08:26:00+25:00", "40513.3514",
    "1e5", "yesterday", "\u0662\u0660\u0661\u0660-12-01 08:26:00", "-2010-12-01 08:26:00", "2010-12-01 24:00:00", "2010-12-01 08:26:60", "",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A file to land: its name below the landing folder, its bytes, and what was done to it."""

    name: str
    content: bytes
    story: str


def make(number: int, seed: int) -> Case:
    """The case of this number: the same for the same seed."""
    rng = random.Random(f"{seed}/{number}")
    make_kind = rng.choices((_text_file, _workbook, _parquet, _gzip, _archive), weights=(60, 14, 12, 6, 8))[0]
    suffix, content, story = make_kind(rng)
    if rng.random() < 0.04:
        suffix, story = rng.choice((".csv", ".xlsx", ".parquet", ".csv.gz", ".zip", ".txt", ".pdf", "")), f"{story}, under another suffix"
    return Case(f"{number:06}{suffix}", content, story)


def rows(rng: random.Random, count: int) -> list[list[Any]]:
    """Plausible lines, with a hostile value here and there."""
    start = datetime(2010, 12, 1, 8, 26) + timedelta(days=rng.randrange(300))
    lines = [
        [
            str(536_365 + rng.randrange(9)) if rng.random() < 0.9 else f"C{536_365 + rng.randrange(9)}",
            rng.choice(("85123A", "22423", "POST", "m", "gift_0001_20")),
            rng.choice(("WHITE HEART", " TWO  BLANKS ", "POUND \u00a3 SIGN", "", *HOSTILE_TEXTS)) if rng.random() < 0.3 else "WHITE HEART",
            rng.randrange(-20, 100),
            start + timedelta(minutes=rng.randrange(5_000)),
            rng.randrange(0, 20_000) / 1000,
            rng.choice((17_850, None, 13_047)),
            rng.choice(("United Kingdom", "EIRE", "Unspecified")),
        ]
        for _ in range(count)
    ]
    for line in lines:
        if rng.random() < 0.05:
            line[3] = rng.choice(_NUMBERS)
        if rng.random() < 0.05:
            line[5] = rng.choice(_NUMBERS)
        if rng.random() < 0.04:
            line[4] = rng.choice(_DATES)
        if rng.random() < 0.02:
            line[rng.randrange(8)] = rng.choice(HOSTILE_TEXTS)
    return lines


def csv_text(lines: Sequence[Sequence[Any]], header: Sequence[str] = HEADER, separator: str = ",", end: str = "\n") -> str:
    """CSV as RFC 4180 writes it."""

    def cell(value: Any) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if any(letter in text for letter in (separator, '"', "\n", "\r")) else text

    return "".join(separator.join(map(cell, line)) + end for line in (header, *lines))


def workbook(lines: Sequence[Sequence[Any]], header: Sequence[str] = HEADER) -> bytes:
    """A workbook with one sheet, dates as dates and numbers as numbers."""
    buffer = io.BytesIO()
    options = {"in_memory": True, "strings_to_numbers": False, "strings_to_formulas": False, "strings_to_urls": False, "nan_inf_to_errors": True}
    with xlsxwriter.Workbook(buffer, options) as book:
        book.set_properties({"created": datetime(2011, 1, 1)})
        as_date = book.add_format({"num_format": "d/m/yyyy h:mm"})
        sheet = book.add_worksheet("S")
        for row_no, line in enumerate((header, *lines)):
            for column_no, value in enumerate(line):
                if isinstance(value, datetime):
                    sheet.write_datetime(row_no, column_no, value, as_date)
                elif isinstance(value, str):
                    sheet.write_string(row_no, column_no, value[:32_000])
                elif value is not None:
                    sheet.write_number(row_no, column_no, value)
    return buffer.getvalue()


def members_of(archive: bytes) -> dict[str, bytes]:
    """What lies in a zip archive."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            # With a time of its own the same members would be other bytes each time.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def parquet(frame: pl.DataFrame, **options: Any) -> bytes:
    """A Parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **options)
    return buffer.getvalue()


def damage(rng: random.Random, content: bytes) -> bytes:
    """Bytes with something flipped, cut, put in, doubled or moved."""
    at = rng.randrange(len(content) + 1)
    until = min(len(content), at + rng.choice((1, 2, 8, 64, 1_000)))
    piece = content[at:until]
    return rng.choice(
        (
            lambda: content[:at] + bytes(byte ^ (1 << rng.randrange(8)) for byte in piece[:2]) + content[at + len(piece[:2]) :],
            lambda: content[:at],
            lambda: content[at:],
            lambda: content[:at] + content[until:],
            lambda: content[:at] + bytes(rng.choice((1, 4, 512))) + content[at:],
            lambda: content[:at] + rng.randbytes(rng.choice((1, 4, 64))) + content[at:],
            lambda: content[:at] + piece * rng.choice((2, 50)) + content[at:],
            lambda: content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :],
        )
    )()


def _text_file(rng: random.Random) -> tuple[str, bytes, str]:
    header: list[str] = list(HEADER)
    lines = rows(rng, rng.choice((1, 3, 12, 40)))
    separator, end = rng.choices((",", ";", "\t", "|"), weights=(6, 3, 2, 1))[0], rng.choice(("\n", "\n", "\r\n", "\r"))
    story: list[str] = []
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        change = rng.choice(_TABLE_CHANGES)
        change(rng, header, lines)
        story.append(change.__name__)
    text = csv_text(lines, header, separator, end)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        spoil = rng.choice(_TEXT_CHANGES)
        text = spoil(rng, text)
        story.append(spoil.__name__)
    encoding = rng.choices(("utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-32"), weights=(12, 2, 3, 2, 1, 1))[0]
    content = text.encode(encoding, "replace")
    if rng.random() < 0.15:
        content = damage(rng, content)
        story.append("damage")
    return rng.choice((".csv", ".csv", ".CSV", ".tsv", ".txt")), content, f"{encoding} text: {', '.join(story) or 'as it is'}"


def drop_column(rng: random.Random, header: list[str], lines: list[list[Any]]) -> None:
    """A column is missing, with or without its name."""
    at = rng.randrange(len(header))
    if rng.random() < 0.7:
        del header[at]
    for line in lines:
        del line[at : at + 1]


def double_column(rng: random.Random, header: list[str], lines: list[list[Any]]) -> None:
    """A column comes twice."""
    at = rng.randrange(len(header))
    header.append(rng.choice((header[at], header[at].lower(), "Extra", "")))
    for line in lines:
        line.extend(line[at : at + 1])


def shuffle_columns(rng: random.Random, header: list[str], lines: list[list[Any]]) -> None:
    """The columns stand in another order."""
    if any(len(line) != len(header) for line in lines):
        return
    order = rng.sample(range(len(header)), len(header))
    header[:] = [header[at] for at in order]
    lines[:] = [[line[at] for at in order] for line in lines]


def misspell_header(rng: random.Random, header: list[str], lines: list[list[Any]]) -> None:
    """A name is another one."""
    header[rng.randrange(len(header))] = rng.choice(("Unit_Prices", "", "\x00", "Invoice Date", "price", "x" * 5_000, *HOSTILE_TEXTS))


def header_again(rng: random.Random, header: list[str], lines: list[list[Any]]) -> None:
    """The header comes once more between the lines."""
    lines.insert(rng.randrange(len(lines) + 1), list(header))


def ragged_lines(rng: random.Random, header: list[str], lines: list[list[Any]]) -> None:
    """Lines are too short or too long."""
    for line in rng.sample(lines, min(3, len(lines))):
        if rng.random() < 0.5:
            del line[rng.randrange(len(line) + 1) :]
        else:
            line.extend(["more"] * rng.choice((1, 3, 200)))


def no_lines(rng: random.Random, header: list[str], lines: list[list[Any]]) -> None:
    """Nothing stands below the header."""
    lines.clear()


def giant_cell(rng: random.Random, header: list[str], lines: list[list[Any]]) -> None:
    """One cell is far longer than any."""
    if lines and lines[0]:
        lines[0][rng.randrange(len(lines[0]))] = rng.choice(("x", "9", "'", "\u00e9")) * rng.choice((70_000, 200_000, 1_000_000))


def many_columns(rng: random.Random, header: list[str], lines: list[list[Any]]) -> None:
    """There are far more columns than any file has."""
    header.extend(f"c{number}" for number in range(rng.choice((50, 3_000))))


_TABLE_CHANGES: Final[tuple[Callable[[random.Random, list[str], list[list[Any]]], None], ...]] = (
    drop_column, double_column, shuffle_columns, misspell_header, header_again, ragged_lines, ragged_lines, no_lines, giant_cell, many_columns,
)  # fmt: skip


def unbalance_quotes(rng: random.Random, text: str) -> str:
    """A quotation mark too many, or one too few."""
    if '"' in text and rng.random() < 0.5:
        at = rng.choice([match.start() for match in re.finditer('"', text)])
        return text[:at] + text[at + 1 :]
    at = rng.randrange(len(text) + 1)
    return text[:at] + '"' + text[at:]


def quote_everything(rng: random.Random, text: str) -> str:
    """A field is quoted that needs no quotes, and blanks stand around others."""
    return re.sub(r"(?<=,)([A-Za-z ]+)(?=,)", rng.choice((r'"\1"', r' "\1" ', r" \1 ", r'\1"')), text, count=rng.choice((1, 5)))


_SELDOM: Final = "\x00 \r \n \r\n\r\n \x1a \ufeff \u2028 \x0b \x0c \x85 \ufffe \\ , ;"


def insert_letter(rng: random.Random, text: str) -> str:
    """A letter that is seldom seen stands somewhere."""
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(_SELDOM.split(" ")) + text[at:]


def blank_lines(rng: random.Random, text: str) -> str:
    """Lines are empty, or hold only separators."""
    at = text.find("\n", rng.randrange(len(text) + 1)) + 1
    return text[:at] + rng.choice(("\n", "\n\n\n", "   \n", ",,,,,,,\n", ",\n", '""\n')) + text[at:]


def preamble(rng: random.Random, text: str) -> str:
    """Something stands above the header."""
    return rng.choice(("\n", "sep=,\n", "Report of sales\n\n", "# comment\n", "\ufeff")) + text


def cut_end(rng: random.Random, text: str) -> str:
    """The end is missing."""
    return text[: rng.randrange(len(text) + 1)]


_TEXT_CHANGES: Final[tuple[Callable[[random.Random, str], str], ...]] = (
    unbalance_quotes, unbalance_quotes, quote_everything, insert_letter, insert_letter, blank_lines, preamble, cut_end,
)  # fmt: skip


_XML_CHANGES: Final[tuple[tuple[str, bytes, bytes], ...]] = (
    ("a text that is not there", rb"<c r=\"B2\"[^>]*><v>\d+</v>", b'<c r="B2" t="s"><v>99999999</v>'),
    ("an error cell", rb"<c r=\"D2\"[^>]*><v>[^<]*</v>", b'<c r="D2" t="e"><v>#DIV/0!</v>'),
    ("an infinite number", rb"<v>\d+</v>", b"<v>1e999</v>"),
    ("a false dimension", rb"<dimension ref=\"[^\"]*\"/>", b'<dimension ref="A1:XFD1048576"/>'),
    ("a cell far below", rb"<c r=\"B2\"", b'<c r="B1048576"'),
    ("a cell that is nowhere", rb"<c r=\"B2\"", b'<c r="ZZZZZZ99999999999"'),
    ("a row of no number", rb"<row r=\"2\"", b'<row r="-1"'),
    ("the same row twice", rb"<row r=\"3\"", b'<row r="2"'),
    ("merged cells", rb"</sheetData>", b'</sheetData><mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells>'),
    ("dates since 1904", rb"<workbookPr", b'<workbookPr date1904="1"'),
    ("a sheet that is not there", rb"worksheets/sheet1\.xml", b"worksheets/sheet9.xml"),
    ("a sheet outside", rb"worksheets/sheet1\.xml", b"../../../etc/passwd"),
    ("an external entity", rb"<sst ", b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><sst '),
    ("entities of entities", rb"<sst ", b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><sst '),
    ("a use of an entity", rb"<t>", b"<t>&e;&b;"),
    ("a false count", rb'[cC]ount="\d+"', b'count="99999999"'),
    ("a style that is not there", rb" s=\"\d+\"", b' s="999999"'),
    ("deep nesting", rb"<t>", b"<t>" + b"<r>" * 20_000),
)


def _workbook(rng: random.Random) -> tuple[str, bytes, str]:
    content = workbook(rows(rng, rng.choice((1, 3, 12))))
    members = members_of(content)
    way = rng.choice(("as it is", "bytes of the archive", "bytes of a member", "xml", "xml", "xml", "a member less"))
    if way == "bytes of the archive":
        content = damage(rng, content)
    elif way == "bytes of a member":
        name = rng.choice(sorted(members))
        content = zipped({**members, name: damage(rng, members[name])})
    elif way == "a member less":
        del members[rng.choice(sorted(members))]
        content = zipped(members)
    elif way == "xml":
        stories = []
        for story, pattern, replacement in rng.sample(_XML_CHANGES, rng.choice((1, 1, 2, 3))):
            members = {name: re.sub(pattern, lambda _, text=replacement: text, xml, count=rng.choice((1, 3))) for name, xml in members.items()}
            stories.append(story)
        content, way = zipped(members), " and ".join(stories)
    return rng.choice((".xlsx", ".xlsx", ".XLSX")), content, f"workbook: {way}"


def _parquet(rng: random.Random) -> tuple[str, bytes, str]:
    count = rng.choice((0, 1, 3, 40))
    frame = pl.DataFrame(
        [[str(line[0]), line[1], line[2], rng.randrange(-5, 9), datetime(2011, 1, 4, 8), 2.55, 17_850, line[7]] for line in rows(rng, count)],
        schema=dict(zip(HEADER, (pl.String, pl.String, pl.String, pl.Int64, pl.Datetime("us"), pl.Float64, pl.Int64, pl.String), strict=True)),
        orient="row",
    )
    column = rng.choice(HEADER)
    kinds: dict[str, Any] = {
        "as it is": frame,
        "a column of lists": frame.with_columns(pl.concat_list(column).alias(column)),
        "a column of structs": frame.with_columns(pl.struct(column).alias(column)),
        "a column of nulls": frame.with_columns(pl.lit(None).alias(column)),
        "a column of bytes": frame.with_columns(pl.lit(rng.randbytes(6)).alias(column)),
        "a column of decimals": frame.with_columns(pl.lit(Decimal("99999999999999999999999999.999999")).alias(column)),
        "a column of durations": frame.with_columns(pl.lit(timedelta(days=9)).alias(column)),
        "a column of times": frame.with_columns(pl.lit(datetime(2011, 1, 1).time()).alias(column)),
        "a column of booleans": frame.with_columns(pl.lit(True).alias(column)),
        "numbers without end": frame.with_columns(UnitPrice=pl.lit(rng.choice((float("inf"), float("nan"), 1e308, -0.0, 5e-324)))),
        "wide integers": frame.with_columns(Quantity=pl.lit(2**64 - 1, pl.UInt64), CustomerID=pl.lit(2**127 - 1, pl.Int128)),
        "times out of range": frame.with_columns(InvoiceDate=pl.lit(rng.choice((-(2**62), 2**62, 0)), pl.Int64).cast(pl.Datetime("us"))),
        "times with a zone": frame.with_columns(pl.col("InvoiceDate").dt.replace_time_zone("Europe/London")),
        "hostile texts": frame.with_columns(Description=pl.lit(rng.choice(HOSTILE_TEXTS))),
        "a column twice": frame.with_columns(pl.col(column).alias(column.upper() if column.upper() != column else column.lower())),
        "many columns": frame.with_columns([pl.lit(0).alias(f"c{number}") for number in range(2_000)]),
    }
    story = rng.choice(sorted(kinds))
    content = parquet(kinds[story], compression=rng.choice(("zstd", "snappy", "uncompressed", "gzip")), row_group_size=rng.choice((None, 2)))
    if rng.random() < 0.5:
        # The footer says how everything else is to be read: most damage belongs there.
        at = 4 if rng.random() < 0.3 else max(4, len(content) - int.from_bytes(content[-8:-4], "little") - 8)
        content = content[:at] + damage(rng, content[at:]) if rng.random() < 0.6 else content[:at] + damage(rng, content[at:-8]) + content[-8:]
        story += ", damaged"
    return ".parquet", content, f"parquet: {story}"


def _gzip(rng: random.Random) -> tuple[str, bytes, str]:
    _, text, story = _text_file(rng)
    content = gzip.compress(text, mtime=0)
    if rng.random() < 0.6:
        content, story = damage(rng, content), f"{story}, damaged"
    return rng.choice((".csv.gz", ".txt.gz")), content, f"gzip of {story}"


def _archive(rng: random.Random) -> tuple[str, bytes, str]:
    members: dict[str, bytes] = {}
    stories = []
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        suffix, content, story = rng.choice((_text_file, _text_file, _workbook, _parquet))(rng)
        place = rng.choice(("", "", "below/", "../../", "/abs/", ".hidden/", "\x1b[31m", "new\nline/", "C:\\"))
        members[f"{place}{len(members)}{suffix}"] = content
        stories.append(story)
    content = zipped(members)
    if rng.random() < 0.3:
        content = damage(rng, content)
        stories.append("damaged")
    return ".zip", content, f"archive of {len(members)}: {'; '.join(stories)}"
