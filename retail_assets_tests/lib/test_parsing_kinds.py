"""Workbooks, Parquet files and archives become the same lines as CSV; what cannot be read is refused by name and reason."""

import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import xlsxwriter  # type: ignore[import-untyped]
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from retail_assets.lib import parsing
from retail_assets.lib.parsing import (
    FIELDS,
    READERS,
    ParsedFiles,
    RefusedFileError,
    TextFile,
    parse_lines,
    read_csv,
    read_parquet,
    read_xlsx,
    read_zip,
    unpacking,
)

HEADER = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
HEADER_II = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"]
WHEN = datetime(2010, 12, 1, 8, 26)
ROW = [536365, "85123A", "WHITE HEART", 6, WHEN, 2.55, 17850, "United Kingdom"]
ROW_AS_TEXT = ("536365", "85123A", "WHITE HEART", "6", "2010-12-01 08:26:00", "2.55", "17850", "United Kingdom")
CSV = (",".join(HEADER) + "\n" + ",".join(ROW_AS_TEXT) + "\n").encode()

Cells = Sequence[Sequence[Any]]


def xlsx_of(**sheets: Cells) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_numbers": False, "strings_to_formulas": False}) as workbook:
        as_date = workbook.add_format({"num_format": "d/m/yyyy h:mm"})
        for name, rows in sheets.items():
            sheet = workbook.add_worksheet(name)
            for row_no, row in enumerate(rows):
                for column_no, value in enumerate(row):
                    if isinstance(value, datetime):
                        sheet.write_datetime(row_no, column_no, value, as_date)
                    elif isinstance(value, str):
                        sheet.write_string(row_no, column_no, value)
                    elif value is not None:
                        sheet.write(row_no, column_no, value)
    return buffer.getvalue()


