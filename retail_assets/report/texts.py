"""Figures as text: money, counts, shares, months. No figure is chosen and no sentence is made in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import date
    from typing import SupportsFloat

LARGE_FACTOR: Final = 10
"""A change to more than ten times is told as a factor: percents say nothing there."""

_POUNDS_ALONE: Final = 100
"""From a hundred pounds on, pennies only take room."""
_SMALL_SHARE: Final = 0.1
"""Below ten percent a decimal matters."""
_POWERS_OF_G: Final = 100_000
"""From here on the format `g` would round or turn to powers of ten."""
_MILLION, _THOUSAND = 1e6, 1e3


def money(value: SupportsFloat) -> str:
    """`£1,234`, pennies where they matter; `-£5` for credits."""
    pounds = float(value)
    sign = "-" if round(pounds, 2) < 0 else ""
    return f"{sign}£{abs(pounds):,.{2 if 0 < abs(pounds) < _POUNDS_ALONE else 0}f}"


def short_money(value: SupportsFloat) -> str:
    """`£1.2M`, `£340k`, `£85`: for cells of charts."""
    pounds = float(value)
    for factor, letter in ((_MILLION, "M"), (_THOUSAND, "k")):
        if abs(pounds) >= factor:
            return f"£{pounds / factor:.{1 if abs(pounds) < LARGE_FACTOR * factor else 0}f}{letter}"
    return f"£{pounds:.0f}"


def count(value: SupportsFloat) -> str:
    """`1,234`."""
    return f"{round(float(value)):,}"


def number(value: SupportsFloat) -> str:
    """`1,234.5`: a decimal only where it is not 0."""
    return f"{round(float(value), 1):,g}" if abs(float(value)) < _POWERS_OF_G else count(value)


def share(value: SupportsFloat | None) -> str:
    """`12%`, `0.4%`; `-` where there is none."""
    if value is None:
        return "-"
    part = float(value)
    return f"{part:.{1 if 0 < abs(part) < _SMALL_SHARE else 0}%}"


def times(value: SupportsFloat) -> str:
    """`1.4`, `40`: a factor with as many digits as mean something."""
    factor = float(value)
    return f"{factor:,.{1 if factor < LARGE_FACTOR else 0}f}"


def percent_more(ratio: float) -> str:
    """`+12% on`, `-3.4% on` with the sign of a minus, `14 times` where the change is large: what it is compared to follows."""
    if ratio > LARGE_FACTOR:
        return f"{times(ratio)} times"
    return f"{ratio - 1:+.{1 if abs(ratio - 1) < _SMALL_SHARE else 0}%} on".replace("-", "\N{MINUS SIGN}")


def compared(ratio: float) -> str:
    """`12% more than`, `3.4% less than`, `as much as`, `14 times` what it is compared to."""
    if ratio > LARGE_FACTOR:
        return f"{times(ratio)} times"
    if (changed := share(abs(ratio - 1))) in ("0%", "0.0%"):
        return "as much as"
    return f"{changed} {'more' if ratio > 1 else 'less'} than"


def plural(amount: int, one: str, many: str) -> str:
    """`1 order`, `1,234 orders`."""
    return f"{count(amount)} {one if amount == 1 else many}"


def customers(amount: int) -> str:
    """`1 customer`, `1,234 customers`."""
    return plural(amount, "customer", "customers")


def month_name(month: date) -> str:
    """`December 2011`."""
    return f"{month:%B %Y}"


def day_name(day: date) -> str:
    """`9 December 2011`."""
    return f"{day.day} {day:%B %Y}"


def in_words(name: str) -> str:
    """`cannot_lose` -> `cannot lose`."""
    return name.replace("_", " ")


def plain(text: str) -> str:
    """A text of the project's own without its marks of code."""
    return text.replace("`", "")
