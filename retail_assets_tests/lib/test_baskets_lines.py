"""What counts as a basket."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retail_assets.lib.baskets import (
    association_rules,
    baskets,
    coded_baskets,
    expected_under_basket_sizes,
    frequent_itemsets,
    recommendations,
    rules_in_other_baskets,
)

TRANSACTIONS = pl.DataFrame(
    [
        ("2", "B", False, False),  # out of order
        ("1", "A", False, False),
        ("1", "A", False, False),  # the same product twice on one invoice
        ("1", "B", False, False),
        ("2", "A", False, False),
        ("2", "C", False, False),
        ("3", "A", False, False),  # one distinct product only, on two lines
        ("3", "A", False, False),
        ("C4", "A", True, False),  # a credit note
        ("C4", "B", True, False),
        ("5", "A", False, True),  # a batch of web-shop orders
        ("5", "B", False, True),
    ],
    schema=["invoice_no", "stock_code", "is_return", "is_batch_order"],
    orient="row",
).with_columns(invoice_month=pl.lit(date(2011, 1, 1)))


def test_a_basket_is_a_sale_invoice_of_at_least_two_distinct_products() -> None:
    assert baskets(TRANSACTIONS).rows() == [("2011-01/1", "A"), ("2011-01/1", "B"), ("2011-01/2", "A"), ("2011-01/2", "B"), ("2011-01/2", "C")]


def test_a_number_that_is_used_again_in_another_month_is_another_basket() -> None:
    february = pl.DataFrame({"invoice_no": ["1", "1"], "stock_code": ["C", "D"], "is_return": False, "is_batch_order": False})
    both = pl.concat([TRANSACTIONS, february.with_columns(invoice_month=pl.lit(date(2011, 2, 1)))])
    assert baskets(both).filter(pl.col("basket_id").str.ends_with("/1")).rows() == [
        ("2011-01/1", "A"), ("2011-01/1", "B"), ("2011-02/1", "C"), ("2011-02/1", "D"),
    ]  # fmt: skip


def test_the_least_number_of_products_can_be_set() -> None:
    assert set(baskets(TRANSACTIONS, min_items=3)["basket_id"]) == {"2011-01/2"}
    assert set(baskets(TRANSACTIONS, min_items=1)["basket_id"]) == {"2011-01/1", "2011-01/2", "2011-01/3"}


def test_a_least_number_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="min_items is 0"):
        baskets(TRANSACTIONS, min_items=0)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match=r"transactions lacks \['is_batch_order'\]"):
        baskets(TRANSACTIONS.drop("is_batch_order"))


def test_no_transactions_make_no_baskets_of_the_same_schema() -> None:
    assert baskets(TRANSACTIONS.clear()).schema == {"basket_id": pl.String, "item": pl.String}


def test_coded_baskets_hold_the_same_lines_whatever_their_order_and_repeats() -> None:
    names = pl.Series(["A", "B", "C", "never sold"])
    coded = coded_baskets(np.array([7, 0, 0, 0, 7, 7], dtype=np.int32), np.array([1, 0, 0, 1, 0, 2], dtype=np.int32), names)
    assert coded.schema == {"basket_id": pl.Int32, "item": pl.Enum(names)}
    assert coded.rows() == [(0, "A"), (0, "B"), (7, "A"), (7, "B"), (7, "C")]


def test_coded_baskets_are_mined_as_those_of_text_are() -> None:
    of_text = baskets(TRANSACTIONS)
    coded = coded_baskets(np.array([9, 4, 4, 9, 9], dtype=np.int32), np.array([2, 0, 2, 0, 3], dtype=np.int32), pl.Series(["A", "AB", "B", "C"]))
    itemsets = frequent_itemsets(of_text, 0.5)
    assert_frame_equal(frequent_itemsets(coded, 0.5), itemsets)
    rules = association_rules(itemsets, 2)
    assert_frame_equal(expected_under_basket_sizes(rules, coded), expected_under_basket_sizes(rules, of_text))
    assert_frame_equal(rules_in_other_baskets(rules, coded), rules_in_other_baskets(rules, of_text))
    assert_frame_equal(recommendations(coded, 2, 1), recommendations(of_text, 2, 1))
