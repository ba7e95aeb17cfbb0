"""Rules of groups: mined within the group, compared to everyone, with intervals that hold what they say."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import norm

from retail_assets.lib.baskets import association_rules, frequent_itemsets, group_rules
from retail_assets.lib.baskets._groups import _lift, _variance_of_log_ratio

THIRTY_BASKETS = [*["AB"] * 6, *["AC"] * 2, *["CD"] * 2, *["AB"] * 2, *["AD"] * 8, *["BC"] * 8, *["CD"] * 2]
"""The first ten are of France, the others of no group but one of Spain. In France AB is in 6, A in 8, B in 6; everywhere in 8, 18 and 16 of 30."""

GROUPS = pl.DataFrame({"basket_id": list(range(11)), "group": [*["France"] * 10, "Spain"]})


def lines_of(baskets: list[str]) -> pl.DataFrame:
    rows = [(number, item) for number, basket in enumerate(baskets) for item in basket]
    return pl.DataFrame(rows, schema={"basket_id": pl.Int64, "item": pl.String}, orient="row")


def test_a_group_is_mined_for_itself_and_compared_to_everyone() -> None:
    found = group_rules(lines_of(THIRTY_BASKETS), GROUPS, 0.3, min_basket_count=3, min_group_baskets=5)
    assert found.select("group", "antecedent", "consequent").rows() == [("France", ["A"], ["B"]), ("France", ["B"], ["A"])]
    row = found.row(1, named=True)
    counts = [row[name] for name in ("basket_count", "antecedent_count", "consequent_count", "total_basket_count")]
    assert counts == [6, 6, 8, 10]
    everyone = 8 * 30 / (16 * 18)
    assert (row["lift"], row["everyone_lift"]) == pytest.approx((1.25, everyone))
    assert (row["lift_difference"], row["lift_ratio"]) == pytest.approx((1.25 - everyone, 1.25 / everyone))
    assert row["lift_ratio_low"] < row["lift_ratio"] < row["lift_ratio_high"]
    assert row["lift_ratio"] / row["lift_ratio_low"] == pytest.approx(row["lift_ratio_high"] / row["lift_ratio"])


def test_what_is_frequent_in_the_group_alone_has_no_q_value() -> None:
    # At 30%, AB needs 3 baskets of France, and 9 of everyone; it has 8.
    found = group_rules(lines_of(THIRTY_BASKETS), GROUPS, 0.3, min_basket_count=3, min_group_baskets=5)
    assert found["difference_q_value"].to_list() == [None, None]


def test_all_rules_that_are_frequent_among_everyone_count_as_tested() -> None:
    # At 25%, 8 of 30 baskets make AB, AD and BC frequent among everyone: six rules, of which France has the two of AB.
    found = group_rules(lines_of(THIRTY_BASKETS), GROUPS, 0.25, min_basket_count=3, min_group_baskets=5)
    row = found.row(0, named=True)
    deviation = np.log(row["lift_ratio_high"] / row["lift_ratio"]) / norm.ppf(0.975)
    # The ratio is 1.5: on the scale of its square root it is nearer to 1 than on that of its logarithm.
    p_value = 2 * norm.sf((np.sqrt(1.5) - 1) / (np.sqrt(1.5) * deviation / 2))
    assert found["difference_q_value"].to_list() == pytest.approx([p_value * 6 / 2] * 2)
    assert p_value < 0.1


def test_random_groups_differ_from_everyone_as_seldom_as_their_q_values_say() -> None:
    # Forty items, independent, and a pair of each with a neighbour in 3% of the baskets: 40 groups of a tenth of the baskets, drawn at random.
    generator = np.random.default_rng(2)
    held = generator.random((4000, 40)) < np.linspace(0.02, 0.15, 40)
    both = generator.random((4000, 20)) < 0.03
    held |= np.repeat(both, 2, axis=1)
    basket, item = np.nonzero(held)
    lines = pl.DataFrame({"basket_id": basket, "item": item.astype(str)})
    drawn = [pl.DataFrame({"basket_id": generator.choice(np.unique(basket), 400, replace=False), "group": ["drawn"] * 400}) for _ in range(40)]
    found = [group_rules(lines, group, 0.01, max_length=2) for group in drawn]
    # That some rules are rare elsewhere is what makes the groups worth mining for themselves.
    assert sum(rules["difference_q_value"].null_count() for rules in found) > 0
    assert sum(rules.height for rules in found) > 1000
    assert sum((rules["difference_q_value"] < 0.05).any() for rules in found) <= 3


def test_thresholds_hold_within_the_group() -> None:
    members = lines_of(THIRTY_BASKETS[:10])
    expected = association_rules(frequent_itemsets(members, 0.1), 10, min_confidence=0.7, min_lift=1.0, max_consequent=1)
    found = group_rules(lines_of(THIRTY_BASKETS), GROUPS, 0.1, min_basket_count=1, min_group_baskets=5, min_confidence=0.7, min_lift=1.0)
    shared = [name for name in found.columns if name in expected.columns]
    assert_frame_equal(found.select(shared), expected.select(shared))


def test_rules_of_five_of_six_baskets_of_a_group_are_found_at_a_support_of_five_sixths() -> None:
    lines, members = lines_of(["AB"] * 5 + ["AC"] * 2), pl.DataFrame({"basket_id": range(6), "group": ["France"] * 6})
    found = group_rules(lines, members, 5 / 6, min_basket_count=1, min_group_baskets=1)
    assert found.select("antecedent", "consequent", "basket_count").rows() == [(["A"], ["B"], 5), (["B"], ["A"], 5)]


def test_small_groups_and_no_groups_have_no_rules_of_the_same_schema() -> None:
    lines = lines_of(THIRTY_BASKETS)
    found = group_rules(lines, GROUPS, 0.3, min_basket_count=3, min_group_baskets=5)
    for none in (group_rules(lines, GROUPS, 0.3, min_group_baskets=11), group_rules(lines, GROUPS.clear(), 0.3)):
        assert none.is_empty()
        assert none.schema == found.schema


def test_a_group_of_everyone_does_not_differ_from_everyone() -> None:
    everyone = pl.DataFrame({"basket_id": range(30), "group": ["all"] * 30})
    found = group_rules(lines_of(THIRTY_BASKETS), everyone, 0.1, min_basket_count=1, min_group_baskets=1)
    for name, value in (("lift_ratio", 1), ("lift_ratio_low", 1), ("lift_ratio_high", 1), ("difference_q_value", 1), ("lift_difference", 0)):
        np.testing.assert_allclose(found[name], value, atol=1e-12)


def test_the_interval_holds_the_true_ratio_in_19_of_20_cases() -> None:
    # In the group A and C hold together in 6% of the baskets, A in 15% and C in 12%; among the four times as many others in 3%, 15% and 10%.
    generator = np.random.default_rng(5)
    cells_of_group, cells_of_others = [0.06, 0.09, 0.06, 0.79], [0.03, 0.12, 0.07, 0.78]
    shares_of_everyone = np.average([cells_of_group, cells_of_others], axis=0, weights=[1, 4])

    def counts(cells: np.ndarray) -> list[np.ndarray]:
        both, one, other, neither = np.moveaxis(np.asarray(cells, dtype=float), -1, 0)
        return [both, both + one, both + other, both + one + other + neither]

    drawn = generator.multinomial(600, cells_of_group, 4000), generator.multinomial(2400, cells_of_others, 4000)
    group, everyone = counts(drawn[0]), counts(drawn[0] + drawn[1])
    truth = _lift(counts(np.array(cells_of_group))) / _lift(counts(shares_of_everyone))
    error = np.log(_lift(group) / _lift(everyone) / truth)
    deviation = np.sqrt(_variance_of_log_ratio(group, everyone))
    assert 0.94 < (np.abs(error) < 1.96 * deviation).mean() < 0.965
    assert deviation.mean() == pytest.approx(error.std(), rel=0.05)


def test_groups_need_a_basket_and_a_name() -> None:
    with pytest.raises(ValueError, match=r"groups lacks \['group'\]"):
        group_rules(lines_of(THIRTY_BASKETS), GROUPS.drop("group"), 0.1)
