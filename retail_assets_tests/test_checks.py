"""Each check of raw and core passes on sound data and fails, with figures and names, on the fault it is there for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl
import pytest

from retail_assets import contracts, quality
from retail_assets import months as m
from retail_assets.calendar_checks import ends_early, month_is_complete, trading_days_have_sales
from retail_assets.contracts import CHECK_RESULTS, LANDED_FILES, QUARANTINE, RAW_TRANSACTIONS, RETURNS, TRANSACTIONS, UNPUBLISHED_MONTHS, Table
from retail_assets.defs import core
from retail_assets.warehouse import append, create_statement

JANUARY, FEBRUARY, MARCH = date(2011, 1, 1), date(2011, 2, 1), date(2011, 3, 1)
SATURDAY = 5
BLANKS: dict[str, Any] = {
    "BIGINT": 0,
    "BOOLEAN": False,
    "DATE": MARCH,
    "INTEGER": 1,
    "TIMESTAMP": datetime(2011, 3, 1, 9),
    "VARCHAR": "-",
    "DATE[]": [],
    contracts.MONEY: Decimal(1),
}

Rows = Iterable[dict[str, Any]]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as memory:
        for table in (LANDED_FILES, RAW_TRANSACTIONS, TRANSACTIONS, QUARANTINE, RETURNS, UNPUBLISHED_MONTHS):
            memory.execute(create_statement(table))
        yield memory


def fill(connection: duckdb.DuckDBPyConnection, table: Table, rows: Rows) -> None:
    """Rows of which only the columns named matter; the others are blank."""
    blank = {column.name: None if column.nullable else BLANKS[column.type] for column in table.columns}
    append(connection, table, pl.DataFrame([{**blank, **row} for row in rows], schema=table.polars_schema))


def trading_days(first: date, last: date, lost: Iterable[date] = ()) -> list[date]:
    """Every day but Saturdays and those lost."""
    every = (first + timedelta(days=step) for step in range((last - first).days + 1))
    return [day for day in every if day.weekday() != SATURDAY and day not in set(lost)]


def at_nine(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 9)


def sell(connection: duckdb.DuckDBPyConnection, days: Iterable[date], lines: int = 1) -> None:
    fill(connection, TRANSACTIONS, ({"invoiced_at": at_nine(day), "invoice_month": day.replace(day=1)} for day in days for _ in range(lines)))


def land(connection: duckdb.DuckDBPyConnection, days: Iterable[date]) -> None:
    days = list(days)
    fill(connection, RAW_TRANSACTIONS, ({"parsed_invoiced_at": at_nine(day), "invoice_month": day.replace(day=1)} for day in days))
    fill(connection, LANDED_FILES, [{"status": "landed", "months": sorted({day.replace(day=1) for day in days})}])


def ask(connection: duckdb.DuckDBPyConnection, check: quality.Check, month: date = MARCH) -> quality.Result:
    return quality.run(connection, check, month)


class TestMechanism:
    def test_a_check_that_looks_ahead_cannot_block(self) -> None:
        with pytest.raises(ValueError, match="cannot block the month before"):
            replace(month_is_complete, severity="ERROR")

    def test_only_a_check_by_month_can_be_a_function(self) -> None:
        with pytest.raises(ValueError, match="only a check by month"):
            quality.Check(name="odd", table=TRANSACTIONS, description="-", query=lambda *_: ("", ""), recovery="-", by_month=False)

    def test_a_check_of_a_month_needs_one(self, connection: duckdb.DuckDBPyConnection) -> None:
        with pytest.raises(ValueError, match="check of a month"):
            quality.run(connection, core.values_in_range)

    def test_a_failure_of_a_check_that_is_gone_blocks_nothing(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(create_statement(CHECK_RESULTS))
        renamed = replace(core.values_in_range, name="called_otherwise_before")
        failed = [quality.Result(check, JANUARY, "1", "2") for check in (renamed, core.credits_accounted_for)]
        quality.store(connection, failed)
        assert quality.blocking_failures(connection).height == len(failed)
        quality.store(connection, [quality.Result(core.values_in_range, FEBRUARY, "1", "1")], [core.values_in_range])
        kept = connection.execute("select table_name, check_name, is_passed from quality.check_results order by all").fetchall()
        assert kept == [("core.returns", "credits_accounted_for", False), ("core.transactions", "values_in_range", True)]

    def test_faults_are_counted_and_a_few_short_keys_are_shown(self, connection: duckdb.DuckDBPyConnection) -> None:
        query = quality.rows_at_fault(
            "select 'late' as fault, 'key ' || i as row_key from range(1, 8) as keys (i) union all select 'odd', 'a' || chr(27) || repeat('x', 99)"
        )
        observed = connection.sql(query).fetchall()[0][0]
        assert observed == f"late: 7 (key 1, key 2, key 3, key 4, key 5, ...); odd: 1 (a {'x' * 58})"


class TestValuesInRange:
    def test_sound_lines_pass(self, connection: duckdb.DuckDBPyConnection) -> None:
        fill(connection, TRANSACTIONS, [{}, {"quantity": -1, "amount": Decimal(-1), "is_return": True}])
        assert ask(connection, core.values_in_range).is_passed

    @pytest.mark.parametrize(
        ("values", "fault"),
        [
            ({"quantity": 0, "amount": Decimal(0)}, "quantity is 0"),
            ({"quantity": -1, "amount": Decimal(-1)}, "a sale of negative quantity"),
            ({"is_return": True}, "a return of positive quantity"),
            ({"unit_price": Decimal(0), "amount": Decimal(0)}, "unit_price is not above 0"),
            ({"amount": Decimal("1.01")}, "amount is not quantity * unit_price"),
            ({"invoiced_at": datetime(2011, 4, 1)}, "invoiced_at is in another month"),
        ],
    )
    def test_each_fault_is_named_with_its_lines(self, connection: duckdb.DuckDBPyConnection, values: dict[str, Any], fault: str) -> None:
        fill(connection, TRANSACTIONS, [{}, {"transaction_id": "536365/1", **values}])
        result = ask(connection, core.values_in_range)
        assert result.is_blocking
        assert result.observed == f"{fault}: 1 (536365/1)"


class TestTradingDaysHaveSales:
    def test_a_month_with_all_its_trading_days_passes(self, connection: duckdb.DuckDBPyConnection) -> None:
        sell(connection, trading_days(FEBRUARY, date(2011, 3, 31)))
        assert ask(connection, trading_days_have_sales).observed == "sales on 27 of 27 trading days"

    def test_a_lost_day_is_named(self, connection: duckdb.DuckDBPyConnection) -> None:
        sell(connection, trading_days(FEBRUARY, date(2011, 3, 31), lost=[date(2011, 3, 8), date(2011, 3, 20)]))
        result = ask(connection, trading_days_have_sales)
        assert not result.is_passed
        assert not result.is_blocking
        assert result.observed == "sales on 25 of 27 trading days; 2 missing: Tue 2011-03-08, Sun 2011-03-20"

    def test_credit_notes_are_no_sales(self, connection: duckdb.DuckDBPyConnection) -> None:
        sell(connection, trading_days(FEBRUARY, date(2011, 3, 31), lost=[date(2011, 3, 8)]))
        fill(connection, TRANSACTIONS, [{"invoiced_at": datetime(2011, 3, 8), "is_return": True}])
        assert not ask(connection, trading_days_have_sales).is_passed

    def test_a_closure_around_a_public_holiday_passes_and_is_told(self, connection: duckdb.DuckDBPyConnection) -> None:
        easter = [date(2011, 4, day) for day in (22, 24, 25, 29)]
        sell(connection, trading_days(FEBRUARY, date(2011, 4, 30), lost=easter))
        result = ask(connection, trading_days_have_sales, date(2011, 4, 1))
        assert result.is_passed
        assert "1 closed around a public holiday: Sun 2011-04-24" in result.observed

    def test_later_months_change_nothing(self, connection: duckdb.DuckDBPyConnection) -> None:
        sell(connection, trading_days(FEBRUARY, date(2011, 3, 31)))
        before = ask(connection, trading_days_have_sales, FEBRUARY)
        sell(connection, [date(2011, 4, 2) + timedelta(days=7 * week) for week in range(20)])
        assert ask(connection, trading_days_have_sales, FEBRUARY) == before

    def test_a_month_without_sales_fails(self, connection: duckdb.DuckDBPyConnection) -> None:
        assert ask(connection, trading_days_have_sales).observed == "no sales"


class TestMonthIsComplete:
    def test_the_first_month_may_begin_late_and_the_last_end_early(self, connection: duckdb.DuckDBPyConnection) -> None:
        land(connection, trading_days(date(2011, 1, 17), date(2011, 3, 10)))
        assert [ask(connection, month_is_complete, month).is_passed for month in (JANUARY, FEBRUARY, MARCH)] == [True] * 3
        assert ask(connection, month_is_complete).observed == "lines from 2011-03-01 to 2011-03-10, the last landed day"

    def test_a_month_that_breaks_off_before_another_names_its_missing_days(self, connection: duckdb.DuckDBPyConnection) -> None:
        lost = trading_days(date(2011, 2, 25), date(2011, 2, 28))
        land(connection, trading_days(JANUARY, date(2011, 3, 10), lost=lost))
        result = ask(connection, month_is_complete, FEBRUARY)
        assert not result.is_passed
        assert result.observed == "lines from 2011-02-01 to 2011-02-24; 3 missing: Fri 2011-02-25, Sun 2011-02-27, Mon 2011-02-28"
        assert result.expected == "lines from 2011-02-01 to 2011-02-28"

    def test_a_month_that_begins_late_after_another_fails(self, connection: duckdb.DuckDBPyConnection) -> None:
        land(connection, trading_days(JANUARY, date(2011, 3, 31), lost=[date(2011, 3, 1)]))
        assert "1 missing: Tue 2011-03-01" in ask(connection, month_is_complete).observed

    def test_a_closure_at_the_end_of_a_month_passes(self, connection: duckdb.DuckDBPyConnection) -> None:
        december = trading_days(date(2010, 11, 1), date(2010, 12, 23))
        land(connection, [*december, *trading_days(date(2011, 1, 4), date(2011, 1, 31))])
        result = ask(connection, month_is_complete, date(2010, 12, 1))
        assert result.is_passed
        assert "4 closed around a public holiday: Fri 2010-12-24" in result.observed

    def test_a_month_without_lines_fails(self, connection: duckdb.DuckDBPyConnection) -> None:
        land(connection, [date(2011, 1, 31), date(2011, 3, 1)])
        assert ask(connection, month_is_complete, FEBRUARY).observed == "no line with a date"


class TestEndsEarly:
    @pytest.mark.parametrize(
        ("last", "expected"),
        [
            pytest.param(date(2011, 3, 31), False, id="to the end"),
            pytest.param(date(2011, 3, 29), False, id="two days short may be chance"),
            pytest.param(date(2011, 3, 28), True, id="three days short is not"),
        ],
    )
    def test_a_month_ends_early_where_several_trading_days_are_missing(
        self, connection: duckdb.DuckDBPyConnection, last: date, expected: bool
    ) -> None:
        sell(connection, trading_days(FEBRUARY, last))
        assert ends_early(connection, MARCH) is expected

    def test_a_month_without_sales_ends_early(self, connection: duckdb.DuckDBPyConnection) -> None:
        sell(connection, trading_days(JANUARY, date(2011, 2, 28)))
        assert ends_early(connection, MARCH)

    def test_a_closure_at_the_end_does_not(self, connection: duckdb.DuckDBPyConnection) -> None:
        sell(connection, trading_days(date(2010, 11, 1), date(2010, 12, 23)))
        assert not ends_early(connection, date(2010, 12, 1))


class TestLinesPerTradingDay:
    def sold(self, connection: duckdb.DuckDBPyConnection, *lines_by_month: int) -> quality.Result:
        """The check of the last of some months up to March, each with three days of so many lines."""
        for back, lines in enumerate(reversed(lines_by_month)):
            sell(connection, [m.shift(MARCH, -back) + timedelta(days=step) for step in range(3)], lines)
        return ask(connection, core.lines_per_trading_day_usual)

    @pytest.mark.parametrize("lines", [5, 10, 30])
    def test_from_half_to_three_times_the_usual_passes(self, connection: duckdb.DuckDBPyConnection, lines: int) -> None:
        assert self.sold(connection, 9, 10, 11, lines).observed == "between 0.5 and 3 times the usual"

    @pytest.mark.parametrize(("lines", "told"), [(4, "4 lines per day, 0.40 times the usual 10"), (31, "31 lines per day, 3.10 times the usual 10")])
    def test_less_or_more_fails(self, connection: duckdb.DuckDBPyConnection, lines: int, told: str) -> None:
        result = self.sold(connection, 9, 10, 11, lines)
        assert not result.is_passed
        assert result.observed == told

    def test_a_month_without_lines_fails(self, connection: duckdb.DuckDBPyConnection) -> None:
        assert not self.sold(connection, 9, 10, 11, 0).is_passed

    def test_too_few_months_pass_and_say_so(self, connection: duckdb.DuckDBPyConnection) -> None:
        assert self.sold(connection, 9, 10, 99).expected == "too few months before: 2"


class TestQuarantinedShares:
    def judged(self, connection: duckdb.DuckDBPyConnection, counts: list[int], reason: str = "zero_price", landed: int = 1000) -> quality.Result:
        """The check of March, the last of months with so many of the landed lines in quarantine."""
        for back, count in enumerate(reversed(counts)):
            month = m.shift(MARCH, -back)
            fill(connection, RAW_TRANSACTIONS, ({"invoice_month": month} for _ in range(landed)))
            fill(connection, QUARANTINE, ({"invoice_month": month, "reason": reason} for _ in range(count)))
        return ask(connection, core.quarantined_shares_usual)

    def test_a_share_like_those_before_passes(self, connection: duckdb.DuckDBPyConnection) -> None:
        assert self.judged(connection, [20, 22, 18, 21, 19, 20, 30]).observed == "every share as usual"

    @pytest.mark.parametrize("count", [100, 0])
    def test_a_leap_and_a_drop_fail(self, connection: duckdb.DuckDBPyConnection, count: int) -> None:
        result = self.judged(connection, [30, 32, 28, 31, 29, 30, count])
        assert not result.is_passed
        assert not result.is_blocking
        assert result.observed == f"zero_price {count / 10:.2f}% ({count} lines), usually 3.00%"

    @pytest.mark.parametrize(("count", "is_passed"), [(5, True), (6, False)])
    def test_a_reason_never_seen_before_fails_beyond_a_handful(self, connection: duckdb.DuckDBPyConnection, count: int, is_passed: bool) -> None:
        assert self.judged(connection, [0, 0, 0, 0, 0, 0, count], "unparseable").is_passed is is_passed

    def test_too_few_months_pass_and_say_so(self, connection: duckdb.DuckDBPyConnection) -> None:
        assert self.judged(connection, [0, 0, 0, 0, 0, 500]).observed == "too few months before: 5"

    def test_lines_landed_twice_are_left_to_their_own_check(self, connection: duckdb.DuckDBPyConnection) -> None:
        assert self.judged(connection, [0, 0, 0, 0, 0, 0, 500], "overlapping_file").is_passed


class TestNoLineLandedTwice:
    def test_the_files_that_hold_the_copies_are_named(self, connection: duckdb.DuckDBPyConnection) -> None:
        copies = [{"reason": "overlapping_file", "file_name": name} for name in ("b.csv", "a.csv", "b.csv")]
        fill(connection, QUARANTINE, [*copies, {"reason": "repeated_invoice", "file_name": "II.xlsx"}, {"reason": "zero_price"}])
        result = ask(connection, core.no_line_landed_twice)
        assert not result.is_passed
        assert not result.is_blocking
        assert result.observed == "overlapping_file: 3 (a.csv, b.csv); repeated_invoice: 1 (II.xlsx)"

    def test_other_reasons_pass(self, connection: duckdb.DuckDBPyConnection) -> None:
        fill(connection, QUARANTINE, [{"reason": "zero_price"}])
        assert ask(connection, core.no_line_landed_twice).is_passed


MATCH = {"return_id": "C2", "sale_id": "S1", "sale_month": FEBRUARY, "customer_id": "17850", "returned_at": datetime(2011, 3, 1, 9)}
SALE = {"transaction_id": "S1", "invoice_month": FEBRUARY, "invoiced_at": datetime(2011, 2, 1, 9), "customer_id": "17850"}


class TestReversedSalesExist:
    def test_a_match_with_its_sale_and_an_orphan_pass(self, connection: duckdb.DuckDBPyConnection) -> None:
        fill(connection, TRANSACTIONS, [SALE])
        fill(connection, RETURNS, [MATCH, {"return_id": "C3"}])
        assert ask(connection, core.reversed_sales_exist).is_passed

    @pytest.mark.parametrize(
        ("sale", "fault"),
        [
            ({"transaction_id": "S9"}, "no such line"),
            ({"is_return": True}, "not a sale"),
            ({"customer_id": "12583"}, "sale of another customer or product"),
            ({"stock_code": "HEART"}, "sale of another customer or product"),
            ({"invoice_month": JANUARY}, "sale of another month"),
            ({"invoiced_at": datetime(2011, 3, 1, 10)}, "sold after the return"),
        ],
    )
    def test_any_other_line_is_refused(self, connection: duckdb.DuckDBPyConnection, sale: dict[str, Any], fault: str) -> None:
        fill(connection, TRANSACTIONS, [{**SALE, **sale}])
        fill(connection, RETURNS, [MATCH])
        result = ask(connection, core.reversed_sales_exist)
        assert result.is_blocking
        assert result.observed == f"{fault}: 1 (C2 -> S1)"
