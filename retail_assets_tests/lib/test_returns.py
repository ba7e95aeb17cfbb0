"""Which sales a credit note takes back, and that no unit is taken back twice."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.contracts import RETURNS, TRANSACTIONS
from retail_assets.lib.returns import RETURN_WINDOW_DAYS, match_returns

if TYPE_CHECKING:
    from collections.abc import Sequence

Line = tuple[str, int, str | None, str, int, str]
"""Id, day counted from 2011-01-01, customer, product, quantity, price."""

DATA_START = date(2011, 1, 1)
NOTHING_CONSUMED = pl.DataFrame(schema={"sale_id": pl.String, "quantity": pl.Int32})

# One customer buys hearts three times and gives back more than the last purchase held.
OVER_SEVERAL_SALES: list[Line] = [
    ("s1", 0, "17850", "HEART", 10, "2.00"),
    ("s2", 1, "17850", "HEART", 4, "3.00"),
    # Same day as the credit note: at or before it, so it can be taken back.
    ("s3", 2, "17850", "HEART", 2, "2.50"),
    # Another product and another customer: never touched.
    ("s4", 2, "17850", "LANTERN", 99, "2.50"),
    ("s5", 2, "12583", "HEART", 99, "2.50"),
    ("c1", 2, "17850", "HEART", -7, "2.25"),
    # After the credit note: cannot be what came back.
    ("s6", 3, "17850", "HEART", 99, "2.50"),
]


def lines(rows: Sequence[Line]) -> pl.DataFrame:
    """Lines as in TRANSACTIONS."""
    columns = ["transaction_id", "day", "customer_id", "stock_code", "quantity", "unit_price"]
    schema = dict(zip(columns, [pl.String, pl.Int32, pl.String, pl.String, pl.Int32, pl.String], strict=True))
    invoiced_at = pl.lit(datetime(2011, 1, 1, 9)) + pl.duration(days="day")
    unit_price = pl.col("unit_price").cast(pl.Decimal(18, 4))
    return (
        pl.DataFrame(rows, schema, orient="row")
        .with_columns(
            invoiced_at=invoiced_at,
            invoice_month=invoiced_at.dt.date().dt.month_start(),
            invoice_no="transaction_id",
            line_no=pl.lit(1),
            description="stock_code",
            unit_price=unit_price,
            amount=pl.col("quantity") * unit_price,
            country=pl.lit("United Kingdom"),
            is_return=pl.col("quantity") < 0,
            is_batch_order=pl.lit(value=False),
        )
        .select(TRANSACTIONS.polars_schema.names())
        .cast(TRANSACTIONS.polars_schema)
    )


def matched(rows: Sequence[Line], consumed: pl.DataFrame = NOTHING_CONSUMED) -> pl.DataFrame:
    frame = lines(rows)
    return match_returns(frame.filter("is_return"), frame, consumed, data_start=DATA_START)


def shown(returns: pl.DataFrame) -> list[tuple[object, ...]]:
    return returns.select("return_id", "match_no", "sale_id", "quantity", "match_status").rows()


class TestMatches:
    def test_a_credit_line_takes_back_the_latest_sales_first(self) -> None:
        assert shown(matched(OVER_SEVERAL_SALES)) == [
            ("c1", 1, "s3", 2, "full"),
            ("c1", 2, "s2", 4, "full"),
            ("c1", 3, "s1", 1, "full"),
        ]

    def test_the_amount_is_at_the_price_of_the_credit_note(self) -> None:
        assert matched(OVER_SEVERAL_SALES).get_column("amount").to_list() == [Decimal("4.5"), Decimal("9"), Decimal("2.25")]

    def test_what_was_taken_back_is_gone(self) -> None:
        rows: list[Line] = [("s1", 0, "1", "X", 5, "1"), ("c1", 1, "1", "X", -3, "1"), ("c2", 2, "1", "X", -3, "1"), ("c3", 3, "1", "X", -1, "1")]
        assert shown(matched(rows)) == [
            ("c1", 1, "s1", 3, "full"),
            ("c2", 1, "s1", 2, "partial"),
            ("c2", 2, None, 1, "partial"),
            ("c3", 1, None, 1, "orphan"),
        ]

    def test_what_returns_of_earlier_months_took_is_gone_too(self) -> None:
        consumed = pl.DataFrame({"sale_id": ["s2", "s2", "s1"], "quantity": [1, 3, 2]})
        rows: list[Line] = [("s1", 0, "1", "X", 5, "1"), ("s2", 1, "1", "X", 4, "1"), ("c1", 40, "1", "X", -4, "1")]
        assert shown(matched(rows, consumed)) == [("c1", 1, "s1", 3, "partial"), ("c1", 2, None, 1, "partial")]

    def test_an_anonymous_return_matches_no_sale(self) -> None:
        rows: list[Line] = [("s1", 0, None, "X", 5, "1"), ("c1", 1, None, "X", -5, "1")]
        assert shown(matched(rows)) == [("c1", 1, None, 5, "orphan")]

    def test_sales_at_the_same_time_are_taken_in_a_fixed_order(self) -> None:
        rows: list[Line] = [("s2", 0, "1", "X", 1, "1"), ("s1", 0, "1", "X", 1, "1"), ("c1", 0, "1", "X", -1, "1")]
        assert shown(matched(rows)) == shown(matched(rows[::-1])) == [("c1", 1, "s2", 1, "full")]

    def test_both_months_are_told(self) -> None:
        returned = matched([("s1", 0, "1", "X", 1, "1"), ("c1", 40, "1", "X", -1, "1")]).row(0, named=True)
        assert (returned["sale_month"].month, returned["invoice_month"].month) == (1, 2)

    def test_a_month_without_returns_gives_an_empty_table(self) -> None:
        assert matched([("s1", 0, "1", "X", 1, "1")]).schema == matched([]).schema == RETURNS.polars_schema


class TestLeftCensoring:
    def censored(self, rows: Sequence[Line]) -> list[bool]:
        return matched(rows).get_column("is_left_censored").to_list()

    def test_a_credit_within_the_window_may_take_back_a_sale_before_the_data(self) -> None:
        last, first_after = RETURN_WINDOW_DAYS - 1, RETURN_WINDOW_DAYS
        assert self.censored([("c1", last, "1", "X", -1, "1"), ("c2", first_after, "1", "X", -1, "1")]) == [True, False]

    def test_only_the_rest_that_no_sale_explains_is_censored(self) -> None:
        assert self.censored([("s1", 0, "1", "X", 1, "1"), ("c1", 1, "1", "X", -3, "1")]) == [False, True]

    def test_an_anonymous_return_would_match_no_earlier_sale_either(self) -> None:
        assert self.censored([("c1", 1, None, "X", -1, "1")]) == [False]


def _numbered(rows: list[tuple[int, str | None, str, int, str]]) -> list[Line]:
    return [(f"{'c' if row[3] < 0 else 's'}{number:02}", *row) for number, row in enumerate(rows)]


many_lines = st.lists(
    st.tuples(
        st.integers(0, 70),
        st.sampled_from(["17850", "12583", None]),
        st.sampled_from(["HEART", "LANTERN"]),
        st.integers(-9, 9).filter(bool),
        st.sampled_from(["2.55", "0.001", "8142.75"]),
    ),
    max_size=30,
).map(_numbered)
quick = settings(max_examples=40, deadline=None)


class TestProperties:
    @quick
    @given(many_lines)
    def test_every_credit_line_is_accounted_for_to_the_unit_and_the_penny(self, rows: list[Line]) -> None:
        credited = lines(rows).filter("is_return").select("transaction_id", -pl.col("quantity"), amount=-pl.col("amount")).sort("transaction_id")
        accounted = matched(rows).group_by("return_id").agg(pl.col("quantity", "amount").sum()).sort("return_id")
        assert accounted.rows() == credited.rows()

    @quick
    @given(many_lines)
    def test_no_unit_is_taken_back_twice_nor_before_it_was_sold(self, rows: list[Line]) -> None:
        taken = matched(rows).join(lines(rows), left_on="sale_id", right_on="transaction_id", suffix="_sold")
        assert (taken.get_column("returned_at") >= taken.get_column("invoiced_at")).all()
        assert (taken.get_column("customer_id") == taken.get_column("customer_id_sold")).all()
        assert (taken.get_column("stock_code") == taken.get_column("stock_code_sold")).all()
        by_sale = taken.group_by("sale_id").agg(pl.col("quantity").sum(), pl.col("quantity_sold").first())
        assert (by_sale.get_column("quantity") <= by_sale.get_column("quantity_sold")).all()

    @quick
    @given(many_lines)
    def test_months_matched_one_by_one_give_the_same_as_all_at_once(self, rows: list[Line]) -> None:
        frame, parts, consumed = lines(rows), [matched([])], NOTHING_CONSUMED
        for month in frame.get_column("invoice_month").unique().sort():
            known = frame.filter(pl.col("invoice_month") <= month)
            parts.append(match_returns(known.filter(pl.col("invoice_month") == month, pl.col("is_return")), known, consumed, data_start=DATA_START))
            consumed = pl.concat(parts).drop_nulls("sale_id").select("sale_id", "quantity")
        assert_frame_equal(pl.concat(parts).sort(RETURNS.key), matched(rows))

    @quick
    @given(many_lines, st.integers(0, 70))
    def test_what_comes_later_changes_no_earlier_match(self, rows: list[Line], day: int) -> None:
        until = datetime(2011, 1, 1, 9) + timedelta(days=day)
        assert_frame_equal(matched(rows).filter(pl.col("returned_at") <= until), matched([row for row in rows if row[1] <= day]))
