"""How many itemsets a mining run would find, estimated from a few branches of its search, and the refusal of runs that could not end.

The search itself stands in `_eclat`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retail_assets.lib.baskets._eclat import Pairs, joined

if TYPE_CHECKING:
    from retail_assets.lib.baskets._eclat import Ranked, Siblings

PROBES = 400
"""Branches followed for an estimate: some 60 ms on the real baskets."""
SURE_EXCESS = 10
"""An estimate from a few branches may be several times too high: only beyond this many times the limit is a run refused without trying."""
SUPPORTS_TRIED = 8
FAVOUR = 3
"""Power of the number of possible extensions by which a branch is preferred."""


class ItemsetLimitError(ValueError):
    """More itemsets are frequent than the caller is ready to hold in memory."""

    @classmethod
    def beyond(cls, ranked: Ranked, min_count: int, max_length: int | None, max_itemsets: int, estimate: float | None = None) -> ItemsetLimitError:
        """The error with advice: a support at which the itemsets would, by the estimate, stay within the limit."""
        raised = (min(min_count << step, ranked.basket_count) for step in range(1, SUPPORTS_TRIED))
        fitting = next((count for count in raised if estimated_itemsets(ranked, count, max_length) <= max_itemsets / 2), None)
        higher = f"Raise min_support (at {fitting / ranked.basket_count:.2g} they would fit, by an estimate), bound" if fitting else "Bound"
        about = f" (about {estimate:.0e} by an estimate)" if estimate else ""
        return cls(
            f"More than {max_itemsets:,} itemsets are frequent{about} at {min_count:,} of {ranked.basket_count:,} baskets. {higher} their size by "
            "max_length, or raise max_itemsets if the memory is there."
        )


def refuse_what_cannot_end(ranked: Ranked, min_count: int, max_length: int | None, max_itemsets: int) -> None:
    """Refuse a mining run before it begins where it would find very many more than `max_itemsets`.

    Raises:
        ItemsetLimitError: The estimate is beyond `SURE_EXCESS` times `max_itemsets`.
    """
    estimate = estimated_itemsets(ranked, min_count, max_length)
    if estimate > SURE_EXCESS * max_itemsets:
        raise ItemsetLimitError.beyond(ranked, min_count, max_length, max_itemsets, estimate)


def estimated_itemsets(ranked: Ranked, min_count: int, max_length: int | None) -> float:
    """An unbiased estimate of the number of frequent itemsets (Knuth 1975, doi:10.2307/2005469): the size of the search tree from random branches.

    `PROBES` branches start at items from all of the ranking, and at each step go on with one extension at random, the likelier the more could
    still follow; what is seen on the way counts by the inverse of its chance. Spread is wide, and more often to the low side. Seeded: the same lines
    give the same estimate.
    """
    is_frequent = ranked.count >= min_count
    first, item_count = int(np.argmax(is_frequent)), int(is_frequent.sum())
    if item_count <= 1 or max_length == 1:
        return float(item_count)
    generator = np.random.default_rng(PROBES)
    pairs = Pairs.of(ranked)
    parts = np.array_split(np.arange(first, len(ranked.code)), min(PROBES, item_count))
    probes_per_part = -(-PROBES // len(parts))
    total = float(item_count)
    for part in parts:
        for _ in range(probes_per_part):
            item = int(generator.choice(part))
            branch = _branch(pairs.frequent(item, item + 1, min_count), min_count, max_length, generator)
            total += len(part) / probes_per_part * branch
    return float(total)


def _branch(siblings: Siblings, min_count: int, max_length: int | None, generator: np.random.Generator) -> float:
    """The estimated number of itemsets from the given ones on."""
    total, weight = 0.0, 1.0
    while len(siblings.counts):
        total += weight * len(siblings.counts)
        if siblings.ranks.shape[1] == max_length:
            break
        later = siblings.family_end - np.arange(len(siblings.counts)) - 1
        chance = (1.0 + later) ** FAVOUR
        chance /= chance.sum()
        row = int(generator.choice(len(chance), p=chance))
        weight /= chance[row]
        siblings = joined(siblings, row, later[row : row + 1], min_count)
    return float(total)
