"""Recommendations: what goes together first, what is popular after, and the same number for every product."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.lib.baskets import _recommendations, recommend, recommendations

EIGHT_BASKETS = ["AB", "AB", "AB", "AC", "AC", "BD", "C", "E"]
"""A in 5 baskets, B in 4, C in 3, D and E in 1; together A and B in 3, A and C in 2, B and D in 1."""


def lines_of(baskets: list[str]) -> pl.DataFrame:
    rows = [(number, item) for number, basket in enumerate(baskets) for item in basket]
    return pl.DataFrame(rows, schema={"basket_id": pl.Int64, "item": pl.String}, orient="row")


def shown(frame: pl.DataFrame, stock_code: str) -> list[tuple[str, str, int]]:
    return frame.filter(pl.col("stock_code") == stock_code).select("recommended_stock_code", "basis", "basket_count").rows()


def test_what_is_bought_together_comes_first_and_popular_products_fill_up() -> None:
    found = recommendations(lines_of(EIGHT_BASKETS), per_product=3, min_basket_count=2)
    assert shown(found, "A") == [("B", "together", 3), ("C", "together", 2), ("D", "popular", 1)]
    assert shown(found, "C") == [("A", "together", 2), ("B", "popular", 4), ("D", "popular", 1)]
    assert shown(found, "E") == [("A", "popular", 5), ("B", "popular", 4), ("C", "popular", 3)]


def test_scores_are_the_shrunken_cosine_and_the_share_of_baskets() -> None:
    found = recommendations(lines_of(EIGHT_BASKETS), per_product=3, min_basket_count=2).filter(pl.col("stock_code") == "A")
    cosine = [3 / (5 * 4) ** 0.5, 2 / (5 * 3) ** 0.5]
    weight = [3 / (3 + _recommendations.SHRINKAGE), 2 / (2 + _recommendations.SHRINKAGE)]
    assert found["score"].to_list() == pytest.approx([cosine[0] * weight[0], cosine[1] * weight[1], 1 / 8])


def test_ties_go_by_stock_code() -> None:
    found = recommendations(lines_of(["XB", "XA", "XC", "XD"]), per_product=2, min_basket_count=1)
    assert shown(found, "X") == [("A", "together", 1), ("B", "together", 1)]
    assert shown(found, "C") == [("X", "together", 1), ("A", "popular", 1)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ABCDEFGHIJ", min_size=1), min_size=1, max_size=12), st.integers(1, 6), st.integers(1, 3))
def test_every_product_gets_as_many_distinct_others_as_there_are(baskets: list[str], per_product: int, min_basket_count: int) -> None:
    items = sorted(set("".join(baskets)))
    found = recommendations(lines_of(baskets), per_product, min_basket_count)
    each = min(per_product, len(items) - 1)
    assert found.select("stock_code", "rank").rows() == [(item, rank) for item in items for rank in range(1, each + 1)]
    assert not (found["stock_code"] == found["recommended_stock_code"]).any()
    assert not found.select("stock_code", "recommended_stock_code").is_duplicated().any()
    ranks_of_popular = found.filter(pl.col("basis") == "popular").group_by("stock_code").agg(pl.col("rank").min().alias("first"))
    mixed = found.filter(pl.col("basis") == "together").join(ranks_of_popular, on="stock_code")
    assert (mixed["rank"] < mixed["first"]).all()


def test_order_and_repetition_of_lines_and_the_size_of_pieces_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(EIGHT_BASKETS)
    whole = recommendations(lines, min_basket_count=1)
    monkeypatch.setattr(_recommendations, "COUNTS_AT_ONCE", 1)
    assert_frame_equal(recommendations(pl.concat([lines, lines]).reverse(), min_basket_count=1), whole)


def test_products_in_no_basket_are_recommended_what_is_popular() -> None:
    found = recommendations(lines_of(EIGHT_BASKETS), per_product=2, min_basket_count=2, products=pl.Series(["A", "OLD"]))
    assert shown(found, "OLD") == [("A", "popular", 5), ("B", "popular", 4)]
    assert not (found["recommended_stock_code"] == "OLD").any()
    assert_frame_equal(found.filter(pl.col("stock_code") != "OLD"), recommendations(lines_of(EIGHT_BASKETS), per_product=2, min_basket_count=2))


def test_a_basket_adds_up_what_its_products_recommend() -> None:
    of_products = recommendations(lines_of(EIGHT_BASKETS), per_product=3, min_basket_count=1)
    score = {(row["stock_code"], row["recommended_stock_code"]): row["score"] for row in of_products.iter_rows(named=True)}
    found = recommend(of_products, ["B", "C"], shown=3)
    # A goes with B and with C, D with B alone; that D is popular too, beside C, adds nothing.
    assert found.rows() == [
        ("A", "together", pytest.approx(score["B", "A"] + score["C", "A"]), ["B", "C"]),
        ("D", "together", pytest.approx(score["B", "D"]), ["B"]),
    ]
    assert recommend(of_products, ["B", "C"], shown=1)["recommended_stock_code"].to_list() == ["A"]


def test_popular_products_fill_up_what_is_shown_beside_a_basket() -> None:
    of_products = recommendations(lines_of(EIGHT_BASKETS), per_product=3, min_basket_count=2)
    found = recommend(of_products, ["C"], shown=3)
    assert found.select("recommended_stock_code", "basis").rows() == [("A", "together"), ("B", "popular"), ("D", "popular")]


def test_a_basket_is_never_recommended_what_it_holds_and_unknown_codes_add_nothing() -> None:
    of_products = recommendations(lines_of(EIGHT_BASKETS), per_product=4, min_basket_count=1)
    with_unknown = recommend(of_products, ["A", "B", "nonsense"], shown=10)
    assert set(with_unknown["recommended_stock_code"]) == {"C", "D", "E"}
    assert_frame_equal(with_unknown, recommend(of_products, ["B", "A"], shown=10))
    assert recommend(of_products, ["nonsense"]).is_empty()
    with pytest.raises(ValueError, match="shown is 0"):
        recommend(of_products, ["A"], shown=0)
    with pytest.raises(TypeError, match=r"basket is the text 'A'; give a list of stock codes, such as \['A'\]"):
        recommend(of_products, "A")


@pytest.mark.parametrize("baskets", [[], ["A"], ["A", "A"]])
def test_without_another_product_there_is_nothing_to_recommend(baskets: list[str]) -> None:
    found = recommendations(lines_of(baskets))
    assert found.is_empty()
    assert found.schema == recommendations(lines_of(EIGHT_BASKETS)).schema


def test_counts_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="per_product is 0"):
        recommendations(lines_of(EIGHT_BASKETS), per_product=0)
    with pytest.raises(ValueError, match="min_basket_count 0"):
        recommendations(lines_of(EIGHT_BASKETS), min_basket_count=0)
