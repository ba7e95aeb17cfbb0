"""Sets of baskets as bits, 64 to a word: how many words they take, and how bits are set. What the bits stand for is decided where they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORD = 64
"""Bits of a word."""


def words(bits: int) -> int:
    """Words that hold so many bits."""
    return -(-bits // WORD)


def set_bits(bitmaps: NDArray[np.uint64], bit: NDArray[np.integer], column: NDArray[np.integer]) -> None:
    """Set bits of bitmaps that stand in columns, word by word; no (bit, column) may come twice, and none may be set already."""
    word, within = np.divmod(bit, WORD)
    # The bits are distinct, so adding them sets them, and adding is what numpy does fast.
    np.add.at(bitmaps.reshape(-1), word * bitmaps.shape[1] + column, np.uint64(1) << within.astype(np.uint64))
