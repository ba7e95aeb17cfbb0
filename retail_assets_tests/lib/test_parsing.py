"""Files of the family become lines: every encoding, separator, date order and number style, with the line numbers of a text editor."""

from datetime import date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.lib.parsing import PARSED_SCHEMA, TEXT_SCHEMA, ParsedFiles, RefusedFileError, parse_lines, read_csv

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
LINE = "536365,85123A,WHITE HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom"


def csv_of(*lines: str, header: str = HEADER, encoding: str = "utf-8") -> bytes:
    return "\n".join([header, *lines, ""]).encode(encoding)


def parsed(*lines: str, header: str = HEADER) -> ParsedFiles:
    return parse_lines(read_csv(csv_of(*lines, header=header)).lines.with_columns(file_id=pl.lit("f")))


def dated(*dates: str) -> ParsedFiles:
    return parsed(*(f"1,A,x,1,{text},1.00,,UK" for text in dates))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "iso-8859-1", "cp1252", "utf-16"])
def test_a_pound_sign_is_read_in_every_encoding(encoding: str) -> None:
    read = read_csv(csv_of("1,A,£100 VOUCHER,1,2010-12-01 08:26:00,1.00,,UK", encoding=encoding))
    assert read.lines["description"].to_list() == ["£100 VOUCHER"]


def test_windows_quotes_tell_windows_1252_from_iso_8859_1() -> None:
    read = read_csv(csv_of("1,A,‘HEART’ £1,1,2010-12-01 08:26:00,1.00,,UK", encoding="cp1252"))
    assert (read.encoding, read.lines["description"][0]) == ("cp1252", "‘HEART’ £1")


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_separators_are_found_from_the_header(separator: str) -> None:
    read = read_csv(csv_of(LINE.replace(",", separator), header=HEADER.replace(",", separator)))
    assert read.lines.row(0) == (2, *LINE.split(","))


def test_column_names_of_online_retail_ii_in_any_order_and_with_extra_columns() -> None:
    lines = parsed(
        "x,UK,A,1,Heart,5,2.50,2010-12-01 08:26:00,12345", header="Extra,Country,StockCode,Invoice,Description,Quantity,Price,InvoiceDate,Customer ID"
    )
    assert lines.lines.select("invoice_no", "unit_price", "customer_id", "country").row(0) == ("1", "2.50", "12345", "UK")


def test_windows_line_ends_leave_no_trace() -> None:
    read = read_csv(csv_of(LINE, LINE).replace(b"\n", b"\r\n"))
    assert read.lines["country"].to_list() == ["United Kingdom", "United Kingdom"]


def test_line_numbers_count_physical_lines_across_quoted_line_breaks_and_blank_lines() -> None:
    read = read_csv(csv_of(LINE, '536366,A,"TWO\nLINES",1,2010-12-01 08:26:00,1.00,,UK', "", LINE))
    assert read.lines["line_no"].to_list() == [2, 3, 6]
    assert read.lines["description"][1] == "TWO\nLINES"


def test_lines_of_the_wrong_length_are_kept_for_quarantine() -> None:
    read = read_csv(csv_of("536365,A,HEART,6", LINE + ",and,more"))
    assert read.lines["invoice_date"].to_list() == [None, "2010-12-01 08:26:00"]
    assert read.lines["country"].to_list() == [None, "United Kingdom,and,more"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b" \n \n", "is empty"),
        (csv_of(), "a header and no line"),
        (b"PK\x03\x04\x00\x00\x00binary", "not text"),
        (b"\xff\xfea", "truncated"),
        (LINE.encode(), "Columns are missing: InvoiceNo, StockCode"),
        (csv_of(LINE, header=HEADER.replace("UnitPrice", "Unit_Cost")), "Columns are missing: UnitPrice.*Found: .*'Unit_Cost'"),
        (csv_of(LINE, header=HEADER.replace("Quantity", "Quantities")), "Quantity \\(is it 'quantities'\\?\\)"),
        (csv_of(LINE, header=HEADER.replace("Country", "Price")), "Columns are missing: Country"),
        (csv_of(LINE + ",1", header=HEADER + ",Price"), "Two columns of the header mean the same: UnitPrice"),
    ],
)
def test_what_cannot_be_read_is_refused_with_reason_and_remedy(content: bytes, complaint: str) -> None:
    with pytest.raises(RefusedFileError, match=complaint):
        read_csv(content)


