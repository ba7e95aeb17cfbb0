"""The null of basket sizes: its margins, its tails against exact ones, and its lift against shuffled baskets."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations, permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal

from retail_assets.lib.baskets import _counts, _null_model, association_rules, expected_under_basket_sizes, frequent_itemsets, shuffled
from retail_assets.lib.baskets._lines import code_lines

Incidence = NDArray[np.bool_]

AWKWARD_INCIDENCES = {
    "an item in every basket": [[1, 1, 0], [1, 0, 1], [1, 1, 1]],
    "a basket of every item": [[1, 1, 1, 1], [1, 0, 0, 1], [0, 1, 0, 1]],
    "nested baskets, which only one matrix fits": [[1, 1, 1], [1, 1, 0], [1, 0, 0]],
    "a block that must be full beside one that must be empty": [[1, 1, 1, 0], [1, 1, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]],
    "a single basket": [[1, 1]],
    "equal margins": [[1, 1, 0], [0, 1, 1], [1, 0, 1]],
}


def lines_of(incidence: Incidence) -> pl.DataFrame:
    basket, item = np.nonzero(incidence)
    return pl.DataFrame({"basket_id": basket, "item": item}).with_columns(pl.format("i{}", pl.col("item").cast(pl.String).str.zfill(2)).alias("item"))


def incidence_of(lines: pl.DataFrame) -> Incidence:
    coded = code_lines(lines)
    incidence = np.zeros((coded.basket_count, coded.item_count), dtype=bool)
    incidence[coded.basket, coded.item] = True
    return incidence


def all_rules(lines: pl.DataFrame, max_length: int = 3) -> pl.DataFrame:
    return association_rules(frequent_itemsets(lines, 0.01, max_length=max_length), lines["basket_id"].n_unique())


def share(flags: pl.Series) -> float:
    return float(flags.to_numpy().mean())


def generated(seed: int, baskets: int = 400, items: int = 40) -> Incidence:
    """Independent items of uneven popularity in baskets of uneven size: associated by basket sizes and nothing else."""
    generator = np.random.default_rng(seed)
    size = generator.lognormal(0, 0.8, (baskets, 1))
    popularity = np.geomspace(0.3, 0.03, items)
    held = generator.random((baskets, items)) < size * popularity / (1 + size * popularity)
    return np.asarray(held[held.sum(axis=1) >= 2])


def poisson_binomial_tail(probabilities: NDArray[np.float64], observed: int) -> float:
    """P(X >= observed), exactly, by adding one trial at a time."""
    mass = np.array([1.0])
    for probability in probabilities:
        mass = np.append(mass * (1 - probability), 0) + np.append(0, mass * probability)
    return float(mass[observed:].sum())


@pytest.mark.parametrize("name", AWKWARD_INCIDENCES)
def test_margins_are_kept_even_at_the_edge_of_what_is_possible(name: str) -> None:
    incidence = np.array(AWKWARD_INCIDENCES[name], dtype=bool)
    coded = code_lines(lines_of(incidence))
    null = _null_model._NullModel.fitted(coded)
    probability = null.probability[null.class_of_item][:, coded.items_per_basket]
    np.testing.assert_allclose(probability.sum(axis=0), coded.items_per_basket, rtol=1e-6)
    np.testing.assert_allclose(probability.sum(axis=1), coded.baskets_per_item, rtol=1e-6)


def test_margins_are_kept_on_generated_baskets() -> None:
    coded = code_lines(lines_of(generated(1)))
    null = _null_model._NullModel.fitted(coded)
    probability = null.probability[null.class_of_item][:, coded.items_per_basket]
    np.testing.assert_allclose(probability.sum(axis=0), coded.items_per_basket, rtol=1e-8)
    np.testing.assert_allclose(probability.sum(axis=1), coded.baskets_per_item, rtol=1e-8)


def test_expected_lift_is_the_mean_lift_of_baskets_shuffled_with_both_margins_kept() -> None:
    popular, draws, shuffles_per_draw = 6, 10, 6
    lines = lines_of(generated(2))
    singles, pairs, triples = np.zeros(popular), np.zeros((popular,) * 2), np.zeros((popular,) * 3)
    expected: dict[tuple[str, str], list[float]] = defaultdict(list)
    for draw in range(draws):
        # Ours is conditioned on which baskets hold the antecedent, so it is averaged over some draws too.
        drawn = shuffled(lines, seed=draw)
        within = pl.concat_list("antecedent", "consequent").list.eval(pl.element() < f"i{popular:02}").list.all()
        judged = expected_under_basket_sizes(all_rules(drawn).filter(within), drawn)
        for antecedent, consequent, lift in judged.select("antecedent", "consequent", "expected_lift").iter_rows():
            expected["".join(antecedent), "".join(consequent)].append(lift)
        for shuffle in range(shuffles_per_draw):
            held = incidence_of(shuffled(drawn, seed=shuffle))[:, :popular].astype(float)
            singles += held.mean(axis=0)
            pairs += np.einsum("ba,bc->ac", held, held) / len(held)
            triples += np.einsum("ba,bc,bd->acd", held, held, held) / len(held)
    shuffles = draws * shuffles_per_draw

    names = [f"i{number:02}" for number in range(popular)]
    one_to_one, one_to_two, two_to_one = [], [], []
    for a, c in permutations(range(popular), 2):
        one_to_one.append((np.mean(expected[names[a], names[c]]), pairs[a, c] / singles[a] / singles[c] * shuffles))
    for a in range(popular):
        for c, d in combinations(sorted(set(range(popular)) - {a}), 2):
            shuffled_lift = triples[a, c, d] / singles[a] / pairs[c, d] * shuffles
            one_to_two.append((np.mean(expected[names[a], names[c] + names[d]]), shuffled_lift))
            two_to_one.append((np.mean(expected[names[c] + names[d], names[a]]), shuffled_lift))
    for kind, tolerance in ((one_to_one, 0.015), (one_to_two, 0.03), (two_to_one, 0.03)):
        ours, theirs = np.mean(kind, axis=0)
        assert theirs > 1.1  # basket sizes alone lift everything
        assert ours == pytest.approx(theirs, rel=tolerance)
    assert all(ours == pytest.approx(theirs, rel=0.1) for ours, theirs in one_to_one)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.sampled_from("ABCDEF"), min_size=1), min_size=1, max_size=9), st.integers(0, 50))
def test_a_shuffle_keeps_basket_sizes_and_item_counts_and_depends_on_lines_and_seed_alone(baskets: list[set[str]], seed: int) -> None:
    rows = [(number, item) for number, basket in enumerate(baskets) for item in sorted(basket)]
    lines = pl.DataFrame(rows, schema={"basket_id": pl.Int64, "item": pl.String}, orient="row")
    after = shuffled(lines, seed, rounds=3)
    assert after.select("basket_id", "item").is_unique().all()
    for margin in ("basket_id", "item"):
        before_counts, after_counts = (frame.group_by(margin).len().sort(margin)["len"].to_list() for frame in (lines, after))
        assert before_counts == after_counts
    assert_frame_equal(shuffled(lines.reverse(), seed, rounds=3), after)


def test_no_baskets_are_shuffled_to_none() -> None:
    none = shuffled(pl.DataFrame(schema={"basket_id": pl.String, "item": pl.String}), seed=1)
    assert none.schema == shuffled(lines_of(generated(1)), seed=1, rounds=1).schema
    assert none.is_empty()


def test_a_shuffle_leaves_no_association_but_that_of_sizes() -> None:
    incidence = generated(11)
    incidence[:, 30] = incidence[:, 31]
    lines = shuffled(lines_of(incidence[incidence.sum(axis=1) >= 2]), seed=1)
    found = expected_under_basket_sizes(all_rules(lines, max_length=2), lines)
    assert share(found["q_value"] < 0.05) < 0.005
    assert share(found["lift"] > 1) > 0.6


def test_every_shuffle_that_the_sizes_allow_comes_equally_often() -> None:
    # Two baskets of one item and one of two: AB with C and A ... seven matrices have the margins A 2, B 1, C 1 and sizes 2, 1, 1.
    lines = pl.DataFrame({"basket_id": [0, 0, 1, 2], "item": ["A", "B", "A", "C"]})
    draws = [tuple(shuffled(lines, seed, rounds=10).sort("basket_id", "item")["item"]) for seed in range(1500)]
    counts = Counter(draws)
    assert set(counts) == {("A", "B", "A", "C"), ("A", "B", "C", "A"), ("A", "C", "A", "B"), ("A", "C", "B", "A"), ("B", "C", "A", "A")}
    assert min(counts.values()) > 1500 / 5 * 0.8


def test_baskets_associated_by_size_alone_give_hardly_any_discovery() -> None:
    lines = lines_of(generated(4))
    rules = expected_under_basket_sizes(all_rules(lines, max_length=2), lines)
    assert share(rules["lift"] > 1) > 0.6
    assert share(rules["q_value"] < 0.05) < 0.005
    assert 0.02 < share(rules["p_value"] < 0.05) < 0.08


def test_a_planted_pair_is_discovered_in_both_directions() -> None:
    incidence = generated(5)
    incidence[:, 30] = incidence[:, 31]
    lines = lines_of(incidence[incidence.sum(axis=1) >= 2])
    found = expected_under_basket_sizes(all_rules(lines, max_length=2), lines).filter(pl.col("q_value") < 1e-6)
    assert {tuple(a + c) for a, c in found.select("antecedent", "consequent").iter_rows()} == {("i30", "i31"), ("i31", "i30")}


def test_p_values_are_within_a_few_percent_of_the_exact_tail() -> None:
    generator = np.random.default_rng(6)
    for scale in (0.002, 0.02, 0.2, 0.7):
        probability = np.minimum(generator.lognormal(np.log(scale), 1.0, (1, 25)), 0.98)
        trials = generator.integers(0, 12, (1, 25)).astype(float)
        each = np.repeat(probability[0], trials[0].astype(int))
        for observed in range(1, len(each) + 1):
            exact = poisson_binomial_tail(each, observed)
            if exact < 1e-200:
                break
            approximate = _null_model._poisson_binomial_tail(np.array([observed]), trials, probability).item()
            assert approximate == pytest.approx(exact, rel=0.05), (scale, observed, exact)


def test_p_values_at_the_mean_do_not_break() -> None:
    # Of eleven fair coins, 6 heads less the half of the continuity correction is just the mean: the saddlepoint is at zero.
    exact = poisson_binomial_tail(np.full(11, 0.5), 6)
    approximate = _null_model._poisson_binomial_tail(np.array([6]), np.array([[11.0]]), np.array([[0.5]])).item()
    assert exact == pytest.approx(0.5)
    assert approximate == pytest.approx(0.5)


def test_p_values_of_all_or_sure_trials_are_probabilities() -> None:
    tails = _null_model._poisson_binomial_tail(np.array([3, 1, 2]), np.array([[3.0], [1.0], [2.0]]), np.array([[0.2], [0.3], [1.0]]))
    np.testing.assert_allclose(tails, [0.008, 0.3, 1.0], rtol=0.1)
    assert (tails <= 1).all()


def test_false_discovery_rates_are_those_of_benjamini_and_hochberg() -> None:
    # 4 * 0.01 / 1, then 4 * 0.03 / 3 for the second and third, then 4 * 0.5 / 4.
    np.testing.assert_allclose(_null_model.false_discovery_rates(np.array([0.5, 0.01, 0.03, 0.025])), [0.5, 0.04, 0.04, 0.04])


def test_rules_keep_their_order_and_columns_and_results_do_not_depend_on_either_order() -> None:
    lines = lines_of(generated(7, baskets=60, items=8))
    rules = all_rules(lines)
    judged = expected_under_basket_sizes(rules, lines)
    assert_frame_equal(judged.drop("expected_lift", "p_value", "q_value"), rules)
    again = expected_under_basket_sizes(rules.reverse(), lines.sample(fraction=1.0, shuffle=True, seed=1))
    assert_frame_equal(again.reverse(), judged, check_exact=True)


def test_work_in_small_pieces_gives_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(generated(8, baskets=60, items=6))
    whole = expected_under_basket_sizes(all_rules(lines), lines)
    monkeypatch.setattr(_counts, "CELLS_AT_ONCE", 50)
    assert_frame_equal(expected_under_basket_sizes(all_rules(lines), lines), whole)


FORCED_INCIDENCES = {
    "an item in every basket": [[1, 1]] * 500 + [[1, 0]] * 10,
    "equal baskets": [[1, 1, 1]] * 20,
    "nested baskets": np.tri(60).tolist() * 20,
    "a full basket beside nested ones": [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]],
}


@pytest.mark.parametrize("name", FORCED_INCIDENCES)
def test_counts_that_sizes_and_items_force_are_expected_and_surprise_nobody(name: str) -> None:
    lines = lines_of(np.array(FORCED_INCIDENCES[name], dtype=bool))
    rules = all_rules(lines, max_length=2 if name == "nested baskets" else 3)
    judged = expected_under_basket_sizes(rules, lines)
    assert rules.height > 1
    np.testing.assert_allclose(judged["expected_lift"], judged["lift"], rtol=1e-5)
    assert set(judged["p_value"]) == {1.0}


def test_a_bag_in_every_basket_changes_nothing_about_the_other_items() -> None:
    plain = generated(3)
    lines, with_bag = lines_of(plain), lines_of(np.column_stack([plain, np.ones(len(plain), dtype=bool)]))
    expected = expected_under_basket_sizes(all_rules(lines, max_length=2), lines)
    rules = all_rules(with_bag, max_length=3)
    judged = expected_under_basket_sizes(rules, with_bag)
    bag = [f"i{plain.shape[1]}"]
    without = {side: pl.col(side).list.set_difference(bag) for side in ("antecedent", "consequent")}
    of_bag = pl.any_horizontal(side.list.len() == 0 for side in without.values())
    assert judged.filter(of_bag).select("expected_lift", "p_value").unique().rows() == [(1.0, 1.0)]
    compared = judged.filter(~of_bag).with_columns(**without).join(expected, on=["antecedent", "consequent"], suffix="_plain", validate="m:1")
    # As they are, with the bag among the antecedent, and with the bag as a second consequent.
    assert compared.height == 3 * expected.height
    assert_frame_equal(
        compared.select("expected_lift", "p_value"), compared.select(expected_lift="expected_lift_plain", p_value="p_value_plain"), rel_tol=1e-5
    )


def test_a_basket_of_every_item_adds_one_to_every_expected_count() -> None:
    plain = generated(3)
    lines, with_full = lines_of(plain), lines_of(np.vstack([plain, np.ones(plain.shape[1], dtype=bool)]))
    expected, judged = (
        expected_under_basket_sizes(all_rules(held, max_length=2), held).with_columns(
            expected_count=pl.col("expected_lift") * pl.col("antecedent_count") * pl.col("consequent_count") / held["basket_id"].n_unique()
        )
        for held in (lines, with_full)
    )
    compared = judged.join(expected, on=["antecedent", "consequent"], suffix="_plain", validate="1:1")
    assert compared.height == expected.height
    np.testing.assert_allclose(compared["expected_count"], compared["expected_count_plain"] + 1, rtol=1e-4)
    np.testing.assert_allclose(compared["p_value"], compared["p_value_plain"], rtol=1e-5)


def test_no_rules_get_the_columns_all_the_same() -> None:
    lines = lines_of(generated(9, baskets=20, items=5))
    judged = expected_under_basket_sizes(all_rules(lines).clear(), lines)
    assert judged.columns[-3:] == ["expected_lift", "p_value", "q_value"]


def test_rules_of_other_lines_are_refused() -> None:
    lines = lines_of(generated(10, baskets=60, items=6))
    with pytest.raises(ValueError, match="pass the lines the rules were mined from"):
        expected_under_basket_sizes(all_rules(lines), lines.filter(pl.col("basket_id") > 5))
    with pytest.raises(ValueError, match="rules hold 'i00', the lines do not"):
        expected_under_basket_sizes(all_rules(lines), lines.filter(pl.col("item") != "i00"))
