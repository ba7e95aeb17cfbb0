"""The project's own miner: eclat, depth first over vertical bitmaps, and what it works on (the lines of frequent items, ranked by count).

Thresholds, frames and names stand in `_itemsets`, the estimate of the work in `_guard`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from retail_assets.lib.baskets._bitmaps import set_bits, words
from retail_assets.lib.baskets._lines import packed, spans, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from retail_assets.lib.baskets._lines import CodedLines

    Level = tuple[NDArray[np.int32], NDArray[np.int64]]
    """Itemsets of one length: a matrix of item codes, one itemset per row, and the count of each."""

PAIRS_AT_ONCE = 1 << 17
"""Pairs of lines written out at a time; more fall out of the cache, fewer cost more calls (measured on the real baskets)."""
WORDS_AT_ONCE = 1 << 18
"""Bitmap words intersected at a time: 2 MB, which stay in the processor's cache."""
LARGE_SHARE = 1 / 16
"""A basket of more than this share of all frequent items is large: from about here on, counting it as one bit of every pair of items is faster than
writing out its pairs."""


@dataclass(frozen=True)
class Ranked:
    """The lines of frequent items only, with the items ranked from the rarest to the commonest.

    Growing itemsets in this order keeps the bitmaps of a prefix as short, and its extensions as few, as can be.
    """

    code: NDArray[np.int32]
    """Item code by rank."""
    count: NDArray[np.int64]
    """Baskets that hold the item, by rank, ascending."""
    rank: NDArray[np.int32]
    """Rank of every line's item; lines are ordered by basket, then by rank."""
    basket: NDArray[np.int32]
    """Basket of every line."""
    basket_count: int


def frequent_only(coded: CodedLines, min_count: int) -> Ranked:
    counts = coded.baskets_per_item
    by_count = np.argsort(counts, kind="stable").astype(np.int32)
    code = by_count[counts[by_count] >= min_count]
    rank_of = np.full(coded.item_count, -1, dtype=np.int32)
    rank_of[code] = np.arange(len(code), dtype=np.int32)
    rank = rank_of[coded.item]
    kept = rank >= 0
    # Sorting one integer a line, and not an order of lines, is what numpy does fastest.
    basket, rank = unpacked(np.sort(packed(coded.basket[kept], rank[kept])))
    return Ranked(code, counts[code], rank, basket, coded.basket_count)


def eclat(ranked: Ranked, min_count: int, max_length: int | None) -> Iterator[Level]:
    """Single items, then pairs with their bitmaps, then every pair's supersets, depth first."""
    if not len(ranked.code):
        return
    yield ranked.code[:, None], ranked.count
    if max_length == 1:
        return
    for pairs in _frequent_pairs(ranked, min_count):
        yield from _grow(pairs, ranked.code, min_count, max_length)


@dataclass(frozen=True)
class Siblings:
    """Frequent itemsets of one length, in families that share all items but the last, and the baskets of each as a bitmap.

    Bits stand for the large baskets first, the same in every family, and then for the baskets that hold a family's FIRST item, not for all
    baskets: bitmaps of rare items are a few words long.
    """

    ranks: NDArray[np.int32]
    """One itemset per row, item ranks ascending; families are consecutive rows."""
    counts: NDArray[np.int64]
    """Baskets of each itemset."""
    family_end: NDArray[np.int64]
    """For each row, the row after the last one of its family."""
    bitmaps: NDArray[np.uint64]
    """One column per itemset: word by word, so that counting adds whole rows."""


def _grow(siblings: Siblings, code: NDArray[np.int32], min_count: int, max_length: int | None) -> Iterator[Level]:
    """The itemsets given and all their frequent supersets."""
    if not len(siblings.counts):
        return
    yield code[siblings.ranks], siblings.counts
    if max_length is not None and siblings.ranks.shape[1] >= max_length:
        return
    # Work is cut so that a block's bitmaps fit the cache; each block is followed to its end before the next, so that memory stays
    # bounded by the depth of the search and not by its breadth.
    later_siblings = siblings.family_end - np.arange(len(siblings.counts)) - 1
    for start, stop in spans(later_siblings * len(siblings.bitmaps), WORDS_AT_ONCE):
        yield from _grow(joined(siblings, start, later_siblings[start:stop], min_count), code, min_count, max_length)


def joined(siblings: Siblings, start: int, later_siblings: NDArray[np.int64], min_count: int) -> Siblings:
    """The rows from `start` on, each united with its later siblings, so many for each; the frequent unions, each row's forming a family."""
    row, distance = _spread(later_siblings)
    left = row + start
    right = left + 1 + distance
    counts = np.zeros(len(left), dtype=np.int64)
    for word in siblings.bitmaps:
        counts += np.bitwise_count(word[left] & word[right])
    frequent = np.flatnonzero(counts >= min_count)
    left, right = left[frequent], right[frequent]
    return Siblings(
        ranks=np.column_stack([siblings.ranks[left], siblings.ranks[right, -1]]),
        counts=counts[frequent],
        family_end=np.searchsorted(left, left, side="right"),
        bitmaps=siblings.bitmaps[:, left] & siblings.bitmaps[:, right],
    )


def _frequent_pairs(ranked: Ranked, min_count: int) -> Iterator[Siblings]:
    """The frequent pairs with their bitmaps, some families at a time.

    Pairs are counted by writing out, for each line, the lines after it in its basket: far fewer steps than intersecting every two items,
    as most items share few baskets. A basket that holds a large part of all items is the exception, its pairs grow with the square of its
    size: such baskets are counted as bits, every item against every other.
    """
    pairs = Pairs.of(ranked)
    for start, stop in spans(pairs.costs, PAIRS_AT_ONCE):
        yield pairs.frequent(start, stop, min_count)


