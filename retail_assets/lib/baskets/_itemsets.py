"""Frequent itemsets: exact thresholds, the project's own eclat on vertical bitmaps, and mlxtend's fpgrowth behind the same function.

Rules are made in `_rules`; what counts as a basket is decided in `_lines`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from retail_assets.lib.baskets._eclat import eclat, frequent_only
from retail_assets.lib.baskets._guard import ItemsetLimitError, refuse_what_cannot_end
from retail_assets.lib.baskets._lines import code_lines, name_lists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retail_assets.lib.baskets._eclat import Level, Ranked
    from retail_assets.lib.baskets._lines import CodedLines

ITEMSETS_SCHEMA = pl.Schema({"itemset": pl.List(pl.String()), "count": pl.Int64(), "support": pl.Float64()})
UNJUDGED_ITEMSETS = 100_000
"""Itemsets found before the rest of the work is estimated: a fraction of a second."""


def frequent_itemsets(
    lines: pl.DataFrame,
    min_support: float | Fraction,
    max_length: int | None = None,
    algorithm: Literal["eclat", "fpgrowth"] = "eclat",
    max_itemsets: int = 5_000_000,
) -> pl.DataFrame:
    """All sets of items that at least ceil(`min_support` * baskets) baskets hold, counted exactly.

    The threshold is a count, see `least_count`, and at least one basket.

    Args:
        lines: Basket lines, `basket_id` (any type) and `item`; repeated lines and their order do not matter.
        min_support: Smallest share of baskets, above 0 and up to 1; itemsets of `k` of `n` baskets are found by `k / n` and by `Fraction(k, n)`.
        max_length: Largest number of items in a set; no bound if None.
        algorithm: `eclat` (Zaki 2000, doi:10.1109/69.846291) on bitmaps, or `fpgrowth` (Han, Pei and Yin 2000,
            doi:10.1145/342009.335372) by mlxtend. Both return the same frame; fpgrowth is many times slower and is here as the second opinion.
        max_itemsets: Most itemsets to return. Work that would by an estimate give many times more is refused at its beginning; else eclat
            stops as soon as there are more, and fpgrowth, which cannot be stopped, is checked at its end.

    Returns:
        One row per frequent itemset: `itemset` (List(String), sorted), `count` (Int64, baskets that hold all its items) and `support`
        (Float64, count / baskets), ordered by length, then by itemset.

    Raises:
        ItemsetLimitError: More than `max_itemsets` itemsets are frequent; the message says at which support they would fit.
        ValueError: An argument is out of range, the algorithm is unknown, or `lines` lacks a column or holds nulls.
    """
    if algorithm not in ("eclat", "fpgrowth"):
        raise ValueError(f"algorithm is {algorithm!r}; choose 'eclat' or 'fpgrowth'.")
    if max_length is not None and max_length < 1:
        raise ValueError(f"max_length is {max_length}; give at least 1, or None for no bound.")
    coded = code_lines(lines)
    min_count = least_count(min_support, coded.basket_count)
    if not coded.basket_count:
        return ITEMSETS_SCHEMA.to_frame()
    ranked = frequent_only(coded, min_count)
    found = eclat(ranked, min_count, max_length) if algorithm == "eclat" else _fpgrowth(ranked, min_count, max_length, max_itemsets)
    return _to_frame(_within_limit(found, ranked, min_count, max_length, max_itemsets), coded)


def least_count(min_support: float | Fraction, basket_count: int, min_basket_count: int = 1) -> int:
    """In how many baskets an itemset must be to be frequent: the smallest count whose share of the baskets is at least `min_support`.

    A Fraction is taken exactly: ceil(`min_support` * `basket_count`). A float is held against count / `basket_count` in floating point: so 5 / 6 asks
    for 5 of 6 baskets and 0.07 for 7 of 100, where the product is just above both.

    Args:
        min_support: Smallest share of baskets, above 0 and up to 1.
        basket_count: Number of baskets.
        min_basket_count: Fewest baskets whatever the share; never more than there are.

    Raises:
        ValueError: `min_support` is out of range.
    """
    try:
        share = Fraction(min_support) if isinstance(min_support, float) else Fraction(str(min_support))
    except (ValueError, OverflowError):
        share = Fraction(0)
    if not 0 < share <= 1:
        raise ValueError(f"min_support is {min_support!r}; give a share of the baskets above 0 and up to 1, such as 0.01.")
    count = math.ceil(share * basket_count)
    # The share of one basket less is truly smaller, but may be the same float.
    if isinstance(min_support, float) and count > 1 and (count - 1) / basket_count >= min_support:
        count -= 1
    return max(1, min(basket_count, max(count, min_basket_count)))


def _within_limit(found: Iterator[Level], ranked: Ranked, min_count: int, max_length: int | None, max_itemsets: int) -> dict[int, list[Level]]:
    """Collect what a miner finds by itemset length, as long as it stays within the limit."""
    levels: dict[int, list[Level]] = defaultdict(list)
    total = 0
    is_judged = False
    for items, counts in found:
        total += len(counts)
        # Most mining is done before an estimate would be.
        if total > UNJUDGED_ITEMSETS and not is_judged:
            refuse_what_cannot_end(ranked, min_count, max_length, max_itemsets)
            is_judged = True
        if total > max_itemsets:
            raise ItemsetLimitError.beyond(ranked, min_count, max_length, max_itemsets)
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


def _fpgrowth(ranked: Ranked, min_count: int, max_length: int | None, max_itemsets: int) -> Iterator[Level]:
    # mlxtend pulls in pandas, scipy and matplotlib: seconds that only this branch should pay.
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415
    from mlxtend.frequent_patterns import fpgrowth  # noqa: PLC0415
    from scipy.sparse import csr_array  # noqa: PLC0415

    if not len(ranked.code):
        return
    refuse_what_cannot_end(ranked, min_count, max_length, max_itemsets)
    shape = (ranked.basket_count, len(ranked.code))
    matrix = csr_array((np.ones(len(ranked.rank), dtype=np.int8), (ranked.basket, ranked.rank)), shape=shape)
    # pandas fills any sparse matrix with 0, which it warns is no value of a Boolean column.
    table = pd.DataFrame.sparse.from_spmatrix(matrix).astype(pd.SparseDtype(bool, False))
    # mlxtend compares float supports, so a count right at the threshold may fall on either side. Half a basket less is on no count.
    support = (min_count - 0.5) / ranked.basket_count
    found = fpgrowth(table, min_support=support, max_len=max_length)
    counts = np.rint(found["support"].to_numpy() * ranked.basket_count).astype(np.int64)
    lengths = found["itemsets"].map(len).to_numpy()
    for length in np.unique(lengths):
        of_length = lengths == length
        ranks = np.array([list(itemset) for itemset in found["itemsets"][of_length]], dtype=np.int64)
        yield ranked.code[ranks], counts[of_length]
