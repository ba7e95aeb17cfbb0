"""Interest measures of rules, each a formula on four counts: baskets with both sides, with either one, and all.

The measures every rule comes with are in `_rules`; what basket sizes do to a rule is in `_null_model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.baskets._lines import check_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RULES_AT_ONCE = 1 << 16
"""Rules measured at a time: half a megabyte for each intermediate array."""
NEGLIGIBLE = 1e-17
"""Share of a tail below which its remaining terms cannot change its last digit."""


@dataclass(frozen=True)
class _Table:
    """The 2 x 2 tables of some rules, as counts in doubles, which hold them exactly."""

    joint: Floats
    antecedent: Floats
    consequent: Floats
    total: Floats

    @cached_property
    def antecedent_only(self) -> Floats:
        return self.antecedent - self.joint

    @cached_property
    def consequent_only(self) -> Floats:
        return self.consequent - self.joint

    @cached_property
    def neither(self) -> Floats:
        return self.total - self.antecedent - self.consequent_only

    @cached_property
    def cross(self) -> Floats:
        """Determinant of the table; 0 if independent."""
        return self.joint * self.neither - self.antecedent_only * self.consequent_only

    @cached_property
    def margins(self) -> Floats:
        """Product of the four margins; 0 where a side is in all baskets."""
        return self.antecedent * (self.total - self.antecedent) * self.consequent * (self.total - self.consequent)


def _ratio(numerator: Floats, denominator: Floats, otherwise: float) -> Floats:
    """The ratio, and `otherwise` where both are 0; infinite where only the denominator is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((numerator == 0) & (denominator == 0), otherwise, numerator / denominator)


def _odds_ratio(t: _Table) -> Floats:
    return _ratio(t.joint * t.neither, t.antecedent_only * t.consequent_only, 1.0)


def _yules_q(t: _Table) -> Floats:
    return _ratio(t.cross, t.joint * t.neither + t.antecedent_only * t.consequent_only, 0.0)


def _certainty(t: _Table) -> Floats:
    return _ratio(t.joint / t.antecedent - t.consequent / t.total, 1 - t.consequent / t.total, 0.0)


def _kappa(t: _Table) -> Floats:
    return _ratio(2 * t.cross, t.antecedent * (t.total - t.consequent) + t.consequent * (t.total - t.antecedent), 0.0)


def _mutual_information(t: _Table) -> Floats:
    """In nats: the sum over the four cells of p log(p / product of its margins)."""
    absent_antecedent, absent_consequent = t.total - t.antecedent, t.total - t.consequent
    cells = (
        (t.joint, t.antecedent, t.consequent),
        (t.antecedent_only, t.antecedent, absent_consequent),
        (t.consequent_only, absent_antecedent, t.consequent),
        (t.neither, absent_antecedent, absent_consequent),
    )
    return np.asarray(sum(_information(cell, row, column, t.total) for cell, row, column in cells))


def _j_measure(t: _Table) -> Floats:
    return _information(t.joint, t.antecedent, t.consequent, t.total) + _information(t.antecedent_only, t.antecedent, t.total - t.consequent, t.total)


def _information(cell: Floats, row: Floats, column: Floats, total: Floats) -> Floats:
    share = _ratio(cell * total, row * column, 1.0)
    return cell / total * np.log(np.where(cell > 0, share, 1.0))


