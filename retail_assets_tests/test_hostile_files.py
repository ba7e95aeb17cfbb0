"""Files made to do harm, or damaged in ways that did: each ends as lines or as a refusal, within bounds of memory and time, and the others land.

Every case below broke a landing once: a traceback, a process that aborted, memory without bounds, or lines that were swallowed. The fuzzer that found
most of them runs here in short, and with thousands of cases in `make fuzz`.
"""

import gzip
import io
import os
import random
import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from retail_assets import landing
from retail_assets.lib.landed import LandedFile
from retail_assets.lib.parsing import SafeReader
from retail_assets.lib.parsing.fields import MOST_COLUMNS, MOST_LINES, RefusedFileError
from retail_assets.warehouse import Warehouse
from retail_assets_tests.fuzz import bounded, cases, counting, fuzz

pytestmark = pytest.mark.integration

MEGABYTE = 1_000_000
HEADER = ",".join(cases.HEADER) + "\n"
LINE = "536365,85123A,WHITE HEART,6,2010-12-01 08:26:00,2.55,17850,United Kingdom\n"
WORKBOOK = cases.workbook([["536365", "85123A", "WHITE HEART", 6, datetime(2010, 12, 1, 8, 26), 2.55, 17850, "United Kingdom"]])
SHEET, TEXTS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"
SEED = 20101201


def changed(member: str, pattern: bytes, replacement: bytes) -> bytes:
    members = cases.members_of(WORKBOOK)
    xml = re.sub(pattern, lambda _: replacement, members[member])
    assert xml != members[member], "the library writes workbooks in another way now: change the pattern"
    return cases.zipped({**members, member: xml})


def one_long_text_in_every_row() -> bytes:
    """A text of a megabyte is packed to a kilobyte, and every row refers to it."""
    members = cases.members_of(WORKBOOK)
    [row] = re.findall(rb'<row r="2".*?</row>', members[SHEET])
    rows = (re.sub(rb'(r="[A-H]?)2"', rb'\g<1>%d"' % number, row) for number in range(2, 10_000))
    return cases.zipped(
        {**members, SHEET: members[SHEET].replace(row, b"".join(rows)), TEXTS: members[TEXTS].replace(b"WHITE HEART", b"A" * MEGABYTE)}
    )


def parquet_of(text: str, line_count: int) -> bytes:
    values = ["536365", "85123A", text, 6, datetime(2010, 12, 1, 8, 26), 2.55, 17850, "United Kingdom"]
    columns = [pa.DictionaryArray.from_arrays(pa.array([0] * line_count, pa.int32()), pa.array([value])) for value in values]
    buffer = io.BytesIO()
    parquet.write_table(pa.table(dict(zip(cases.HEADER, columns, strict=True))), buffer, compression="zstd")
    return buffer.getvalue()


def parquet_of_nulls(line_count: int) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table({name: pa.nulls(line_count, pa.string()) for name in cases.HEADER}), buffer)
    return buffer.getvalue()


def text(header: str, *lines: str) -> bytes:
    return (header + "".join(lines)).encode()


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a cell far below.xlsx": (lambda: changed(SHEET, rb'<c r="B2"', b'<c r="AZ9999999"'), "of memory, or broke the library"),
    "a far cell in single quotes.xlsx": (lambda: changed(SHEET, rb'<c r="B2"', b"<c r='XFD1048576'"), "of memory, or broke the library"),
    "short lines.csv": (lambda: text(HEADER, LINE, "x\n" * 4_000_000), "have 1.0 fields on average, and the header has 8"),
    "packed short lines.csv.gz": (lambda: gzip.compress(text(HEADER, LINE, "1\n" * 30_000_000), 1), "holds 30,000,002 lines"),
    "very many columns.csv": (lambda: text(HEADER.replace("\n", ",x" * MOST_COLUMNS + "\n"), LINE), "There are 1,008 columns"),
    "a header without end.csv": (lambda: text(HEADER.replace("\n", "x" * 10 * MEGABYTE + "\n"), LINE), "so it is no header"),
    "a long text.parquet": (lambda: parquet_of("W" * MEGABYTE, 100_000), "unpacks to more than"),
    "very many equal lines.parquet": (lambda: parquet_of_nulls(MOST_LINES + 1), "holds 10,000,001 lines"),
}


@pytest.fixture(scope="module")
def bombed(tmp_path_factory: pytest.TempPathFactory) -> bounded.Landed:
    """All bombs landed at once, with a good file, in a process of 6 GB."""
    folder = tmp_path_factory.mktemp("bombs")
    (folder / "good.csv").write_text(HEADER + LINE)
    (folder / "with a cell of ten megabytes.csv").write_text(HEADER + LINE.replace("WHITE HEART", "W" * 10 * MEGABYTE))
    for name, (content, _) in BOMBS.items():
        (folder / name).write_bytes(content())
    return bounded.land(folder, gigabytes=6, seconds=300)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_with_its_reason(bomb: str, bombed: bounded.Landed) -> None:
    assert bombed.files[bomb].status == "refused"
    assert BOMBS[bomb][1] in str(bombed.files[bomb].reason)


