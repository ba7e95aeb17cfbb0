"""Itemsets under integer ids, each linked to its subsets: what rules, closed and maximal itemsets are read off. No measure of a rule in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.baskets._lines import check_columns, name_lists

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Level:
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
    def of(cls, items: Ids, below: list[Level], names: pl.Series) -> Level:
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


def _rows_of(keys: Ids, level: Level, items: Ids, left_out: int, names: pl.Series) -> Ids:
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
class Lattice:
    """All itemsets under integer ids, ordered by length and then by items, so that no itemset is looked up by its names."""

    itemsets: pl.Series
    """Sorted list of names by id."""
    counts: Ids
    """Baskets by id."""
    levels: list[Level]
    """By length, from 1, without gaps."""
    row: Ids
    """Row in the given frame by id."""

    @classmethod
    def of(cls, itemsets: pl.DataFrame, basket_count: int) -> Lattice:
        """Number the itemsets and link each to its subsets.

        Raises:
            ValueError: A subset is missing, a count lies outside 1 to `basket_count`, an itemset is empty, comes twice or holds a null or an item
                twice, or a column is missing or holds nulls.
        """
        check_columns(itemsets, ("itemset", "count"), frame="itemsets")
        _check_counts(itemsets, basket_count)
        lists = itemsets["itemset"].cast(pl.List(pl.String))
        items = lists.explode()
        if items.null_count():
            raise ValueError("itemsets holds an itemset with a null item; a null is no item, drop or repair these rows first.")
        names = items.unique().sort()
        codes = items.cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)
        lengths = lists.list.len().to_numpy().astype(np.int64)
        starts = np.cumsum(lengths) - lengths
        levels: list[Level] = []
        row_by_id = []
        for length in range(1, int(lengths.max(initial=0)) + 1):
            of_length = np.flatnonzero(lengths == length)
            rows = np.sort(codes[starts[of_length, None] + np.arange(length)], axis=1)
            order = np.lexsort(rows.T[::-1])
            _check_distinct(rows[order], names)
            levels.append(Level.of(rows[order], levels, names))
            row_by_id.append(of_length[order])
        row = np.concatenate([np.empty(0, dtype=np.int64), *row_by_id])
        sorted_lists = pl.concat([lists.clear(), *(name_lists(level.items, names) for level in levels)], rechunk=True)
        return cls(sorted_lists, itemsets["count"].to_numpy().astype(np.int64)[row], levels, row)


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


def subset_rows(levels: list[Level]) -> dict[int, Ids]:
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
