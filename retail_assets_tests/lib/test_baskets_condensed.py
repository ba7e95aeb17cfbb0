"""Closed and maximal itemsets: by hand, by definition, and enough to rebuild all frequent itemsets."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.lib.baskets import closed_and_maximal, frequent_itemsets

SIX_ITEMSETS = pl.DataFrame({"itemset": [["A", "B"], ["A"], ["B"], ["C"], ["A", "C"], ["D"]], "count": [4, 4, 5, 6, 2, 3]})
"""A never comes without B, so it is not closed; D has no superset."""

lines_of_few_items = st.lists(st.sets(st.sampled_from("ABCDE"), min_size=1), min_size=1, max_size=15).map(
    lambda baskets: pl.DataFrame(
        [(number, item) for number, basket in enumerate(baskets) for item in sorted(basket)],
        schema={"basket_id": pl.Int64, "item": pl.String},
        orient="row",
    )
)


def test_marks_stand_beside_the_itemsets_in_the_order_given() -> None:
    marked = closed_and_maximal(SIX_ITEMSETS, 10)
    assert_frame_equal(marked.drop("is_closed", "is_maximal"), SIX_ITEMSETS)
    assert marked["is_closed"].to_list() == [True, False, True, True, True, True]
    assert marked["is_maximal"].to_list() == [True, False, False, False, True, True]


@settings(max_examples=80, deadline=None)
@given(lines_of_few_items, st.sampled_from([0.01, 0.2, 0.5]))
def test_marks_follow_their_definitions_and_say_all(lines: pl.DataFrame, min_support: float) -> None:
    itemsets = frequent_itemsets(lines, min_support)
    marked = closed_and_maximal(itemsets, lines["basket_id"].n_unique())
    counts = {frozenset(itemset): count for itemset, count in itemsets.select("itemset", "count").iter_rows()}
    closed, maximal = ({frozenset(itemset) for itemset in marked.filter(flag)["itemset"]} for flag in ("is_closed", "is_maximal"))
    assert maximal <= closed
    for itemset, count in counts.items():
        assert (itemset in closed) == all(counts[larger] < count for larger in counts if larger > itemset)
        assert (itemset in maximal) == (not any(larger > itemset for larger in counts))
        assert count == max(counts[larger] for larger in closed if larger >= itemset), "the count of an itemset is that of its closure"


def test_no_itemsets_get_the_columns_all_the_same() -> None:
    assert closed_and_maximal(SIX_ITEMSETS.clear(), 10).schema == closed_and_maximal(SIX_ITEMSETS, 10).schema


def test_a_missing_subset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not its subset \['B'\]"):
        closed_and_maximal(SIX_ITEMSETS.filter(pl.col("itemset") != ["B"]), 10)
