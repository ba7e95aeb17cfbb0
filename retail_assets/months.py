"""Months: a month is the `date` of its first day, and a window is a list of them in order. No clock in here."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date

_RANGE = re.compile(r"(\d{4}-\d{2})(?:-01)?(?::(\d{4}-\d{2})(?:-01)?)?")


def shift(month: date, by: int) -> date:
    """The month `by` months later (earlier where negative)."""
    index = month.year * 12 + month.month - 1 + by
    return date(index // 12, index % 12 + 1, 1)


def last_day(month: date) -> date:
    """The last day of a month: the day that snapshots are taken as of."""
    return month.replace(day=monthrange(month.year, month.month)[1])


def window(first: date, last: date) -> list[date]:
    """The months from `first` to `last`, both included; empty where `last` is earlier."""
    return [shift(first, step) for step in range((last.year - first.year) * 12 + last.month - first.month + 1)]


def label(month: date) -> str:
    """`2011-03`, as people read it."""
    return f"{month:%Y-%m}"


def window_label(months: list[date]) -> str:
    """`2010-12..2011-03`, or `2010-12` for one month."""
    if not months:
        return "no months"
    return label(months[0]) if months[0] == months[-1] else f"{label(months[0])}..{label(months[-1])}"


def parse_range(text: str) -> list[date]:
    """Read `2011-03` or `2011-01:2011-03`.

    Raises:
        ValueError: The text is neither, or the second month is before the first.
    """
    if not (match := _RANGE.fullmatch(text.strip())):
        raise ValueError(f"{text!r} is no month and no range of months: write 2011-03, or 2011-01:2011-03 where several are meant.")
    try:
        first, last = (date.fromisoformat(f"{part}-01") for part in (match[1], match[2] or match[1]))
    except ValueError as error:
        raise ValueError(f"{text!r} names a month that does not exist: months run from 01 to 12.") from error
    if last < first:
        raise ValueError(f"{text!r} runs backwards: write {label(last)}:{label(first)}.")
    return window(first, last)