@pytest.mark.parametrize(
    ("dates", "name", "first"),
    [
        (["2010-12-01 08:26:00", "2010-12-02 09:00"], "year-month-day", datetime(2010, 12, 1, 8, 26)),
        (["12/1/2010 8:26", "12/13/2010 8:26"], "month/day/year", datetime(2010, 12, 1, 8, 26)),
        (["1/12/2010 8:26", "13/12/2010 8:26"], "day/month/year", datetime(2010, 12, 1, 8, 26)),
        (["01.12.2010 08:26", "13.12.2010 08:26"], "day/month/year", datetime(2010, 12, 1, 8, 26)),
    ],
)
def test_the_date_order_is_decided_from_the_whole_column(dates: list[str], name: str, first: datetime) -> None:
    read = dated(*dates)
    assert (read.date_formats, read.lines["parsed_invoiced_at"][0]) == ({"f": name}, first)


def test_dates_that_read_the_same_both_ways_are_not_ambiguous() -> None:
    assert dated("1/1/2011 8:00", "2/2/2011 9:00").lines["parsed_invoiced_at"].to_list() == [datetime(2011, 1, 1, 8), datetime(2011, 2, 2, 9)]


def test_an_ambiguous_file_is_refused_with_the_name_of_the_setting_and_readable_with_it() -> None:
    ambiguous = read_csv(csv_of("1,A,x,1,3/4/2011 8:00,1.00,,UK")).lines.with_columns(file_id=pl.lit("f"))
    assert "Set RETAIL_DATE_ORDER to month_first or day_first" in parse_lines(ambiguous).refused["f"]
    assert parse_lines(ambiguous, "month_first").lines["invoice_month"].to_list() == [date(2011, 3, 1)]
    assert parse_lines(ambiguous, "day_first").lines["invoice_month"].to_list() == [date(2011, 4, 1)]


def test_a_file_of_two_orders_is_not_said_to_have_no_day_above_12() -> None:
    both = read_csv(csv_of(*(f"1,A,x,1,{text},1.00,,UK" for text in ("1/13/2011 8:00", "13/1/2011 8:00")))).lines.with_columns(file_id=pl.lit("f"))
    reason = parse_lines(both).refused["f"]
    assert "as many can be read as month/day/year ('1/13/2011 8:00') as day/month/year ('13/1/2011 8:00')" in reason
    assert "above 12" not in reason
    assert parse_lines(both, "day_first").lines["parsed_invoiced_at"].to_list() == [None, datetime(2011, 1, 13, 8)]


def test_a_file_without_readable_dates_is_refused_and_the_others_go_on() -> None:
    good, bad = (read_csv(csv_of(line)).lines for line in (LINE, LINE.replace("2010-12-01 08:26:00", "yesterday")))
    read = parse_lines(pl.concat([bad.with_columns(file_id=pl.lit("bad")), good.with_columns(file_id=pl.lit("good"))]))
    assert list(read.refused) == ["bad"]
    assert read.lines["file_id"].to_list() == ["good"]


