"""The order in which a sample is made. Each step is a function of another module; the sample itself is defined here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from retail_assets.lib.sample._assembly import break_lines, mark_kinds, number_invoices, spell_lines, sum_dirt, sum_months
from retail_assets.lib.sample._catalogue import Catalogue, draw_catalogue
from retail_assets.lib.sample._corrections import bad_debts, draw_stock_corrections
from retail_assets.lib.sample._facts import HUGE_SALES
from retail_assets.lib.sample._orders import draw_baskets, draw_orders
from retail_assets.lib.sample._random import scaled
from retail_assets.lib.sample._returns import draw_anonymous_returns, draw_huge_sales, draw_never_bought, draw_returns, draw_unmatched_returns
from retail_assets.lib.sample._sales import draw_dot_lines, draw_duplicates, draw_gifts, draw_sales, draw_specials

MINIMUM_LINE_COUNT = 2_000
"""Below this there is no room for every kind of dirt beside the sales."""

_LINES_PER_UNPARSEABLE = 10
"""At most one line in this many can be made unparseable: only lines without any other dirt can."""

_REAL_COUNTS = {
    "batch": 120_058,
    "web": 12_162,
    "hong_kong": 288,
    "credit_full": 2_937,
    "credit_partial": 3_000,
    "credit_over_several_sales": 1_500,
    "credit_without_sale": 1_056,
    "credit_without_customer": 200,
    "write_off": 1_336,
    "stock_found": 1_139,
    "zero_price_gift": 40,
    "exact_duplicate": 5_268,
    "lower_case_code": 1_977,
    "two_timestamps": 43,
    "two_countries": 8,
}
"""How much of each the real data holds: invoices for `two_timestamps`, customers for `two_countries`, lines for all others. Round numbers are
estimates: what a credit note of the real data reverses is a matter of the matching rule."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A generated sample and its answers.

    Attributes:
        lines: One row per line of the sample, ordered by time, then invoice. Columns `InvoiceNo`, `StockCode`, `Description`, `Quantity`,
            `InvoiceDate`, `UnitPrice`, `CustomerID`, `Country`, all String and spelt as in the real CSV files; null where these are empty
            (`Description`, `CustomerID`). Prices are pounds sterling, dates local shop time to the minute.
        dirt: One row per kind of dirt in `KINDS`, sorted by `kind` (String): `line_count` (Int64) lines of the kind and `amount` (Decimal(18,4)),
            their quantity times price in pounds sterling. Kinds overlap.
        months: One row per month, sorted by `invoice_month` (Date, first day of the month): `line_count` (Int64) lines and `amount` (Decimal(18,4)),
            quantity times price in pounds sterling over all lines. A line with a broken date counts in its true month, which is also that of
            the line before it; a line with a broken quantity or price counts as a line with amount 0.
    """

    lines: pl.DataFrame
    dirt: pl.DataFrame
    months: pl.DataFrame


def generate(line_count: int, seed: int = 1, unparseable_line_count: int = 0) -> Sample:
    """Make a sample of exactly `line_count` lines that holds every kind of dirt in known amounts.

    The same arguments give the same sample on every machine. Products grow with the sample from 300 to 3,000, customers are about one per 120 lines.

    Args:
        line_count: Lines in all, at least `MINIMUM_LINE_COUNT`.
        seed: Start of the random numbers, 0 or above.
        unparseable_line_count: Lines of these, otherwise clean, whose date, quantity or price (in turn) is replaced by a text that is none. At
            most a tenth of the lines. Never the first line of a day. The real data has no such line.

    Raises:
        ValueError: `line_count` is below the minimum, or `unparseable_line_count` is negative or above its maximum.
    """
    _check_arguments(line_count, unparseable_line_count)
    rng = np.random.Generator(np.random.PCG64(seed))
    return generate_from(rng, draw_catalogue(rng, line_count), line_count, unparseable_line_count)


def generate_from(rng: np.random.Generator, catalogue: Catalogue, line_count: int, unparseable_line_count: int = 0) -> Sample:
    """As `generate`, from random numbers that go on and a catalogue that other samples may share."""
    counts = {name: scaled(real_count, line_count) for name, real_count in _REAL_COUNTS.items()}
    baskets = draw_baskets(rng, catalogue, counts, line_count)
    customers, orders = draw_orders(rng, baskets, counts)
    sales = draw_sales(rng, catalogue, baskets, orders, counts)
    returns = draw_returns(rng, sales, counts)
    never_bought = draw_never_bought(rng, catalogue, customers, sales, counts["credit_without_sale"] + len(HUGE_SALES))
    parts = [
        sales,
        *draw_specials(rng, catalogue, customers, orders, line_count),
        draw_dot_lines(rng, catalogue, orders),
        draw_gifts(rng, catalogue, orders, counts["zero_price_gift"]),
        returns,
        draw_huge_sales(rng, never_bought.head(len(HUGE_SALES))),
        draw_unmatched_returns(rng, catalogue, never_bought.slice(len(HUGE_SALES))),
        draw_anonymous_returns(rng, catalogue, counts["credit_without_customer"]),
        draw_stock_corrections(rng, catalogue, counts["write_off"], is_write_off=True),
        draw_stock_corrections(rng, catalogue, counts["stock_found"], is_write_off=False),
        bad_debts(catalogue),
        draw_duplicates(rng, sales, returns, counts["exact_duplicate"]),
    ]
    lines = mark_kinds(number_invoices(pl.concat(parts, how="diagonal")), catalogue, customers)
    lines = break_lines(rng, lines, unparseable_line_count)
    return Sample(lines=spell_lines(lines, catalogue, customers), dirt=sum_dirt(lines), months=sum_months(lines))


def _check_arguments(line_count: int, unparseable_line_count: int) -> None:
    if line_count < MINIMUM_LINE_COUNT:
        raise ValueError(f"line_count is {line_count}, but a sample needs at least {MINIMUM_LINE_COUNT} lines")
    most = line_count // _LINES_PER_UNPARSEABLE
    if not 0 <= unparseable_line_count <= most:
        raise ValueError(f"unparseable_line_count is {unparseable_line_count}, but must lie between 0 and {most} for {line_count} lines")
