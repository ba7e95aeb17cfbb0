"""What counts as a basket."""

from __future__ import annotations

import polars as pl
import pytest

from retail_assets.lib.baskets import baskets

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
)


def test_a_basket_is_a_sale_invoice_of_at_least_two_distinct_products() -> None:
    assert baskets(TRANSACTIONS).rows() == [("1", "A"), ("1", "B"), ("2", "A"), ("2", "B"), ("2", "C")]


def test_the_least_number_of_products_can_be_set() -> None:
    assert set(baskets(TRANSACTIONS, min_items=3)["basket_id"]) == {"2"}
    assert set(baskets(TRANSACTIONS, min_items=1)["basket_id"]) == {"1", "2", "3"}


def test_a_least_number_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="min_items is 0"):
        baskets(TRANSACTIONS, min_items=0)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match=r"transactions lacks \['is_batch_order'\]"):
        baskets(TRANSACTIONS.drop("is_batch_order"))


def test_no_transactions_make_no_baskets_of_the_same_schema() -> None:
    assert baskets(TRANSACTIONS.clear()).schema == {"basket_id": pl.String, "item": pl.String}
