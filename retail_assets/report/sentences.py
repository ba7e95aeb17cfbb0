"""What the report says: headline figures with their changes, and figures in plain sentences. Text only; `page.py` escapes and places it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from retail_assets import months as m

if TYPE_CHECKING:
    from retail_assets.report.figures import Figures, Row

_TOLD_RULES: Final = 8
_LARGE_CHANGE: Final = 10
"""A change to more than ten times is told as a factor: percents say nothing there."""


# Figures as text


def money(value: object) -> str:
    """`£1,234`, pennies where they matter; `-£5` for credits."""
    number = float(value)  # type: ignore[arg-type]
    sign = "-" if round(number, 2) < 0 else ""
    digits = 2 if 0 < abs(number) < 100 else 0  # noqa: PLR2004 - pounds and pennies
    return f"{sign}£{abs(number):,.{digits}f}"


def count(value: object) -> str:
    """`1,234`."""
    return f"{round(float(value)):,}"  # type: ignore[arg-type]


def number(value: object) -> str:
    """`1,234.5`: a decimal only where it is not 0."""
    return f"{round(float(value), 1):,g}" if abs(float(value)) < 1e5 else count(value)  # type: ignore[arg-type] # noqa: PLR2004 - from there on %g turns to powers


def share(value: object) -> str:
    """`12%`, `0.4%`; `-` where there is none."""
    if value is None:
        return "-"
    number_ = float(value)  # type: ignore[arg-type]
    return f"{number_:.1%}" if 0 < abs(number_) < 0.1 else f"{number_:.0%}"  # noqa: PLR2004


def times(value: object) -> str:
    """`1.4`, `40`: a factor with as many digits as mean something."""
    factor = float(value)  # type: ignore[arg-type]
    return f"{factor:,.1f}" if factor < _LARGE_CHANGE else f"{factor:,.0f}"


def month_name(month: date) -> str:
    """`December 2011`."""
    return f"{month:%B %Y}"


def day_name(day: date) -> str:
    """`9 December 2011`."""
    return f"{day.day} {day:%B %Y}"


def in_words(name: str) -> str:
    """`cannot_lose` -> `cannot lose`."""
    return name.replace("_", " ")


def plural(number_: int, one: str, many: str) -> str:
    """`1 order`, `1,234 orders`."""
    return f"{count(number_)} {one if number_ == 1 else many}"


# Headline figures


@dataclass(frozen=True)
class Change:
    """How a figure compares to the same figure of another month: `text` such as `+12%`, and whether that is `good`, `bad` or `even`."""

    against: str
    text: str
    verdict: str


@dataclass(frozen=True)
class Headline:
    """A figure of the month with its changes, and a note on what it counts."""

    label: str
    value: str
    note: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class _Measure:
    label: str
    column: str
    show: Callable[[Any], str]
    note: str
    more_is: int = 1
    """1 where more is good, -1 where more is bad, 0 where it is neither."""


def headlines(figures: Figures) -> list[Headline]:
    """The figures of the month, each against the month before and the year before, where these are there."""
    days = _pause_days(figures)
    measures = [
        _Measure("Net revenue", "net_amount", money, "Sales of goods less credit notes of the month; no postage, fees or vouchers."),
        _Measure("Gross revenue", "gross_amount", money, "Sales of goods before returns."),
        _Measure("Returns", "credited_amount", money, "Credit notes of the month, whenever the goods were sold.", -1),
        _Measure("Orders", "order_count", count, "Distinct sale invoices."),
        _Measure("Average order", "average_order_value", money, "Gross revenue per order."),
        _Measure("Customers who bought", "active_customer_count", count, "Identified customers with a sale in the month."),
        _Measure("New customers", "new_count", count, "First purchase ever in the month."),
        _Measure("Reactivated", "reactivated_count", count, "Bought again after a long pause."),
        _Measure("Lapsing", "lapsing_count", count, f"No purchase for {days['lapsing']}; customers at the end of the month.", -1),
        _Measure("Lost", "lost_count", count, f"No purchase for {days['lost']}; customers at the end of the month.", -1),
    ]
    return [_headline(figures, measure) for measure in measures]


def _pause_days(figures: Figures) -> dict[str, str]:
    """Since when lapsing and lost customers have not bought, as found: the limits are settings of the run that published."""
    least: dict[str, int] = dict(figures.customers.group_by("movement").agg(pl.col("recency_days").min()).iter_rows())
    return {movement: f"{least[movement]} days or more" if movement in least else "long" for movement in ("lapsing", "lost")}


def _headline(figures: Figures, measure: _Measure) -> Headline:
    now = figures.now[measure.column]
    changes = []
    for other, month in ((figures.month_before, m.shift(figures.month, -1)), (figures.year_before, m.shift(figures.month, -12))):
        if other is not None and other[measure.column] is not None and now is not None:
            changes.append(_change(float(now), float(other[measure.column]), month_name(month), measure.more_is))
    return Headline(measure.label, "-" if now is None else measure.show(now), measure.note, tuple(changes))


def _change(now: float, before: float, against: str, more_is: int) -> Change:
    direction = (now > before) - (now < before)
    verdict = {1: "good", -1: "bad", 0: "even"}[direction * more_is]
    return Change(against, change_text(now, before), verdict)


def change_text(now: float, before: float) -> str:
    """`+12%`, `-3%`, `unchanged`; a factor where the change is large, the figure before where there is no percent of it."""
    if now == before:
        return "unchanged"
    if before <= 0 or now < 0:
        return f"from {number(before)}"
    ratio = now / before
    if ratio > _LARGE_CHANGE:
        return f"{times(ratio)} times"
    return f"{ratio - 1:+.0%}" if abs(ratio - 1) >= 0.1 else f"{ratio - 1:+.1%}"  # noqa: PLR2004 - small changes with a decimal


# In short


def in_short(figures: Figures) -> list[str]:
    """The month in a few sentences, the most important first; each is left out where its figures are."""
    told = [_revenue, _customers, _best_segment, _largest_loss, _quality]
    return [sentence for tell in told if (sentence := tell(figures))]


def _revenue(figures: Figures) -> str:
    now, before = figures.now, figures.month_before
    text = f"Net revenue was {money(now['net_amount'])} from {plural(now['order_count'], 'order', 'orders')}"
    if before is None or not before["sale_day_count"] or not now["sale_day_count"] or not before["net_amount"] > 0:
        return f"{text}."
    change = change_text(float(now["net_amount"]), float(before["net_amount"]))
    text = f"{text}, {change} against {month_name(before['invoice_month'])}"
    if not figures.ends_early:
        return f"{text}."
    per_day, per_day_before = (float(row["net_amount"]) / row["sale_day_count"] for row in (now, before))
    return f"{text}; by trading day it was {money(per_day)}, {change_text(per_day, per_day_before)}, because the month is not complete."


def _customers(figures: Figures) -> str:
    now = figures.now
    if not now["customer_count"]:
        return "No sale carries a customer number, so there is nothing to say about customers."
    return (
        f"{plural(now['active_customer_count'], 'customer', 'customers')} bought, {count(now['new_count'])} for the first time and "
        f"{count(now['reactivated_count'])} after a long pause; {count(now['lapsing_count'] + now['lost_count'])} of {count(now['customer_count'])} "
        "known customers are lapsing or lost."
    )


def _best_segment(figures: Figures) -> str:
    if len(figures.segments) < 2 or figures.segments[0]["revenue_share"] is None:  # noqa: PLR2004 - one segment is everybody
        return ""
    best = figures.segments[0]
    return (
        f"The segment “{best['segment_name']}” holds {share(best['customer_share'])} of customers and {share(best['revenue_share'])} of all sales to date."
    )


def losses(figures: Figures) -> list[Row]:
    """Moves from a segment to one whose customers are worth less each, the largest sum first."""
    worth = {row["segment_id"]: float(row["net_amount"]) / row["customer_count"] for row in figures.segments}
    return _by_amount([move for move in _between(figures) if worth.get(move["to_segment_id"], 0) < worth.get(move["from_segment_id"], 0)])


def gains(figures: Figures) -> list[Row]:
    """Moves from a segment to one whose customers are worth more each, the largest sum first."""
    worth = {row["segment_id"]: float(row["net_amount"]) / row["customer_count"] for row in figures.segments}
    return _by_amount([move for move in _between(figures) if worth.get(move["to_segment_id"], 0) > worth.get(move["from_segment_id"], 0)])


def _between(figures: Figures) -> list[Row]:
    return [move for move in figures.moves if None not in (move["from_segment_id"], move["to_segment_id"])]


def _by_amount(moves: list[Row]) -> list[Row]:
    return sorted(moves, key=lambda move: (-move["net_amount"], move["from_segment_id"], move["to_segment_id"]))


def _largest_loss(figures: Figures) -> str:
    if not (moves := losses(figures)):
        return ""
    move = moves[0]
    return (
        f"{plural(move['customer_count'], 'customer', 'customers')} worth {money(move['net_amount'])} to date moved from “{move['from_segment_name']}” to "
        f"“{move['to_segment_name']}”: the largest move downwards."
    )


def _quality(figures: Figures) -> str:
    failed = len(figures.failed_checks)
    now = figures.now
    set_aside = share(now["quarantined_line_count"] / now["raw_line_count"]) if now["raw_line_count"] else "0%"
    checks = "every check passed" if not failed else f"{plural(failed, 'check needs', 'checks need')} a look (see data quality)"
    return f"Of the lines of the month {set_aside} are no product sale or return and stand aside, counted; {checks}."


# Completeness


def completeness(figures: Figures) -> str:
    """Up to which day the month reaches; empty where it is complete."""
    if not figures.ends_early:
        return ""
    last, days = figures.now["last_sale_date"], figures.now["sale_day_count"]
    if last is None:
        return f"{month_name(figures.month)} has no sales."
    return (
        f"{month_name(figures.month)} is not complete: sales reach to {day_name(last)}, {plural(days, 'trading day', 'trading days')}. Totals are too low, "
        "and comparisons with whole months do not hold; recency counts days on which nobody could have bought."
    )


# Rules


def told_rules(rules: list[Row]) -> list[Row]:
    """The first rules that share no product with one before them: otherwise one family of products would fill the list."""
    told: list[Row] = []
    used: set[str] = set()
    for rule in rules:
        products = {*rule["antecedent"], *rule["consequent"]}
        if not products & used:
            told.append(rule)
            used |= products
        if len(told) == _TOLD_RULES:
            break
    return told
