"""Credit notes for goods, with and without a sale behind them, and huge sales that are cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.sample._catalogue import Catalogue
from retail_assets.lib.sample._facts import ACCOUNT, DAY, HUGE_SALES, MONTH_OF_TRADING_DAY, TEXTS_PER_ITEM, TRADING_DAYS, Bands
from retail_assets.lib.sample._random import draw_any_times, draw_banded, draw_times, draw_times_of_day, minutes_since_start

if TYPE_CHECKING:
    from collections.abc import Mapping

_HUGE_QUANTITY = 70_000
_HUGE_PRICE = 1_040

_RETURN_DELAYS: Bands = ((45, 1, 5), (30, 6, 25), (25, 26, 80))
"""Trading days from a sale to its return."""
_LINES_RETURNED_AT_MOST = 3
"""Of one invoice; a credit note of the real data has two or three lines."""


def draw_returns(rng: np.random.Generator, sales: pl.DataFrame, counts: Mapping[str, int]) -> pl.DataFrame:
    """Credit lines of customers for goods they bought, at most one per customer and product, always later than all sales of the pair.

    So the latest earlier sale is the latest sale, and what a credit line reverses is beyond doubt.
    """
    last_sales = _last_sales(sales)
    invoice_count = sales["invoice"].n_unique()
    turn, delay, time_of_day = (
        rng.permutation(invoice_count),
        draw_banded(rng, _RETURN_DELAYS, invoice_count),
        draw_times_of_day(rng, invoice_count),
    )
    invoice = last_sales["invoice"].to_numpy()
    trading_day = np.searchsorted(TRADING_DAYS, last_sales["minute"].to_numpy() // DAY)
    back_at = np.minimum(trading_day + delay[invoice], len(TRADING_DAYS) - 1)
    candidates = (
        last_sales.with_columns(
            turn=turn[invoice],
            minute=TRADING_DAYS[back_at] * DAY + time_of_day[invoice],
            credit_in_later_month=MONTH_OF_TRADING_DAY[back_at] > MONTH_OF_TRADING_DAY[trading_day],
        )
        .filter(trading_day < back_at)
        .sort("turn", "item")
        .filter(pl.int_range(pl.len()).over("invoice") < _LINES_RETURNED_AT_MOST)
        # Alternately of the same and of a later month (45% are later in the real data), so that few returns hold both.
        .sort(pl.int_range(pl.len()).over("credit_in_later_month"), maintain_order=True)
    )
    chosen = _choose_returns(candidates, counts)
    part = rng.integers(1, np.maximum(chosen["quantity"].to_numpy(), 2))
    returned = (
        pl.when("credit_over_several_sales")
        .then(pl.col("quantity") + pl.col("quantity_before"))
        .when("credit_partial")
        .then(pl.Series(part))
        .otherwise("quantity")
    )
    return chosen.with_columns(book=pl.lit("return"), prefix=pl.lit("C"), text=pl.col("item") * TEXTS_PER_ITEM, quantity=-returned).drop(
        "turn", "quantity_before"
    )


def _last_sales(sales: pl.DataFrame) -> pl.DataFrame:
    """The last sale of every customer and product, with `quantity_before` of the last but one (null if there is none)."""
    pair = ["customer", "item"]
    is_first = pl.any_horizontal(pl.col(column) != pl.col(column).shift() for column in pair).fill_null(value=True)
    return (
        sales.filter(pl.col("channel") == ACCOUNT)
        .select(*pair, "invoice", "minute", "country", "quantity", "price")
        .sort(*pair, "minute", "invoice")
        .with_columns(is_first=is_first)
        .with_columns(
            quantity_before=pl.when(~pl.col("is_first")).then(pl.col("quantity").shift()),
            # Two sales in one minute leave open which is the latest.
            is_clear=pl.col("is_first") | (pl.col("minute") > pl.col("minute").shift()),
            is_last=pl.col("is_first").shift(-1).fill_null(value=True),
        )
        .filter(pl.col("is_last") & pl.col("is_clear"))
        .drop("is_first", "is_last", "is_clear")
    )


def _choose_returns(candidates: pl.DataFrame, counts: Mapping[str, int]) -> pl.DataFrame:
    """The first candidates that suit each kind of return, each for one kind."""
    suits = {
        "credit_over_several_sales": pl.col("quantity_before").is_not_null(),
        "credit_partial": pl.col("quantity") > 1,
        "credit_full": pl.lit(value=True),
    }
    is_free = pl.lit(value=True)
    for kind, is_suitable in suits.items():
        is_open = is_free & is_suitable
        candidates = candidates.with_columns((is_open & (is_open.cum_sum() <= counts[kind])).alias(kind))
        is_free &= ~pl.col(kind)
    return candidates.filter(pl.any_horizontal(*suits))


def draw_never_bought(rng: np.random.Generator, catalogue: Catalogue, customers: pl.DataFrame, sales: pl.DataFrame, count: int) -> pl.DataFrame:
    """Pairs of a customer and a product that the customer never buys: `customer`, `country`, `item`."""
    # At most one pair in four is sold, in the smallest sample.
    pairs = rng.choice(customers.height * catalogue.product_count, 3 * count, replace=False)
    return (
        pl.DataFrame({"customer": pairs // catalogue.product_count, "item": pairs % catalogue.product_count})
        .join(sales, on=["customer", "item"], how="anti", maintain_order="left")
        .head(count)
        .join(customers.select("customer", "country"), on="customer", how="left", maintain_order="left")
    )


def draw_unmatched_returns(rng: np.random.Generator, catalogue: Catalogue, pairs: pl.DataFrame) -> pl.DataFrame:
    """Credit notes for sales before the data begins: of two in three in the first month, of the others at any time."""
    is_first_month = np.arange(pairs.height) % 3 < 2  # noqa: PLR2004
    minutes = np.where(is_first_month, draw_times(rng, np.zeros(pairs.height, dtype=np.int64)), draw_any_times(rng, pairs.height))
    return pairs.with_columns(
        *_returned_goods(rng, catalogue, pairs["item"]),
        book=pl.lit("return without sale"),
        prefix=pl.lit("C"),
        invoice=np.arange(pairs.height),
        minute=minutes,
        credit_without_sale=pl.lit(value=True),
    )


def draw_anonymous_returns(rng: np.random.Generator, catalogue: Catalogue, count: int) -> pl.DataFrame:
    items = pl.Series("item", catalogue.draw_products(rng, count))
    return pl.DataFrame({"invoice": np.arange(count), "minute": draw_any_times(rng, count), "item": items}).with_columns(
        *_returned_goods(rng, catalogue, items),
        book=pl.lit("return without customer"),
        prefix=pl.lit("C"),
        country=pl.lit(0, pl.Int64),
        credit_without_customer=pl.lit(value=True),
    )


def _returned_goods(rng: np.random.Generator, catalogue: Catalogue, items: pl.Series) -> list[pl.Series]:
    """The columns `text`, `quantity` and `price` of credit lines for products whose sale is not known."""
    return [
        (items * TEXTS_PER_ITEM).alias("text"),
        pl.Series("quantity", -rng.integers(1, 25, len(items))),
        catalogue.items["price"].gather(items),
    ]


def draw_huge_sales(rng: np.random.Generator, pairs: pl.DataFrame) -> pl.DataFrame:
    """Typing errors of ruinous size, and the credit notes that follow minutes later."""
    sales = pairs.with_columns(
        book=pl.lit("huge sale"),
        invoice=np.arange(pairs.height),
        minute=np.array([minutes_since_start(sold_at) for sold_at, _ in HUGE_SALES]),
        text=pl.col("item") * TEXTS_PER_ITEM,
        quantity=_HUGE_QUANTITY + rng.integers(0, 10_000, pairs.height),
        price=pl.lit(_HUGE_PRICE, pl.Int64),
    )
    credits_ = sales.with_columns(
        book=pl.lit("huge sale credit"),
        prefix=pl.lit("C"),
        minute=pl.col("minute") + pl.Series([delay for _, delay in HUGE_SALES]),
        quantity=-pl.col("quantity"),
        huge_sale_credit=pl.lit(value=True),
        credit_full=pl.lit(value=True),
    )
    return pl.concat([sales.with_columns(prefix=pl.lit(""), huge_sale=pl.lit(value=True)), credits_], how="diagonal")
