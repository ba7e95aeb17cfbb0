"""Association rules: hand-computed metrics, mlxtend as the oracle, redundancy by its definition."""

from __future__ import annotations

from itertools import combinations
from math import inf

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.lib.baskets import association_rules, frequent_itemsets

TEN_BASKETS = pl.DataFrame(
    # All 10 baskets: Z in every one; 4 hold A, 5 hold B, 4 hold both: A never comes without B.
    {"itemset": [["A"], ["B"], ["Z"], ["A", "B"], ["Z", "A"], ["B", "Z"], ["B", "A", "Z"]], "count": [4, 5, 10, 4, 4, 5, 4]}
)
BASKET_COUNT = 10

lines_of_few_items = st.lists(st.sets(st.sampled_from("ABCDE"), min_size=1), min_size=1, max_size=15).map(
    lambda baskets: pl.DataFrame(
        [(number, item) for number, basket in enumerate(baskets) for item in sorted(basket)],
        schema={"basket_id": pl.Int64, "item": pl.String},
        orient="row",
    )
)


def rule(rules: pl.DataFrame, antecedent: str, consequent: str) -> dict[str, object]:
    both = (pl.col("antecedent").list.join("") == antecedent) & (pl.col("consequent").list.join("") == consequent)
    return rules.filter(both).row(0, named=True)


def test_metrics_are_those_computed_by_hand() -> None:
    found = rule(association_rules(TEN_BASKETS, BASKET_COUNT), "B", "A")
    assert found == {
        "antecedent": ["B"],
        "consequent": ["A"],
        "basket_count": 4,
        "antecedent_count": 5,
        "consequent_count": 4,
        "total_basket_count": 10,
        "support": 0.4,
        "confidence": 0.8,
        "lift": 2.0,
        "leverage": 0.2,
        "conviction": 3.0,  # (1 - 0.4) / (1 - 0.8)
        "zhangs_metric": 1.0,  # 0.2 / max(0.4 * 0.5, 0.5 * 0.0)
        "jaccard": 0.8,
        "is_redundant": False,
    }


def test_every_split_of_every_itemset_is_a_rule_once() -> None:
    rules = association_rules(TEN_BASKETS, BASKET_COUNT)
    sides = {("".join(antecedent), "".join(consequent)) for antecedent, consequent in rules.select("antecedent", "consequent").iter_rows()}
    assert len(rules) == 12
    assert sides == {
        *[("A", "B"), ("B", "A"), ("A", "Z"), ("Z", "A"), ("B", "Z"), ("Z", "B")],
        *[("A", "BZ"), ("B", "AZ"), ("Z", "AB"), ("AB", "Z"), ("AZ", "B"), ("BZ", "A")],
    }


def test_a_rule_without_exception_has_infinite_conviction() -> None:
    assert rule(association_rules(TEN_BASKETS, BASKET_COUNT), "A", "B")["conviction"] == inf


def test_zhangs_metric_is_zero_where_a_side_is_in_all_baskets() -> None:
    assert rule(association_rules(TEN_BASKETS, BASKET_COUNT), "Z", "A")["zhangs_metric"] == 0
    assert rule(association_rules(TEN_BASKETS, BASKET_COUNT), "A", "Z")["zhangs_metric"] == 0


def test_a_rule_is_redundant_when_a_part_of_its_antecedent_does_as_well() -> None:
    rules = association_rules(TEN_BASKETS, BASKET_COUNT)
    assert rule(rules, "BZ", "A")["is_redundant"]  # B => A has the same confidence
    assert not rule(rules, "B", "A")["is_redundant"]


def test_redundancy_is_decided_before_the_thresholds() -> None:
    # A => C has confidence 1/2 and lift below 1, B => C more of both than A, B => C.
    lines = pl.DataFrame(
        [(number, item) for number, basket in enumerate(["ABC", "AB", "BC", "BC", "A", "D", "D"]) for item in basket],
        schema=["basket_id", "item"],
        orient="row",
    )
    every = association_rules(frequent_itemsets(lines, 0.1), 7)
    narrow = association_rules(frequent_itemsets(lines, 0.1), 7, min_lift=1.1, max_consequent=1)
    assert rule(every, "AB", "C")["is_redundant"]
    assert_frame_equal(narrow, every.filter((pl.col("lift") >= 1.1) & (pl.col("consequent").list.len() == 1)))


