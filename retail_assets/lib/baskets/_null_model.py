"""What basket sizes alone would do to a rule: its expected lift, and how surprising its count is.

The null model keeps the size of every basket and the count of every item, and nothing else. Metrics that need counts only stand in `_rules`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.baskets._counts import by_length, chunks, distinct_itemsets, grouped_counts, rule_counts
from retail_assets.lib.baskets._lines import check_columns, code_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retail_assets.lib.baskets._lines import CodedLines

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MARGIN_TOLERANCE = 1e-9
"""Largest relative difference between a margin of the fitted model and the observed one."""
MAX_ITERATIONS = 200
SIGNIFICANT_DIGITS = 6
"""Of what is returned, in floating point, whose last bits may show: 3.0790599999999995e-108. The model is fitted to nine, of which the last ones
depend on processor and threads (measured: from the eleventh on)."""

NEAR_MEAN = 1e-4
"""Saddlepoints closer to zero than this take the limit of the tail formula, which loses its digits there."""


def expected_under_basket_sizes(rules: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Hold every rule against a null in which only basket sizes and item counts matter: large baskets alone lift every pair.

    The null is the bipartite configuration model, the distribution of largest entropy with the observed basket sizes and item counts as
    expectations: item i is in basket b with probability x_i y_b / (1 + x_i y_b), independently (Saracco et al. 2015,
    doi:10.1038/srep10595). Margins are met to a relative `MARGIN_TOLERANCE`; there is no random number in it.

    A rule A => C is judged in the baskets observed to hold A. Of a basket of s items these take up |A|, so that the others are drawn as in a
    basket of t = s - |A| items: C is in it with probability prod p_c(t) * t(t-1)...(t-|C|+1) / t^|C|, where the last factor says that items
    of C cannot share a place. Items of A do not compete for the t places, which raises the odds of p_c(t) by 1 + sum p_a(t) / v(t), with
    v(t) the variance of the number of other items: a Newton step towards t expected others. Where C has several items, its odds are
    multiplied by the one constant that makes the null expect the observed count of C over all baskets: what is asked is whether A says
    something about C, not whether the items of C belong together.

    What sizes and counts force is no chance and is set apart before: an item in every basket, a basket of every item, and, these taken away, what is
    in every basket that has a place left, and so on. Where that leaves nothing of a side, the observed count is the only one possible: it is the
    expected one, and has probability 1.

    Args:
        rules: At least `antecedent`, `consequent`, `basket_count`, `antecedent_count` and `consequent_count`, as `association_rules` returns
            them for the same lines. Pass rules as they come, not chosen by lift or confidence: the false discovery rate is over the rules given.
        lines: The basket lines the rules were mined from, `basket_id` and `item`.

    Returns:
        `rules` with three columns more, rows in the same order. `expected_lift` (Float64): expected share of C in the baskets with A, over
        the observed share of C in all baskets. `p_value` (Float64): probability under the null of at least the observed `basket_count`; the
        upper tail of a Poisson-binomial distribution by its saddlepoint approximation (Lugannani and Rice 1980, doi:10.2307/1426607, second
        continuity correction of Daniels 1987, doi:10.2307/1403269), good to a few percent far into the tail. `q_value` (Float64): false
        discovery rate (Benjamini and Hochberg 1995) over all rules given.

    Raises:
        ValueError: A column is missing or holds nulls, or rules and lines do not belong together.
        ArithmeticError: The model did not reach its tolerance within `MAX_ITERATIONS` steps.
    """
    check_columns(rules, ("antecedent", "consequent", "basket_count", "antecedent_count", "consequent_count"), frame="rules")
    coded = code_lines(lines)
    if rules.is_empty():
        return _with_results(rules, np.empty(0), np.empty(0))
    expected, p_value = _expected_with_forced(rules, coded)
    either = rules["antecedent_count"].to_numpy() * rules["consequent_count"].to_numpy()
    return _with_results(rules, expected * coded.basket_count / either, p_value)


def _expected_with_forced(rules: pl.DataFrame, coded: CodedLines) -> tuple[Floats, Floats]:
    """Expected count and tail probability of each rule, where the margins may force some of the counts."""
    open_lines, always, never = _without_forced(coded)
    if len(open_lines) == len(coded.item):
        return _expected(rules, coded)
    joint, antecedent_count, _ = rule_counts(rules, coded)
    _check_counts(rules, antecedent_count)
    expected, p_value = joint.astype(np.float64), np.ones(len(rules))
    sides = ("antecedent", "consequent")
    is_possible = pl.all_horizontal(pl.col(side).list.set_intersection(never.implode()).list.len() == 0 for side in sides)
    left = (
        rules.select(pl.int_range(pl.len()).alias("row"), *sides)
        .filter(is_possible)
        .with_columns(pl.col(side).list.set_difference(always.implode()) for side in sides)
        .filter(pl.all_horizontal(pl.col(side).list.len() > 0 for side in sides))
    )
    if len(left):
        open_coded = code_lines(open_lines)
        names = ("basket_count", "antecedent_count", "consequent_count")
        left = left.with_columns(map(pl.Series, names, rule_counts(left, open_coded))).filter(pl.min_horizontal(names[1:]) > 0)
    if len(left):
        row = left["row"].to_numpy()
        there, p_value[row] = _expected(left, open_coded)
        expected[row] += there - left["basket_count"].to_numpy()
    return expected, p_value


