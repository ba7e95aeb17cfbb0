"""Frequent itemsets: exact thresholds, the project's own eclat on vertical bitmaps, and mlxtend's fpgrowth behind the same function.

Rules are made in `_rules`; what counts as a basket is decided in `_lines`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from retail_assets.lib.baskets._bitmaps import set_bits, words
from retail_assets.lib.baskets._lines import code_lines, name_lists, spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from retail_assets.lib.baskets._lines import CodedLines

    Level = tuple[NDArray[np.int32], NDArray[np.int64]]
    """Itemsets of one length: a matrix of item codes, one itemset per row, and the count of each."""

ITEMSETS_SCHEMA = pl.Schema({"itemset": pl.List(pl.String()), "count": pl.Int64(), "support": pl.Float64()})
PAIRS_AT_ONCE = 1 << 17
"""Pairs of lines written out at a time; more fall out of the cache, fewer cost more calls (measured on the real baskets)."""
WORDS_AT_ONCE = 1 << 18
"""Bitmap words intersected at a time: 2 MB, which stay in the processor's cache."""
LARGE_SHARE = 1 / 8
"""A basket of more than this share of all frequent items is large: from about here on a matrix product is faster than writing out its pairs."""
BASKETS_AT_ONCE = 1 << 12
"""Large baskets multiplied at a time."""


class ItemsetLimitError(ValueError):
    """More itemsets are frequent than the caller is ready to hold in memory."""

    def __init__(self, max_itemsets: int) -> None:
        super().__init__(
            f"More than {max_itemsets:,} itemsets are frequent. Raise min_support, bound their size by max_length, "
            "or raise max_itemsets if the memory is there."
        )


def frequent_itemsets(
    lines: pl.DataFrame,
    min_support: float | Fraction,
    max_length: int | None = None,
    algorithm: Literal["eclat", "fpgrowth"] = "eclat",
    max_itemsets: int = 5_000_000,
) -> pl.DataFrame:
    """All sets of items that at least ceil(`min_support` * baskets) baskets hold, counted exactly.

    The threshold is computed on the decimal number as written (0.07 is 7/100), never in floating point, and is at least one basket.

    Args:
        lines: Basket lines, `basket_id` (any type) and `item`; repeated lines and their order do not matter.
        min_support: Smallest share of baskets, above 0 and up to 1.
        max_length: Largest number of items in a set; no bound if None.
        algorithm: `eclat` (Zaki 2000, doi:10.1109/69.846291) on bitmaps, or `fpgrowth` (Han, Pei and Yin 2000,
            doi:10.1145/342009.335372) by mlxtend. Both return the same frame; fpgrowth is many times slower and is here as the second opinion.
        max_itemsets: Most itemsets to return. eclat stops as soon as there are more; fpgrowth cannot be stopped and is checked at its end.

    Returns:
        One row per frequent itemset: `itemset` (List(String), sorted), `count` (Int64, baskets that hold all its items) and `support`
        (Float64, count / baskets), ordered by length, then by itemset.

    Raises:
        ItemsetLimitError: More than `max_itemsets` itemsets are frequent.
        ValueError: An argument is out of range, the algorithm is unknown, or `lines` lacks a column or holds nulls.
    """
    if algorithm not in ("eclat", "fpgrowth"):
        raise ValueError(f"algorithm is {algorithm!r}; choose 'eclat' or 'fpgrowth'.")
    if max_length is not None and max_length < 1:
        raise ValueError(f"max_length is {max_length}; give at least 1, or None for no bound.")
    share = _exact_share(min_support)
    coded = code_lines(lines)
    if not coded.basket_count:
        return ITEMSETS_SCHEMA.to_frame()
    min_count = max(1, math.ceil(share * coded.basket_count))
    mine = _eclat if algorithm == "eclat" else _fpgrowth
    levels = _within_limit(mine(_frequent_only(coded, min_count), min_count, max_length), max_itemsets)
    return _to_frame(levels, coded)


def _exact_share(min_support: float | Fraction) -> Fraction:
    """The support as the decimal number its author wrote: 0.07 * 100 is 7 baskets, not 8."""
    try:
        share = Fraction(str(min_support))
    except ValueError:
        share = Fraction(0)
    if not 0 < share <= 1:
        raise ValueError(f"min_support is {min_support!r}; give a share of the baskets above 0 and up to 1, such as 0.01.")
    return share