@settings(max_examples=60, deadline=None)
@given(lines_of_few_items)
def test_redundancy_follows_its_definition(lines: pl.DataFrame) -> None:
    rules = association_rules(frequent_itemsets(lines, 0.01), lines["basket_id"].n_unique())
    confidence = {(tuple(a), tuple(c)): value for a, c, value in rules.select("antecedent", "consequent", "confidence").iter_rows()}
    for antecedent, consequent, value, is_redundant in rules.select("antecedent", "consequent", "confidence", "is_redundant").iter_rows():
        simpler = [part for length in range(1, len(antecedent)) for part in combinations(antecedent, length)]
        assert is_redundant == any(confidence[part, tuple(consequent)] >= value for part in simpler)


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")  # of a metric of mlxtend that is not compared
@settings(max_examples=25, deadline=None)
@given(lines_of_few_items, st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_rules_equal_those_of_mlxtend(lines: pl.DataFrame, min_confidence: float) -> None:
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415
    from mlxtend.frequent_patterns import association_rules as oracle  # noqa: PLC0415

    itemsets = frequent_itemsets(lines, 0.1)
    rules = association_rules(itemsets, lines["basket_id"].n_unique(), min_confidence=min_confidence)
    frame = pd.DataFrame({"support": itemsets["support"].to_list(), "itemsets": [frozenset(itemset) for itemset in itemsets["itemset"]]})
    # A float of mlxtend may fall just short of the threshold that ours meets.
    expected = oracle(frame, metric="confidence", min_threshold=min_confidence - 1e-12)
    metrics = ["support", "confidence", "lift", "leverage", "conviction", "zhangs_metric", "jaccard"]
    theirs = {(frozenset(row["antecedents"]), frozenset(row["consequents"])): [row[m] for m in metrics] for _, row in expected.iterrows()}
    ours = {(frozenset(row["antecedent"]), frozenset(row["consequent"])): [row[m] for m in metrics] for row in rules.iter_rows(named=True)}
    assert ours.keys() == theirs.keys()
    for sides, values in ours.items():
        # Where confidence is 1 up to rounding, mlxtend's conviction is a huge number instead of infinity.
        np.testing.assert_allclose(
            [value if value < 1e12 else inf for value in values],
            [value if value < 1e12 else inf for value in theirs[sides]],
            rtol=1e-9,
            atol=1e-9,
        )


def test_rules_come_by_length_by_the_places_of_the_antecedent_and_by_itemset() -> None:
    rules = association_rules(TEN_BASKETS, BASKET_COUNT)
    keys = []
    for antecedent, consequent in rules.select("antecedent", "consequent").iter_rows():
        itemset = sorted([*antecedent, *consequent])
        places = sum(1 << place for place, item in enumerate(itemset) if item in antecedent)
        keys.append((len(itemset), places, itemset))
    assert keys == sorted(keys)


@given(lines_of_few_items)
def test_compact_rules_are_the_same_rules(lines: pl.DataFrame) -> None:
    itemsets, basket_count = frequent_itemsets(lines, 0.1), lines["basket_id"].n_unique()
    plain, compact = (association_rules(itemsets, basket_count, is_compact=is_compact) for is_compact in (False, True))
    assert_frame_equal(compact.cast({"antecedent": pl.List(pl.String), "consequent": pl.List(pl.String)}), plain)
    assert isinstance(compact.schema["antecedent"], pl.List)
    assert isinstance(compact.schema["antecedent"].inner, pl.Enum)
    assert compact["antecedent"].to_list() == plain["antecedent"].to_list()


@settings(max_examples=20, deadline=None)
@given(lines_of_few_items, st.integers(0, 1000))
def test_the_order_of_itemsets_and_of_their_items_does_not_matter(lines: pl.DataFrame, seed: int) -> None:
    itemsets = frequent_itemsets(lines, 0.1)
    shuffled = itemsets.sample(fraction=1.0, shuffle=True, seed=seed).with_columns(pl.col("itemset").list.reverse())
    basket_count = lines["basket_id"].n_unique()
    assert_frame_equal(association_rules(shuffled, basket_count), association_rules(itemsets, basket_count))


def test_thresholds_are_inclusive_and_lengths_bounded() -> None:
    every = association_rules(TEN_BASKETS, BASKET_COUNT)
    strict = association_rules(TEN_BASKETS, BASKET_COUNT, min_confidence=0.8, min_lift=2.0, max_antecedent=1, max_consequent=1)
    wanted = (pl.col("confidence") >= 0.8) & (pl.col("lift") >= 2.0) & (pl.col("antecedent").list.len() == 1)
    assert_frame_equal(strict, every.filter(wanted & (pl.col("consequent").list.len() == 1)))
    assert len(strict) == 2


def test_no_itemsets_or_single_items_only_give_no_rules_of_the_same_schema() -> None:
    schema = association_rules(TEN_BASKETS, BASKET_COUNT).schema
    for itemsets in (TEN_BASKETS.clear(), TEN_BASKETS.head(3)):
        rules = association_rules(itemsets, BASKET_COUNT)
        assert rules.is_empty()
        assert rules.schema == schema


@pytest.mark.parametrize(
    ("itemsets", "message"),
    [
        (TEN_BASKETS.filter(pl.col("itemset").list.len() != 2), r"\['A', 'B', 'Z'\] is in itemsets, but not its subset \['A', 'B'\]"),
        (TEN_BASKETS[1:], r"\['A', 'B'\] is in itemsets, but not its subset \['A'\]"),
        (pl.concat([TEN_BASKETS, TEN_BASKETS[3:4]]), r"\['A', 'B'\] comes twice"),
        (TEN_BASKETS.with_columns(itemset=pl.lit(["A", "A"])), "holds an item twice|comes twice"),
        (TEN_BASKETS.with_columns(itemset=pl.lit([], dtype=pl.List(pl.String))), "empty itemset"),
        (TEN_BASKETS.with_columns(count=pl.col("count") * 3), r"counts 12 of 10 baskets|counts 30 of 10"),
        (TEN_BASKETS.drop("count"), r"itemsets lacks \['count'\]"),
    ],
)
def test_itemsets_that_cannot_be_right_are_refused_by_name(itemsets: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        association_rules(itemsets, BASKET_COUNT)
