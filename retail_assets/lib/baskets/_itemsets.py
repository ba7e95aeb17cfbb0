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

from retail_assets.lib.baskets._lines import code_lines, name_lists, spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from retail_assets.lib.baskets._lines import CodedLines

    Level = tuple[NDArray[np.int32], NDArray[np.int64]]
    """Itemsets of one length: a matrix of item codes, one itemset per row, and the count of each."""

ITEMSETS_SCHEMA = pl.Schema({"itemset": pl.List(pl.String()), "count": pl.Int64(), "support": pl.Float64()})
WORD = 64
"""Bits of a bitmap word."""
PAIRS_AT_ONCE = 1 << 17
"""Pairs of lines written out at a time; more fall out of the cache, fewer cost more calls (measured on the real baskets)."""
WORDS_AT_ONCE = 1 << 18
"""Bitmap words intersected at a time: 2 MB, which stay in the processor's cache."""


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
    rank, basket = rank[kept], coded.basket[kept]
    order = np.argsort(basket.astype(np.int64) * max(len(code), 1) + rank)
    return _Ranked(code, counts[code], rank[order], basket[order], coded.basket_count)


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
    as most items share few baskets.
    """
    by_rank = np.argsort(ranked.rank, kind="stable")
    basket_end = np.searchsorted(ranked.basket, np.arange(ranked.basket_count), side="right")
    lines_after = (basket_end[ranked.basket] - np.arange(len(ranked.rank)) - 1)[by_rank]
    first_line = np.concatenate([[0], np.cumsum(ranked.count)])
    pairs_per_item = np.add.reduceat(lines_after, first_line[:-1])
    # Keep the pairs and the table of their counts (first item times all items) within the budget alike.
    costs = np.maximum(pairs_per_item, len(ranked.code))
    for start, stop in spans(costs, PAIRS_AT_ONCE):
        lines = slice(first_line[start], first_line[stop])
        yield _pairs_of_items(ranked, start, stop, by_rank[lines], lines_after[lines], min_count)


def _pairs_of_items(ranked: _Ranked, start: int, stop: int, line: NDArray[np.int64], lines_after: NDArray[np.int64], min_count: int) -> _Siblings:
    """The frequent pairs whose first item ranks from `start` to `stop`; `line` are those items' lines, by rank and basket."""
    item_count = len(ranked.code)
    first_line, distance = _spread(lines_after)
    pair = ((ranked.rank[line] - start) * np.int64(item_count))[first_line] + ranked.rank[(line + 1)[first_line] + distance]
    counts = np.bincount(pair, minlength=(stop - start) * item_count)
    frequent = np.flatnonzero(counts >= min_count)
    first, second = np.divmod(frequent, item_count)
    column_of = np.full(len(counts), -1, dtype=np.int64)
    column_of[frequent] = np.arange(len(frequent))
    column = column_of[pair]
    kept = column >= 0
    _, basket_of_item = _spread(ranked.count[start:stop])
    bit = basket_of_item[first_line[kept]]
    bitmaps = np.zeros((_words(int(ranked.count[stop - 1])), len(frequent)), dtype=np.uint64)
    # The bits of one bitmap are distinct, so adding them sets them.
    np.add.at(bitmaps.reshape(-1), bit // WORD * len(frequent) + column[kept], np.uint64(1) << (bit % WORD).astype(np.uint64))
    return _Siblings(
        ranks=np.column_stack([first + start, second]).astype(np.int32),
        counts=counts[frequent],
        family_end=np.searchsorted(first, first, side="right"),
        bitmaps=bitmaps,
    )


def _words(bits: int) -> int:
    return -(-bits // WORD)


def _spread(lengths: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """For consecutive groups of the given lengths: each member's group, and its position 0, 1, ... within the group."""
    group = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.cumsum(lengths) - lengths
    return group, np.arange(len(group)) - starts[group]
