"""On which days a shop trades, and which of them are missing.

Nothing about a shop is written down here: the weekdays are learned from its own days, public holidays are those of its country. Where the days come
from, and what a missing one means, is the business of the checks (`retail_assets.calendar_checks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from itertools import groupby

import holidays

_WEEKDAY_SHARE = 0.5
"""A weekday on which the shop trades at least every other week is one of its trading days."""

_LONGEST_CLOSURE = 5
"""Trading days that a shop may stay closed around a public holiday, as between Christmas and New Year, before they count as missing."""

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class TradingDays:
    """The trading days of a span, those of them without trade that count as missing, and those taken as closed around a public holiday."""

    expected: tuple[date, ...]
    missing: tuple[date, ...]
    closed: tuple[date, ...]


def public_holidays(first: date, last: date, country: str, subdivision: str | None = None) -> frozenset[date]:
    """The public holidays of a country (or a part of it) from one day to another, both included."""
    in_years = (day for year in range(first.year, last.year + 1) for day in _holidays_of_year(year, country, subdivision))
    return frozenset(day for day in in_years if first <= day <= last)


def trading_weekdays(traded: Collection[date], off: Collection[date]) -> frozenset[int]:
    """The weekdays (Monday is 0) on which a shop trades, learned from the days on which it did; public holidays (`off`) count neither way."""
    if not traded:
        return frozenset()
    met = Counter(day.weekday() for day in _days(min(traded), max(traded)) if day not in off)
    kept = Counter(day.weekday() for day in set(traded) if day not in off)
    return frozenset(weekday for weekday, count in met.items() if kept[weekday] >= _WEEKDAY_SHARE * count)


def judge(first: date, last: date, traded: Collection[date], weekdays: Collection[int], off: Collection[date]) -> TradingDays:
    """Compare the days with trade to the trading days from `first` to `last`, both included (none where `last` is earlier).

    A spell without trade that holds or touches a public holiday is a closure, unless it is longer than shops close. `off` should reach one day
    beyond both ends: a spell at an end may touch a holiday outside.
    """
    expected = {day for day in _days(first, last) if day.weekday() in weekdays and day not in off}
    missing: list[date] = []
    closed: list[date] = []
    for has_trade, spell in groupby(_days(first, last), key=lambda day: day in traded):
        days = list(spell)
        lost = [day for day in days if day in expected]
        if has_trade:
            continue
        touches_holiday = any(day in off for day in _days(days[0] - _DAY, days[-1] + _DAY))
        (closed if touches_holiday and len(lost) <= _LONGEST_CLOSURE else missing).extend(lost)
    return TradingDays(tuple(sorted(expected)), tuple(missing), tuple(closed))


@cache
def _holidays_of_year(year: int, country: str, subdivision: str | None) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))


def _days(first: date, last: date) -> Iterator[date]:
    return (first + step * _DAY for step in range((last - first).days + 1))