def _within_limit(found: Iterator[Level], max_itemsets: int) -> dict[int, list[Level]]:
    """Collect what a miner finds by itemset length, as long as it stays within the limit."""
    levels: dict[int, list[Level]] = defaultdict(list)
    total = 0
    for items, counts in found:
        total += len(counts)
        if total > max_itemsets:
            raise ItemsetLimitError(max_itemsets)
        levels[items.shape[1]].append((items, counts))
    return levels


def _to_frame(levels: dict[int, list[Level]], coded: CodedLines) -> pl.DataFrame:
    frames = [ITEMSETS_SCHEMA.to_frame()]
    for _, parts in sorted(levels.items()):
        items = np.sort(np.concatenate([items for items, _ in parts]), axis=1)
        counts = np.concatenate([counts for _, counts in parts]).astype(np.int64)
        order = np.lexsort(items.T[::-1])
        count = counts[order]
        frames.append(pl.DataFrame({"itemset": name_lists(items[order], coded.names), "count": count, "support": count / coded.basket_count}))
    return pl.concat(frames)


@dataclass(frozen=True)
class _Ranked:
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


def _frequent_only(coded: CodedLines, min_count: int) -> _Ranked:
    counts = coded.baskets_per_item
    by_count = np.argsort(counts, kind="stable").astype(np.int32)
    code = by_count[counts[by_count] >= min_count]
    rank_of = np.full(coded.item_count, -1, dtype=np.int32)
    rank_of[code] = np.arange(len(code), dtype=np.int32)
    rank = rank_of[coded.item]
    kept = rank >= 0
    # Sorting one integer a line, and not an order of lines, is what numpy does fastest.
    basket, rank = _unpacked(np.sort(_packed(coded.basket[kept], rank[kept])))
    return _Ranked(code, counts[code], rank, basket, coded.basket_count)


def _packed(high: NDArray[np.int32], low: NDArray[np.int32]) -> NDArray[np.int64]:
    return high.astype(np.int64) << 32 | low