def _fisher_p_value(t: _Table) -> Floats:
    """Upper tail of the hypergeometric distribution, term by term from the observed count on: each is a simple multiple of the one before."""
    from scipy.special import gammaln  # noqa: PLC0415 - scipy takes a while to import

    def log_choose(n: Floats, k: Floats) -> Floats:
        return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))

    expected = t.antecedent * t.consequent / t.total
    # The shorter tail is the one away from the mean: below the mean, it is what the upper tail lacks of 1.
    is_upper = t.joint >= expected
    at = np.where(is_upper, t.joint, t.joint - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        log_first = log_choose(t.consequent, at) + log_choose(t.total - t.consequent, t.antecedent - at) - log_choose(t.total, t.antecedent)
        # Below the smallest possible count there is nothing.
        first = np.where((at >= 0) & (t.antecedent - at <= t.total - t.consequent), np.exp(log_first), 0.0)
    tail = first * _terms_over_first(at, is_upper, t)
    return np.clip(np.where(is_upper, tail, 1 - tail), 0.0, 1.0)


def _terms_over_first(at: Floats, is_upper: NDArray[np.bool_], t: _Table) -> Floats:
    """The terms from `at` on, outwards, over the first one."""
    result = np.ones_like(at)
    row = np.arange(len(at))
    term = np.ones_like(at)
    count, upwards = at.copy(), is_upper
    antecedent, consequent, total = t.antecedent, t.consequent, t.total
    while len(row):
        up = (antecedent - count) * (consequent - count) / ((count + 1) * np.maximum(total - antecedent - consequent + count + 1, 1))
        down = count * (total - antecedent - consequent + count) / ((antecedent - count + 1) * (consequent - count + 1))
        term = term * np.where(upwards, up, down)
        result[row] += term
        goes_on = term > NEGLIGIBLE * result[row]
        row, term, upwards = row[goes_on], term[goes_on], upwards[goes_on]
        count = count[goes_on] + np.where(upwards, 1, -1)
        antecedent, consequent, total = antecedent[goes_on], consequent[goes_on], total[goes_on]
    return result


_FORMULAS: dict[str, Callable[[_Table], Floats]] = {
    "antecedent_support": lambda t: t.antecedent / t.total,
    "consequent_support": lambda t: t.consequent / t.total,
    "certainty": _certainty,
    "cosine": lambda t: t.joint / np.sqrt(t.antecedent * t.consequent),
    "kulczynski": lambda t: (t.joint / t.antecedent + t.joint / t.consequent) / 2,
    "all_confidence": lambda t: t.joint / np.maximum(t.antecedent, t.consequent),
    "max_confidence": lambda t: t.joint / np.minimum(t.antecedent, t.consequent),
    "imbalance_ratio": lambda t: np.abs(t.antecedent - t.consequent) / (t.antecedent + t.consequent_only),
    "added_value": lambda t: t.joint / t.antecedent - t.consequent / t.total,
    "odds_ratio": _odds_ratio,
    "yules_q": _yules_q,
    "relative_risk": lambda t: _ratio(t.joint * (t.total - t.antecedent), t.consequent_only * t.antecedent, 1.0),
    "phi": lambda t: _ratio(t.cross, np.sqrt(t.margins), 0.0),
    "chi_squared": lambda t: t.total * _ratio(t.cross, np.sqrt(t.margins), 0.0) ** 2,
    "kappa": _kappa,
    "j_measure": _j_measure,
    "mutual_information": _mutual_information,
    "fisher_p_value": _fisher_p_value,
}

MEASURES = tuple(_FORMULAS)
"""Names of all measures of `rule_measures`."""


def rule_measures(rules: pl.DataFrame, names: Iterable[str] = MEASURES) -> pl.DataFrame:
    """Add measures of rules that analysts know from arules and mlxtend.

    Most are compared by Tan, Kumar and Srivastava 2004 (doi:10.1016/S0306-4379(03)00072-3). With shares of baskets P, `A` the antecedent and `C` the
    consequent, and N baskets:

    - `antecedent_support` P(A), `consequent_support` P(C).
    - `certainty` (P(C|A) - P(C)) / (1 - P(C)), 0 where C is in all baskets (Berzal et al. 2002, doi:10.3233/IDA-2002-6303, positive branch).
    - `cosine` P(AC) / sqrt(P(A) P(C)); `kulczynski` (P(C|A) + P(A|C)) / 2; `all_confidence` and `max_confidence`, the smaller and the larger of
      P(C|A) and P(A|C): not moved by baskets without A and C (Wu, Chen and Han 2010, doi:10.1007/s10618-009-0161-2).
    - `imbalance_ratio` |P(A) - P(C)| / P(A or C), 0 where both sides are equally common (Wu, Chen and Han 2010).
    - `added_value` P(C|A) - P(C) (Sahar and Mansour 1999).
    - `odds_ratio` P(AC) P(not A, not C) / P(A, not C) P(not A, C), infinite where A never comes without C, or C without A, and 1 where a side is in
      all baskets (Mosteller 1968); `yules_q` (odds ratio - 1) / (odds ratio + 1) (Yule 1900).
    - `relative_risk` P(C|A) / P(C|not A), infinite where C never comes without A (Cornfield 1951).
    - `phi` the correlation of A and C, from -1 to 1, 0 where a side is in all baskets (Yule 1912); `chi_squared` N phi^2, Pearson's statistic
      without correction for continuity (Liu, Hsu and Ma 1999, doi:10.1145/312129.312216).
    - `kappa` agreement of A and C beyond chance (Cohen 1960).
    - `j_measure` and `mutual_information` in nats (Smyth and Goodman 1992, doi:10.1109/69.149926): the former of C and not C given A alone.
    - `fisher_p_value` P(at least the observed baskets with both | margins) if A and C were independent, one-sided (Fisher 1935; Hahsler and Hornik
      2007, doi:10.3233/IDA-2007-11502). It knows nothing of basket sizes: see `expected_under_basket_sizes`.

    Args:
        rules: `basket_count`, `antecedent_count`, `consequent_count` and `total_basket_count`, as `association_rules` returns them.
        names: The measures to add.

    Returns:
        `rules`, rows in the same order, with one Float64 column per name.

    Raises:
        ValueError: A name is unknown, or a column is missing or holds nulls.
    """
    names = tuple(names)
    if unknown := [name for name in names if name not in _FORMULAS]:
        raise ValueError(f"Unknown measures {unknown}; choose from {list(MEASURES)}.")
    counts = ("basket_count", "antecedent_count", "consequent_count", "total_basket_count")
    check_columns(rules, counts, frame="rules")
    pieces = []
    for start in range(0, max(len(rules), 1), RULES_AT_ONCE):
        piece = rules.slice(start, RULES_AT_ONCE)
        table = _Table(*(piece[name].to_numpy().astype(np.float64) for name in counts))
        pieces.append(pl.DataFrame({name: _FORMULAS[name](table) for name in names}, schema=dict.fromkeys(names, pl.Float64)))
    return rules.hstack(pl.concat(pieces, rechunk=False))