def test_beside_bombs_other_files_land_and_memory_is_bounded(bombed: bounded.Landed) -> None:
    assert bombed.stored == {"good.csv": 1, "with a cell of ten megabytes.csv": 1}
    assert bombed.peak_bytes < 1_200 * MEGABYTE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A landing folder in which one file is as it should be."""
    path = tmp_path / "landing"
    path.mkdir()
    (path / "good.csv").write_text(HEADER + LINE)
    return path


def landed(folder: Path) -> dict[str, LandedFile]:
    with Warehouse(database=str(folder.parent / "retail.duckdb")).get_connection() as connection:
        report = landing.land(connection, folder, datetime(2026, 1, 1))
    assert next(file for file in report.files if file.file_name == "good.csv").status == "landed", "other files go on"
    return {file.file_name: file for file in report.files}


@pytest.mark.slow
def test_texts_that_multiply_within_a_workbook_are_refused_within_bounds(folder: Path) -> None:
    (folder / "a.xlsx").write_bytes(one_long_text_in_every_row())
    done = bounded.land(folder, gigabytes=6, seconds=300)
    assert done.files["a.xlsx"].status == "refused"
    assert done.files["good.csv"].status == "landed"


def test_the_reader_starts_anew_after_a_file_that_killed_it_and_ends_with_the_block() -> None:
    with SafeReader() as reader:
        assert reader.read("a.xlsx", WORKBOOK).lines.height == 1
        first = reader._process
        with pytest.raises(RefusedFileError, match="broke the library"):
            reader.read("b.xlsx", BOMBS["a cell far below.xlsx"][0]())
        assert reader.read("c.xlsx", WORKBOOK).lines.height == 1
        last = reader._process
        assert first is not None
        assert last is not None
        assert (first.poll(), last.poll()) != (None, None), "the first one is gone, and the last one there"
    assert last.poll() == 0


def test_plain_text_needs_no_process_and_kinds_that_are_not_read_are_refused() -> None:
    with SafeReader() as reader:
        assert reader.read("A.CSV", (HEADER + LINE).encode()).lines.height == 1
        with pytest.raises(RefusedFileError, match=r"kind '\.pdf' are not read\. Kinds that are: \.csv"):
            reader.read("a.pdf", b"%PDF")
        assert reader._process is None


def test_many_lines_of_several_sheets_come_back_from_the_process_as_they_were() -> None:
    lines = [["536365", "85123A", "WHITE HEART", number, datetime(2010, 12, 1, 8, 26), 2.55, 17850, "United Kingdom"] for number in range(2_000)]
    archive = cases.zipped({"a.xlsx": cases.workbook(lines), "b.csv": (HEADER + LINE * 150_000).encode()})
    with SafeReader() as reader:
        read = reader.read("a.zip", archive)
    assert [(part.name, part.lines.height) for part in read.parts] == [("a.xlsx", 2_000), ("b.csv", 150_000)]
    assert read.parts[0].lines["quantity"].to_list() == [str(number) for number in range(2_000)]
    assert read.encoding == "utf-8"


@pytest.mark.parametrize(
    "when",
    ["148108-06-11 00:00:00", "9999-12-31 23:59:59", "2101-01-04 08:26:00", "1970-01-01 00:00:00", "2021-01-04 08:26:00"],
    ids=["148108", "9999", "2101 for 2011", "1970", "ten years off"],
)
def test_a_date_that_cannot_be_meant_makes_no_month(folder: Path, when: str) -> None:
    (folder / "a.csv").write_text(HEADER + LINE * 3 + LINE.replace("2010-12-01 08:26:00", when))
    found = landed(folder)["a.csv"]
    assert (found.status, found.line_count, found.months) == ("landed", 4, (date(2010, 12, 1),))


def test_a_timestamp_beyond_all_years_in_parquet_is_no_date(folder: Path) -> None:
    when = pl.Series([0, 2**62], dtype=pl.Int64).cast(pl.Datetime("us"))
    lines = pl.DataFrame({name: ["1", "1"] for name in cases.HEADER}).with_columns(InvoiceDate=when)
    (folder / "a.parquet").write_bytes(cases.parquet(lines))
    assert "Most dates of the column InvoiceDate cannot be read" in str(landed(folder)["a.parquet"].reason)


@pytest.mark.parametrize(
    ("body", "line_nos"),
    [
        (LINE + "\n\n" + LINE, [2, 5]),
        ("\n" + LINE, [3]),
        (LINE + "\n\n\n", [2]),
        (LINE.replace("HEART", "HEA\rRT"), [2, 3]),
        (LINE.replace("HEART", '"HEA\rRT"').replace("WHITE ", ""), [2]),
        (LINE + ",,,,,,,\n" + LINE, [2, 3, 4]),
    ],
    ids=["blank lines", "a blank line first", "blank lines at the end", "a carriage return", "a quoted one", "separators alone"],
)
def test_lines_are_numbered_as_an_editor_does_and_blank_ones_do_not_count(folder: Path, body: str, line_nos: list[int]) -> None:
    content = (HEADER + body).encode()
    with SafeReader() as reader:
        assert reader.read("a.csv", content).lines["line_no"].to_list() == line_nos
    assert counting.line_count("a.csv", content) == len(line_nos)


@pytest.mark.parametrize("line", [2, 30], ids=["first line", "later"])
def test_a_quotation_mark_that_is_never_closed_swallows_no_line(folder: Path, line: int) -> None:
    lines = [LINE] * 40
    lines[line - 2] = LINE.replace("WHITE HEART", '"WHITE HEART')
    (folder / "a.csv").write_text(HEADER + "".join(lines))
    found = landed(folder)["a.csv"]
    assert found.status == "refused"
    assert f"Line {line} cannot be split into fields" in str(found.reason)


def test_what_cannot_be_opened_is_refused_by_name_and_says_no_path(folder: Path) -> None:
    (folder / "below").mkdir()
    (folder.parent / "outside.csv").write_text(HEADER + LINE.replace("536365", "999999"))
    (folder / "out.csv").symlink_to(folder.parent / "outside.csv")
    (folder / "loop.csv").symlink_to("loop.csv")
    (folder / "folder.csv").symlink_to("below")
    (folder / "inside.csv").symlink_to("good.csv")
    (folder / "nowhere.csv").symlink_to("missing")
    (folder / "directory.csv").mkdir()
    os.mkfifo(folder / "pipe.csv")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.csv")).write_text(HEADER + LINE.replace("536365", "888888"))
    found = landed(folder)
    assert {name: file.status for name, file in found.items()} == {
        "good.csv": "landed", "inside.csv": "duplicate", "out.csv": "refused", "loop.csv": "refused", "folder.csv": "refused",
        "nowhere.csv": "refused", "\\xff.csv": "refused",
    }  # fmt: skip
    assert [file for file in found.values() if str(folder.parent) in str(file.reason)] == []
    assert "name is no UTF-8" in str(found["\\xff.csv"].reason)
    assert "leads out of the landing folder" in str(found["out.csv"].reason)


def test_a_file_that_changes_between_the_look_and_the_read_is_refused_and_read_next_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.csv").write_text(HEADER + LINE.replace("536365", "1"))
    found = landing.find_files

    def look_then_change(folder: Path, seen_at: datetime) -> list[LandedFile]:
        files = found(folder, seen_at)
        (folder / "a.csv").write_text(HEADER + LINE.replace("536365", "2") + LINE.replace("536365", "3"))
        return files

    monkeypatch.setattr(landing, "find_files", look_then_change)
    assert "changed while it was read" in str(landed(folder)["a.csv"].reason)
    monkeypatch.undo()
    assert (landed(folder)["a.csv"].status, landed(folder)["a.csv"].line_count) == ("landed", 2)


def test_the_independent_count_counts_records_and_knows_when_it_cannot() -> None:
    assert counting.line_count("a.csv", (HEADER + LINE * 3).encode("utf-16")) == 3
    assert counting.line_count("a.csv", (HEADER + LINE.replace("WHITE HEART", '"two\nlines"')).encode()) == 1
    assert counting.line_count("a.csv", (HEADER + LINE.replace("WHITE", '"open')).encode()) is None
    assert counting.line_count("a.parquet", parquet_of("x", 7)) == 7
    assert counting.line_count("a.xlsx", WORKBOOK) is None


def test_the_same_seed_makes_the_same_files_and_the_damage_is_real() -> None:
    made = [cases.make(number, SEED) for number in range(40)]
    assert made == [cases.make(number, SEED) for number in range(40)]
    assert len({case.story for case in made}) > 30
    content = random.Random(1).randbytes(200)
    assert {cases.damage(random.Random(seed), content) for seed in range(20)} != {content}


def test_no_damaged_or_hostile_file_breaks_a_landing_or_loses_a_line() -> None:
    counts = fuzz(250, SEED)
    assert [str(finding) for finding in counts.findings] == []
    assert (counts.cases, counts.lines_lost) == (250, 0)
    assert min(counts.landed, counts.refused, counts.lines_counted_twice_over) > 50, "both outcomes are tried"


@pytest.mark.slow
def test_thousands_of_damaged_and_hostile_files_break_nothing_and_lose_no_line() -> None:
    counts = fuzz(5_000, SEED + 1)
    assert [str(finding) for finding in counts.findings] == []
    assert counts.lines_lost == 0
    assert counts.peak_bytes < 1_500 * MEGABYTE
