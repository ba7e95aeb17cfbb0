"""Measures of rules: hand-computed, equal to mlxtend and scipy where these have them, and bounded at the edges."""

from __future__ import annotations

from math import comb, inf, log, sqrt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.lib.baskets import MEASURES, _measures, association_rules, frequent_itemsets, rule_measures

COUNTS = ("basket_count", "antecedent_count", "consequent_count", "total_basket_count")

counts_of_rules = st.integers(1, 60).flatmap(
    lambda total: st.tuples(st.integers(1, total), st.integers(1, total)).flatmap(
        lambda sides: st.tuples(st.integers(max(1, sum(sides) - total), min(sides)), st.just(sides[0]), st.just(sides[1]), st.just(total))
    )
)


def measured(*counts: tuple[int, int, int, int], names: tuple[str, ...] = MEASURES) -> list[dict[str, float]]:
    return rule_measures(pl.DataFrame(list(counts), schema=list(COUNTS), orient="row"), names).drop(COUNTS).to_dicts()


def test_measures_are_those_computed_by_hand() -> None:
    # Of 100 baskets 20 hold A and 30 hold C, 12 both: 8 A alone, 18 C alone, 62 neither.
    (found,) = measured((12, 20, 30, 100))
    information = [0.12 * log(0.12 / 0.06), 0.08 * log(0.08 / 0.14), 0.18 * log(0.18 / 0.24), 0.62 * log(0.62 / 0.56)]
    phi = (0.12 - 0.06) / sqrt(0.2 * 0.8 * 0.3 * 0.7)
    assert found == pytest.approx(
        {
            "antecedent_support": 0.2,
            "consequent_support": 0.3,
            "certainty": (0.6 - 0.3) / 0.7,
            "cosine": 0.12 / sqrt(0.06),
            "kulczynski": (0.6 + 0.4) / 2,
            "all_confidence": 0.4,
            "max_confidence": 0.6,
            "imbalance_ratio": 0.1 / 0.38,
            "added_value": 0.3,
            "odds_ratio": 12 * 62 / (8 * 18),
            "yules_q": (12 * 62 - 8 * 18) / (12 * 62 + 8 * 18),
            "relative_risk": 0.6 / (18 / 80),
            "phi": phi,
            "chi_squared": 100 * phi**2,
            "kappa": (0.74 - (0.06 + 0.56)) / (1 - (0.06 + 0.56)),
            "j_measure": information[0] + information[1],
            "mutual_information": sum(information),
            "fisher_p_value": sum(comb(30, both) * comb(70, 20 - both) for both in range(12, 21)) / comb(100, 20),
        }
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(counts_of_rules, min_size=1, max_size=8))
def test_fisher_and_chi_squared_are_those_of_scipy(counts: list[tuple[int, int, int, int]]) -> None:
    from scipy.stats import chi2_contingency, fisher_exact  # noqa: PLC0415

    for (joint, antecedent, consequent, total), found in zip(counts, measured(*counts), strict=True):
        table = np.array([[joint, antecedent - joint], [consequent - joint, total - antecedent - consequent + joint]])
        assert found["fisher_p_value"] == pytest.approx(fisher_exact(table, alternative="greater").pvalue, rel=1e-9, abs=1e-15)
        if (table.sum(axis=0) > 0).all() and (table.sum(axis=1) > 0).all():
            assert found["chi_squared"] == pytest.approx(chi2_contingency(table, correction=False).statistic, rel=1e-9, abs=1e-9)


def test_fisher_is_exact_far_into_the_tail_of_large_tables() -> None:
    from scipy.stats import hypergeom  # noqa: PLC0415

    counts = [(joint, 800, 1_500, 20_000) for joint in (1, 40, 59, 60, 61, 150, 400)]
    expected = [hypergeom.sf(joint - 1, 20_000, 1_500, 800) for joint, *_ in counts]
    assert [row["fisher_p_value"] for row in measured(*counts)] == pytest.approx(expected, rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.sampled_from("ABCDE"), min_size=1), min_size=2, max_size=15))
def test_measures_equal_those_of_mlxtend(baskets: list[set[str]]) -> None:
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415
    from mlxtend.frequent_patterns import association_rules as oracle  # noqa: PLC0415

    rows = [(number, item) for number, basket in enumerate(baskets) for item in sorted(basket)]
    itemsets = frequent_itemsets(pl.DataFrame(rows, schema=["basket_id", "item"], orient="row"), 0.1)
    # mlxtend divides by zero where a side is in all baskets.
    names = ("antecedent_support", "consequent_support", "certainty", "kulczynski")
    rules = rule_measures(association_rules(itemsets, len(baskets)), names).filter(pl.col("consequent_count") < len(baskets))
    if rules.is_empty():
        return
    frame = pd.DataFrame({"support": itemsets["support"].to_list(), "itemsets": [frozenset(itemset) for itemset in itemsets["itemset"]]})
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = oracle(frame, metric="confidence", min_threshold=0.0)
    theirs = {
        (frozenset(row["antecedents"]), frozenset(row["consequents"])): [row[name.replace("_support", " support")] for name in names]
        for _, row in expected.iterrows()
    }
    for row in rules.iter_rows(named=True):
        np.testing.assert_allclose([row[name] for name in names], theirs[frozenset(row["antecedent"]), frozenset(row["consequent"])], atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(counts_of_rules)
def test_measures_stay_within_their_bounds(counts: tuple[int, int, int, int]) -> None:
    (found,) = measured(counts)
    unit = (
        "antecedent_support",
        "consequent_support",
        "cosine",
        "kulczynski",
        "all_confidence",
        "max_confidence",
        "imbalance_ratio",
        "fisher_p_value",
    )
    assert all(0 <= found[name] <= 1 + 1e-12 for name in unit)
    assert all(-1 - 1e-12 <= found[name] <= 1 + 1e-12 for name in ("phi", "yules_q", "kappa", "added_value"))
    assert found["mutual_information"] >= -1e-12
    assert found["odds_ratio"] >= 0
    assert not any(np.isnan(value) for value in found.values())


def test_a_side_in_all_baskets_shows_no_association_and_no_exception_an_infinite_one() -> None:
    in_all, without_exception, always_together = measured((4, 4, 10, 10), (4, 4, 6, 10), (4, 4, 4, 10))
    assert (in_all["odds_ratio"], in_all["phi"], in_all["chi_squared"], in_all["fisher_p_value"]) == (1, 0, 0, 1)
    assert without_exception["odds_ratio"] == inf
    assert always_together["relative_risk"] == inf
    assert always_together["phi"] == pytest.approx(1)


def test_work_in_small_pieces_gives_the_same_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [(joint, 20, 30, 100) for joint in range(1, 20)]
    whole = measured(*counts)
    monkeypatch.setattr(_measures, "RULES_AT_ONCE", 4)
    assert measured(*counts) == whole


def test_no_rules_get_the_columns_all_the_same_and_unknown_names_are_refused() -> None:
    empty = pl.DataFrame(schema=dict.fromkeys(COUNTS, pl.Int64))
    assert rule_measures(empty).columns == [*COUNTS, *MEASURES]
    with pytest.raises(ValueError, match=r"Unknown measures \['lift'\]; choose from \['antecedent_support'"):
        rule_measures(empty, ["lift"])
