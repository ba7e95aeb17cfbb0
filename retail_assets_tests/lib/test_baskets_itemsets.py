"""Frequent itemsets: exact thresholds, two algorithms and brute force in agreement, and memory that stays bounded."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations
from math import ceil

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.lib.baskets import ItemsetLimitError, _eclat, _guard, _itemsets, frequent_itemsets, least_count
from retail_assets.lib.baskets._lines import code_lines

Baskets = list[set[str]]

FIVE_BASKETS: Baskets = [{"A", "B", "C"}, {"A", "B", "C"}, {"A", "B"}, {"C", "d"}, {"10"}]
"""`d` sorts after all capitals and `10` before all letters; the last basket holds a single item and counts all the same."""

baskets_of_few_items = st.lists(st.sets(st.sampled_from("ABCDEFGH"), min_size=1), min_size=1, max_size=12)
supports = st.sampled_from([0.01, 0.07, 0.1, 0.2, 0.25, 0.3, 0.5, 0.7, 1.0])


def lines_of(baskets: Baskets) -> pl.DataFrame:
    rows = [(f"b{number}", item) for number, basket in enumerate(baskets) for item in sorted(basket)]
    return pl.DataFrame(rows, schema={"basket_id": pl.String, "item": pl.String}, orient="row")


def counted(itemsets: pl.DataFrame) -> list[tuple[str, int]]:
    return [("".join(itemset), count) for itemset, count in itemsets.select("itemset", "count").iter_rows()]


def brute_force(baskets: Baskets, min_support: float, max_length: int | None) -> list[tuple[list[str], int, float]]:
    counts = Counter(subset for basket in baskets for length in range(1, len(basket) + 1) for subset in combinations(sorted(basket), length))
    least = ceil(Fraction(str(min_support)) * len(baskets))
    kept = [subset for subset, count in counts.items() if count >= least and len(subset) <= (max_length or len(subset))]
    return [(list(subset), counts[subset], counts[subset] / len(baskets)) for subset in sorted(kept, key=lambda subset: (len(subset), subset))]


@pytest.mark.parametrize("algorithm", ["eclat", "fpgrowth"])
def test_itemsets_come_counted_and_ordered_by_length_and_name(algorithm: str) -> None:
    itemsets = frequent_itemsets(lines_of(FIVE_BASKETS), 0.4, algorithm=algorithm)  # type: ignore[arg-type]
    assert counted(itemsets) == [("A", 3), ("B", 3), ("C", 3), ("AB", 3), ("AC", 2), ("BC", 2), ("ABC", 2)]
    assert itemsets["support"].to_list() == [0.6, 0.6, 0.6, 0.6, 0.4, 0.4, 0.4]


def test_every_itemset_that_occurs_is_found_at_a_support_below_one_basket() -> None:
    assert ("10", 1) in counted(frequent_itemsets(lines_of(FIVE_BASKETS), 1e-9))
    assert ("Cd", 1) in counted(frequent_itemsets(lines_of(FIVE_BASKETS), 1e-9))


@settings(max_examples=150, deadline=None)
@given(baskets_of_few_items, supports, st.sampled_from([None, 1, 2, 3]))
def test_eclat_equals_brute_force(baskets: Baskets, min_support: float, max_length: int | None) -> None:
    assert frequent_itemsets(lines_of(baskets), min_support, max_length).rows() == [
        tuple(row) for row in brute_force(baskets, min_support, max_length)
    ]


@pytest.mark.filterwarnings("error")
@settings(max_examples=40, deadline=None)
@given(baskets_of_few_items, supports, st.sampled_from([None, 1, 2, 3]))
def test_fpgrowth_gives_the_same_frame_as_eclat(baskets: Baskets, min_support: float, max_length: int | None) -> None:
    lines = lines_of(baskets)
    assert_frame_equal(frequent_itemsets(lines, min_support, max_length, algorithm="fpgrowth"), frequent_itemsets(lines, min_support, max_length))


@settings(max_examples=30, deadline=None)
@given(baskets_of_few_items, supports, st.randoms(use_true_random=False))
def test_order_and_repetition_of_lines_and_names_of_baskets_do_not_matter(baskets: Baskets, min_support: float, random: object) -> None:
    lines = lines_of(baskets)
    seed = random.randrange(1000)  # type: ignore[attr-defined]
    shuffled = pl.concat([lines, lines.sample(fraction=0.5, seed=seed)]).sample(fraction=1.0, shuffle=True, seed=seed)
    renamed = shuffled.with_columns(pl.col("basket_id").str.slice(1).cast(pl.Int64) * -7)
    assert_frame_equal(frequent_itemsets(renamed, min_support), frequent_itemsets(lines, min_support))


@settings(max_examples=30, deadline=None)
@given(baskets_of_few_items, supports)
def test_every_subset_of_a_frequent_itemset_is_frequent_and_counts_at_least_as_much(baskets: Baskets, min_support: float) -> None:
    counts = {tuple(itemset): count for itemset, count, _ in frequent_itemsets(lines_of(baskets), min_support).iter_rows()}
    for itemset, count in counts.items():
        for position in range(len(itemset) if len(itemset) > 1 else 0):
            assert counts[itemset[:position] + itemset[position + 1 :]] >= count


@pytest.mark.parametrize("algorithm", ["eclat", "fpgrowth"])
@pytest.mark.parametrize(
    ("min_support", "basket_count", "least"),
    [
        (0.07, 100, 7),  # 0.07 * 100 is 7.000000000000001 in floating point
        (0.29, 100, 29),  # 0.29 * 100 is 28.999999999999996
        (0.003, 1000, 3),
        (0.0031, 1000, 4),  # 3.1 baskets
        (0.1, 30, 3),  # 0.1 * 3 * 10
        (1, 3, 3),
        (Fraction(1, 3), 99, 33),
    ],
)
def test_the_threshold_is_exact(algorithm: str, min_support: float, basket_count: int, least: int) -> None:
    at, below = [{"at"}] * least, [{"below"}] * (least - 1)
    held: Baskets = [set[str]().union(*pair) for pair in zip(at, [*below, set[str]()], strict=True)]
    lines = lines_of([*held, *({f"other {number}"} for number in range(basket_count - least))])
    itemsets = frequent_itemsets(lines, min_support, max_length=1, algorithm=algorithm)  # type: ignore[arg-type]
    assert ("at", least) in counted(itemsets)
    assert ("below", least - 1) not in counted(itemsets)


def test_the_share_that_k_of_n_baskets_have_asks_for_k_baskets() -> None:
    # Exactly, 5 / 6 in floating point is a little above five sixths, and of half of these shares more than k baskets would be asked.
    pairs = [(k, n) for n in range(1, 400) for k in range(1, n + 1)]
    assert [pair for pair in pairs if least_count(pair[0] / pair[1], pair[1]) != pair[0]] == []
    assert [pair for pair in pairs if least_count(Fraction(*pair), pair[1]) != pair[0]] == []
    assert least_count(Fraction(1, 3) + Fraction(1, 10**30), 99) == 34


@given(st.floats(0, 1, exclude_min=True), st.integers(1, 10**6))
def test_the_least_count_is_the_smallest_whose_share_is_at_least_the_support(min_support: float, basket_count: int) -> None:
    count = least_count(min_support, basket_count)
    assert count / basket_count >= min_support
    assert (count - 1) / basket_count < min_support


def test_a_least_number_of_baskets_is_at_most_all_of_them() -> None:
    assert [least_count(0.01, baskets, min_basket_count=10) for baskets in (0, 1, 9, 900, 1001)] == [1, 1, 9, 10, 11]


@pytest.mark.parametrize("algorithm", ["eclat", "fpgrowth"])
def test_itemsets_of_five_of_six_baskets_are_found_at_a_support_of_five_sixths(algorithm: str) -> None:
    lines = lines_of([{"A", "B"}] * 5 + [{"A"}])
    assert counted(frequent_itemsets(lines, 5 / 6, algorithm=algorithm)) == [("A", 6), ("B", 5), ("AB", 5)]  # type: ignore[arg-type]


def popular_baskets(basket_count: int = 300, item_count: int = 14) -> Baskets:
    """Baskets of popular items: families of more than one bitmap word."""
    generator = np.random.default_rng(7)
    held = generator.random((basket_count, item_count)) < np.linspace(0.1, 0.7, item_count)
    return [{f"item {number:02}" for number in np.flatnonzero(row)} for row in held]


@pytest.mark.parametrize("large_share", [0.0, 0.45, 2.0], ids=["all baskets large", "some", "none"])
@pytest.mark.parametrize("at_once", [1, 1 << 17])
def test_how_work_is_cut_and_which_baskets_count_as_large_change_no_itemset(
    monkeypatch: pytest.MonkeyPatch, large_share: float, at_once: int
) -> None:
    lines = lines_of(popular_baskets())
    monkeypatch.setattr(_eclat, "LARGE_SHARE", large_share)
    for budget in ("PAIRS_AT_ONCE", "WORDS_AT_ONCE"):
        monkeypatch.setattr(_eclat, budget, at_once)
    assert_frame_equal(frequent_itemsets(lines, 0.05), frequent_itemsets(lines, 0.05, algorithm="fpgrowth"))


@settings(max_examples=60, deadline=None)
@given(baskets_of_few_items, supports)
def test_without_large_baskets_eclat_equals_brute_force_too(baskets: Baskets, min_support: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_eclat, "LARGE_SHARE", 2.0)
        found = frequent_itemsets(lines_of(baskets), min_support)
    assert found.rows() == [tuple(row) for row in brute_force(baskets, min_support, None)]


def test_a_few_very_large_baskets_are_counted_exactly_and_take_no_memory_of_their_own() -> None:
    # 20 baskets of 3,000 items hold 90 million pairs of lines; written out they would take gigabytes.
    large: Baskets = [{f"{number:04}" for number in range(start, start + 3000)} for start in range(20)]
    small: Baskets = [{f"{number:04}", f"{number + 1:04}"} for number in range(100)]
    itemsets = frequent_itemsets(lines_of([*large, *small]), Fraction(21, 120), max_length=2)
    # Only the first hundred pairs of neighbours are in a small basket besides; the first few dozen are in fewer than all large ones.
    assert counted(itemsets.filter(pl.col("itemset").list.len() == 2)) == [(f"{n:04}{n + 1:04}", 21) for n in range(19, 100)]


@pytest.mark.parametrize("algorithm", ["eclat", "fpgrowth"])
def test_more_itemsets_than_the_limit_are_refused_with_advice(algorithm: str) -> None:
    seven = lines_of(FIVE_BASKETS)
    assert len(frequent_itemsets(seven, 0.4, algorithm=algorithm, max_itemsets=7)) == 7  # type: ignore[arg-type]
    advice = (
        r"More than 6 itemsets .* at 2 of 5 baskets\. Raise min_support \(at 0\.8 they would fit, by an estimate\), bound their size by max_length"
    )
    with pytest.raises(ItemsetLimitError, match=advice):
        frequent_itemsets(seven, 0.4, algorithm=algorithm, max_itemsets=6)  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["eclat", "fpgrowth"])
def test_two_to_the_sixty_itemsets_are_refused_at_the_beginning_and_not_by_memory(monkeypatch: pytest.MonkeyPatch, algorithm: str) -> None:
    # What mining goes through before the estimate is asked; fpgrowth cannot be stopped and is not begun.
    monkeypatch.setattr(_itemsets, "UNJUDGED_ITEMSETS", 1_000)
    sixty_twice = lines_of([{f"{number:02}" for number in range(60)}] * 2)
    with pytest.raises(ItemsetLimitError, match=r"about \de\+1\d by an estimate\) at 2 of 2 baskets\. Bound their size"):
        frequent_itemsets(sixty_twice, 1.0, algorithm=algorithm)  # type: ignore[arg-type]


@pytest.mark.parametrize("max_length", [None, 2, 3])
def test_the_estimate_is_near_the_true_number_of_itemsets(max_length: int | None) -> None:
    lines = lines_of(popular_baskets(item_count=20))
    estimate = _guard.estimated_itemsets(_eclat.frequent_only(code_lines(lines), 3), 3, max_length)
    assert estimate == pytest.approx(frequent_itemsets(lines, 0.01, max_length).height, rel=0.2)


def test_the_mean_of_many_estimates_is_the_true_number(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(popular_baskets())
    ranked = _eclat.frequent_only(code_lines(lines), 6)
    estimates = []
    for probes in range(2, 102):  # the number of probes is the seed too
        monkeypatch.setattr(_guard, "PROBES", probes)
        estimates.append(_guard.estimated_itemsets(ranked, 6, None))
    assert np.mean(estimates) == pytest.approx(frequent_itemsets(lines, 0.02).height, rel=0.1)


@pytest.mark.parametrize("algorithm", ["eclat", "fpgrowth"])
def test_no_lines_give_no_itemsets_of_the_same_schema(algorithm: str) -> None:
    itemsets = frequent_itemsets(lines_of([]), 0.1, algorithm=algorithm)  # type: ignore[arg-type]
    assert itemsets.is_empty()
    assert itemsets.schema == frequent_itemsets(lines_of(FIVE_BASKETS), 0.4).schema


@pytest.mark.parametrize("algorithm", ["eclat", "fpgrowth"])
def test_where_nothing_is_frequent_nothing_is_returned(algorithm: str) -> None:
    assert frequent_itemsets(lines_of([{"A"}, {"B"}]), 0.9, algorithm=algorithm).is_empty()  # type: ignore[arg-type]


@pytest.mark.parametrize("min_support", [0, -0.1, 1.01, float("nan"), float("inf"), "many", None])
def test_a_support_that_is_no_share_is_refused(min_support: float) -> None:
    with pytest.raises(ValueError, match=r"min_support is .*above 0 and up to 1"):
        frequent_itemsets(lines_of(FIVE_BASKETS), min_support)


def test_wrong_arguments_and_frames_are_refused_by_name() -> None:
    lines = lines_of(FIVE_BASKETS)
    with pytest.raises(ValueError, match="algorithm is 'apriori'; choose 'eclat' or 'fpgrowth'"):
        frequent_itemsets(lines, 0.1, algorithm="apriori")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_length is 0"):
        frequent_itemsets(lines, 0.1, max_length=0)
    with pytest.raises(ValueError, match=r"lines lacks \['item'\]"):
        frequent_itemsets(lines.rename({"item": "product"}), 0.1)
    with pytest.raises(ValueError, match=r"lines holds nulls: {'item': 1}"):
        frequent_itemsets(pl.concat([lines, pl.DataFrame({"basket_id": ["b0"], "item": [None]}, schema=lines.schema)]), 0.1)