def test_a_line_without_a_readable_date_belongs_to_the_month_of_its_neighbour() -> None:
    read = dated("nonsense", "2010-12-31 09:00:00", "", "2011-01-03 09:00:00", "31/31/2011")
    assert [month.month for month in read.lines["invoice_month"]] == [12, 12, 12, 1, 1]
    assert read.lines["parsed_invoiced_at"].null_count() == 3


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        *[("6", 6), (" -6 ", -6), ("6.0", 6), ("6,00", 6), ("6.5", None), ("", None), ("six", None), ("99999999999", None), ("1e3", None)],
        # These may be thousands to whoever wrote them ...
        *[("1,000", None), ("1.000", None), ("-10.000", None), ("+100,000", None), ("1,000,000", None), ("1,200", None)],
        # ... and these may not.
        *[("1.0000", 1), ("0.000", 0), ("1000.000", 1000), ("012,000", 12)],
    ],
)
def test_quantities(text: str, quantity: int | None) -> None:
    assert parsed(f'1,A,x,"{text}",2010-12-01 08:26:00,1.00,,UK').lines["parsed_quantity"][0] == quantity


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("2.55", "2.55"),
        ("0.001", "0.001"),
        ("-11062.06", "-11062.06"),
        ("3", "3"),
        (".5", "0.5"),
        ("2.55000", "2.55"),
        ("0.00001", None),
        ("abc", None),
        ("1e5", None),
    ],
)
def test_prices_are_exact_or_none(text: str, price: str | None) -> None:
    assert parsed(f"1,A,x,1,2010-12-01 08:26:00,{text},,UK").lines["parsed_unit_price"][0] == (None if price is None else Decimal(price))


def test_a_decimal_comma_is_decided_for_the_whole_file() -> None:
    header = HEADER.replace(",", ";")
    commas = parsed("1;A;x;2;2010-12-01 08:26:00;2,55;;UK", "1;A;x;2;2010-12-01 08:26:00;3;;UK", header=header)
    mixed = parsed("1;A;x;2;2010-12-01 08:26:00;2,555;;UK", "1;A;x;2;2010-12-01 08:26:00;3.10;;UK", header=header)
    assert commas.lines["amount"].to_list() == [Decimal("5.10"), Decimal("6")]
    assert mixed.lines["amount"].to_list() == [None, Decimal("6.20")]


@pytest.mark.parametrize(
    ("texts", "prices"),
    [
        # Nothing shows whether 1,000 is a thousand or one: neither is taken for true.
        (("1", "15", "1,000", "2"), ("1", "15", None, "2")),
        (("12,500", "-999,999"), (None, None)),
        # One price that cannot be thousands shows what the commas are.
        (("1,5", "1,000"), ("1.5", "1")),
        (("1,55", "1,000"), ("1.55", "1")),
        (("1,5555", "1,000"), ("1.5555", "1")),
        (("0,125", "1,000"), ("0.125", "1")),
        (("1234,567", "1,000"), ("1234.567", "1")),
    ],
)
def test_a_comma_is_decimal_only_where_a_price_could_not_be_thousands(texts: tuple[str, ...], prices: tuple[str | None, ...]) -> None:
    read = parsed(*(f"1;A;x;2;2010-12-01 08:26:00;{text};;UK" for text in texts), header=HEADER.replace(",", ";"))
    assert read.lines["parsed_unit_price"].to_list() == [None if price is None else Decimal(price) for price in prices]


def test_an_amount_too_large_to_store_is_none_and_stops_nothing() -> None:
    read = parsed("1,A,x,2000000000,2010-12-01 08:26:00,99999999999,,UK", LINE)
    assert read.lines["amount"].to_list() == [None, Decimal("15.30")]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20), min_size=1, max_size=8))
def test_no_line_is_lost_whatever_the_descriptions_hold(descriptions: list[str]) -> None:
    lines = ['1,A,"' + text.replace('"', '""') + '",1,2010-12-01 08:26:00,1.00,,UK' for text in descriptions]
    read = parsed(*lines)
    assert read.lines.height == len(descriptions)
    assert read.lines.schema == {"file_id": pl.String, "invoice_month": pl.Date, **TEXT_SCHEMA, **PARSED_SCHEMA}
    assert read.lines["amount"].to_list() == [Decimal(1)] * len(descriptions)
