"""What the report says: headline figures with their changes, and figures in plain sentences. Text only; `page.py` escapes and places it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from retail_assets import months as m
from retail_assets.report.texts import compared, count, customers, day_name, in_words, money, month_name, percent_more, plural, share

if TYPE_CHECKING:
    from retail_assets.report.figures import Figures, Row

_TOLD_RULES: Final = 8


# Headline figures


@dataclass(frozen=True)
class Change:
    """How a figure compares to the same figure of another month: `text` such as `+12% on Nov 2011`, and whether that is `good`, `bad` or `even`."""

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
    """1 where more is good, -1 where more is bad."""
    adds_up: bool = True
    """The figure grows with the days of the month: where days are missing, it is compared by trading day."""
    needs_history: bool = False
    """The figure follows from earlier purchases, so that of the first month, in which every customer is new, is nothing to compare with."""


def headlines(figures: Figures) -> list[Headline]:
    """The figures of the month, each against the month before and the year before, where these are there."""
    settings = json.loads(figures.publication["settings"])
    lapsing, lost = settings["lapsing_after_days"], settings["lost_after_days"]
    measures = [
        _Measure("Net revenue", "net_amount", money, "Goods sold less credit notes of the month; no postage, fees, vouchers."),
        _Measure("Gross revenue", "gross_amount", money, "Goods sold, before returns."),
        _Measure("Returns", "credited_amount", money, "Credit notes of the month, whenever the goods were sold.", -1),
        _Measure("Orders", "order_count", count, "Sale invoices."),
        _Measure("Average order", "average_order_value", money, "Gross revenue per order.", adds_up=False),
        _Measure("Customers who bought", "active_customer_count", count, "With a customer number."),
        _Measure("New customers", "new_count", count, "First purchase ever.", needs_history=True),
        _Measure("Reactivated", "reactivated_count", count, f"Bought again after more than {lapsing} days.", needs_history=True),
        _Measure("Lapsing", "lapsing_count", count, f"No purchase for more than {lapsing} days.", -1, adds_up=False, needs_history=True),
        _Measure("Lost", "lost_count", count, f"No purchase for more than {lost} days.", -1, adds_up=False, needs_history=True),
    ]
    return [_headline(figures, measure) for measure in measures]


def _headline(figures: Figures, measure: _Measure) -> Headline:
    now = figures.now[measure.column]
    others = [other for other in (figures.month_before, figures.year_before) if other is not None]
    if measure.needs_history:
        others = [other for other in others if other is not figures.months[0]]
    changes = [_change(figures, other, measure) for other in others if now is not None and other[measure.column] is not None]
    return Headline(measure.label, "-" if now is None else measure.show(now), measure.note, tuple(changes))


def _change(figures: Figures, other: Row, measure: _Measure) -> Change:
    by_day = figures.ends_early and measure.adds_up
    now, before = (_by_day(row, measure.column) if by_day else float(row[measure.column]) for row in (figures.now, other))
    month = f"{other['invoice_month']:%b %Y}"
    direction = (now > before) - (now < before)
    # Whether more customers are lapsing is not known before the last days have landed.
    verdict = "even" if figures.ends_early and not by_day else {1: "good", -1: "bad", 0: "even"}[direction * measure.more_is]
    if before <= 0 or now < 0:
        return Change(f"{measure.show(other[measure.column])} in {month}", verdict)
    return Change(f"{percent_more(now / before)} {month}{' by day' if by_day else ''}", verdict)


def _by_day(row: Row, column: str) -> float:
    return float(row[column]) / max(int(row["sale_day_count"]), 1)


# In short


def in_short(figures: Figures) -> list[str]:
    """The month in a few sentences, the most important first; each is left out where its figures are."""
    told = [_revenue, _credit, _customers, _best_segment, _largest_loss, _quality]
    return [sentence for tell in told if (sentence := tell(figures))]


def _revenue(figures: Figures) -> str:
    now, before = figures.now, figures.month_before
    by_day = figures.ends_early
    text = f"Net revenue {'so far ' if by_day else ''}is {money(now['net_amount'])} from {plural(now['order_count'], 'order', 'orders')}"
    if before is None or before["net_amount"] <= 0 or now["net_amount"] < 0:
        return f"{text}."
    month = f"in {month_name(before['invoice_month'])}"
    if not by_day:
        return f"{text}, {compared(float(now['net_amount'] / before['net_amount']))} {month}."
    per_day = _by_day(now, "net_amount")
    return f"{text}: {money(per_day)} per trading day, {compared(per_day / _by_day(before, 'net_amount'))} {month}."


_TELLING_SHARE: Final = 0.25
"""A single credit line with so much of all returns of a month is told: without it the month looks different."""


def _credit(figures: Figures) -> str:
    credit, credited = figures.largest_credit, figures.now["credited_amount"]
    if credit is None or credited <= 0 or float(credit["amount"] / credited) < _TELLING_SHARE:
        return ""
    product = credit["description"] or credit["stock_code"]
    return f"A single credit line of {money(credit['amount'])} ({product}) is {share(credit['amount'] / credited)} of all returns."


def _customers(figures: Figures) -> str:
    now = figures.now
    if not now["customer_count"]:
        return "No sale carries a customer number, so there is nothing to say about customers."
    return (
        f"{customers(now['active_customer_count'])} bought, {count(now['new_count'])} for the first time and "
        f"{count(now['reactivated_count'])} after a long pause; {count(now['lapsing_count'] + now['lost_count'])} of {count(now['customer_count'])} "
        "known customers are lapsing or lost."
    )


def _best_segment(figures: Figures) -> str:
    if len(figures.segments) < 2 or figures.segments[0]["revenue_share"] is None:  # noqa: PLR2004 - one segment is everybody
        return ""
    best = figures.segments[0]
    return f"“{best['segment_name']}” are {share(best['customer_share'])} of customers and {share(best['revenue_share'])} of all sales to date."


def losses(figures: Figures) -> list[Row]:
    """Moves from a segment to one whose customers are worth less each, the largest sum first."""
    return _moves(figures, -1)


def gains(figures: Figures) -> list[Row]:
    """Moves from a segment to one whose customers are worth more each, the largest sum first."""
    return _moves(figures, 1)


def _moves(figures: Figures, direction: int) -> list[Row]:
    worth = {row["segment_id"]: float(row["net_amount"]) / row["customer_count"] for row in figures.segments}
    ends = ((move, worth.get(move["from_segment_id"]), worth.get(move["to_segment_id"])) for move in figures.moves)
    moves = [move for move, before, now in ends if before is not None and now is not None and (now - before) * direction > 0]
    return sorted(moves, key=lambda move: (-move["net_amount"], move["from_segment_id"], move["to_segment_id"]))


def _largest_loss(figures: Figures) -> str:
    if (move := _telling_loss(figures)) is None:
        return ""
    return (
        f"{customers(move['customer_count'])} worth {money(move['net_amount'])} to date moved from "
        f"“{move['from_segment_name']}” to “{move['to_segment_name']}”: the largest move downwards."
    )


def _telling_loss(figures: Figures) -> Row | None:
    """The largest move downwards; None in a month that ends early, in which some move down only because nobody could buy on its last days."""
    return None if figures.ends_early else next(iter(losses(figures)), None)


def _quality(figures: Figures) -> str:
    failed = sum(check["invoice_month"] in (None, figures.month) for check in figures.failed_checks)
    earlier = len(figures.failed_checks) - failed
    now = figures.now
    set_aside = share(now["quarantined_line_count"] / now["raw_line_count"]) if now["raw_line_count"] else "0%"
    checks = "every check of the month passed" if not failed else f"{plural(failed, 'check needs', 'checks need')} a look (see data quality)"
    if earlier:
        checks += f", and {count(earlier)} of earlier months did not pass"
    return f"Of the lines of the month {set_aside} are no product sale or return and stand aside, counted; {checks}."


# What to do first


def first_steps(figures: Figures) -> list[tuple[str, str]]:
    """A few things to do, each with whom or what it is about: the largest move downwards, RFM segments that the seed puts first, the best rule."""
    steps = []
    if (move := _telling_loss(figures)) is not None:
        whom = f"{customers(move['customer_count'])} worth {money(move['net_amount'])}, now “{move['to_segment_name']}”"
        steps.append((f"{whom}, a month ago “{move['from_segment_name']}”", move["action"]))
    steps += [
        (f"{customers(row['customer_count'])} worth {money(row['net_amount'])}: {in_words(row['rfm_segment'])}", row["action"])
        for row in figures.rfm_segments
        if row["is_first"] and row["customer_count"]
    ]
    steps += [
        (
            f"{rule['antecedent_text']} with {rule['consequent_text']}",
            f"Offer them together, on the page and by telephone: {share(rule['confidence'])} of the baskets with the first hold the second.",
        )
        for rule in told_rules(figures.rules)[:1]
    ]
    return steps


# Completeness


def completeness(figures: Figures) -> str:
    """Up to which day the month reaches; empty where it is complete."""
    if not figures.ends_early:
        return ""
    last, days = figures.now["last_sale_date"], figures.now["sale_day_count"]
    if last is None:
        return f"{month_name(figures.month)} has no sales."
    return (
        f"Sales reach to {day_name(last)}, {plural(days, 'trading day', 'trading days')}. Totals are those of these days, and customers look "
        "less recent than they are: the days to the end of the month count, though nobody could have bought on them. So what moved down in "
        "segment is not to be acted on yet."
    )


# Rules


def told_rules(rules: list[Row], has_variants: bool = False) -> list[Row]:
    """The first rules between different goods (or between variants of the same) that share no product with one before them.

    Otherwise one family of products would fill the list.
    """
    told: list[Row] = []
    used: set[str] = set()
    for rule in rules:
        products = {*rule["antecedent"], *rule["consequent"]}
        if rule["has_variants"] == has_variants and not products & used:
            told.append(rule)
            used |= products
        if len(told) == _TOLD_RULES:
            break
    return told


def persistence(figures: Figures) -> str:
    """How far the rules of the month before can be trusted by what they did in this one; empty where there are none."""
    if (found := figures.persistence) is None:
        return ""
    held, judged = found["persistent_rule_count"], found["judged_rule_count"]
    before = month_name(m.shift(figures.month, -1))
    month = month_name(figures.month)
    return f"Of the {count(judged)} rules of {before} that {month} can judge, {count(held)} ({share(held / judged)}) held in it too."


def hits(figures: Figures) -> str:
    """How good the recommendations of the month before were in this one, against showing what is popular; empty where that is not known."""
    if (found := figures.hits) is None:
        return ""
    before = month_name(m.shift(figures.month, -1))
    return (
        f"For {share(found['hit_rate'])} of the lines of {month_name(figures.month)}, the basket also held one of the {found['shown_count']} "
        f"products to show beside them as of {before}; of the most popular products, for {share(found['popular_hit_rate'])}."
    )
