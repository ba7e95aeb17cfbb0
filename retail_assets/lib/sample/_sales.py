"""Sale lines, and the oddities that stand on sale invoices: fees, vouchers, gifts, lower-case codes, alternative texts, duplicates.

The frames of lines here and in the modules beside have the columns `book` and `invoice` (together one invoice), `prefix` (of its number), `minute`,
`customer`, `country`, `item`, `text`, `quantity`, `price` (1/1000 pound), and a Boolean column for each kind of dirt that they know of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.sample._catalogue import SPECIALS, Catalogue, Special
from retail_assets.lib.sample._facts import ACCOUNT, BATCH, TEXTS_PER_ITEM, WEB, Bands, Bools
from retail_assets.lib.sample._random import draw_any_times, draw_banded, draw_weighted, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping


_PACKS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 36, 48, 100)
_PACK_WEIGHTS = (17, 13, 8, 9, 15, 6, 5, 16, 2, 6, 1, 1, 1)
_WHOLESALE_PACKS = 6
_WEB_QUANTITIES: Bands = ((60, 1, 1), (30, 2, 4), (10, 5, 12))


def draw_sales(
    rng: np.random.Generator, catalogue: Catalogue, baskets: pl.DataFrame, orders: pl.DataFrame, counts: Mapping[str, int]
) -> pl.DataFrame:
    """The lines of all baskets, with `channel` on top."""
    lines = (
        baskets.drop("channel")
        .join(orders, on="invoice", how="left", maintain_order="left")
        .join(catalogue.items.select("item", "has_suffix", "has_alternatives", "price"), on="item", how="left", maintain_order="left")
    )
    is_web = pl.col("channel").is_in([BATCH, WEB])
    pennies = (
        pl.when(is_web).then(pl.col("price") * 19 // 100).when("is_wholesaler").then(pl.col("price") * 8 // 100).otherwise(pl.col("price") // 10)
    )
    pack = np.array(_PACKS, dtype=np.int64)[draw_weighted(rng, _PACK_WEIGHTS, lines.height)]
    pack_count = pl.when("is_wholesaler").then(_WHOLESALE_PACKS).otherwise(1)
    occurrence = pl.int_range(pl.len()).over("item")
    is_late = pl.int_range(pl.len()).over("invoice") * 2 >= pl.col("size")
    return (
        lines.with_columns(occurrence=occurrence)
        .with_columns(
            book=pl.lit("sale"),
            prefix=pl.lit(""),
            minute=pl.col("minute") + (pl.col("two_timestamps") & is_late),
            quantity=pl.when(is_web).then(pl.Series(draw_banded(rng, _WEB_QUANTITIES, lines.height))).otherwise(pl.Series(pack) * pack_count),
            price=pennies * 10,
            batch_order=pl.col("channel") == BATCH,
            lower_case_code=_draw_lower_case(rng, lines.with_columns(occurrence=occurrence), counts["lower_case_code"]),
            variant=_alternative_text(),
        )
        .with_columns(text=pl.col("item") * TEXTS_PER_ITEM + pl.col("variant"), alternative_description=pl.col("variant") > 0)
        .drop("occurrence", "variant", "has_suffix", "has_alternatives", "size", "is_wholesaler")
    )


def _alternative_text() -> pl.Expr:
    """One line in four of certain products carries another text, from the third line on, so that the name is always the commonest text."""
    is_alternative = pl.col("has_alternatives") & (pl.col("occurrence") % 4 == 2)  # noqa: PLR2004
    return pl.when(is_alternative).then(1 + pl.col("occurrence") // 4 % 2).otherwise(0)


def _draw_lower_case(rng: np.random.Generator, lines: pl.DataFrame, count: int) -> Bools:
    """Lines that spell the letter of the code small; never the first of a product, so that the twin in upper case occurs."""
    candidates = lines.select(pl.arg_where(pl.col("has_suffix") & (pl.col("occurrence") > 0))).to_series().to_numpy()
    return np.isin(np.arange(lines.height), rng.choice(candidates, count, replace=False))


def draw_specials(
    rng: np.random.Generator, catalogue: Catalogue, customers: pl.DataFrame, orders: pl.DataFrame, line_count: int
) -> list[pl.DataFrame]:
    """Fees, vouchers and goods with alphabetic codes: on invoices that are there, or on credit notes of their own."""
    parts: list[pl.DataFrame] = []
    for special in SPECIALS:
        hosts = orders.filter(pl.col("channel") == (ACCOUNT if special.has_customer else WEB))
        sale_count, credit_count = scaled(special.sale_count, line_count), scaled(special.credit_count, line_count)
        heads = pl.concat(
            [
                _ride_along(rng, hosts, sale_count).with_columns(quantity=pl.lit(1, pl.Int64)),
                _draw_credit_heads(rng, customers, f"credit {special.code}", credit_count, has_customer=special.has_customer),
            ],
            how="diagonal",
        )
        parts.append(heads.with_columns(_special_item(rng, catalogue, special, heads.height)))
    return parts


def _ride_along(rng: np.random.Generator, orders: pl.DataFrame, count: int) -> pl.DataFrame:
    """The heads of `count` different invoices, for a further line on each."""
    picked = orders[rng.choice(orders.height, count, replace=False)]
    return picked.select("invoice", "minute", "customer", "country", "two_timestamps", book=pl.lit("sale"), prefix=pl.lit(""))


def _draw_credit_heads(rng: np.random.Generator, customers: pl.DataFrame, book: str, count: int, *, has_customer: bool) -> pl.DataFrame:
    """The heads of `count` credit notes that take back one unit each."""
    picked = customers[rng.integers(0, customers.height, count)]
    return pl.DataFrame(
        {
            "invoice": np.arange(count),
            "minute": draw_any_times(rng, count),
            "customer": picked["customer"] if has_customer else pl.Series([None] * count, dtype=pl.Int64),
            "country": picked["country"] if has_customer else np.zeros(count, dtype=np.int64),
            "quantity": np.full(count, -1),
        }
    ).with_columns(book=pl.lit(book), prefix=pl.lit("C"))


def _special_item(rng: np.random.Generator, catalogue: Catalogue, special: Special, size: int) -> list[pl.Series]:
    """The columns `item`, `text` and `price` of lines with a special code."""
    lowest, highest = special.price_range
    item = catalogue.item(special.code)
    return [
        pl.Series("item", np.full(size, item)),
        pl.Series("text", np.full(size, item * TEXTS_PER_ITEM)),
        pl.Series("price", lowest + 10 * rng.integers(0, (highest - lowest) // 10, size, endpoint=True)),
    ]


def draw_dot_lines(rng: np.random.Generator, catalogue: Catalogue, orders: pl.DataFrame) -> pl.DataFrame:
    """The postage line that closes every batch order."""
    batches = orders.filter(pl.col("channel") == BATCH)
    special = next(special for special in SPECIALS if special.code == "DOT")
    return _ride_along(rng, batches, batches.height).with_columns(
        *_special_item(rng, catalogue, special, batches.height), quantity=pl.lit(1, pl.Int64), batch_order=pl.lit(value=True)
    )


def draw_gifts(rng: np.random.Generator, catalogue: Catalogue, orders: pl.DataFrame, count: int) -> pl.DataFrame:
    heads = _ride_along(rng, orders.filter(pl.col("channel") == ACCOUNT), count)
    items = catalogue.draw_products(rng, count)
    return heads.with_columns(
        item=items,
        text=items * TEXTS_PER_ITEM,
        quantity=rng.integers(1, 25, count),
        price=pl.lit(0, pl.Int64),
        zero_price_gift=pl.lit(value=True),
    )


def draw_duplicates(rng: np.random.Generator, sales: pl.DataFrame, returns: pl.DataFrame, count: int) -> pl.DataFrame:
    """Account sales that stand in the data twice. A returned sale is none of them, or its return would have another sale to match."""
    candidates = sales.filter((pl.col("channel") == ACCOUNT) & ~pl.col("alternative_description")).join(
        returns, on=["customer", "item"], how="anti", maintain_order="left"
    )
    return candidates[rng.choice(candidates.height, count, replace=False)].with_columns(exact_duplicate=pl.lit(value=True))
