"""Lines that are no trade: stock corrections and bad debts."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from retail_assets.lib.sample._catalogue import SPECIALS, Catalogue
from retail_assets.lib.sample._facts import BAD_DEBT_SIGNS, NOTES, TEXTS_PER_ITEM
from retail_assets.lib.sample._random import draw_any_times, draw_weighted, minutes_since_start

# What a stock correction says, in turn: nothing, a note, or the name of the product. In turn, so that few corrections hold all three.
_NO_TEXT, _NOTE, _NAME = range(3)
_WRITE_OFF_TEXTS = (_NO_TEXT, _NOTE, _NO_TEXT, _NO_TEXT, _NOTE, _NO_TEXT, _NOTE, _NO_TEXT, _NO_TEXT, _NAME)
_STOCK_FOUND_TEXTS = (_NO_TEXT, _NAME, _NOTE, _NO_TEXT, _NAME, _NO_TEXT)
_BAD_DEBT_AT = datetime(2011, 8, 12, 14, 50)  # noqa: DTZ001 - shop time has no zone


def draw_stock_corrections(rng: np.random.Generator, catalogue: Catalogue, count: int, *, is_write_off: bool) -> pl.DataFrame:
    """Lines at price 0 without a customer, each an invoice of its own, that take goods off the books or put them back."""
    items = catalogue.draw_products(rng, count)
    notes = catalogue.first_note + draw_weighted(rng, list(NOTES.values()), count)
    what = pl.Series(np.resize(_WRITE_OFF_TEXTS if is_write_off else _STOCK_FOUND_TEXTS, count))
    text = pl.when(what == _NOTE).then(pl.Series(notes)).when(what == _NAME).then(pl.Series(items * TEXTS_PER_ITEM))
    kind = "write_off" if is_write_off else "stock_found"
    return pl.DataFrame(
        {
            "invoice": np.arange(count),
            "minute": draw_any_times(rng, count),
            "item": items,
            "quantity": rng.integers(1, 200, count) * (-1 if is_write_off else 1),
        }
    ).with_columns(
        book=pl.lit(kind),
        prefix=pl.lit(""),
        country=pl.lit(0, pl.Int64),
        text=text,
        price=pl.lit(0, pl.Int64),
        warehouse_note=what == _NOTE,
        **{kind: pl.lit(value=True)},
    )


def bad_debts(catalogue: Catalogue) -> pl.DataFrame:
    """One debt put right twice, a minute after the other: the only lines with a price below 0."""
    special = next(special for special in SPECIALS if special.code == "B")
    item, count = catalogue.item("B"), len(BAD_DEBT_SIGNS)
    return pl.DataFrame(
        {
            "book": "bad debt",
            "prefix": "A",
            "invoice": np.arange(count),
            "minute": minutes_since_start(_BAD_DEBT_AT) + np.arange(count),
            "country": np.zeros(count, dtype=np.int64),
            "item": np.full(count, item),
            "text": np.full(count, item * TEXTS_PER_ITEM),
            "quantity": np.ones(count, dtype=np.int64),
            "price": np.array(BAD_DEBT_SIGNS, dtype=np.int64) * special.price_range[0],
            "bad_debt": True,
        }
    )
