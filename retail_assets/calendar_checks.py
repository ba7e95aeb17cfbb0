"""Checks that need a calendar: is a month there from its first trading day to its last, and does each trading day in between have sales?

Which days are trading days is learned from the half year up to the month (`lib/trading_days.py`), never from later months nor from the clock: a
check of a month says the same whatever lands afterwards, but for the last landed month, which may still be running: it is asked again once the next
month is there. Days around a public holiday without trade are taken as a closure. No Dagster in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import duckdb

from retail_assets import months as m
from retail_assets.contracts import RAW_TRANSACTIONS, TRANSACTIONS
from retail_assets.lib import trading_days
from retail_assets.quality import Check
from retail_assets.warehouse import read

HOLIDAYS_OF = ("GB", "ENG")
"""Country and part of it whose public holidays count: the shop sits in England."""

_LEARNED_MONTHS = 6
"""Months before a month from which its weekdays are learned: enough to outvote a bad month, few enough to follow a shop that changes its week."""

_TOLERATED_DAYS = 2
"""Trading days without a sale at the end of a month that a small shop may have by chance."""

_CLOSED = "closed around a public holiday"
_TOLD_DAYS = 8
_DAY = timedelta(days=1)

_RAW_DAYS = """
    select distinct parsed_invoiced_at::date as traded_on
    from raw.raw_transactions
    where invoice_month between $first_month and $month and parsed_invoiced_at is not null
    order by traded_on
"""
_SALE_DAYS = """
    select distinct invoiced_at::date as traded_on
    from core.transactions
    where invoice_month between $first_month and $month and not is_return
    order by traded_on
"""
_LANDED_RANGE = """
    select min(landed_month) as first_month, max(landed_month) as last_month
    from (select unnest(months) as landed_month from raw.landed_files where status = 'landed')
"""


def ends_early(connection: duckdb.DuckDBPyConnection, month: date) -> bool:
    """Whether several trading days at the end of the month are missing, because it is still running or its last export has not landed.

    Recency then counts days on which nobody could have bought, and spend is short of a month's.
    """
    known, in_month = _days(connection, _SALE_DAYS, month)
    return not in_month or len(_judge(known, in_month[-1] + _DAY, m.last_day(month)).missing) > _TOLERATED_DAYS


def _month_is_complete(connection: duckdb.DuckDBPyConnection, month: date) -> tuple[str, str]:
    known, in_month = _days(connection, _RAW_DAYS, month)
    first_month, last_month = read(connection, _LANDED_RANGE).row(0)
    first, last = month, m.last_day(month)
    if not in_month:
        return "no line with a date", f"lines up to {last}"
    # The data may begin within its first month and end within its last; any other month has both its ends.
    starts, ends = (in_month[0] if month == first_month else first), (in_month[-1] if month == last_month else last)
    before = _judge(known, starts, in_month[0] - _DAY)
    after = _judge(known, in_month[-1] + _DAY, ends)
    reach = f"lines from {in_month[0]} to {in_month[-1]}{', the last landed day' if month == last_month else ''}"
    if closed := (*before.closed, *after.closed):
        reach += f"; {_told(_CLOSED, closed)}"
    if missing := (*before.missing, *after.missing):
        return f"{reach}; {_told('missing', missing)}", f"lines from {starts} to {ends}"
    return reach, reach


def _trading_days_have_sales(connection: duckdb.DuckDBPyConnection, month: date) -> tuple[str, str]:
    known, in_month = _days(connection, _SALE_DAYS, month)
    if not in_month:
        return "no sales", "sales on trading days"
    found = _judge(known, in_month[0], in_month[-1])
    count = len(found.expected)
    expected = f"sales on {count - len(found.closed)} of {count} trading days"
    if found.closed:
        expected += f"; {_told(_CLOSED, found.closed)}"
    if not found.missing:
        return expected, expected
    return f"sales on {count - len(found.closed) - len(found.missing)} of {count} trading days; {_told('missing', found.missing)}", expected


def _days(connection: duckdb.DuckDBPyConnection, query: str, month: date) -> tuple[list[date], list[date]]:
    """The days with lines in the months to learn from, and those of the month itself; both in order."""
    known = read(connection, query, {"first_month": m.shift(month, -_LEARNED_MONTHS), "month": month})["traded_on"].to_list()
    return known, [day for day in known if day >= month]


def _judge(known: Sequence[date], first: date, last: date) -> trading_days.TradingDays:
    off = trading_days.public_holidays(min(known[0], first) - _DAY, max(known[-1], last) + _DAY, *HOLIDAYS_OF)
    return trading_days.judge(first, last, known, trading_days.trading_weekdays(known, off), off)


def _told(what: str, days: Sequence[date]) -> str:
    return f"{len(days)} {what}: {', '.join(f'{day:%a %Y-%m-%d}' for day in days[:_TOLD_DAYS])}{', ...' if len(days) > _TOLD_DAYS else ''}"


month_is_complete = Check(
    name="month_is_complete",
    table=RAW_TRANSACTIONS,
    description=(
        "Lines reach from the first trading day of the month to its last. The first landed month may begin late; the last landed month may end "
        "early, and then the result says up to which day it reaches."
    ),
    query=_month_is_complete,
    recovery="Ask the source for the exports of the days named, land them, and refresh the month. Until then, read its totals as too low.",
    severity="WARN",
    looks_ahead=True,
)

trading_days_have_sales = Check(
    name="trading_days_have_sales",
    table=TRANSACTIONS,
    description=(
        "Between the first and the last sale of the month, every day on which the shop usually trades has a sale. Weekdays are learned from the "
        "half year up to the month; public holidays, and up to five trading days without sales that touch one, are closures."
    ),
    query=_trading_days_have_sales,
    recovery="See in raw.landed_files whether an export of these days is missing or refused; land it, or take the days as closed.",
    severity="WARN",
)
