"""A month in parts: where it may be cut, and that working on the parts gives what working on the whole does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets import month_parts
from retail_assets.contracts import PRODUCT_NAMES, RAW_TRANSACTIONS, RETURNS, TRANSACTIONS
from retail_assets.defs.core import cleaned_parts
from retail_assets.lib import cleaning, rfm
from retail_assets.lib.cleaning import in_parts, invoice_days, part_starts
from retail_assets.seeds import read_seed
from retail_assets.warehouse import Warehouse, append, replace_month
from retail_assets_tests.lib.test_cleaning import Line, raw_lines

DECEMBER = date(2010, 12, 1)
UK = "United Kingdom"


def on(day: int, hour: int = 9) -> str:
    return f"2010-12-{day:02} {hour:02}:00:00"


LATE_NIGHT: list[tuple[str, list[Line]]] = [
    (
        "a",
        [
            ("1", "85123A", "HEART", "6", on(1), "2.55", "17850", UK),
            # Keyed over midnight, its number spelt in two ways: the days must stay together.
            ("c2", "85123A", "HEART", "-1", on(1, 23), "2.55", "17850", UK),
            ("C2 ", "71053", "LANTERN", "-1", on(2, 0), "3.39", "17850", UK),
            # A web-shop batch that only the line without a date gives away.
            ("3", "85123A", "HEART", "1", on(3), "2.55", None, UK),
            ("3", "DOT", "DOTCOM POSTAGE", "1", "soon", "50", None, UK),
            # The same day twice in one file, with an invoice of two lines to say so.
            ("4", "85123A", "HEART", "1", on(4), "2.55", "12583", "France"),
            ("4", "71053", "LANTERN", "1", on(4), "3.39", "12583", "France"),
            ("5", "85123A", "HEART", "1", on(4), "2.55", "12583", "France"),
            ("4", "85123A", "HEART", "1", on(4), "2.55", "12583", "France"),
            ("4", "71053", "LANTERN", "1", on(4), "3.39", "12583", "France"),
            ("5", "85123A", "HEART", "1", on(4), "2.55", "12583", "France"),
            (" ", "85123A", "HEART", "1", on(5), "2.55", "12583", "France"),
        ],
    ),
    # Another file holds an invoice of the first again.
    ("b", [("1", "85123A", "HEART", "6", on(1), "2.55", "17850", UK), ("6", "22423", "check", "3", on(6), "0", None, UK)]),
]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(database=str(tmp_path_factory.mktemp("parts") / "retail.duckdb")).get_connection() as opened:
        yield opened


def landed(connection: duckdb.DuckDBPyConnection, files: list[tuple[str, list[Line]]]) -> pl.DataFrame:
    """The lines of the files, stored as December."""
    raw = pl.concat(raw_lines(lines, file_id) for file_id, lines in files if lines)
    replace_month(connection, RAW_TRANSACTIONS, DECEMBER, raw)
    replace_month(connection, PRODUCT_NAMES, DECEMBER, cleaning.product_names(raw))
    return raw


def cleaned(connection: duckdb.DuckDBPyConnection, duplicates: cleaning.Duplicates, size: int) -> tuple[int, pl.DataFrame, pl.DataFrame]:
    """Number of parts, and the transactions and quarantine of all of them."""
    parts = list(cleaned_parts(connection, DECEMBER, duplicates, size))
    transactions, quarantine = pl.concat(part.transactions for part in parts), pl.concat(part.quarantine for part in parts)
    return len(parts), transactions.sort("transaction_id"), quarantine.sort("file_id", "line_no")


def cleaned_in_memory(raw: pl.DataFrame, duplicates: cleaning.Duplicates, size: int) -> tuple[int, pl.DataFrame, pl.DataFrame]:
    """As `cleaned`, with the parts cut from a frame, as the workers of Spark do."""
    day = pl.col("parsed_invoiced_at").dt.date()
    spans = invoice_days(raw.select("invoice_no", first_day=day, last_day=day, line_count=pl.lit(1, pl.Int64)))
    parts = in_parts(raw, part_starts(spans, size)).partition_by("part", as_dict=True, include_key=False)
    seeds = read_seed("non_product_codes"), read_seed("country_names")
    names = cleaning.product_names(raw)
    done = [cleaning.clean(part, names, *seeds, duplicates=duplicates, is_first_part=number == 0) for (number,), part in parts.items()]
    assert_frame_equal(cleaning.added_up(cleaning.product_names(part) for part in parts.values()), names)
    transactions, quarantine = pl.concat(part.transactions for part in done), pl.concat(part.quarantine for part in done)
    return len(done), transactions.sort("transaction_id"), quarantine.sort("file_id", "line_no")


def assert_parts_equal_the_whole(
    connection: duckdb.DuckDBPyConnection, files: list[tuple[str, list[Line]]], duplicates: cleaning.Duplicates, size: int = 1
) -> int:
    raw = landed(connection, files)
    _, *whole = cleaned(connection, duplicates, raw.height)
    part_count, *from_warehouse = cleaned(connection, duplicates, size)
    _, *from_memory = cleaned_in_memory(raw, duplicates, size)
    for of_parts in (from_warehouse, from_memory):
        for in_one, at_once in zip(of_parts, whole, strict=True):
            assert_frame_equal(in_one, at_once)
    names = [cleaning.product_names(part) for part in month_parts.whole_invoices(connection, RAW_TRANSACTIONS, DECEMBER, size)]
    assert_frame_equal(cleaning.added_up(names), cleaning.product_names(raw))
    return part_count


def test_a_month_is_cut_between_days_that_no_invoice_spans(connection: duckdb.DuckDBPyConnection) -> None:
    # Days 1 and 2 share an invoice; 3, 4 and 6 stand alone, and the line without a number goes with the days before the next cut.
    assert assert_parts_equal_the_whole(connection, LATE_NIGHT, "keep") == 4
    assert assert_parts_equal_the_whole(connection, LATE_NIGHT, "quarantine") == 4


def test_a_batch_that_only_a_line_without_a_date_gives_away_is_one_in_its_part_too(connection: duckdb.DuckDBPyConnection) -> None:
    landed(connection, LATE_NIGHT)
    _, transactions, quarantine = cleaned(connection, "keep", 1)
    assert transactions.filter("is_batch_order")["invoice_no"].to_list() == ["3"]
    assert quarantine.filter(pl.col("parsed_invoiced_at").is_null()).height == 1


def test_a_small_month_is_one_part_and_so_is_an_empty_one(connection: duckdb.DuckDBPyConnection) -> None:
    raw = landed(connection, LATE_NIGHT)
    assert [part.height for part in month_parts.whole_invoices(connection, RAW_TRANSACTIONS, DECEMBER)] == [raw.height]
    assert [part.height for part in month_parts.whole_invoices(connection, RAW_TRANSACTIONS, date(2011, 1, 1))] == [0]


def test_lines_of_which_none_has_a_date_are_one_part(connection: duckdb.DuckDBPyConnection) -> None:
    landed(connection, [("a", [("1", "85123A", "HEART", "6", "soon", "2.55", "17850", UK)] * 3)])
    assert [part.height for part in month_parts.whole_invoices(connection, RAW_TRANSACTIONS, DECEMBER, 1)] == [3]


def test_days_are_joined_where_an_invoice_spans_them() -> None:
    day = [date(2010, 12, number) for number in range(1, 8)]
    invoices = pl.DataFrame(
        {
            "invoice_no": ["1", "2", " 2", "3", None, "4"],
            "first_day": [day[0], day[1], day[3], day[2], day[0], day[4]],
            "last_day": [day[0], day[1], day[3], day[2], day[6], day[6]],
            "line_count": [10, 1, 2, 4, 99, 7],
        }
    )
    spans = invoice_days(invoices)
    assert spans.sort("invoice").rows() == [
        ("1", day[0], day[0], 10),
        ("2", day[1], day[3], 3),
        ("3", day[2], day[2], 4),
        ("4", day[4], day[6], 7),
    ]
    # Invoice 2 is there on days 2 and 4, so that day 3 goes with them; the lines without a number join nothing.
    assert part_starts(spans, 1) == [day[1], day[4]]
    # 10 and 7 lines are one part; 17 and 7 are too many.
    assert part_starts(spans, 17) == [day[4]]
    assert part_starts(spans, 24) == []
    assert part_starts(spans.clear(), 1) == []


def test_lines_without_a_date_are_in_every_part() -> None:
    lines = raw_lines([("1", "85123A", "HEART", "1", when, "2.55", None, UK) for when in (on(1), on(2), "soon", on(3))])
    numbered = in_parts(lines, [date(2010, 12, 2), date(2010, 12, 3)]).select("line_no", "part")
    assert numbered.rows() == [(2, 0), (3, 1), (4, 0), (4, 1), (4, 2), (5, 2)]
    assert in_parts(lines, [])["part"].to_list() == [0, 0, 0, 0]


LINES = st.lists(
    st.builds(
        lambda invoice, code, quantity, day, customer: (invoice, code, "HEART", quantity, on(day) if day else "soon", "2.55", customer, UK),
        st.sampled_from(["1", "2", "2 ", "C3", "4", "5", None]),
        st.sampled_from(["85123A", "71053", "DOT"]),
        st.sampled_from(["1", "2", "-1"]),
        st.sampled_from([0, 1, 2, 3, 4]),
        st.sampled_from(["17850", None]),
    ),
    max_size=25,
)


@given(first=LINES, second=LINES, is_doubled=st.booleans(), duplicates=st.sampled_from(["keep", "quarantine"]), size=st.integers(1, 20))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cleaning_in_parts_is_cleaning(
    connection: duckdb.DuckDBPyConnection, first: list[Line], second: list[Line], is_doubled: bool, duplicates: cleaning.Duplicates, size: int
) -> None:
    files = [("a", first + first if is_doubled else first), ("b", second)]
    if first or second:
        assert_parts_equal_the_whole(connection, files, duplicates, size)


def test_the_roll_up_of_customers_in_parts_is_the_roll_up(tmp_path: Path) -> None:
    customers = [None, *(str(number) for number in range(12_346, 12_376))]
    lines = pl.DataFrame(
        [
            {
                "transaction_id": f"{number}/A/1",
                "invoice_no": str(number // 2),
                "line_no": number % 2 + 1,
                "invoiced_at": datetime(2010, 12, 1 + number % 20, 9),
                "invoice_month": DECEMBER,
                "stock_code": f"P{number % 7}",
                "description": "HEART",
                "quantity": 1,
                "unit_price": 1,
                "amount": 1,
                "customer_id": customers[number // 2 % len(customers)],
                "country": UK,
                "is_return": False,
                "is_batch_order": False,
            }
            for number in range(400)
        ],
        schema_overrides={name: dtype for name, dtype in TRANSACTIONS.polars_schema.items() if not dtype.is_decimal()},
    ).cast(TRANSACTIONS.polars_schema)
    with Warehouse(database=str(tmp_path / "retail.duckdb")).get_connection() as opened:
        append(opened, TRANSACTIONS, lines)
        columns = tuple(TRANSACTIONS.polars_schema.names())
        assert month_parts.part_count(opened, TRANSACTIONS, DECEMBER, 100) == 4
        parts = [month_parts.by_customer(opened, TRANSACTIONS, DECEMBER, columns, part, 4) for part in range(4)]
    assert min(part.height for part in parts) > 0
    no_returns = pl.DataFrame(schema=RETURNS.polars_schema)
    rolled_up = pl.concat(rfm.customer_months(part, no_returns) for part in parts)
    assert_frame_equal(rolled_up.sort("customer_id"), rfm.customer_months(lines, no_returns))
