"""Who buys how much when: baskets, customers, and the heads of all sale invoices."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from retail_assets.lib.sample._catalogue import SPECIALS, Catalogue
from retail_assets.lib.sample._facts import (
    ACCOUNT,
    BAD_DEBT_SIGNS,
    BATCH,
    COUNTRIES,
    FAMILY_SIZE,
    HONG_KONG_SALE,
    HUGE_SALES,
    REAL_LINES_BY_MONTH,
    WEB,
    Bands,
    Bools,
    Ints,
)
from retail_assets.lib.sample._random import draw_banded, draw_times, draw_weighted, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping


# The first shopper of a family mostly picks its leading product, and nearly half go on to the next one: these are the true association rules.
_ENTRY_WEIGHTS = (60, 18, 9, 6, 4, 3)
_PERCENT_GOING_ON = 45
_HONG_KONG = len(COUNTRIES)
# The awkward ones, which stand first among the foreign countries.
_SURE_COUNTRIES = 4


class _Behaviour(NamedTuple):
    """A way to be a customer: share of the population, pull on invoices beyond the first, and the months it lasts from the first invoice."""

    name: str
    share: int
    pull: int
    month_count: int | None
    is_there_from_start: bool = False


_BEHAVIOURS = (
    _Behaviour("wholesaler", 3, 60, None, is_there_from_start=True),
    _Behaviour("loyal", 15, 14, None, is_there_from_start=True),
    _Behaviour("occasional", 40, 3, None),
    _Behaviour("one-timer", 25, 0, None),
    _Behaviour("lapsed", 17, 8, 3),
)
_WHOLESALER = 0
_FEWEST_CUSTOMERS = 20
_INVOICES_PER_CUSTOMER = 4
_FIRST_CUSTOMER_ID = 12_346

_BASKET_SIZES: Mapping[str, Bands] = {
    ACCOUNT: ((8, 1, 1), (14, 2, 5), (20, 6, 12), (23, 13, 20), (20, 21, 35), (10, 36, 60), (4, 61, 120), (1, 121, 250)),
    BATCH: ((35, 10, 60), (50, 61, 250), (12, 251, 500), (3, 501, 1_000)),
    WEB: ((55, 1, 1), (25, 2, 4), (20, 5, 15)),
    HONG_KONG_SALE: ((1, 10, 40),),
}
# One batch order of full size would make up most of a month of a small sample.
_LARGEST_BASKET_SHARE = 50
_LARGEST_BASKET_AT_LEAST = 60


def draw_baskets(rng: np.random.Generator, catalogue: Catalogue, counts: Mapping[str, int], line_count: int) -> pl.DataFrame:
    """The products of all orders: `invoice`, `item`, `channel`. Account baskets come first and fill what all other lines leave free."""
    anonymous = {channel: _fill_baskets(rng, catalogue, counts[channel], channel, line_count) for channel in (BATCH, WEB, HONG_KONG_SALE)}
    batch_count = anonymous[BATCH]["invoice"].n_unique()
    account_line_count = line_count - batch_count - _count_lines_beside_accounts(counts, line_count)
    parts = [_fill_baskets(rng, catalogue, account_line_count, ACCOUNT, line_count), *anonymous.values()]
    first_invoices = np.cumsum([0, *(part["invoice"].n_unique() for part in parts)])
    return pl.concat(part.with_columns(pl.col("invoice") + int(first)) for part, first in zip(parts, first_invoices, strict=False))


def _count_lines_beside_accounts(counts: Mapping[str, int], line_count: int) -> int:
    """Lines that are not in the baskets of account customers, but for the DOT line of each batch order."""
    marks_on_other_lines = {"lower_case_code", "two_timestamps", "two_countries"}
    special_lines = sum(scaled(special.sale_count, line_count) + scaled(special.credit_count, line_count) for special in SPECIALS)
    planned_lines = sum(count for name, count in counts.items() if name not in marks_on_other_lines)
    return planned_lines + special_lines + 2 * len(HUGE_SALES) + len(BAD_DEBT_SIGNS)


def _fill_baskets(rng: np.random.Generator, catalogue: Catalogue, wanted: int, channel: str, line_count: int) -> pl.DataFrame:
    """Baskets of one channel with `wanted` lines in all. No basket holds a product twice: that would make duplicates nobody planned.

    Dropping what was drawn twice leaves each pass a little short, and the next one fills the gap.
    """
    largest = max(line_count // _LARGEST_BASKET_SHARE, _LARGEST_BASKET_AT_LEAST)
    parts: list[pl.DataFrame] = []
    line_total = invoice_total = 0
    while line_total < wanted:
        part = _draw_pass(rng, catalogue, wanted - line_total, _BASKET_SIZES[channel], largest)
        parts.append(part.with_columns(pl.col("invoice") + invoice_total))
        line_total += part.height
        invoice_total += part["invoice"].n_unique()
    return pl.concat(parts).with_columns(channel=pl.lit(channel))


def _draw_pass(rng: np.random.Generator, catalogue: Catalogue, wanted: int, size_bands: Bands, largest: int) -> pl.DataFrame:
    """Baskets of at most `wanted` lines in all: `invoice`, `item`."""
    sizes = np.minimum(draw_banded(rng, size_bands, wanted), largest)
    sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), wanted)) + 1]
    invoice = np.repeat(np.arange(len(sizes)), sizes)
    starts_family = rng.integers(0, 100, len(invoice)) >= _PERCENT_GOING_ON
    starts_family[np.cumsum(sizes) - sizes] = True
    start_lines = np.flatnonzero(starts_family)
    visit = np.cumsum(starts_family) - 1
    family = draw_weighted(rng, _family_weights(catalogue.product_count // FAMILY_SIZE), len(start_lines))
    entry = draw_weighted(rng, _ENTRY_WEIGHTS, len(start_lines))
    step = np.arange(len(invoice)) - start_lines[visit]
    item = family[visit] * FAMILY_SIZE + (entry[visit] + step) % FAMILY_SIZE
    return pl.DataFrame({"invoice": invoice, "item": item}).unique(maintain_order=True).head(wanted)


def _family_weights(family_count: int) -> Ints:
    """Zipf's law, flattened at the top as in the real data, where the best product is in one basket of ten."""
    return 10**9 // (np.arange(family_count) + 20)


