"""Association rules and their metrics, from frequent itemsets alone.

Metrics that need the baskets themselves (what basket sizes would give, significance) stand in `_null_model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.baskets._lines import check_columns, name_lists

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def association_rules(
    itemsets: pl.DataFrame,
    basket_count: int,
    min_confidence: float = 0.0,
    min_lift: float = 0.0,
    max_antecedent: int | None = None,
    max_consequent: int | None = None,
) -> pl.DataFrame:
    """All rules antecedent => consequent that split a frequent itemset in two, with their metrics.

    Args:
        itemsets: `itemset` (lists of items) and `count`, with every subset of every itemset, as `frequent_itemsets` returns them.
        basket_count: Number of all baskets the itemsets were counted in.
        min_confidence: Smallest confidence of a rule to return, inclusive.
        min_lift: Smallest lift of a rule to return, inclusive.
        max_antecedent: Most items of an antecedent; no bound if None.
        max_consequent: Most items of a consequent; no bound if None.

    Returns:
        One row per rule. `antecedent` and `consequent` are sorted lists; `basket_count` counts the baskets that hold both,
        `antecedent_count` and `consequent_count` those that hold either side, `total_basket_count` repeats the argument. With shares of
        baskets P: `support` P(AC), `confidence` P(C|A) (Agrawal et al. 1993, doi:10.1145/170035.170072), `lift` P(AC) / P(A)P(C) and
        `conviction` P(A)P(not C) / P(A, not C), infinite at confidence 1 (Brin et al. 1997, doi:10.1145/253260.253325), `leverage`
        P(AC) - P(A)P(C) (Piatetsky-Shapiro 1991), `zhangs_metric` (Zhang 2000, doi:10.1142/S0218488500000202), 0 where either side is in
        all baskets, and `jaccard` P(AC) / P(A or C). `is_redundant`: some rule with the same consequent and a proper, non-empty subset of
        the antecedent has at least this confidence (Bayardo et al. 1999, doi:10.1109/ICDE.1999.754924: no positive improvement); decided
        over all rules, whatever the thresholds. Ordered by lift and confidence, both descending, then by antecedent and consequent, where
        shorter lists come first.

    Raises:
        ValueError: A subset is missing, a count lies outside 1 to `basket_count`, an itemset is empty, comes twice or holds a null or an item twice,
            or a column is missing or holds nulls.
    """
    check_columns(itemsets, ("itemset", "count"), frame="itemsets")
    lattice = _Lattice.of(itemsets, basket_count)
    kept = []
    for rules in _rules_by_split(lattice, max_antecedent, max_consequent):
        joint, antecedent, consequent = lattice.counts[rules.joint], lattice.counts[rules.antecedent], lattice.counts[rules.consequent]
        confident = joint / antecedent >= min_confidence
        kept.append(rules[confident & (_lift(joint, antecedent, consequent, basket_count) >= min_lift)])
    return _to_frame(_Rules.concatenated(kept), lattice, basket_count)


@dataclass(frozen=True)
class _Level:
    """Itemsets of one length, in lexicographic order; an itemset's number is its row."""

    first_id: int
    """Id of the first row; ids count through all lengths."""
    items: Ids
    """Item codes, one itemset per row, ascending."""
    without: Ids
    """For every itemset and position: row, one level below, of the itemset without the item there."""
    keys: Ids
    """(row of the itemset without its last item, last item) as one integer; ascending."""

    @classmethod
    def of(cls, items: Ids, below: list[_Level], names: pl.Series) -> _Level:
        """Number itemsets, given in lexicographic order, on top of the levels of all shorter lengths."""
        width = len(names)
        last = items[:, -1]
        prefix = np.zeros(len(items), dtype=np.int64)
        for level, item in zip(below, items.T, strict=False):
            prefix = _rows_of(prefix * width + item, level, items, items.shape[1] - 1, names)
        without = np.empty_like(items)
        without[:, -1] = prefix
        # Without an item before its last, an itemset is its prefix without that item, plus the last.
        for position in range(items.shape[1] - 1):
            shorter = below[-1]
            without[:, position] = _rows_of(shorter.without[prefix, position] * width + last, shorter, items, position, names)
        return cls(below[-1].first_id + len(below[-1].items) if below else 0, items, without, prefix * width + last)


