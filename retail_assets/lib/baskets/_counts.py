"""Counts of given itemsets in given baskets, also by groups of baskets. Which itemsets are worth counting is decided elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.baskets._bitmaps import WORD, set_bits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from retail_assets.lib.baskets._lines import CodedLines

    Ints = NDArray[np.int64]

CELLS_AT_ONCE = 1 << 20
"""Cells of a table (itemset or rule by word, or by group) worked on at a time: 8 MB for each intermediate array."""


def distinct_itemsets(itemsets: pl.Series, coded: CodedLines) -> tuple[Ints, Ints]:
    """The distinct itemsets as rows of item codes, filled up with -1 on the right, and for every given itemset its row."""
    items = itemsets.explode().cast(pl.String)
    if len(unknown := items.filter(~items.is_in(coded.names.implode()))):
        raise ValueError(f"The rules hold {unknown[0]!r}, the lines do not; pass the lines the rules were mined from.")
    lengths = itemsets.list.len().to_numpy().astype(np.int64)
    filled = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(filled.shape, -1, dtype=np.int64)
    padded[filled] = items.cast(pl.Enum(coded.names)).to_physical().to_numpy()
    # Numbering column by column keeps the key of a row one integer, which sorts many times faster than rows do.
    number = np.zeros(len(padded), dtype=np.int64)
    for column in padded.T:
        _, number = np.unique(number * (coded.item_count + 1) + column + 1, return_inverse=True)
    _, first = np.unique(number, return_index=True)
    return padded[first], number


def rule_counts(rules: pl.DataFrame, coded: CodedLines) -> tuple[Ints, Ints, Ints]:
    """Baskets that hold both sides, the antecedent, and the consequent of each rule."""
    both = rules.select(pl.concat_list("antecedent", "consequent")).to_series()
    joint, antecedent, consequent = (_itemset_counts(side, coded) for side in (both, rules["antecedent"], rules["consequent"]))
    return joint, antecedent, consequent


def _itemset_counts(itemsets: pl.Series, coded: CodedLines) -> Ints:
    distinct, row = distinct_itemsets(itemsets, coded)
    counts = grouped_counts(distinct, coded, np.zeros(coded.basket_count, dtype=np.int64), 1)
    return np.asarray(counts[row, 0], dtype=np.int64)


def by_length(padded: Ints) -> Iterator[tuple[int, Ints]]:
    """Lengths that occur among padded itemsets, ascending, and the rows of each."""
    lengths = (padded >= 0).sum(axis=1)
    for length in np.unique(lengths):
        yield int(length), np.flatnonzero(lengths == length)


def chunks(rows: Ints, width: int) -> Iterator[Ints]:
    """The rows in pieces whose tables of `width` columns stay within the budget."""
    size = max(1, CELLS_AT_ONCE // max(width, 1))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def grouped_counts(itemsets: Ints, coded: CodedLines, group: Ints, group_count: int) -> NDArray[np.int32]:
    """How many baskets of each group hold each itemset: one row per itemset (item codes, padded by -1), one column per group.

    `group` is the group of every basket, from 0; every group holds a basket.
    """
    bit_of, first_word, word_count = _bits_by_group(group, group_count)

    used = np.unique(itemsets[itemsets >= 0])
    row_of = np.full(coded.item_count, -1, dtype=np.int64)
    row_of[used] = np.arange(len(used))
    lines = row_of[coded.item] >= 0
    bit = bit_of[coded.basket[lines]]
    bitmaps = np.zeros((word_count, len(used)), dtype=np.uint64)
    set_bits(bitmaps, bit, row_of[coded.item[lines]])
    bitmaps = np.ascontiguousarray(bitmaps.T)

    counts = np.zeros((len(itemsets), group_count), dtype=np.int32)
    for length, rows in by_length(itemsets):
        for chunk in chunks(rows, word_count):
            held = bitmaps[row_of[itemsets[chunk, 0]]]
            for position in range(1, length):
                held &= bitmaps[row_of[itemsets[chunk, position]]]
            counts[chunk] = np.add.reduceat(np.bitwise_count(held), first_word, axis=1, dtype=np.int32)
    return counts


def _bits_by_group(group: Ints, group_count: int) -> tuple[Ints, Ints, int]:
    """Bit of every basket, first word of every group, and number of words: a group is a run of whole words."""
    baskets_per_group = np.bincount(group, minlength=group_count)
    words_per_group = -(-baskets_per_group // WORD)
    first_word = np.cumsum(words_per_group) - words_per_group
    bit_of = np.empty(len(group), dtype=np.int64)
    within = np.arange(len(group)) - np.repeat(np.cumsum(baskets_per_group) - baskets_per_group, baskets_per_group)
    by_group = np.argsort(group, kind="stable")
    bit_of[by_group] = first_word[group[by_group]] * WORD + within
    return bit_of, first_word, int(words_per_group.sum())
