"""Random draws by integers alone.

Floating-point logarithms and powers differ between platforms in the last bit, and one bit is enough to turn one draw into another, after which
everything differs. In here: draws from weights, bands and the calendar. Not in here: what is drawn.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from retail_assets.lib.sample._facts import DAY, FIRST_DAY, MONTH_OF_TRADING_DAY, REAL_LINES_BY_MONTH, TRADING_DAYS, Bands, Ints

if TYPE_CHECKING:
    from collections.abc import Sequence

_REAL_LINE_COUNT = 541_909

_OPENING_HOUR = 8
_HOUR_WEIGHTS = (9, 34, 49, 58, 79, 72, 67, 78, 55, 29, 8, 4, 1)


def scaled(real_count: int, line_count: int) -> int:
    """A count of the real data in proportion, at least 1 of what is there at all."""
    return max(min(real_count, 1), real_count * line_count // _REAL_LINE_COUNT)


def draw_weighted(rng: np.random.Generator, weights: Sequence[int] | Ints, size: int) -> Ints:
    """Indices into the weights, each as likely as its weight."""
    bounds = np.cumsum(np.asarray(weights, dtype=np.int64))
    return np.searchsorted(bounds, rng.integers(0, bounds[-1], size), side="right").astype(np.int64)


def draw_banded(rng: np.random.Generator, bands: Bands, size: int) -> Ints:
    """Values from the bands."""
    weights, lowest, highest = (np.array(values, dtype=np.int64) for values in zip(*bands, strict=True))
    band = draw_weighted(rng, weights, size)
    return rng.integers(lowest[band], highest[band], endpoint=True)


def draw_times(rng: np.random.Generator, months: Ints) -> Ints:
    """A time in each of the months (0 for the first), in minutes since the first day."""
    first = np.searchsorted(MONTH_OF_TRADING_DAY, months, side="left")
    end = np.searchsorted(MONTH_OF_TRADING_DAY, months, side="right")
    return TRADING_DAYS[rng.integers(first, end)] * DAY + draw_times_of_day(rng, len(months))


def draw_times_of_day(rng: np.random.Generator, size: int) -> Ints:
    """Minutes since midnight. The last minute of an hour stays free for invoices that take two."""
    return (_OPENING_HOUR + draw_weighted(rng, _HOUR_WEIGHTS, size)) * 60 + rng.integers(0, 59, size)


def draw_any_times(rng: np.random.Generator, size: int) -> Ints:
    """Times spread over the months by the real volumes, in minutes since the first day."""
    return draw_times(rng, draw_weighted(rng, REAL_LINES_BY_MONTH, size))


def minutes_since_start(moment: datetime) -> int:
    """A moment as the generator counts time."""
    return (moment.date() - FIRST_DAY).days * DAY + moment.hour * 60 + moment.minute
