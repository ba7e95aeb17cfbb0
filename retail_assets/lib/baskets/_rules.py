"""Association rules and their metrics, from frequent itemsets alone.

Metrics that need the baskets themselves (what basket sizes would give, significance) stand in `_null_model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.baskets._lattice import Lattice, subset_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Ids = NDArray[np.int64]

RULES_SCHEMA = pl.Schema(
    {
        "antecedent": pl.List(pl.String()),
        "consequent": pl.List(pl.String()),
        "basket_count": pl.Int64(),
        "antecedent_count": pl.Int64(),
        "consequent_count": pl.Int64(),
        "total_basket_count": pl.Int64(),
        "support": pl.Float64(),
        "confidence": pl.Float64(),
        "lift": pl.Float64(),
        "leverage": pl.Float64(),
        "conviction": pl.Float64(),
        "zhangs_metric": pl.Float64(),
        "jaccard": pl.Float64(),
        "is_redundant": pl.Boolean(),
    }
)
RULES_AT_ONCE = 1 << 17
"""Rules made into columns at a time: a megabyte for each intermediate array."""


def association_rules(
    itemsets: pl.DataFrame,
    basket_count: int,
    min_confidence: float = 0.0,
    min_lift: float = 0.0,
    max_antecedent: int | None = None,
    max_consequent: int | None = None,
    is_compact: bool = False,
) -> pl.DataFrame:
    """All rules antecedent => consequent that split a frequent itemset in two, with their metrics.

    Args:
        itemsets: `itemset` (lists of items) and `count`, with every subset of every itemset, as `frequent_itemsets` returns them.
        basket_count: Number of all baskets the itemsets were counted in.
        min_confidence: Smallest confidence of a rule to return, inclusive.
        min_lift: Smallest lift of a rule to return, inclusive.
        max_antecedent: Most items of an antecedent; no bound if None.
        max_consequent: Most items of a consequent; no bound if None.
        is_compact: Sides as lists of a polars Enum of the items and not of text: a quarter of their memory, for millions of rules. An Enum compares
            with text, prints as text and casts to text.

    Returns:
        One row per rule. `antecedent` and `consequent` are sorted lists; `basket_count` counts the baskets that hold both,
        `antecedent_count` and `consequent_count` those that hold either side, `total_basket_count` repeats the argument. With shares of
        baskets P: `support` P(AC), `confidence` P(C|A) (Agrawal et al. 1993, doi:10.1145/170035.170072), `lift` P(AC) / P(A)P(C) and
        `conviction` P(A)P(not C) / P(A, not C), infinite at confidence 1 (Brin et al. 1997, doi:10.1145/253260.253325), `leverage`
        P(AC) - P(A)P(C) (Piatetsky-Shapiro 1991), `zhangs_metric` (Zhang 2000, doi:10.1142/S0218488500000202), 0 where either side is in
        all baskets, and `jaccard` P(AC) / P(A or C). `is_redundant`: some rule with the same consequent and a proper, non-empty subset of
        the antecedent has at least this confidence (Bayardo et al. 1999, doi:10.1109/ICDE.1999.754924: no positive improvement); decided
        over all rules, whatever the thresholds. Ordered by the length of the itemset, then by the places in it that the antecedent takes, then by
        itemset: a total order that costs nothing. Sorting millions of rules by a measure costs as much as making them; sort those you look at.

    Raises:
        ValueError: A subset is missing, a count lies outside 1 to `basket_count`, an itemset is empty, comes twice or holds a null or an item twice,
            or a column is missing or holds nulls.
    """
    lattice = Lattice.of(itemsets, basket_count)
    kept = _kept(lattice, basket_count, min_confidence, min_lift, max_antecedent, max_consequent)
    side = pl.List(pl.Enum(lattice.itemsets.explode().unique().sort())) if is_compact else RULES_SCHEMA["antecedent"]
    schema = pl.Schema({**RULES_SCHEMA, "antecedent": side, "consequent": side})
    lists = lattice.itemsets.cast(side)
    pieces = (_piece(rules, lists, lattice, basket_count).cast(schema) for rules in _in_batches(kept))
    return pl.concat([schema.to_frame(), *pieces], rechunk=False)


def _kept(
    lattice: Lattice, total: int, min_confidence: float, min_lift: float, max_antecedent: int | None, max_consequent: int | None
) -> Iterator[_Rules]:
    """The rules within all bounds, part by part."""
    for rules in _rules_by_split(lattice, max_antecedent, max_consequent):
        if min_confidence <= 0 and min_lift <= 0:
            yield rules
            continue
        joint, antecedent, consequent = rules.counts(lattice)
        confident = joint / antecedent >= min_confidence
        yield rules[confident & (_lift(joint, antecedent, consequent, total) >= min_lift)]


def _in_batches(found: Iterator[_Rules]) -> Iterator[_Rules]:
    """The same rules, so many at a time that columns are made in few and not in large steps."""
    waiting: list[_Rules] = []
    for part in found:
        for start in range(0, len(part.joint), RULES_AT_ONCE):
            waiting.append(part[start : start + RULES_AT_ONCE])
            if sum(len(rules.joint) for rules in waiting) >= RULES_AT_ONCE:
                yield _Rules.concatenated(waiting)
                waiting = []
    if waiting:
        yield _Rules.concatenated(waiting)


@dataclass(frozen=True)
class _Rules:
    """Rules as ids of itemsets."""

    joint: NDArray[np.int32]
    antecedent: NDArray[np.int32]
    consequent: NDArray[np.int32]
    is_redundant: NDArray[np.bool_]

    def __getitem__(self, rows: Ids | NDArray[np.bool_] | slice) -> _Rules:
        return _Rules(self.joint[rows], self.antecedent[rows], self.consequent[rows], self.is_redundant[rows])

    @classmethod
    def concatenated(cls, parts: Sequence[_Rules]) -> _Rules:
        """All parts, one after the other."""
        return cls(
            np.concatenate([part.joint for part in parts]),
            np.concatenate([part.antecedent for part in parts]),
            np.concatenate([part.consequent for part in parts]),
            np.concatenate([part.is_redundant for part in parts]),
        )

    def counts(self, lattice: Lattice) -> tuple[Ids, Ids, Ids]:
        """Baskets with both sides, with the antecedent, and with the consequent."""
        return lattice.counts[self.joint], lattice.counts[self.antecedent], lattice.counts[self.consequent]


def _rules_by_split(lattice: Lattice, max_antecedent: int | None, max_consequent: int | None) -> Iterator[_Rules]:
    """The rules of every itemset length and split mask, whose set bits are the positions of the antecedent."""
    best_below: dict[int, NDArray[np.float64]] = {}
    for length, level in enumerate(lattice.levels, start=1):
        rows_by_mask = subset_rows(lattice.levels[:length])
        joint = np.arange(level.first_id, level.first_id + len(level.items), dtype=np.int32)
        best: dict[int, NDArray[np.float64]] = {}
        for mask in range(1, (1 << length) - 1):
            antecedent_length = mask.bit_count()
            if _exceeds(antecedent_length, max_antecedent) or _exceeds(length - antecedent_length, max_consequent):
                continue
            antecedent = (rows_by_mask[mask] + lattice.levels[antecedent_length - 1].first_id).astype(np.int32)
            consequent = (rows_by_mask[~mask & ((1 << length) - 1)] + lattice.levels[length - antecedent_length - 1].first_id).astype(np.int32)
            # Counts are exact in a double, and two different fractions of such counts never round to the same one.
            confidence = lattice.counts[joint] / lattice.counts[antecedent]
            best_simpler = np.zeros(len(joint))
            if antecedent_length > 1:
                for position in _positions(mask):
                    np.maximum(best_simpler, best_below[_squeezed(mask, position)][level.without[:, position]], out=best_simpler)
            best[mask] = np.maximum(confidence, best_simpler)
            yield _Rules(joint, antecedent, consequent, best_simpler >= confidence)
        best_below = best


def _exceeds(length: int, bound: int | None) -> bool:
    return bound is not None and length > bound


def _positions(mask: int) -> list[int]:
    return [position for position in range(mask.bit_length()) if mask >> position & 1]


def _squeezed(mask: int, position: int) -> int:
    """The mask of the same items once the item at `position` is gone from the itemset."""
    return (mask >> (position + 1) << position) | (mask & ((1 << position) - 1))


def _lift(joint: Ids, antecedent: Ids, consequent: Ids, total: int) -> NDArray[np.float64]:
    """Lift from counts, rounded once: A => C and C => A get the very same number."""
    return joint * total / (antecedent * consequent)


def _piece(rules: _Rules, lists: pl.Series, lattice: Lattice, total: int) -> pl.DataFrame:
    joint, antecedent, consequent = rules.counts(lattice)
    return pl.DataFrame(
        {
            "antecedent": lists.gather(rules.antecedent),
            "consequent": lists.gather(rules.consequent),
            "basket_count": joint,
            "antecedent_count": antecedent,
            "consequent_count": consequent,
            "total_basket_count": np.full(len(joint), total),
            "support": joint / total,
            "confidence": joint / antecedent,
            "lift": _lift(joint, antecedent, consequent, total),
            "leverage": _leverage(joint, antecedent, consequent, total),
            "conviction": _conviction(joint, antecedent, consequent, total),
            "zhangs_metric": _zhangs_metric(joint, antecedent, consequent, total),
            "jaccard": joint / (antecedent + consequent - joint),
            "is_redundant": rules.is_redundant,
        }
    )


def _leverage(joint: Ids, antecedent: Ids, consequent: Ids, total: int) -> NDArray[np.float64]:
    return (joint * total - antecedent * consequent) / total**2


def _conviction(joint: Ids, antecedent: Ids, consequent: Ids, total: int) -> NDArray[np.float64]:
    missed = antecedent - joint
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(missed > 0, antecedent * (total - consequent) / (missed * total), np.inf)


def _zhangs_metric(joint: Ids, antecedent: Ids, consequent: Ids, total: int) -> NDArray[np.float64]:
    scale = np.maximum(joint * (total - antecedent), antecedent * (consequent - joint))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(scale > 0, (joint * total - antecedent * consequent) / scale, 0.0)