def _without_forced(coded: CodedLines) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
    """The lines that sizes and counts leave open, and of the items that have none of them those that are in all of their baskets, and in none."""
    is_item, is_basket = np.ones(coded.item_count, dtype=bool), np.ones(coded.basket_count, dtype=bool)
    is_always, is_never = np.zeros_like(is_item), np.zeros_like(is_item)
    while True:
        is_open = is_item[coded.item] & is_basket[coded.basket]
        size = np.bincount(coded.basket[is_open], minlength=coded.basket_count)
        settled = is_basket & ((size == 0) | (size == is_item.sum()))
        if settled.any():
            is_basket &= ~settled
            continue
        count = np.bincount(coded.item[is_open], minlength=coded.item_count)
        always, never = is_item & (count == is_basket.sum()), is_item & (count == 0)
        if not (always | never).any():
            lines = pl.DataFrame({"basket_id": coded.basket[is_open], "item": coded.names.gather(coded.item[is_open])})
            return lines, coded.names.filter(pl.Series(is_always)), coded.names.filter(pl.Series(is_never))
        is_always, is_never, is_item = is_always | always, is_never | never, is_item & ~(always | never)


def _expected(rules: pl.DataFrame, coded: CodedLines) -> tuple[Floats, Floats]:
    """Expected count and tail probability of each rule under the null."""
    antecedents, antecedent_of = distinct_itemsets(rules["antecedent"], coded)
    consequents, consequent_of = distinct_itemsets(rules["consequent"], coded)
    consequent_counts = np.zeros(len(consequents), dtype=np.int64)
    consequent_counts[consequent_of] = rules["consequent_count"].to_numpy()
    null = _NullModel.fitted(coded)
    histograms = grouped_counts(antecedents, coded, np.searchsorted(null.sizes, coded.items_per_basket), len(null.sizes))
    _check_counts(rules, histograms.sum(axis=1)[antecedent_of])
    tilts = _tilts(consequents, consequent_counts, null)

    joint = rules["basket_count"].to_numpy().astype(np.float64)
    expected, p_value = np.empty(len(rules)), np.ones(len(rules))
    for antecedent_length, rows in by_length(antecedents[antecedent_of]):
        places = null.sizes - antecedent_length
        for consequent_length, subrows in by_length(consequents[consequent_of[rows]]):
            for chunk in chunks(rows[subrows], len(places)):
                items = consequents[consequent_of[chunk], :consequent_length]
                beside = antecedents[antecedent_of[chunk], :antecedent_length]
                probability = _tilted(null.containing(items, places, beside), tilts[consequent_of[chunk], None])
                histogram = histograms[antecedent_of[chunk]].astype(np.float64)
                expected[chunk] = np.einsum("rs,rs->r", histogram, probability)
                # Only beside counts that are forced may a rule have none.
                if (is_met := joint[chunk] > 0).any():
                    p_value[chunk[is_met]] = _poisson_binomial_tail(joint[chunk[is_met]], histogram[is_met], probability[is_met])
    return expected, p_value


def _with_results(rules: pl.DataFrame, expected_lift: Floats, p_value: Floats) -> pl.DataFrame:
    return rules.with_columns(
        pl.Series(name, values, dtype=pl.Float64).round_sig_figs(SIGNIFICANT_DIGITS)
        for name, values in (("expected_lift", expected_lift), ("p_value", p_value), ("q_value", false_discovery_rates(p_value)))
    )


def _check_counts(rules: pl.DataFrame, counted: Ints) -> None:
    other = rules.filter(pl.col("antecedent_count") != pl.Series(counted)).head(1)
    if len(other):
        antecedent, count = other.select("antecedent", "antecedent_count").row(0)
        raise ValueError(f"The rules count {antecedent} {count} times, the lines do not; pass the lines the rules were mined from.")


