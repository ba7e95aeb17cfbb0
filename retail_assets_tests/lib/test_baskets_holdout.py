"""Rules and recommendations in later baskets: by hand, by recounting, and against popularity."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.lib.baskets import association_rules, frequent_itemsets, recommendation_quality, recommendations, rules_in_other_baskets

RULES = pl.DataFrame({"antecedent": [["A"], ["A", "B"], ["Z"], ["C"]], "consequent": [["B"], ["C"], ["A"], ["Z"]]})
LATER = ["AB", "ABC", "AC", "BC", "D"]
"""A in 3 of 5 baskets, B in 3, C in 3, AB in 2, ABC in 1; Z, which was sold before, in none."""


def lines_of(baskets: list[str]) -> pl.DataFrame:
    rows = [(number, item) for number, basket in enumerate(baskets) for item in basket]
    return pl.DataFrame(rows, schema={"basket_id": pl.Int64, "item": pl.String}, orient="row")


def recommended(*rows: tuple[str, str]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["stock_code", "recommended_stock_code"], orient="row")
    return frame.with_columns(rank=pl.int_range(1, pl.len() + 1).over("stock_code").cast(pl.Int32))


def test_rules_are_counted_in_the_later_baskets_and_null_where_nothing_can_be_said() -> None:
    assert rules_in_other_baskets(RULES, lines_of(LATER)).rows() == [
        (3, 2 / 5, 2 / 3, (2 / 3) / (3 / 5)),
        (2, 1 / 5, 1 / 2, (1 / 2) / (3 / 5)),
        (0, 0.0, None, None),
        (3, 0.0, 0.0, None),
    ]


def test_without_later_baskets_everything_is_null() -> None:
    found = rules_in_other_baskets(RULES, lines_of([]))
    assert found.rows() == [(None, None, None, None)] * 4
    assert found.schema == rules_in_other_baskets(RULES, lines_of(LATER)).schema


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("ABCDE", min_size=1), min_size=1, max_size=12))
def test_in_their_own_baskets_rules_have_their_own_figures(baskets: list[str]) -> None:
    lines = lines_of(baskets)
    rules = association_rules(frequent_itemsets(lines, 0.01), len(baskets))
    found = rules_in_other_baskets(rules, lines)
    assert_frame_equal(found, rules.select("antecedent_count", "support", "confidence", "lift"))


def test_a_hit_is_a_basket_that_holds_one_of_the_products_shown() -> None:
    recommendations_ = recommended(("A", "B"), ("A", "C"), ("D", "A"), ("D", "B"), ("Z", "A"), ("Z", "B"))
    found = recommendation_quality(recommendations_, pl.Series(["C", "A", "B"]), lines_of(LATER))
    # Asked: A in baskets AB, ABC, AC and D in D. B is beside A in two of three, B or C in all; D is alone.
    # Popular beside A: first C (in 2 of 3), then C or B (in all); beside D: nothing.
    assert found.rows() == [(1, 4, 2, 2 / 4, 2, 2 / 4), (2, 4, 3, 3 / 4, 3, 3 / 4)]


def test_a_popular_product_is_not_shown_beside_itself() -> None:
    found = recommendation_quality(recommended(("A", "B")), pl.Series(["A", "C"]), lines_of(["AC", "AB"]))
    assert found.select("hit_count", "popular_hit_count").rows() == [(1, 1)]


def test_where_no_line_asks_there_are_no_rows() -> None:
    quality = recommendation_quality(recommended(("A", "B")), pl.Series(["B"]), lines_of(["CD"]))
    assert quality.is_empty()
    assert quality.schema == recommendation_quality(recommended(("A", "B")), pl.Series(["B"]), lines_of(["AB"])).schema
    nothing_recommended = recommended(("A", "B")).clear()
    assert recommendation_quality(nothing_recommended, pl.Series([], dtype=pl.String), lines_of(["AB"])).is_empty()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("ABCDEF", min_size=1), min_size=2, max_size=12), st.integers(1, 4))
def test_hit_rates_are_those_of_going_through_the_baskets(baskets: list[str], per_product: int) -> None:
    before, after = baskets[::2], [set(basket) for basket in baskets[1::2]]
    shown = recommendations(lines_of(before), per_product, min_basket_count=1)
    popular = pl.Series(["A", "B", "C", "D", "E"])
    found = recommendation_quality(shown, popular, lines_of(["".join(sorted(basket)) for basket in after]))
    for row in found.iter_rows(named=True):
        hits = popular_hits = asked = 0
        for basket in after:
            for item in basket & set(shown["stock_code"]):
                first = shown.filter(pl.col("stock_code") == item, pl.col("rank") <= row["shown_count"])["recommended_stock_code"]
                others = [product for product in popular if product != item][: row["shown_count"]]
                asked += 1
                hits += bool(basket & set(first))
                popular_hits += bool(basket & set(others))
        assert (row["line_count"], row["hit_count"], row["popular_hit_count"]) == (asked, hits, popular_hits)