def parquet_of(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def frame_with(**columns: pl.Series | list[Any]) -> pl.DataFrame:
    base = {name: [value] for name, value in zip(HEADER, ROW, strict=True)}
    return pl.DataFrame({**base, **columns})


def texts(read: TextFile) -> list[tuple[str | None, ...]]:
    return read.lines.select(FIELDS).rows()


def parsed(read: TextFile) -> ParsedFiles:
    return parse_lines(read.lines.with_columns(file_id=pl.lit("f")))


def dates_of(*values: object) -> ParsedFiles:
    return parsed(read_xlsx(xlsx_of(S=[HEADER, *([*ROW[:4], value, *ROW[5:]] for value in values)])))


def test_cells_of_a_workbook_read_as_the_text_that_a_csv_would_hold() -> None:
    read = read_xlsx(xlsx_of(Sheet1=[HEADER, ROW, ["C536366", 22423, " TWO  BLANKS ", -1, WHEN, 0.001, None, "EIRE"]]))
    assert texts(read) == [ROW_AS_TEXT, ("C536366", "22423", " TWO  BLANKS ", "-1", "2010-12-01 08:26:00", "0.001", None, "EIRE")]
    assert (read.encoding, parsed(read).date_formats) == (None, {"f": "year-month-day"})


def test_both_sheets_of_online_retail_ii_are_read_and_line_numbers_go_on() -> None:
    sheets: dict[str, Cells] = {"Year 2009-2010": [HEADER_II, ROW, ROW], "empty": [], "Year 2010-2011": [HEADER_II, ROW]}
    read = read_xlsx(xlsx_of(**sheets))
    assert read.lines["line_no"].to_list() == [2, 3, 3 + 2]
    assert [part.name for part in read.parts] == ["sheet 'Year 2009-2010'", "sheet 'Year 2010-2011'"]


def test_line_numbers_are_row_numbers_of_the_sheet_across_empty_rows() -> None:
    assert read_xlsx(xlsx_of(S=[[], [], HEADER, [], ROW, [None, ""], ROW])).lines["line_no"].to_list() == [5, 7]


def test_a_row_with_only_a_note_beside_the_columns_is_kept() -> None:
    assert read_xlsx(xlsx_of(S=[[*HEADER, "Note"], ROW, [None] * 8 + ["total above"]])).lines["line_no"].to_list() == [2, 3]


def test_sheets_may_order_their_columns_each_in_its_own_way() -> None:
    read = read_xlsx(xlsx_of(A=[HEADER, ROW], B=[HEADER[::-1], ROW[::-1]]))
    assert texts(read) == [ROW_AS_TEXT, ROW_AS_TEXT]


@pytest.mark.parametrize("date_order", ["auto", "month_first", "day_first", "year_first"])
def test_dates_of_sheets_are_never_ambiguous_whatever_the_setting(date_order: parsing.DateOrder) -> None:
    lines = read_xlsx(xlsx_of(S=[HEADER, [*ROW[:4], datetime(2011, 3, 4, 8), *ROW[5:]]])).lines.with_columns(file_id=pl.lit("f"))
    assert parse_lines(lines, date_order).lines["parsed_invoiced_at"].to_list() == [datetime(2011, 3, 4, 8)]


@pytest.mark.parametrize(
    ("serials", "times"),
    [
        ([40513.3514], [WHEN]),  # four decimals of a day cannot tell seconds
        ([40513.351388888885, 40513.5], [WHEN, datetime(2010, 12, 1, 12)]),
        ([40513.351400463, 40513], [datetime(2010, 12, 1, 8, 26, 1), datetime(2010, 12, 1)]),
    ],
)
def test_a_column_of_serial_numbers_is_read_as_dates(serials: list[float], times: list[datetime]) -> None:
    read = dates_of(*serials)
    assert (read.date_formats, read.lines["parsed_invoiced_at"].to_list()) == ({"f": "excel serial"}, times)


def test_serial_numbers_in_text_and_in_csv_are_read_too() -> None:
    assert dates_of("40513.3514").date_formats == {"f": "excel serial"}
    assert parsed(read_csv(CSV.replace(b"2010-12-01 08:26:00", b"40513.3514"))).lines["parsed_invoiced_at"].to_list() == [WHEN]


@pytest.mark.parametrize("values", [[17850.0], [99999], [40513, "soon", "later"], [201012]])
def test_numbers_that_are_no_days_of_this_century_are_no_dates(values: list[object]) -> None:
    assert "Most dates of the column InvoiceDate cannot be read" in dates_of(*values).refused["f"]


def test_years_of_two_digits_are_of_this_century() -> None:
    assert parsed(read_csv(CSV.replace(b"2010-12-01 08:26:00", b"12/13/10 8:26"))).lines["parsed_invoiced_at"].to_list() == [
        datetime(2010, 12, 13, 8, 26)
    ]


@pytest.mark.parametrize(
    ("column", "values", "text"),
    [
        ("InvoiceNo", pl.Series([536365], dtype=pl.UInt32), "536365"),
        ("CustomerID", pl.Series([17850.0], dtype=pl.Float64), "17850"),
        ("CustomerID", pl.Series([float("nan")]), None),
        ("CustomerID", pl.Series([None], dtype=pl.Null), None),
        ("CustomerID", ["17850.0"], "17850.0"),
        ("UnitPrice", pl.Series([2.55], dtype=pl.Float32), "2.55"),
        ("UnitPrice", [0.1 + 0.2], "0.3"),
        ("UnitPrice", [float("inf")], "inf"),
        ("UnitPrice", pl.Series([Decimal("2.5500")], dtype=pl.Decimal(18, 4)), "2.55"),
        ("UnitPrice", pl.Series([Decimal(100)], dtype=pl.Decimal(18, 0)), "100"),
        ("InvoiceDate", ["1.12.2010 08:26"], "1.12.2010 08:26"),
        ("InvoiceDate", [date(2010, 12, 1)], "2010-12-01"),
        ("InvoiceDate", [datetime(2010, 12, 1, 8, 26, 0, 500000)], "2010-12-01 08:26:00.500000"),
        ("InvoiceDate", pl.Series([WHEN], dtype=pl.Datetime("ns")), "2010-12-01 08:26:00"),
        ("InvoiceDate", pl.Series([WHEN], dtype=pl.Datetime("ms")), "2010-12-01 08:26:00"),
        ("InvoiceDate", [datetime(2011, 7, 1, 8, 26, tzinfo=ZoneInfo("Europe/London"))], "2011-07-01 08:26:00"),
        ("InvoiceDate", [datetime(2011, 7, 1, 8, 26, tzinfo=UTC)], "2011-07-01 08:26:00"),
        ("Country", pl.Series(["EIRE"], dtype=pl.Categorical), "EIRE"),
        ("Description", pl.Series([b"HEART"]), "HEART"),
        ("Description", [""], None),
    ],
)
def test_native_values_of_parquet_read_as_the_text_that_a_csv_would_hold(column: str, values: pl.Series | list[Any], text: str | None) -> None:
    read = read_parquet(parquet_of(frame_with(**{column: values})))
    assert texts(read)[0][HEADER.index(column)] == text
    assert read.lines["line_no"].to_list() == [2]


def test_fractions_of_a_second_are_read() -> None:
    read = read_parquet(parquet_of(frame_with(InvoiceDate=[datetime(2010, 12, 1, 8, 26, 0, 500000)])))
    assert parsed(read).lines["parsed_invoiced_at"].to_list() == [datetime(2010, 12, 1, 8, 26, 0, 500000)]


@pytest.mark.parametrize("suffix", [".csv.gz", ".tsv.gz", ".txt.gz"])
def test_gzip_is_read_as_what_it_holds(suffix: str) -> None:
    # Two compressed streams in one file are one content, as `cat a.gz b.gz` makes them.
    half = len(CSV) // 2
    read = READERS[suffix](gzip.compress(CSV[:half]) + gzip.compress(CSV[half:]))
    assert (texts(read), read.encoding) == ([ROW_AS_TEXT], "utf-8")


def test_an_archive_is_read_member_by_member_with_line_numbers_that_go_on() -> None:
    members = {"__MACOSX/._a.csv": b"junk", "../../a.csv": CSV, "below/b.xlsx": xlsx_of(S=[HEADER, ROW]), "c.parquet": parquet_of(frame_with())}
    read = read_zip(zip_of(members))
    assert texts(read) == [ROW_AS_TEXT] * 3
    assert read.lines["line_no"].to_list() == [2, 4, 6]
    assert [part.name for part in read.parts] == ["../../a.csv", "below/b.xlsx", "c.parquet"]


def encrypted(archive: bytes) -> bytes:
    marked = bytearray(archive)
    marked[archive.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(marked)


def with_stated_size(archive: bytes, size: int) -> bytes:
    lying = bytearray(archive)
    at = archive.rindex(b"PK\x01\x02") + 24
    lying[at : at + 4] = size.to_bytes(4, "little")
    return bytes(lying)


WORKBOOK = xlsx_of(S=[HEADER, ROW])
BOMB = bytes(unpacking.ALWAYS_ALLOWED_BYTES + 1)
FAR_CELL: list[Any] = [None] * 16_383 + ["x"]


@pytest.mark.parametrize(
    ("reader", "content", "complaint"),
    [
        (read_xlsx, b"", "is empty"),
        (read_xlsx, WORKBOOK[: len(WORKBOOK) // 2], "damaged or truncated"),
        (read_xlsx, WORKBOOK[:-10], "damaged or truncated"),
        (read_xlsx, CSV, "not an xlsx workbook as its name says: it is text. Rename it to .csv"),
        (read_xlsx, b"\x01\x00\x02", "not an xlsx workbook, and of no kind that is read"),
        (read_xlsx, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "Save it as .xlsx without a password"),
        (read_xlsx, xlsx_of(S=[]), "No sheet of the workbook holds a line"),
        (read_xlsx, xlsx_of(S=[HEADER]), "No sheet of the workbook holds a line"),
        (read_xlsx, xlsx_of(S=[HEADER, ROW], Notes=[["call Anna"]]), "Sheet 'Notes' has no header.*'call Anna'.*Delete the sheet"),
        (read_xlsx, xlsx_of(S=[ROW]), "Sheet 'S' has no header"),
        (read_xlsx, xlsx_of(S=[[*HEADER[:5], "Unit_Prices", *HEADER[6:]], ROW]), "Sheet 'S': Columns are missing: UnitPrice .is it 'unit_prices'"),
        (read_xlsx, xlsx_of(S=[HEADER, ROW, FAR_CELL]), "far to the right"),
        (read_xlsx, zip_of({"[Content_Types].xml": b"", "xl/workbook.xml": BOMB}), "unpacks to more than"),
        (read_xlsx, zip_of({"[Content_Types].xml": b"<", "xl/workbook.xml": b"<rubbish"}), "workbook cannot be read"),
        (read_xlsx, zip_of({"xl/workbook.xml": b"", "xl/sharedStrings.xml": b'<sst count="999999999999">'}), "says it holds more texts"),
        (read_csv, WORKBOOK[:-10], "it is a damaged zip archive or workbook. Land it again"),
        (read_csv, WORKBOOK, "not text as its name says: it is an xlsx workbook. Rename it to .xlsx"),
        (read_csv, parquet_of(frame_with()), "it is a Parquet file. Rename it to .parquet"),
        (read_csv, gzip.compress(CSV), "it is gzip data. Rename it to end in .gz"),
        (read_parquet, CSV, "not a Parquet file as its name says: it is text"),
        (read_parquet, parquet_of(frame_with())[:-100], "damaged"),
        (read_parquet, parquet_of(frame_with().clear()), "columns and no line"),
        (read_parquet, parquet_of(frame_with().rename({"Country": "Land"})), "Columns are missing: Country"),
        (read_parquet, parquet_of(frame_with(Quantity=[[1, 2]])), "column of quantity holds values of type List"),
        (read_parquet, parquet_of(frame_with(Description=pl.Series([b"\xff\xfe"]))), "damaged or cannot be read"),
        (READERS[".csv.gz"], CSV, "not gzip data as its name says: it is text"),
        (READERS[".csv.gz"], gzip.compress(CSV)[:-12], "damaged or truncated"),
        (READERS[".csv.gz"], gzip.compress(BOMB), "unpacks to more than"),
        (READERS[".csv.gz"], gzip.compress(gzip.compress(CSV)), "it is gzip data"),
        (read_zip, CSV, "not a zip archive as its name says: it is text"),
        (read_zip, WORKBOOK, "it is an xlsx workbook. Rename it to .xlsx"),
        (read_zip, zip_of({}), "holds no file"),
        (read_zip, zip_of({"a.csv": CSV})[:-30], "damaged or truncated"),
        (read_zip, encrypted(zip_of({"a.csv": CSV})), "protected by a password"),
        (read_zip, zip_of({"a.csv": BOMB}), "Member 'a.csv' of the archive: The file unpacks to more than"),
        (read_zip, with_stated_size(zip_of({"a.csv": BOMB}), 100), "unpacks to more than"),
        (read_zip, zip_of({"a.csv": CSV, "b.zip": zip_of({"c.csv": CSV})}), "Member 'b.zip' of the archive: Archives within archives"),
        (read_zip, zip_of({"a.csv": CSV, "b.pdf": b"%PDF"}), "Member 'b.pdf' of the archive: Files of this kind"),
        (read_zip, zip_of({"a.csv": CSV, "b.csv": b"a,b\n1,2\n"}), "Member 'b.csv' of the archive: Columns are missing"),
    ],
)
def test_what_cannot_be_read_is_refused_with_reason_and_remedy(reader: Callable[[bytes], TextFile], content: bytes, complaint: str) -> None:
    with pytest.raises(RefusedFileError, match=complaint):
        reader(content)


def test_a_bomb_of_many_members_is_refused_by_their_sum() -> None:
    piece = CSV.replace(b"HEART", b"T" * (unpacking.ALWAYS_ALLOWED_BYTES // 2))
    with pytest.raises(RefusedFileError, match=r"Member 'b\.csv'"):
        read_zip(zip_of({"a.csv": piece, "b.csv": piece}))


_TEXT = st.text(st.characters(codec="cp1252", exclude_categories=("Cc", "Zl", "Zp")), max_size=12).map(str.strip)
_LINES = st.lists(
    st.fixed_dictionaries(
        {
            "InvoiceNo": st.integers(500_000, 600_000).map(str) | st.integers(500_000, 600_000).map("C{}".format),
            "StockCode": st.sampled_from(["85123A", "22423", "POST"]),
            "Description": _TEXT.filter(bool),
            "Quantity": st.integers(-(10**6), 10**6),
            "InvoiceDate": st.datetimes(datetime(2009, 1, 1), datetime(2018, 1, 1)).map(lambda time: time.replace(microsecond=0)),
            "UnitPrice": st.integers(-(10**8), 10**8).map(lambda tenths_of_pence: tenths_of_pence / 1000),
            "CustomerID": st.none() | st.integers(12_000, 19_000),
            "Country": st.sampled_from(["United Kingdom", "EIRE"]),
        }
    ),
    min_size=1,
    max_size=6,
)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_LINES, st.sampled_from([",", ";", "\t"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
def test_the_same_lines_read_the_same_from_every_kind_of_file(lines: list[dict[str, Any]], separator: str, encoding: str) -> None:
    frame = pl.DataFrame(lines, schema_overrides={"CustomerID": pl.Int64})
    csv = frame.with_columns(pl.col("InvoiceDate").dt.to_string("%Y-%m-%d %H:%M:%S")).write_csv(separator=separator, float_scientific=False)
    # What is UTF-8 is read as that, whatever was meant: `Â¡` of cp1252 has the bytes of `¡`.
    assume(encoding != "cp1252" or csv.isascii() or not _is_utf8(csv.encode(encoding)))
    readings = [
        parsed(read_csv(csv.encode(encoding))).lines,
        parsed(read_xlsx(xlsx_of(S=[frame.columns, *frame.rows()]))).lines,
        parsed(read_parquet(parquet_of(frame))).lines,
    ]
    values = ["line_no", "invoice_no", "stock_code", "description", "customer_id", "country", *parsing.PARSED_SCHEMA]
    expected = frame.select(
        pl.col("Quantity").cast(pl.Int32), pl.col("UnitPrice").round(3).cast(pl.String).cast(pl.Decimal(18, 4)), pl.col("InvoiceDate")
    )
    for read in readings:
        assert read.select(values).equals(readings[0].select(values))
        assert read.select("parsed_quantity", "parsed_unit_price", "parsed_invoiced_at").rows() == expected.rows()


_STARTS = (
    b"",
    CSV,
    CSV[:90],
    b"PAR1",
    b"\x1f\x8b\x08\x00",
    b"PK\x03\x04",
    WORKBOOK,
    parquet_of(frame_with()),
    gzip.compress(CSV),
    zip_of({"a.csv": CSV}),
)


def lines_or_refusal(reader: Callable[[bytes], TextFile], content: bytes) -> TextFile | str:
    try:
        return reader(content)
    except RefusedFileError as error:
        return str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(READERS)), st.sampled_from(_STARTS), st.binary(max_size=60), st.floats(0, 1))
def test_any_bytes_under_any_suffix_give_lines_or_a_refusal(suffix: str, start: bytes, noise: bytes, where: float) -> None:
    at = int(where * len(start))
    for content in (start + noise, start[:at] + noise, start[:at] + noise + start[at + len(noise) :]):
        read = lines_or_refusal(READERS[suffix], content)
        if isinstance(read, str):
            assert len(read) > 20
        else:
            values = parsed(read)
            assert values.refused or values.lines.height == read.lines.height > 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_xml_within_a_workbook_gives_lines_or_a_refusal(data: st.DataObject) -> None:
    with zipfile.ZipFile(io.BytesIO(WORKBOOK)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = data.draw(st.sampled_from(sorted(members)))
    at = data.draw(st.integers(0, len(members[name])))
    members[name] = members[name][:at] + data.draw(st.binary(max_size=10)) + members[name][at + data.draw(st.integers(0, 10)) :]
    read = lines_or_refusal(read_xlsx, zip_of(members))
    assert isinstance(read, str) or read.lines.height > 0