@dataclass(frozen=True)
class _NullModel:
    """The fitted configuration model. Items of one count are alike, and so are baskets of one size."""

    sizes: Ints
    """Distinct basket sizes, ascending."""
    baskets_per_size: Ints
    """Baskets of each of these sizes."""
    class_of_item: Ints
    """Row of `probability` by item code."""
    items_per_class: Ints
    """Items of each class."""
    probability: Floats
    """Probability that a basket of t places holds an item of a class: one row per class, one column for each t from 0."""

    @classmethod
    def fitted(cls, coded: CodedLines) -> _NullModel:
        """Fit item and basket parameters to the margins of the lines."""
        from threadpoolctl import threadpool_limits  # noqa: PLC0415 - it looks at what is loaded by then

        counts, class_of_item, items_per_count = np.unique(coded.baskets_per_item, return_inverse=True, return_counts=True)
        sizes, baskets_per_size = np.unique(coded.items_per_basket, return_counts=True)
        # The matrices are small: threads that wait for each other cost more than they save, several times more on a busy machine.
        with threadpool_limits(limits=1, user_api="blas"):
            item_logs = _fitted_item_logs(counts, items_per_count, sizes, baskets_per_size)
            probability = _probability_by_places(item_logs, items_per_count, int(sizes[-1]))
        return cls(sizes, baskets_per_size, class_of_item, items_per_count, probability)

    def containing(self, itemsets: Ints, places: Ints, beside: Ints | None = None) -> Floats:
        """Probability that a basket of that many places (columns) holds all items of an itemset (rows, all of one length).

        The items `beside` (same rows) have places of their own and leave these to the others.
        """
        by_class = self.probability[:, np.maximum(places, 0)]
        room = np.ones((1, 1)) if beside is None else self._room_left_by(beside, by_class)
        result = _tilted(by_class[self.class_of_item[itemsets[:, 0]]], room)
        for taken in range(1, itemsets.shape[1]):
            result *= _tilted(by_class[self.class_of_item[itemsets[:, taken]]], room)
            result *= np.maximum(places - taken, 0) / np.maximum(places, 1)
        return result

    def _room_left_by(self, beside: Ints, by_class: Floats) -> Floats:
        """Factor on the odds of all other items that makes up, to first order, for what the model expected of the items `beside`."""
        of_each = [by_class[self.class_of_item[item]] for item in beside.T]
        variance = self.items_per_class @ (by_class * (1 - by_class)) - sum(held * (1 - held) for held in of_each)
        # Without variance, all the others are surely in or surely out, and no factor on their odds matters.
        return np.asarray(1 + sum(of_each) / np.maximum(variance, 1e-9))


def _fitted_item_logs(counts: Ints, items_per_count: Ints, sizes: Ints, baskets_per_size: Ints) -> Floats:
    """Logarithms of the x of the model, by class of items: Newton's method on the (concave) likelihood in log x and log y."""
    lines = counts @ items_per_count
    item_logs, basket_logs = np.log(counts / np.sqrt(lines)), np.log(sizes / np.sqrt(lines))
    for _ in range(MAX_ITERATIONS):
        probability = _logistic(item_logs[:, None] + basket_logs)
        item_gap = counts - probability @ baskets_per_size
        basket_gap = sizes - items_per_count @ probability
        if max(np.abs(item_gap / counts).max(), np.abs(basket_gap / sizes).max()) <= MARGIN_TOLERANCE:
            return np.asarray(item_logs)
        slope = probability * (1 - probability)
        across, down = slope * baskets_per_size, slope.T * items_per_count
        item_slope = across.sum(axis=1)
        # Eliminate the items. x and y are free up to a common factor, which leaves the rest singular by one dimension: a grain on the
        # diagonal decides it.
        reduced = np.diag(down.sum(axis=1) * (1 + 1e-10)) - down @ (across / item_slope[:, None])
        basket_step = np.linalg.solve(reduced, basket_gap - down @ (item_gap / item_slope))
        item_step = (item_gap - across @ basket_step) / item_slope
        # Items in all baskets have no finite x; the bound lets them walk there without throwing the others off.
        damping = 1 / max(1.0, np.abs(item_step).max() / 2, np.abs(basket_step).max() / 2)
        item_logs, basket_logs = item_logs + damping * item_step, basket_logs + damping * basket_step
    raise _not_converged("The model of basket sizes and item counts")


def _probability_by_places(item_logs: Floats, items_per_count: Ints, most_places: int) -> Floats:
    """Inclusion probability of every class of items in a basket of 0, 1, ... places: they add up to the places."""
    places = np.arange(1, most_places + 1)
    basket_logs = np.log(places / (np.exp(item_logs) @ items_per_count))
    for _ in range(MAX_ITERATIONS):
        probability = _logistic(item_logs[:, None] + basket_logs)
        held = items_per_count @ probability
        gap = np.log(places / held)
        if np.abs(gap).max() <= MARGIN_TOLERANCE:
            return np.column_stack([np.zeros(len(item_logs)), probability])
        slope = items_per_count @ (probability * (1 - probability)) / held
        basket_logs += np.clip(gap / slope, -2, 2)
    raise _not_converged("The model of baskets of fewer places")


