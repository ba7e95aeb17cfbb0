"""The monthly roll-up, the RFM snapshot, its scores, and the seed that names them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.contracts import CUSTOMER_MONTHS, RETURNS, RFM_CUT_POINTS, RFM_FEATURES, TRANSACTIONS, Table
from retail_assets.lib import rfm

if TYPE_CHECKING:
    from random import Random

SEEDS = Path(__file__).parents[2] / "dbt_sql" / "seeds"
SEED = pl.read_csv(SEEDS / "rfm_segments.csv")
FIXED = pl.read_csv(SEEDS / "rfm_fixed_cut_points.csv")
JANUARY, FEBRUARY, MARCH = date(2011, 1, 1), date(2011, 2, 1), date(2011, 3, 1)
FEBRUARY_END, MARCH_END = date(2011, 2, 28), date(2011, 3, 31)

Rows = list[dict[str, Any]]


def _at(text: str) -> datetime:
    """Local shop time, without zone as in the tables."""
    return datetime.fromisoformat(text)


SALES_AND_CREDITS: Rows = [
    # Two lines of one invoice: one invoice, one day, two lines, two products.
    {"customer_id": "A", "invoice_no": "1", "stock_code": "X", "quantity": 2, "amount": "10.00", "at": _at("2011-01-03 09:00")},
    {"customer_id": "A", "invoice_no": "1", "stock_code": "W", "quantity": 1, "amount": "0.1250", "at": _at("2011-01-03 09:00")},
    # A second invoice on the same day with a product bought before: no new day, no new product.
    {"customer_id": "A", "invoice_no": "2", "stock_code": "X", "quantity": 3, "amount": "15.00", "at": _at("2011-01-03 17:00")},
    # A credit line is no sale: neither its invoice, its product, its time nor its negative amount counts here.
    {"customer_id": "A", "invoice_no": "C3", "stock_code": "Z", "quantity": -9, "amount": "-90.00", "at": _at("2011-01-30")},
    # Anonymous lines belong to nobody.
    {"customer_id": None, "invoice_no": "4", "stock_code": "X", "quantity": 1, "amount": "5.00", "at": _at("2011-01-04")},
    # The same customer in the next month is a row of its own.
    {"customer_id": "A", "invoice_no": "5", "stock_code": "Y", "quantity": 1, "amount": "7.00", "at": _at("2011-02-28 23:59")},
    # A credit note of somebody who buys nothing in the frame.
    {"customer_id": "B", "invoice_no": "C6", "stock_code": "X", "quantity": -1, "amount": "-5.00", "at": _at("2011-02-02")},
]

CREDITS: Rows = [
    # One credit line in two parts: what a sale explains, and the rest that none does.
    {"customer_id": "A", "invoice_month": JANUARY, "sale_id": "1/X", "amount": "4.00"},
    {"customer_id": "A", "invoice_month": JANUARY, "sale_id": None, "amount": "86.00"},
    # Returns only: the row exists, with nothing sold.
    {"customer_id": "B", "invoice_month": FEBRUARY, "sale_id": "0/X", "amount": "5.00"},
    # Anonymous returns belong to nobody.
    {"customer_id": None, "invoice_month": FEBRUARY, "sale_id": None, "amount": "1.00"},
]

MONTHS: Rows = [
    # A bought in January and March, X twice: two months, but one product X. The March purchase is not known in February.
    {"customer_id": "A", "invoice_month": JANUARY, "invoices": 2, "gross": "30.00", "sold": _at("2011-01-31 23:59"), "codes": ["X", "Y"]},
    {"customer_id": "A", "invoice_month": FEBRUARY, "returned": "12.00"},
    {"customer_id": "A", "invoice_month": MARCH, "invoices": 1, "gross": "70.00", "sold": _at("2011-03-31 08:00"), "codes": ["X", "Z"]},
    # B bought on the last day of February: recency 0. An orphan return does not lower what B is worth.
    {
        "customer_id": "B",
        "invoice_month": FEBRUARY,
        "invoices": 1,
        "gross": "50.00",
        "orphan": "20.00",
        "sold": _at("2011-02-28"),
        "codes": ["X"],
    },
    # C gave back more than was paid: monetary is negative, but the return rate stays a share.
    {
        "customer_id": "C",
        "invoice_month": JANUARY,
        "invoices": 1,
        "gross": "10.00",
        "returned": "15.00",
        "sold": _at("2011-01-10"),
        "codes": ["X"],
    },
    # D only gave back: not a customer of the snapshot, for there is no purchase to count days from.
    {"customer_id": "D", "invoice_month": JANUARY, "returned": "5.00"},
    # E got a free sample: gross 0 must not be divided by.
    {"customer_id": "E", "invoice_month": JANUARY, "invoices": 1, "gross": "0.00", "sold": _at("2011-01-20"), "codes": ["S"]},
]


def _frame(table: Table, rows: Rows) -> pl.DataFrame:
    """Rows in the columns of the table; columns that a row does not name are null, 0 or empty."""
    empty: dict[str, Any] = {name: [] if isinstance(dtype, pl.List) else None for name, dtype in table.polars_schema.items()}
    frame = pl.DataFrame([empty | row for row in rows], schema_overrides=dict(table.polars_schema), strict=False)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in table.polars_schema.items())


def _transactions() -> pl.DataFrame:
    return _frame(
        TRANSACTIONS,
        [
            row
            | {
                "amount": Decimal(row["amount"]),
                "invoiced_at": row["at"],
                "invoice_month": row["at"].date().replace(day=1),
                "is_return": row["quantity"] < 0,
                # The later of two invoices of one day says where the customer is now.
                "country": "Eire" if row["invoice_no"] == "2" else "France",
            }
            for row in SALES_AND_CREDITS
        ],
    )


def _returns() -> pl.DataFrame:
    return _frame(RETURNS, [row | {"amount": Decimal(row["amount"])} for row in CREDITS])


def _customer_months(months: Rows = MONTHS) -> pl.DataFrame:
    return _frame(
        CUSTOMER_MONTHS,
        [
            {
                "customer_id": row["customer_id"],
                "invoice_month": row["invoice_month"],
                "sale_invoice_count": row.get("invoices", 0),
                "sale_line_count": row.get("invoices", 0),
                "sale_day_count": row.get("days", row.get("invoices", 0)),
                "gross_amount": Decimal(row.get("gross", 0)),
                "first_day_amount": Decimal(row.get("first_day") or row.get("gross", 0)),
                "returned_amount": Decimal(row.get("returned", 0)),
                "orphan_amount": Decimal(row.get("orphan", 0)),
                "first_sale_at": row.get("first", row.get("sold")),
                "last_sale_at": row.get("sold"),
                "country": row.get("country", "France" if "sold" in row else None),
                "stock_codes": row.get("codes", []),
            }
            for row in months
        ],
    )


def _by_customer(snapshot: pl.DataFrame, column: str) -> dict[str, object]:
    return dict(snapshot.select("customer_id", column).iter_rows())


def test_customer_months_add_up_sales_and_keep_credits_apart() -> None:
    months = rfm.customer_months(_transactions(), _returns())
    assert months.schema == CUSTOMER_MONTHS.polars_schema
    january, february, returns_only = months.rows(named=True)
    assert january == {
        "invoice_month": JANUARY,
        "customer_id": "A",
        "sale_invoice_count": 2,
        "sale_day_count": 1,
        "sale_line_count": 3,
        "units_sold": 6,
        "gross_amount": Decimal("25.1250"),
        "returned_amount": Decimal(4),
        "orphan_amount": Decimal(86),
        "first_sale_at": _at("2011-01-03 09:00"),
        "last_sale_at": _at("2011-01-03 17:00"),
        "first_day_amount": Decimal("25.1250"),
        "country": "Eire",
        "stock_codes": ["W", "X"],
    }
    assert (february["customer_id"], february["gross_amount"], february["returned_amount"]) == ("A", Decimal(7), Decimal(0))
    assert returns_only == {
        "invoice_month": FEBRUARY,
        "customer_id": "B",
        "sale_invoice_count": 0,
        "sale_day_count": 0,
        "sale_line_count": 0,
        "units_sold": 0,
        "gross_amount": Decimal(0),
        "returned_amount": Decimal(5),
        "orphan_amount": Decimal(0),
        "first_sale_at": None,
        "last_sale_at": None,
        "first_day_amount": Decimal(0),
        "country": None,
        "stock_codes": [],
    }


def test_customer_months_of_nothing_are_an_empty_frame_with_all_columns() -> None:
    months = rfm.customer_months(_transactions().clear(), _returns().clear())
    assert months.schema == CUSTOMER_MONTHS.polars_schema
    assert months.is_empty()


def test_features_come_from_what_was_known_at_the_end_of_the_month() -> None:
    snapshot = rfm.rfm_features(_customer_months(), FEBRUARY_END, SEED)
    assert snapshot.schema == RFM_FEATURES.polars_schema
    assert snapshot["snapshot_month"].unique().to_list() == [FEBRUARY]
    assert _by_customer(snapshot, "recency_days") == {"A": 28, "B": 0, "C": 49, "E": 39}
    assert _by_customer(snapshot, "frequency") == {"A": 2, "B": 1, "C": 1, "E": 1}
    assert _by_customer(snapshot, "monetary") == {"A": Decimal(18), "B": Decimal(50), "C": Decimal(-5), "E": Decimal(0)}
    assert _by_customer(snapshot, "average_order_value") == {"A": 9.0, "B": 50.0, "C": -5.0, "E": 0.0}
    assert _by_customer(snapshot, "return_rate") == {"A": 0.4, "B": 0.0, "C": 1.0, "E": 0.0}
    assert _by_customer(snapshot, "distinct_products") == {"A": 2, "B": 1, "C": 1, "E": 1}


def test_products_bought_in_two_months_count_once_and_tenure_starts_at_the_first_purchase() -> None:
    snapshot = rfm.rfm_features(_customer_months(), MARCH_END, SEED)
    assert _by_customer(snapshot, "distinct_products")["A"] == 3
    assert _by_customer(snapshot, "tenure_days")["A"] == 59
    assert _by_customer(snapshot, "recency_days")["A"] == 0


def test_later_months_change_nothing() -> None:
    everything, known = _customer_months(), _customer_months().filter(pl.col("invoice_month") <= FEBRUARY)
    assert everything.height > known.height
    assert_frame_equal(rfm.rfm_features(everything, FEBRUARY_END, SEED), rfm.rfm_features(known, FEBRUARY_END, SEED))


def test_a_trailing_window_forgets_what_lies_before_it() -> None:
    snapshot = rfm.rfm_features(_customer_months(), MARCH_END, SEED, rfm.Definition(window_months=2))
    # The February return of A lowers the window although its sale was in January; C and E bought before the window.
    assert _by_customer(snapshot, "monetary") == {"A": Decimal(58), "B": Decimal(50)}
    assert _by_customer(snapshot, "tenure_days") == {"A": 0, "B": 31}
    assert _by_customer(snapshot, "distinct_products") == {"A": 2, "B": 1}


REPEAT_BUYER: Rows = [
    # Two days in January, the first of them with two invoices of 18 together; a return in February; one day in March.
    {
        "customer_id": "A",
        "invoice_month": JANUARY,
        "invoices": 3,
        "days": 2,
        "gross": "30.00",
        "first_day": "18.00",
        "first": _at("2011-01-10 09:00"),
        "sold": _at("2011-01-31 23:59"),
        "codes": ["X"],
        "country": "France",
    },
    {"customer_id": "A", "invoice_month": FEBRUARY, "returned": "12.00"},
    {
        "customer_id": "A",
        "invoice_month": MARCH,
        "invoices": 1,
        "gross": "70.00",
        "sold": _at("2011-03-30 08:00"),
        "codes": ["X"],
        "country": "Eire",
    },
]


def test_columns_for_clv_models_count_repeat_days_and_leave_the_first_day_out() -> None:
    (row,) = rfm.rfm_features(_customer_months(REPEAT_BUYER), MARCH_END).rows(named=True)
    # Days with a sale: 10 January, 31 January, 30 March. 82 of 100 pounds came after the first of them.
    assert (row["clv_frequency"], row["clv_recency_days"], row["tenure_days"], row["clv_monetary_value"]) == (2, 79, 80, 41.0)
    (first_time,) = rfm.rfm_features(_customer_months(REPEAT_BUYER[2:]), MARCH_END).rows(named=True)
    assert (first_time["clv_frequency"], first_time["clv_recency_days"], first_time["clv_monetary_value"]) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("definition", "frequency", "monetary"),
    [
        pytest.param(rfm.Definition(), 4, "88.00", id="invoices, net, sum"),
        pytest.param(rfm.Definition(frequency="days"), 3, "88.00", id="days"),
        pytest.param(rfm.Definition(amount="gross"), 4, "100.00", id="gross"),
        pytest.param(rfm.Definition(monetary="mean"), 4, "22.00", id="net per invoice"),
        pytest.param(rfm.Definition(frequency="days", amount="gross", monetary="mean"), 3, "33.3333", id="gross per day, to a hundredth of a penny"),
        pytest.param(rfm.Definition(window_months=2), 1, "58.00", id="trailing window"),
    ],
)
def test_every_definition_by_hand(definition: rfm.Definition, frequency: int, monetary: str) -> None:
    (row,) = rfm.rfm_features(_customer_months(REPEAT_BUYER), MARCH_END, definition=definition).rows(named=True)
    assert (row["frequency"], row["monetary"]) == (frequency, Decimal(monetary))


def test_what_a_customer_is_worth_does_not_depend_on_the_definition_of_monetary() -> None:
    (row,) = rfm.rfm_features(_customer_months(REPEAT_BUYER), MARCH_END, definition=rfm.Definition(amount="gross", monetary="mean")).rows(named=True)
    assert (row["gross_amount"], row["returned_amount"], row["net_amount"], row["average_order_value"]) == (100, 12, 88, 22.0)


def test_the_country_is_that_of_the_last_purchase() -> None:
    months = _customer_months(REPEAT_BUYER)
    assert [rfm.rfm_features(months, end)["country"].to_list() for end in (FEBRUARY_END, MARCH_END)] == [["France"], ["Eire"]]


def _bought(customer_id: str, *days: str) -> Rows:
    return [
        {
            "customer_id": customer_id,
            "invoice_month": _at(day).date().replace(day=1),
            "invoices": 1,
            "gross": "1.00",
            "sold": _at(day),
            "codes": ["X"],
        }
        for day in days
    ]


def test_movement_by_hand() -> None:
    months = _customer_months(
        [
            *_bought("new", "2011-08-01"),
            *_bought("retained", "2011-05-01", "2011-07-01"),
            # 90 days to 31 August, so neither lapsing yet nor one day too many.
            *_bought("retained, just", "2011-06-02"),
            *_bought("lapsing", "2011-06-01"),
            *_bought("lapsing, just", "2011-03-04"),
            *_bought("lost", "2011-03-03"),
            # 91 days without a purchase at the end of July.
            *_bought("reactivated", "2011-05-01", "2011-08-30"),
            *_bought("retained after 90 days", "2011-05-02", "2011-08-30"),
        ]
    )
    found = _by_customer(rfm.rfm_features(months, date(2011, 8, 31)), "movement")
    assert found == {
        "new": "new",
        "retained": "retained",
        "retained, just": "retained",
        "lapsing": "lapsing",
        "lapsing, just": "lapsing",
        "lost": "lost",
        "reactivated": "reactivated",
        "retained after 90 days": "retained",
    }


def test_nobody_is_new_twice_because_a_window_forgot_them() -> None:
    months = _customer_months(_bought("A", "2011-01-01", "2011-08-30"))
    snapshot = rfm.rfm_features(months, date(2011, 8, 31), definition=rfm.Definition(window_months=6))
    assert snapshot.select("movement", "previous_rfm_segment").row(0) == ("reactivated", None)


def test_the_segment_before_is_the_one_that_the_month_before_named() -> None:
    months = _customer_months()
    february, march = rfm.rfm_features(months, FEBRUARY_END, SEED), rfm.rfm_features(months, MARCH_END, SEED)
    named_then = _by_customer(february, "rfm_segment")
    assert _by_customer(march, "previous_rfm_segment") == {customer: named_then.get(customer) for customer in march["customer_id"]}
    assert any(named_then[customer] != now for customer, now in _by_customer(march, "rfm_segment").items())


def test_a_customer_is_lost_after_lapsing_and_not_before() -> None:
    with pytest.raises(ValueError, match=r"lost_after_days \(90\) must be more than lapsing_after_days \(90\)"):
        rfm.Definition(lost_after_days=90)


def test_the_order_of_rows_changes_nothing() -> None:
    months = _customer_months()
    shuffled = months.sample(fraction=1, shuffle=True, seed=3)
    assert_frame_equal(rfm.rfm_features(months, MARCH_END, SEED), rfm.rfm_features(shuffled, MARCH_END, SEED))


def test_a_snapshot_of_nobody_is_an_empty_frame_with_all_columns() -> None:
    snapshot = rfm.rfm_features(_customer_months(), date(2010, 12, 31), SEED)
    assert snapshot.schema == RFM_FEATURES.polars_schema
    assert snapshot.is_empty()
    assert rfm.cut_points(snapshot).schema == RFM_CUT_POINTS.polars_schema


def test_a_snapshot_is_taken_on_the_last_day_of_a_month_only() -> None:
    with pytest.raises(ValueError, match="last day of a month, but is 2011-02-27"):
        rfm.rfm_features(_customer_months(), date(2011, 2, 27), SEED)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="window_months must be at least 1, but is 0"):
        rfm.Definition(window_months=0)


@pytest.mark.parametrize(
    ("values", "higher_is_better", "expected"),
    [
        pytest.param([10, 20, 30, 40, 50], True, [1, 2, 3, 4, 5], id="five values take the five scores"),
        pytest.param([10, 20, 30, 40, 50], False, [5, 4, 3, 2, 1], id="lowest is best"),
        pytest.param([1, 1, 1, 1, 2, 2, 3, 4, 5, 9], True, [1, 1, 1, 1, 3, 3, 4, 4, 5, 5], id="a tie of four tenths jumps over score 2"),
        pytest.param([1, 1, 1, 1, 9], True, [1, 1, 1, 1, 5], id="two values"),
        pytest.param([1, 9, 9, 9, 9], True, [1, 2, 2, 2, 2], id="nobody is better than four fifths"),
        pytest.param([7, 7, 7], True, [1, 1, 1], id="one value is the worst value"),
        pytest.param([7], False, [1], id="one customer"),
        pytest.param([], True, [], id="no customer"),
    ],
)
def test_scores_by_hand(values: list[int], higher_is_better: bool, expected: list[int]) -> None:
    scores = rfm.score(pl.Series(values, dtype=pl.Int32), higher_is_better)
    assert scores.to_list() == expected
    assert scores.dtype == pl.Int32


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=60), st.booleans())
def test_equal_values_score_equally_and_better_values_never_lower(values: list[int], higher_is_better: bool) -> None:
    scores = rfm.score(pl.Series(values, dtype=pl.Int64), higher_is_better).to_list()
    ordered = sorted(zip(values, scores, strict=True), reverse=not higher_is_better)
    assert [score for _, score in ordered] == sorted(scores)
    assert len(set(ordered)) == len(set(values))
    assert ordered[0][1] == 1
    assert max(scores) <= rfm.SCORES


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_customers_does_not_change_their_score(values: list[int], random: Random) -> None:
    order = sorted(range(len(values)), key=lambda _: random.random())
    scores = rfm.score(pl.Series(values), True)
    assert rfm.score(pl.Series([values[place] for place in order]), True).to_list() == [scores[place] for place in order]


@pytest.mark.parametrize(
    ("values", "cut_points", "higher_is_better", "expected"),
    [
        pytest.param([1, 2, 4, 5, 99], [2, 3, 5, 10], True, [1, 2, 3, 4, 5], id="at least"),
        pytest.param([0, 30, 31, 60, 241], [240, 120, 60, 30], False, [5, 5, 4, 4, 1], id="at most"),
    ],
)
def test_fixed_scores_by_hand(values: list[int], cut_points: list[float], higher_is_better: bool, expected: list[int]) -> None:
    scores = rfm.fixed_score(pl.Series(values), pl.Series(cut_points), higher_is_better)
    assert scores.to_list() == expected
    assert scores.dtype == pl.Int32
    assert rfm.fixed_score(pl.Series([], dtype=pl.Float64), pl.Series(cut_points), higher_is_better).is_empty()


def test_with_fixed_cut_points_a_value_scores_the_same_whoever_else_is_there() -> None:
    definition = rfm.Definition(fixed_cut_points=FIXED)
    among_all = rfm.rfm_features(_customer_months(), MARCH_END, SEED, definition)
    alone = rfm.rfm_features(_customer_months().filter(pl.col("customer_id") == "A"), MARCH_END, SEED, definition)
    scores = ["customer_id", "r_score", "f_score", "m_score", "rfm_segment"]
    assert_frame_equal(alone.select(scores), among_all.filter(pl.col("customer_id") == "A").select(scores))
    # 0 days, 3 orders, 88 pounds.
    assert alone.select(scores).row(0) == ("A", 5, 3, 1, "potential_loyalist")
    assert rfm.cut_points(alone, definition)["method"].unique().to_list() == ["fixed"]


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        pytest.param(
            FIXED.filter(pl.col("score") != 3), r"recency_days one cut point for each score of \[2, 3, 4, 5\], but gives \[2, 4, 5\]", id="gap"
        ),
        pytest.param(FIXED.with_columns(cut_point=pl.lit(7)), "recency_days must get better from score 2 to 5", id="no order"),
    ],
)
def test_fixed_cut_points_with_gaps_are_refused(seed: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rfm.Definition(fixed_cut_points=seed)


NOTEBOOK_LINES = pl.DataFrame(
    {
        # Numbers as customers, a plain float as amount, a return as a negative line, and a line of nobody.
        "customer_id": [17850, 17850, 17850, 13047, None],
        "invoice_no": [1, 2, 3, 4, 5],
        "invoiced_at": [_at("2011-01-03"), _at("2011-03-30"), _at("2011-03-31"), _at("2011-03-01"), _at("2011-03-02")],
        "amount": [10.0, 5.5, -2.5, 7.0, 100.0],
    }
)


def test_a_plain_frame_is_enough_in_a_notebook() -> None:
    snapshot = rfm.snapshot(NOTEBOOK_LINES)
    assert snapshot.schema == RFM_FEATURES.polars_schema
    assert snapshot.select("customer_id", "recency_days", "frequency", "monetary").rows() == [
        ("13047", 30, 1, Decimal(7)),
        ("17850", 1, 2, Decimal(13)),
    ]
    assert rfm.snapshot(NOTEBOOK_LINES, as_of=date(2011, 1, 31))["monetary"].to_list() == [Decimal(10)]


def test_a_plain_frame_without_a_column_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"lines lack \['amount'\]"):
        rfm.snapshot(NOTEBOOK_LINES.drop("amount"))
    with pytest.raises(ValueError, match="no line with a customer"):
        rfm.snapshot(NOTEBOOK_LINES.filter(pl.col("customer_id").is_null()))


@pytest.mark.parametrize(
    "customers", [[17850.0] * 3 + [13047.0, None], [17850.0] * 3 + [13047.0, float("nan")], ["17850.0", " 17850", "17850", "13047", "nan"]]
)
def test_customers_of_a_plain_frame_are_those_of_landed_files(customers: list[object]) -> None:
    assert rfm.snapshot(NOTEBOOK_LINES.with_columns(customer_id=pl.Series(customers)))["customer_id"].to_list() == ["13047", "17850"]


@pytest.mark.parametrize("column", ["invoice_no", "invoiced_at", "amount"])
def test_a_null_on_the_line_of_a_customer_is_refused_and_on_one_of_nobody_is_not(column: str) -> None:
    broken = pl.when(pl.col("invoice_no") != 4).then(column).alias(column)
    with pytest.raises(ValueError, match=rf"lines hold nulls: {{'{column}': 1}} of 4 lines with a customer; drop these lines"):
        rfm.snapshot(NOTEBOOK_LINES.with_columns(broken))
    of_nobody = pl.when(pl.col("invoice_no") != 5).then(column).alias(column)
    assert rfm.snapshot(NOTEBOOK_LINES.with_columns(of_nobody)).height == 2


@pytest.mark.parametrize(
    ("amount", "shown"), [(float("nan"), "nan"), (1e15, "1000000000000000.0"), (float("-inf"), "-inf"), (1e14, "100000000000000.0")]
)
def test_an_amount_that_is_none_is_refused_with_its_invoice(amount: float, shown: str) -> None:
    lines = NOTEBOOK_LINES.with_columns(amount=pl.when(pl.col("invoice_no") == 4).then(amount).otherwise("amount"))
    with pytest.raises(ValueError, match=rf"amount of 1 lines is no number below 1e\+14, such as {shown} of invoice 4; drop these lines"):
        rfm.snapshot(lines)
    assert rfm.snapshot(NOTEBOOK_LINES.with_columns(amount=pl.lit(9e12))).height == 2


def test_cut_points_say_which_values_got_a_score() -> None:
    snapshot = rfm.rfm_features(_customer_months(), FEBRUARY_END, SEED)
    cuts = rfm.cut_points(snapshot)
    assert cuts.schema == RFM_CUT_POINTS.polars_schema
    assert cuts.filter(pl.col("metric") == "frequency").select("score", "lowest", "highest", "customer_count").rows() == [
        (1, 1.0, 1.0, 3),
        (4, 2.0, 2.0, 1),
    ]
    assert cuts.filter(pl.col("metric") == "recency_days").select("score", "lowest", "highest", "customer_count").rows() == [
        (1, 49.0, 49.0, 1),
        (2, 39.0, 39.0, 1),
        (3, 28.0, 28.0, 1),
        (4, 0.0, 0.0, 1),
    ]


def test_the_seed_names_every_cell() -> None:
    rfm.validate_segments(SEED)
    assert SEED.height == 25


def test_the_seed_names_the_corners_as_marketers_do() -> None:
    names = {(r, f): name for r, f, name in SEED.iter_rows()}
    assert (names[5, 5], names[5, 1], names[1, 1], names[1, 5]) == ("champions", "new_customers", "lost", "cannot_lose")


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        pytest.param(SEED.filter(~((pl.col("r_score") == 2) & (pl.col("f_score") == 3))), "missing: r2 f3", id="missing"),
        pytest.param(pl.concat([SEED, SEED.filter((pl.col("r_score") == 5) & (pl.col("f_score") == 5))]), "double: r5 f5", id="double"),
        pytest.param(SEED.with_columns(r_score=pl.col("r_score").replace(1, 6)), "outside the grid: r6 f1", id="outside"),
        pytest.param(SEED.with_columns(rfm_segment=pl.col("rfm_segment").replace("promising", None)), "without a name: r4 f1", id="without a name"),
    ],
)
def test_a_seed_with_gaps_is_refused_with_the_cells_named(seed: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rfm.rfm_features(_customer_months(), MARCH_END, seed)