def _unpacked(keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return (keys >> 32).astype(np.int32), keys.astype(np.int32)


def _fpgrowth(ranked: _Ranked, min_count: int, max_length: int | None) -> Iterator[Level]:
    # mlxtend pulls in pandas, scipy and matplotlib: seconds that only this branch should pay.
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415
    from mlxtend.frequent_patterns import fpgrowth  # noqa: PLC0415
    from scipy.sparse import csr_array  # noqa: PLC0415

    if not len(ranked.code):
        return
    shape = (ranked.basket_count, len(ranked.code))
    matrix = csr_array((np.ones(len(ranked.rank), dtype=bool), (ranked.basket, ranked.rank)), shape=shape)
    # mlxtend compares float supports, so a count right at the threshold may fall on either side. Half a basket less is on no count.
    support = (min_count - 0.5) / ranked.basket_count
    found = fpgrowth(pd.DataFrame.sparse.from_spmatrix(matrix), min_support=support, max_len=max_length)
    counts = np.rint(found["support"].to_numpy() * ranked.basket_count).astype(np.int64)
    lengths = found["itemsets"].map(len).to_numpy()
    for length in np.unique(lengths):
        of_length = lengths == length
        ranks = np.array([list(itemset) for itemset in found["itemsets"][of_length]], dtype=np.int64)
        yield ranked.code[ranks], counts[of_length]


def _eclat(ranked: _Ranked, min_count: int, max_length: int | None) -> Iterator[Level]:
    """Single items, then pairs with their bitmaps, then every pair's supersets, depth first."""
    if not len(ranked.code):
        return
    yield ranked.code[:, None], ranked.count
    if max_length == 1:
        return
    for pairs in _frequent_pairs(ranked, min_count):
        yield from _grow(pairs, ranked.code, min_count, max_length)


@dataclass(frozen=True)
class _Siblings:
    """Frequent itemsets of one length, in families that share all items but the last, and the baskets of each as a bitmap.

    A family's bits number the baskets that hold its FIRST item, not all baskets: bitmaps of rare items are a few words long.
    """

    ranks: NDArray[np.int32]
    """One itemset per row, item ranks ascending; families are consecutive rows."""
    counts: NDArray[np.int64]
    """Baskets of each itemset."""
    family_end: NDArray[np.int64]
    """For each row, the row after the last one of its family."""
    bitmaps: NDArray[np.uint64]
    """One column per itemset: word by word, so that counting adds whole rows."""


def _grow(siblings: _Siblings, code: NDArray[np.int32], min_count: int, max_length: int | None) -> Iterator[Level]:
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
        yield from _grow(_joined(siblings, start, later_siblings[start:stop], min_count), code, min_count, max_length)


def _joined(siblings: _Siblings, start: int, later_siblings: NDArray[np.int64], min_count: int) -> _Siblings:
    """The rows from `start` on, each united with its later siblings, so many for each; the frequent unions, each row's forming a family."""
    row, distance = _spread(later_siblings)
    left = row + start
    right = left + 1 + distance
    counts = np.zeros(len(left), dtype=np.int64)
    for word in siblings.bitmaps:
        counts += np.bitwise_count(word[left] & word[right])
    frequent = np.flatnonzero(counts >= min_count)
    left, right = left[frequent], right[frequent]
    return _Siblings(
        ranks=np.column_stack([siblings.ranks[left], siblings.ranks[right, -1]]),
        counts=counts[frequent],
        family_end=np.searchsorted(left, left, side="right"),
        bitmaps=siblings.bitmaps[:, left] & siblings.bitmaps[:, right],
    )


def _frequent_pairs(ranked: _Ranked, min_count: int) -> Iterator[_Siblings]:
    """The frequent pairs with their bitmaps, some families at a time.

    Pairs are counted by writing out, for each line, the lines after it in its basket: far fewer steps than intersecting every two items,
    as most items share few baskets. A basket that holds a large part of all items is the exception, its pairs grow with the square of its
    size: such baskets are counted by one matrix product and keep bits of their own.
    """
    small, large = _split_by_size(ranked)
    # Lines by rank, and by basket within a rank.
    rank_of_line, line = _unpacked(np.sort(_packed(small.rank, np.arange(len(small.rank), dtype=np.int32))))
    basket_end = np.searchsorted(small.basket, np.arange(ranked.basket_count, dtype=np.int32), side="right")
    lines_after = basket_end[small.basket[line]] - line - 1
    first_line = np.searchsorted(rank_of_line, np.arange(len(ranked.code) + 1, dtype=np.int32))
    pairs_per_item = np.diff(np.concatenate([[0], np.cumsum(lines_after)])[first_line])
    # Keep the pairs and the table of their counts (first item times all items) within the budget alike.
    costs = np.maximum(pairs_per_item, len(ranked.code))
    for start, stop in spans(costs, PAIRS_AT_ONCE):
        lines = slice(first_line[start], first_line[stop])
        yield _Families(small, large, start, stop, line[lines], lines_after[lines]).frequent_pairs(min_count)


@dataclass(frozen=True)
class _LargeBaskets:
    """The baskets that hold a large part of all frequent items."""

    held: NDArray[np.float32]
    """1 where the basket (row) holds the item (column, by rank): floats, because only their matrix products are fast."""
    bitmaps: NDArray[np.uint64]
    """The same, 64 baskets a word."""

    def joint_counts(self, start: int, stop: int) -> NDArray[np.int64]:
        """How many of these baskets hold both an item ranked from `start` to `stop` (row) and any item (column)."""
        # Sums of ones are exact in single precision up to 2^24 baskets; a block stays far below.
        blocks = range(0, len(self.held), BASKETS_AT_ONCE)
        products = (self.held[at : at + BASKETS_AT_ONCE, start:stop].T @ self.held[at : at + BASKETS_AT_ONCE] for at in blocks)
        return sum((product.astype(np.int64) for product in products), start=np.zeros((stop - start, self.held.shape[1]), dtype=np.int64))


def _split_by_size(ranked: _Ranked) -> tuple[_Ranked, _LargeBaskets]:
    """The lines of all but the large baskets, and the large baskets."""
    item_count = len(ranked.code)
    sizes = np.bincount(ranked.basket, minlength=ranked.basket_count)
    is_large = sizes > item_count * LARGE_SHARE
    number = np.cumsum(is_large) - 1
    in_large = is_large[ranked.basket]
    rank, basket = ranked.rank[in_large], number[ranked.basket[in_large]]
    held = np.zeros((int(is_large.sum()), item_count), dtype=np.float32)
    held[basket, rank] = 1
    bitmaps = np.zeros((words(len(held)), item_count), dtype=np.uint64)
    set_bits(bitmaps, basket, rank)
    small = _Ranked(ranked.code, ranked.count, ranked.rank[~in_large], ranked.basket[~in_large], ranked.basket_count)
    return small, _LargeBaskets(held, bitmaps)


@dataclass(frozen=True)
class _Families:
    """The pairs whose first item ranks from `start` to `stop`."""

    small: _Ranked
    large: _LargeBaskets
    start: int
    stop: int
    line: NDArray[np.int32]
    """Lines of these items in small baskets, by rank and basket."""
    lines_after: NDArray[np.int64]
    """For each of them, the lines after it in its basket."""

    def frequent_pairs(self, min_count: int) -> _Siblings:
        """Those in enough baskets, with their bitmaps."""
        item_count = len(self.small.code)
        cuts = list(spans(self.lines_after, PAIRS_AT_ONCE))
        # One piece, as nearly always, is written out once; of an item in very many baskets, each piece is written out twice.
        whole = self._pairs(0, len(self.line)) if len(cuts) == 1 else None
        counts = np.zeros((self.stop - self.start) * item_count, dtype=np.int64)
        for cut in cuts:
            counts += np.bincount(whole if whole is not None else self._pairs(*cut), minlength=len(counts))
        if len(self.large.held):
            joint = self.large.joint_counts(self.start, self.stop)
            # A pair is counted at its rarer item.
            counts += np.where(np.arange(item_count) > np.arange(self.start, self.stop)[:, None], joint, 0).reshape(-1)
        frequent = np.flatnonzero(counts >= min_count)
        first, second = np.divmod(frequent, item_count)
        first += self.start

        rank = self.small.rank[self.line]
        lines_per_rank = np.bincount(rank - self.start, minlength=self.stop - self.start)
        bit_of_line = np.arange(len(rank)) - (np.cumsum(lines_per_rank) - lines_per_rank)[rank - self.start]
        column_of = np.full(len(counts), -1, dtype=np.int32)
        column_of[frequent] = np.arange(len(frequent), dtype=np.int32)
        large_words = len(self.large.bitmaps)
        bitmaps = np.zeros((large_words + words(int(lines_per_rank.max(initial=0))), len(frequent)), dtype=np.uint64)
        bitmaps[:large_words] = self.large.bitmaps[:, first] & self.large.bitmaps[:, second]
        for begin, end in cuts:
            column = column_of[whole if whole is not None else self._pairs(begin, end)]
            kept = np.flatnonzero(column >= 0)
            set_bits(bitmaps[large_words:], np.repeat(bit_of_line[begin:end], self.lines_after[begin:end])[kept], column[kept])
        return _Siblings(
            ranks=np.column_stack([first, second]).astype(np.int32),
            counts=counts[frequent],
            family_end=np.searchsorted(first, first, side="right"),
            bitmaps=bitmaps,
        )

    def _pairs(self, begin: int, end: int) -> NDArray[np.int64]:
        """The pairs of some of the lines, as (rank from `start`) * items + rank of the second item."""
        line, after = self.line[begin:end], self.lines_after[begin:end]
        first_of = np.cumsum(after) - after
        partner = np.arange(int(after.sum())) + np.repeat(line + 1 - first_of, after)
        first = (self.small.rank[line].astype(np.int64) - self.start) * len(self.small.code)
        return np.repeat(first, after) + self.small.rank[partner]


def _spread(lengths: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """For consecutive groups of the given lengths: each member's group, and its position 0, 1, ... within the group."""
    group = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.cumsum(lengths) - lengths
    return group, np.arange(len(group)) - starts[group]
