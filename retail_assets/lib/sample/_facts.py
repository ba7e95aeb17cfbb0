"""What several parts of the generator need to know of the shop: its calendar, its countries and its channels. No logic in here."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Bands: TypeAlias = "Sequence[tuple[int, int, int]]"
"""Weight, lowest and highest value of each band; within a band all values are equally likely."""

FIRST_DAY = date(2010, 12, 1)
_LAST_DAY = date(2011, 12, 9)
DAY = 24 * 60
"""Minutes: all times of the generator count minutes from midnight before the first day."""

# Days without trade besides Saturdays: Christmas to New Year, Easter, the royal wedding and the bank holidays of England, as in the real files.
_HOLIDAYS = {
    *(date(2010, 12, day) for day in (24, 26, 27, 28, 29, 30, 31)),
    *(date(2011, 1, day) for day in (2, 3)),
    *(date(2011, 4, day) for day in (22, 24, 25, 29)),
    *(date(2011, 5, day) for day in (2, 30)),
    date(2011, 8, 29),
}
_SATURDAY = 5

_TRADING_DATES = [
    day
    for offset in range((_LAST_DAY - FIRST_DAY).days + 1)
    if (day := FIRST_DAY + timedelta(days=offset)).weekday() != _SATURDAY and day not in _HOLIDAYS
]
TRADING_DAYS: Ints = np.array([(day - FIRST_DAY).days for day in _TRADING_DATES], dtype=np.int64)
MONTH_OF_TRADING_DAY: Ints = np.array([(day.year - 2010) * 12 + day.month - 12 for day in _TRADING_DATES], dtype=np.int64)
REAL_LINES_BY_MONTH = (42_481, 35_147, 27_707, 36_748, 29_916, 37_030, 36_874, 39_518, 35_284, 50_226, 60_742, 84_711, 25_525)

FAMILY_SIZE = 6

# Texts of a product: its name, and two others that a share of its lines carry.
TEXTS_PER_ITEM = 3

NOTES = {
    "check": 159, "?": 47, "damages": 45, "damaged": 43, "found": 25, "sold as set on dotcom": 20, "adjustment": 16, "thrown away": 9,
    "wet rusty": 5, "mouldy": 4, "test": 3, "20713": 2,
}  # fmt: skip

# Lines by country in the real data. The awkward names come first after the home market, so that small samples hold them too.
COUNTRIES = {
    "United Kingdom": 495_478, "EIRE": 8_196, "RSA": 58, "Unspecified": 446, "European Community": 61, "Germany": 9_495, "France": 8_557,
    "Spain": 2_533, "Netherlands": 2_371, "Belgium": 2_069, "Switzerland": 2_002, "Portugal": 1_519, "Australia": 1_259, "Norway": 1_086,
    "Italy": 803, "Channel Islands": 758, "Finland": 695, "Cyprus": 622, "Sweden": 462, "Austria": 401, "Denmark": 389, "Japan": 358,
    "Poland": 341, "Israel": 297, "USA": 291, "Singapore": 229, "Iceland": 182, "Canada": 151, "Greece": 146, "Malta": 127,
    "United Arab Emirates": 68, "Lebanon": 45, "Lithuania": 35, "Brazil": 32, "Czech Republic": 30, "Bahrain": 19, "Saudi Arabia": 10,
}  # fmt: skip

# Where a basket comes from. Web shop orders without an account are dearer, and many of them are batched into one invoice.
ACCOUNT, BATCH, WEB, HONG_KONG_SALE = "account", "batch", "web", "hong_kong"

# When each huge sale happens, and after how many minutes it is cancelled.
HUGE_SALES = ((datetime(2011, 1, 18, 10, 1), 16), (datetime(2011, 12, 9, 9, 15), 12))  # noqa: DTZ001 - shop time has no zone
# A debt is written off, and put right twice.
BAD_DEBT_SIGNS = (1, -1, -1)