def draw_orders(rng: np.random.Generator, baskets: pl.DataFrame, counts: Mapping[str, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The customers, and the head of every sale invoice.

    Customers: `customer`, `customer_id`, `country`, `is_wholesaler`, `two_countries`. Orders: `invoice`, `channel`, `size`, `minute`, `customer`,
    `country`, `is_wholesaler`, `two_timestamps`.
    """
    orders = baskets.group_by("invoice").agg(pl.col("channel").first(), size=pl.len()).sort("invoice")
    months = _cut_into_months(rng, orders["size"].to_numpy().astype(np.int64))
    account_order_count = orders.filter(pl.col("channel") == ACCOUNT).height
    behaviour, buyer = _draw_buyers(rng, months[:account_order_count])
    home = _draw_home_countries(rng, len(behaviour))
    country, has_moved = _draw_moves(rng, buyer, home, behaviour != _WHOLESALER, counts["two_countries"])
    customers = pl.DataFrame(
        {
            "customer": np.arange(len(behaviour)),
            "customer_id": _FIRST_CUSTOMER_ID + rng.permutation(len(behaviour) * 4 // 3)[: len(behaviour)],
            "country": home,
            "is_wholesaler": behaviour == _WHOLESALER,
            "two_countries": has_moved,
        }
    )
    accounts = pl.DataFrame({"invoice": np.arange(account_order_count), "customer": buyer, "country": country})
    orders = (
        orders.with_columns(minute=draw_times(rng, months), two_timestamps=_draw_slow_orders(rng, orders, counts["two_timestamps"]))
        .join(accounts, on="invoice", how="left", maintain_order="left")
        .join(customers.select("customer", "is_wholesaler"), on="customer", how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("channel") == HONG_KONG_SALE).then(_HONG_KONG).otherwise(pl.col("country").fill_null(0)).alias("country"),
            pl.col("is_wholesaler").fill_null(value=False),
        )
    )
    return customers, orders


def _cut_into_months(rng: np.random.Generator, sizes: Ints) -> Ints:
    """The month of each basket: laid end to end in random order, and cut where the real months end. So no month strays by more than a basket."""
    order = rng.permutation(len(sizes))
    begin = np.cumsum(sizes[order]) - sizes[order]
    bounds = np.cumsum(REAL_LINES_BY_MONTH) * sizes.sum() // sum(REAL_LINES_BY_MONTH)
    months = np.empty_like(sizes)
    months[order] = np.searchsorted(bounds, begin, side="right")
    return months


def _draw_buyers(rng: np.random.Generator, months: Ints) -> tuple[Ints, Ints]:
    """The behaviour of every customer, and the customer of every account order.

    Each customer gets one order at random, which sets when the customer comes; the others go to those who are there in their month.
    """
    customer_count = min(max(len(months) // _INVOICES_PER_CUSTOMER, _FEWEST_CUSTOMERS), len(months))
    behaviour = draw_weighted(rng, [kind.share for kind in _BEHAVIOURS], customer_count)
    # One of each at least, so that there always is somebody to buy, and small samples have all segments.
    behaviour[: len(_BEHAVIOURS)] = np.arange(len(_BEHAVIOURS))
    orders = rng.permutation(len(months))
    first_orders, further_orders = orders[:customer_count], orders[customer_count:]
    buyer = np.empty_like(months)
    buyer[first_orders] = np.arange(customer_count)

    pull = np.array([kind.pull for kind in _BEHAVIOURS])[behaviour]
    is_there_from_start = np.array([kind.is_there_from_start for kind in _BEHAVIOURS])[behaviour]
    month_count = np.array([kind.month_count or len(REAL_LINES_BY_MONTH) for kind in _BEHAVIOURS])[behaviour]
    comes = np.where(is_there_from_start, 0, months[first_orders])
    for month in range(len(REAL_LINES_BY_MONTH)):
        open_orders = further_orders[months[further_orders] == month]
        is_active = (comes <= month) & (month < comes + month_count)
        buyer[open_orders] = draw_weighted(rng, pull * is_active, len(open_orders))
    return behaviour, buyer


def _draw_home_countries(rng: np.random.Generator, customer_count: int) -> Ints:
    """A country for every customer by real volume; as many foreign ones as a tenth of the customers allow are sure to occur, awkward names first."""
    home = draw_weighted(rng, list(COUNTRIES.values()), customer_count)
    sure_count = max(_SURE_COUNTRIES, min(len(COUNTRIES) - 1, customer_count // 10))
    home[-sure_count:] = np.arange(1, sure_count + 1)
    return home


def _draw_moves(rng: np.random.Generator, buyer: Ints, home: Ints, may_move: Bools, move_count: int) -> tuple[Ints, Bools]:
    """The country of every account order, and who has two countries: the last order in the book of some customers goes to another one."""
    order_counts = np.bincount(buyer, minlength=len(home))
    movers = rng.choice(np.flatnonzero((order_counts > 1) & may_move), move_count, replace=False)
    last_order = np.zeros(len(home), dtype=np.int64)
    last_order[buyer] = np.arange(len(buyer))
    country = home[buyer]
    country[last_order[movers]] = (home[movers] + rng.integers(1, len(COUNTRIES), move_count)) % len(COUNTRIES)
    return country, np.isin(np.arange(len(home)), movers)


def _draw_slow_orders(rng: np.random.Generator, orders: pl.DataFrame, count: int) -> pl.Series:
    """Which orders were keyed in over the turn of a minute."""
    candidates = orders.filter((pl.col("channel") == ACCOUNT) & (pl.col("size") > 1))["invoice"].to_numpy()
    return orders["invoice"].is_in(rng.choice(candidates, count, replace=False).tolist())