def _rows_of(keys: Ids, level: _Level, items: Ids, left_out: int, names: pl.Series) -> Ids:
    """Rows of the keys in the level; the keys are those of (part of) `items` without the position `left_out`."""
    rows = np.searchsorted(level.keys, keys)
    missing = np.append(level.keys, -1)[rows] != keys
    if missing.any():
        itemset = items[missing][0]
        raise ValueError(
            f"Itemset {_names_of(itemset, names)} is in itemsets, but not its subset {_names_of(np.delete(itemset, left_out), names)} or a "
            "subset of that; pass all frequent itemsets of one mining run, of every length."
        )
    return rows


def _names_of(codes: Ids, names: pl.Series) -> list[str]:
    return names.gather(codes).to_list()


@dataclass(frozen=True)
class _Lattice:
    """All itemsets under integer ids, ordered by length and then by items, so that no itemset is looked up by its names."""

    itemsets: pl.Series
    """Sorted list of names by id."""
    counts: Ids
    """Baskets by id."""
    levels: list[_Level]
    """By length, from 1, without gaps."""

    @classmethod
    def of(cls, itemsets: pl.DataFrame, basket_count: int) -> _Lattice:
        """Number the itemsets and link each to its subsets."""
        _check_counts(itemsets, basket_count)
        lists = itemsets["itemset"].cast(pl.List(pl.String))
        items = lists.explode()
        if items.null_count():
            raise ValueError("itemsets holds an itemset with a null item; a null is no item, drop or repair these rows first.")
        names = items.unique().sort()
        codes = items.cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
        lengths = lists.list.len().to_numpy().astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        levels: list[_Level] = []
        position_by_id = []
        for length in range(1, int(lengths.max(initial=0)) + 1):
            of_length = np.flatnonzero(lengths == length)
            rows = np.sort(codes[starts[of_length, None] + np.arange(length)], axis=1)
            order = np.lexsort(rows.T[::-1])
            _check_distinct(rows[order], names)
            levels.append(_Level.of(rows[order], levels, names))
            position_by_id.append(of_length[order])
        by_id = np.concatenate([np.empty(0, dtype=np.int64), *position_by_id])
        sorted_lists = pl.concat([lists.clear(), *(name_lists(level.items, names) for level in levels)], rechunk=True)
        return cls(sorted_lists, itemsets["count"].to_numpy().astype(np.int64)[by_id], levels)


def _check_counts(itemsets: pl.DataFrame, basket_count: int) -> None:
    if itemsets["itemset"].list.len().eq(0).any():
        raise ValueError("itemsets holds an empty itemset; drop it, a rule has items on both sides.")
    outside = itemsets.filter(~pl.col("count").is_between(1, basket_count))
    if len(outside):
        itemset, count = outside.select("itemset", "count").row(0)
        raise ValueError(f"Itemset {itemset} counts {count} of {basket_count} baskets; give the basket_count the itemsets were counted in.")


def _check_distinct(items: Ids, names: pl.Series) -> None:
    """Refuse an itemset that comes twice and an item that stands twice in one; rows, and items in them, are sorted."""
    if (repeated := (items[1:] == items[:-1]).all(axis=1)).any():
        raise ValueError(f"Itemset {_names_of(items[1:][repeated][0], names)} comes twice in itemsets; keep one row for each itemset.")
    if (doubled := (items[:, 1:] == items[:, :-1]).any(axis=1)).any():
        raise ValueError(f"Itemset {_names_of(items[doubled][0], names)} holds an item twice; itemsets are sets.")


