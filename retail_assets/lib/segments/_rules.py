"""Segments in words: a shallow decision tree per segment, its best leaf as a rule with round thresholds, and how well that rule holds."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf, log10
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import polars as pl

from retail_assets.lib.segments._model import RFM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from retail_assets.lib.segments._model import Floats

    Bools = NDArray[np.bool_]

_MAX_DEPTH: Final = 3
"""Three questions at the most: a rule that a person can keep in mind."""
_LEAST_LEAF_SHARE: Final = 0.005
"""Least share of the customers in a leaf, so that no threshold is drawn around a handful."""
_SIGNIFICANT_DIGITS: Final = 2
"""Digits that a threshold of money keeps."""


@dataclass(frozen=True)
class Units:
    """What frequency and spend count, in words: they follow from the definition of RFM (`retail_assets.lib.rfm.Definition`)."""

    order: str = "order"
    orders: str = "orders"
    spend: str = "pounds"

    def count_orders(self, number: float) -> str:
        """`1 order`, `2.5 orders`."""
        return f"{number:,g} {self.order if number == 1 else self.orders}"


class Rule(NamedTuple):
    """A rule for membership of a segment, with the share of those it fits who are members, and the share of the members it fits."""

    text: str
    precision: float
    recall: float


class _Bounds(NamedTuple):
    """Above the lower and up to the upper bound, per feature of RFM."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def fits(self, values: Floats) -> Bools:
        inside: Bools = (values > np.array(self.lower)) & (values <= np.array(self.upper))
        return np.asarray(inside.all(axis=1))


def describe(customers: pl.DataFrame, units: Units) -> dict[int, Rule]:
    """A rule for every segment.

    Each segment gets a tree of its own against all others (CART, Breiman et al. 1984; classes weighted equally). Of its leaves the rule is the path
    to the one with the highest F1 (van Rijsbergen 1979), its thresholds rounded; precision and recall are those of the rounded rule.

    Args:
        customers: `segment_id` and the features of RFM, one row per customer.
        units: What the features count.
    """
    values = customers.select(pl.col(RFM).cast(pl.Float64)).to_numpy()
    ids = customers["segment_id"].to_numpy()
    return {int(segment_id): _describe_one(values, ids == segment_id, units) for segment_id in np.unique(ids)}


def _describe_one(values: Floats, is_member: Bools, units: Units) -> Rule:
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415

    if is_member.all():
        return Rule("any customer", 1.0, 1.0)
    least = max(1, round(_LEAST_LEAF_SHARE * len(values)))
    tree = DecisionTreeClassifier(max_depth=_MAX_DEPTH, min_samples_leaf=least, class_weight="balanced", random_state=0).fit(values, is_member)
    rules = [(bounds, *_precision_and_recall(bounds.fits(values), is_member)) for bounds in _leaves(tree.tree_)]
    bounds, precision, recall = max(rules, key=lambda rule: 2 * rule[1] * rule[2] / max(rule[1] + rule[2], 1e-12))
    return Rule(_in_words(bounds, units), precision, recall)


def _precision_and_recall(fits: Bools, is_member: Bools) -> tuple[float, float]:
    both = int((fits & is_member).sum())
    return both / max(int(fits.sum()), 1), both / int(is_member.sum())


def _leaves(tree: object) -> Iterator[_Bounds]:
    """The bounds of every leaf of a fitted scikit-learn tree, thresholds rounded, from left to right."""
    left, right, feature, threshold = (getattr(tree, name) for name in ("children_left", "children_right", "feature", "threshold"))

    def walk(node: int, bounds: _Bounds) -> Iterator[_Bounds]:
        if left[node] == right[node]:
            yield bounds
            return
        column, cut = int(feature[node]), _rounded(RFM[feature[node]], float(threshold[node]))
        yield from walk(left[node], bounds._replace(upper=_with(bounds.upper, column, min(cut, bounds.upper[column]))))
        yield from walk(right[node], bounds._replace(lower=_with(bounds.lower, column, max(cut, bounds.lower[column]))))

    yield from walk(0, _Bounds((-inf,) * len(RFM), (inf,) * len(RFM)))


def _with(values: tuple[float, ...], column: int, value: float) -> tuple[float, ...]:
    return (*values[:column], value, *values[column + 1 :])


def _rounded(feature: str, threshold: float) -> float:
    """A threshold as a person would say it. Days and orders are whole numbers, so that rounding them down moves nobody."""
    if feature != "monetary" or threshold == 0:
        return floor(threshold)
    return round(threshold, _SIGNIFICANT_DIGITS - 1 - floor(log10(abs(threshold))))


def _in_words(bounds: _Bounds, units: Units) -> str:
    recency, orders, spend = zip(bounds.lower, bounds.upper, strict=True)
    parts = [text for text in (_recency(*recency), _orders(*orders, units), _spend(*spend, units)) if text]
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0] if parts else "any customer"


def _recency(more_than: float, at_most: float) -> str:
    if more_than >= 0 and at_most < inf:
        return f"last bought {more_than + 1:,g} to {at_most:,g} days ago"
    if more_than >= 0:
        return f"has not bought for more than {more_than:,g} days"
    return f"bought within {at_most:,g} days" if at_most < inf else ""


def _orders(more_than: float, at_most: float, units: Units) -> str:
    least = more_than + 1
    if more_than >= 1 and at_most < inf:
        return f"placed {units.count_orders(least)}" if least == at_most else f"placed {least:,g} to {units.count_orders(at_most)}"
    if more_than >= 1:
        return f"placed at least {units.count_orders(least)}"
    if at_most == 1:
        return f"placed {units.count_orders(1)}"
    return f"placed at most {units.count_orders(at_most)}" if at_most < inf else ""


def _spend(more_than: float, at_most: float, units: Units) -> str:
    if more_than > -inf and at_most < inf:
        return f"spent over {more_than:,g} and at most {at_most:,g} {units.spend}"
    if more_than > -inf:
        return f"spent over {more_than:,g} {units.spend}"
    return f"spent at most {at_most:,g} {units.spend}" if at_most < inf else ""
