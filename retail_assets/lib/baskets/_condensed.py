"""Closed and maximal itemsets: which of the frequent itemsets say what all of them say. How they are mined stands in `_itemsets`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.baskets._lattice import Lattice

if TYPE_CHECKING:
    from numpy.typing import NDArray


def closed_and_maximal(itemsets: pl.DataFrame, basket_count: int) -> pl.DataFrame:
    """Mark the itemsets from which the others follow.

    A closed itemset has no superset that as many baskets hold (Pasquier et al. 1999, doi:10.1007/3-540-49257-7_25): closed itemsets and their
    counts give the counts of all frequent itemsets. A maximal one has no frequent superset at all (Bayardo 1998, doi:10.1145/276304.276313): the
    frequent itemsets are the subsets of the maximal ones. Among the given itemsets: mined with a `max_length`, those of that length are always
    maximal; mine one item further and cut afterwards where that matters.

    Args:
        itemsets: `itemset` (lists of items) and `count`, with every subset of every itemset, as `frequent_itemsets` returns them.
        basket_count: Number of all baskets the itemsets were counted in.

    Returns:
        `itemsets`, rows in the same order, with `is_closed` and `is_maximal` (Boolean).

    Raises:
        ValueError: A subset is missing, or a count or an itemset is not possible.
    """
    lattice = Lattice.of(itemsets, basket_count)
    is_closed, is_maximal = np.ones((2, len(lattice.counts)), dtype=bool)
    for below, level in zip(lattice.levels, lattice.levels[1:], strict=False):
        subset = below.first_id + level.without
        superset = level.first_id + np.arange(len(level.items))
        is_maximal[subset] = False
        is_closed[subset[lattice.counts[subset] == lattice.counts[superset][:, None]]] = False
    return itemsets.with_columns(is_closed=_by_row(is_closed, lattice), is_maximal=_by_row(is_maximal, lattice))


def _by_row(flags: NDArray[np.bool_], lattice: Lattice) -> pl.Series:
    by_row = np.empty_like(flags)
    by_row[lattice.row] = flags
    return pl.Series(by_row)