def _split_by_size(ranked: Ranked) -> tuple[Ranked, NDArray[np.uint64]]:
    """The lines of all but the large baskets, and the large ones as bitmaps: one column per item, by rank, 64 baskets a word."""
    sizes = np.bincount(ranked.basket, minlength=ranked.basket_count)
    is_large = sizes > len(ranked.code) * LARGE_SHARE
    in_large = is_large[ranked.basket]
    number = np.cumsum(is_large) - 1
    bitmaps = np.zeros((words(int(is_large.sum())), len(ranked.code)), dtype=np.uint64)
    set_bits(bitmaps, number[ranked.basket[in_large]], ranked.rank[in_large])
    small = Ranked(ranked.code, ranked.count, ranked.rank[~in_large], ranked.basket[~in_large], ranked.basket_count)
    return small, bitmaps


@dataclass(frozen=True)
class Pairs:
    """All pairs of items that share a basket, by the rank of their rarer (first) item: what is needed to write out any part of them."""

    small: Ranked
    large: NDArray[np.uint64]
    """The large baskets as bitmaps, see `_split_by_size`."""
    line: NDArray[np.int32]
    """Lines in small baskets, by the rank of their item and by basket."""
    lines_after: NDArray[np.int64]
    """For each of them, the lines after it in its basket."""
    first_line: NDArray[np.intp]
    """For each rank, and for the one after the last, where its lines begin."""

    @classmethod
    def of(cls, ranked: Ranked) -> Pairs:
        """The pairs of the lines."""
        small, large = _split_by_size(ranked)
        rank_of_line, line = unpacked(np.sort(packed(small.rank, np.arange(len(small.rank), dtype=np.int32))))
        basket_end = np.searchsorted(small.basket, np.arange(ranked.basket_count, dtype=np.int32), side="right")
        first_line = np.searchsorted(rank_of_line, np.arange(len(ranked.code) + 1, dtype=np.int32))
        return cls(small, large, line, basket_end[small.basket[line]] - line - 1, first_line)

    @property
    def costs(self) -> NDArray[np.int64]:
        """What the pairs of each first item take, in pairs written out: those, the table of counts, or the bits of large baskets."""
        written = np.diff(np.concatenate([[0], np.cumsum(self.lines_after)])[self.first_line])
        return np.maximum(written, len(self.small.code) * (1 + len(self.large) // 8))

    def frequent(self, start: int, stop: int, min_count: int) -> Siblings:
        """The pairs in enough baskets whose first item ranks from `start` to `stop`, with their bitmaps."""
        item_count = len(self.small.code)
        begin, end = int(self.first_line[start]), int(self.first_line[stop])
        cuts = [(begin + low, begin + high) for low, high in spans(self.lines_after[begin:end], PAIRS_AT_ONCE)]
        # One piece, as nearly always, is written out once; the pieces of an item in very many baskets are written out again below.
        written = self._written(*cuts[0], start) if len(cuts) == 1 else None
        counts = np.zeros((stop - start) * item_count, dtype=np.int64)
        for cut in cuts:
            counts += np.bincount(self._written(*cut, start) if written is None else written, minlength=len(counts))
        self._add_large(counts.reshape(stop - start, item_count), start)
        frequent = np.flatnonzero(counts >= min_count)
        first, second = np.divmod(frequent, item_count)
        first += start

        column_of = np.full(len(counts), -1, dtype=np.int32)
        column_of[frequent] = np.arange(len(frequent), dtype=np.int32)
        large_words = len(self.large)
        small_words = words(int(np.diff(self.first_line[start : stop + 1]).max()))
        bitmaps = np.zeros((large_words + small_words, len(frequent)), dtype=np.uint64)
        bitmaps[:large_words] = self.large[:, first] & self.large[:, second]
        for low, high in cuts:
            column = column_of[self._written(low, high, start) if written is None else written]
            kept = np.flatnonzero(column >= 0)
            bit = np.arange(low, high) - self.first_line[self.small.rank[self.line[low:high]]]
            set_bits(bitmaps[large_words:], np.repeat(bit, self.lines_after[low:high])[kept], column[kept])
        return Siblings(
            ranks=np.column_stack([first, second]).astype(np.int32),
            counts=counts[frequent],
            family_end=np.searchsorted(first, first, side="right"),
            bitmaps=bitmaps,
        )

    def _add_large(self, counts: NDArray[np.int64], start: int) -> None:
        """Add the large baskets to a table of counts, first items ranked from `start` by all items; a pair is counted at its rarer item."""
        stop = start + len(counts)
        joint = np.zeros((len(counts), counts.shape[1] - start), dtype=np.int32)
        for word in self.large:
            joint += np.bitwise_count(word[start:stop, None] & word[start:])
        counts[:, start:] += np.triu(joint, 1)

    def _written(self, low: int, high: int, start: int) -> NDArray[np.int64]:
        """The pairs of some lines, each as (rank of the first item from `start`) * items + rank of the second."""
        line, after = self.line[low:high], self.lines_after[low:high]
        first_of = np.cumsum(after) - after
        partner = np.arange(int(after.sum())) + np.repeat(line + 1 - first_of, after)
        first = (self.small.rank[line].astype(np.int64) - start) * len(self.small.code)
        return np.asarray(np.repeat(first, after) + self.small.rank[partner])


def _spread(lengths: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """For consecutive groups of the given lengths: each member's group, and its position 0, 1, ... within the group."""
    group = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.cumsum(lengths) - lengths
    return group, np.arange(len(group)) - starts[group]