def _tilts(itemsets: Ints, counts: Ints, null: _NullModel) -> Floats:
    """Factor on the odds of each itemset that makes the null expect its observed count; 1 for single items, which it expects already."""
    tilts = np.ones(len(itemsets))
    for length, rows in by_length(itemsets):
        if length == 1:
            continue
        for chunk in chunks(rows, len(null.sizes)):
            tilts[chunk] = _tilts_to_counts(null.containing(itemsets[chunk, :length], null.sizes), counts[chunk], null.baskets_per_size)
    return tilts


def _tilts_to_counts(probability: Floats, counts: Ints, baskets_per_size: Ints) -> Floats:
    logs = np.log(counts / (probability @ baskets_per_size))
    for _ in range(MAX_ITERATIONS):
        tilted = _tilted(probability, np.exp(logs)[:, None])
        expected = tilted @ baskets_per_size
        gap = np.log(counts / expected)
        if np.abs(gap).max() <= MARGIN_TOLERANCE:
            return np.exp(logs)
        slope = (tilted * (1 - tilted)) @ baskets_per_size / expected
        logs += np.clip(gap / slope, -2, 2)
    raise _not_converged("The null of a consequent of several items")


def _tilted(probability: Floats, factor: Floats) -> Floats:
    """Probabilities with their odds multiplied by the factor."""
    weighted = probability * factor
    return weighted / (1 - probability + weighted)


def _poisson_binomial_tail(observed: Floats, trials: Floats, probability: Floats) -> Floats:
    """P(X >= observed) of sums of independent trials: `trials` of each `probability`, one sum per row.

    At least one trial of a row can succeed for each one observed, and observed counts are at least 1.
    """
    from scipy.special import ndtr  # noqa: PLC0415 - scipy takes a while to import, and only significance needs it

    # A saddlepoint needs both outcomes possible; a trial sure to succeed is as good as one that fails once in 1e12.
    probability = np.minimum(probability, 1 - 1e-12)
    at = observed - 0.5
    possible = np.einsum("rs,rs->r", trials, probability > 0)
    mean = np.einsum("rs,rs->r", trials, probability)
    point = _saddlepoint(at, trials, probability, possible, mean)
    growth = np.expm1(point)[:, None]
    tilted = _tilted(probability, np.exp(point)[:, None])
    cumulant = np.einsum("rs,rs->r", trials, np.log1p(probability * growth))
    deviation = np.sqrt(np.einsum("rs,rs->r", trials, tilted * (1 - tilted)))
    signed_root = np.sign(point) * np.sqrt(np.maximum(2 * (point * at - cumulant), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        # Barndorff-Nielsen's form of the formula, which never leaves 0 to 1.
        quantile = signed_root + np.log(2 * np.sinh(point / 2) * deviation / signed_root) / signed_root
    # At the mean the formula is 0 / 0; its limit is the term for the skewness.
    skewness = np.einsum("rs,rs->r", trials, tilted * (1 - tilted) * (1 - 2 * tilted)) / deviation**3
    return np.asarray(ndtr(-np.where(np.abs(point) < NEAR_MEAN, point * deviation - skewness / 6, quantile)))


def _saddlepoint(at: Floats, trials: Floats, probability: Floats, possible: Floats, mean: Floats) -> Floats:
    """The exponential tilt under which each sum expects `at`."""

    def log_odds(expected: Floats) -> Floats:
        return np.log(expected / (possible - expected))

    wanted = log_odds(at)
    # On the scale of log odds, equal probabilities would be solved by this first step.
    point = wanted - log_odds(mean)
    for _ in range(MAX_ITERATIONS):
        tilted = _tilted(probability, np.exp(point)[:, None])
        expected = np.einsum("rs,rs->r", trials, tilted)
        gap = wanted - log_odds(expected)
        if np.abs(gap).max() <= MARGIN_TOLERANCE:
            return point
        variance = np.einsum("rs,rs->r", trials, tilted * (1 - tilted))
        point = point + np.clip(gap * expected * (1 - expected / possible) / variance, -4, 4)
    raise _not_converged("The tail probability of a rule")


def false_discovery_rates(p_value: Floats, tested_count: int | None = None) -> Floats:
    """Smallest false discovery rate at which each hypothesis is rejected; of `tested_count`, the ones not given have a p value of 1."""
    order = np.argsort(p_value)[::-1]
    count = len(p_value)
    adjusted = np.minimum.accumulate(p_value[order] * (tested_count or count) / np.arange(count, 0, -1))
    q_value = np.empty(count)
    q_value[order] = np.minimum(adjusted, 1)
    return q_value


def _logistic(log_odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-log_odds))


def _not_converged(what: str) -> ArithmeticError:
    return ArithmeticError(f"{what} did not settle within {MAX_ITERATIONS} steps; please report the basket sizes and item counts.")