@dataclass(frozen=True)
class _Rules:
    """Rules as ids of itemsets."""

    joint: Ids
    antecedent: Ids
    consequent: Ids
    is_redundant: NDArray[np.bool_]

    def __getitem__(self, rows: Ids | NDArray[np.bool_]) -> _Rules:
        return _Rules(self.joint[rows], self.antecedent[rows], self.consequent[rows], self.is_redundant[rows])

    @classmethod
    def concatenated(cls, parts: list[_Rules]) -> _Rules:
        """All parts, one after the other."""
        none = np.empty(0, dtype=np.int64)
        return cls(
            np.concatenate([none, *(part.joint for part in parts)]),
            np.concatenate([none, *(part.antecedent for part in parts)]),
            np.concatenate([none, *(part.consequent for part in parts)]),
            np.concatenate([none.astype(bool), *(part.is_redundant for part in parts)]),
        )


def _rules_by_split(lattice: _Lattice, max_antecedent: int | None, max_consequent: int | None) -> Iterator[_Rules]:
    """The rules of every itemset length and split mask, whose set bits are the positions of the antecedent."""
    best_below: dict[int, NDArray[np.float64]] = {}
    for length, level in enumerate(lattice.levels, start=1):
        rows_by_mask = _subset_rows(lattice.levels[:length])
        joint = level.first_id + np.arange(len(level.items))
        best: dict[int, NDArray[np.float64]] = {}
        for mask in range(1, (1 << length) - 1):
            antecedent_length = mask.bit_count()
            if _exceeds(antecedent_length, max_antecedent) or _exceeds(length - antecedent_length, max_consequent):
                continue
            antecedent = rows_by_mask[mask] + lattice.levels[antecedent_length - 1].first_id
            consequent = rows_by_mask[~mask & ((1 << length) - 1)] + lattice.levels[length - antecedent_length - 1].first_id
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


def _subset_rows(levels: list[_Level]) -> dict[int, Ids]:
    """For every mask of positions of the longest itemsets: the row, in the level of its length, of that subset."""
    length = len(levels)
    full = (1 << length) - 1
    rows = {full: np.arange(len(levels[-1].items))}
    for mask in range(full - 1, 0, -1):
        # Reach the subset from the one that also holds the first position left out; masks above this one are known.
        absent = (~mask & (mask + 1)).bit_length() - 1
        fuller = mask | 1 << absent
        place = (fuller & ((1 << absent) - 1)).bit_count()
        rows[mask] = levels[fuller.bit_count() - 1].without[rows[fuller], place]
    return rows


def _lift(joint: Ids, antecedent: Ids, consequent: Ids, total: int) -> NDArray[np.float64]:
    """Lift from counts, rounded once: A => C and C => A get the very same number."""
    return joint * total / (antecedent * consequent)


def _to_frame(rules: _Rules, lattice: _Lattice, total: int) -> pl.DataFrame:
    joint, antecedent, consequent = lattice.counts[rules.joint], lattice.counts[rules.antecedent], lattice.counts[rules.consequent]
    lift = _lift(joint, antecedent, consequent, total)
    order = np.lexsort((rules.consequent, rules.antecedent, -(joint / antecedent), -lift))
    rules, lift, joint, antecedent, consequent = rules[order], lift[order], joint[order], antecedent[order], consequent[order]
    return pl.DataFrame(
        {
            "antecedent": lattice.itemsets.gather(rules.antecedent),
            "consequent": lattice.itemsets.gather(rules.consequent),
            "basket_count": joint,
            "antecedent_count": antecedent,
            "consequent_count": consequent,
            "total_basket_count": np.full(len(joint), total),
            "support": joint / total,
            "confidence": joint / antecedent,
            "lift": lift,
            "leverage": _leverage(joint, antecedent, consequent, total),
            "conviction": _conviction(joint, antecedent, consequent, total),
            "zhangs_metric": _zhangs_metric(joint, antecedent, consequent, total),
            "jaccard": joint / (antecedent + consequent - joint),
            "is_redundant": rules.is_redundant,
        },
        schema=RULES_SCHEMA,
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
