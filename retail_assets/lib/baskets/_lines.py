"""Baskets as frames and as integers: what counts as a basket, and the coding every algorithm of this package works on.

No mining, no statistics and no thresholds on support in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def baskets(transactions: pl.DataFrame, min_items: int = 2) -> pl.DataFrame:
    """The baskets of shoppers: the distinct products of every sale invoice that holds at least `min_items` of them.

    Batch orders are left out: an invoice of many web-shop orders makes every pair of its products look associated.

    Args:
        transactions: Lines of `core.transactions`; read are `invoice_month`, `invoice_no`, `stock_code`, `is_return` and `is_batch_order`.
        min_items: Fewest distinct products of a basket. Baskets of one product lower every support and teach nothing about pairs.

    Returns:
        One row per basket and product: `basket_id` (month and number of the invoice: `2011-01/536365`) and `item` (the stock code), sorted by both.

    Raises:
        ValueError: `min_items` is below 1, or a column is missing or holds nulls.
    """
    if min_items < 1:
        raise ValueError(f"min_items is {min_items}; a basket holds at least 1 product.")
    check_columns(transactions, ("invoice_month", "invoice_no", "stock_code", "is_return", "is_batch_order"), frame="transactions")
    invoice_id = pl.concat_str(pl.col("invoice_month").cast(pl.String).str.head(7), "invoice_no", separator="/")
    sales = transactions.lazy().filter(~pl.col("is_return") & ~pl.col("is_batch_order")).select(invoice_id, "stock_code").collect()
    invoices, products = (sales[name].unique().sort() for name in sales.columns)
    # One integer per line is made distinct and sorted four times faster than two texts.
    invoice, product = (pl.col(names.name).cast(pl.Enum(names)).to_physical().cast(pl.UInt64) for names in (invoices, products))
    width = max(len(products), 1)
    lines = sales.select(line=invoice * width + product).unique().sort("line")
    kept = lines.select(invoice=pl.col("line") // width, product=pl.col("line") % width).filter(pl.len().over("invoice") >= min_items)
    return pl.DataFrame({"basket_id": invoices.gather(kept["invoice"]), "item": products.gather(kept["product"])})


def coded_baskets(basket_id: NDArray[np.int32], item: NDArray[np.int32], names: pl.Series) -> pl.DataFrame:
    """Basket lines from integers: eight bytes a line, and quick to code, for baskets that do not fit in memory as text.

    Args:
        basket_id: Basket of every line, 0 or above; repeated lines count once.
        item: Item of every line, as its position in `names`.
        names: Distinct names of items, sorted.

    Returns:
        `basket_id` (Int32) and `item` (Enum of the names), sorted by both.
    """
    basket, code = unpacked(_distinct(packed(basket_id, item)))
    return pl.DataFrame({"basket_id": basket, "item": pl.Series(code).cat.to(pl.Enum(names))})


def check_columns(frame_value: pl.DataFrame, required: Iterable[str], *, frame: str) -> None:
    """Refuse a frame that lacks a required column or holds nulls in one, naming the column and the remedy."""
    required = tuple(required)
    if missing := [name for name in required if name not in frame_value.columns]:
        raise ValueError(f"{frame} lacks {missing}; it needs the columns {list(required)} and has {frame_value.columns}.")
    if nulls := {name: count for name in required if (count := frame_value[name].null_count())}:
        raise ValueError(f"{frame} holds nulls: {nulls}; drop these rows or repair them first, a null is neither a product nor a basket.")


@dataclass(frozen=True)
class CodedLines:
    """Distinct basket lines as integers, ordered by (`basket`, `item`).

    Item codes follow the sorted order of `names`, so that sorting codes sorts names. Basket codes carry no meaning.
    """

    names: pl.Series
    """Names of the items, sorted; the position is the item's code."""
    basket: NDArray[np.int32]
    """Basket code of every line."""
    item: NDArray[np.int32]
    """Item code of every line."""
    basket_count: int
    """Number of baskets, the denominator of every support."""

    @property
    def item_count(self) -> int:
        """Number of distinct items."""
        return len(self.names)

    @cached_property
    def baskets_per_item(self) -> NDArray[np.int64]:
        """In how many baskets each item is, by item code."""
        return np.bincount(self.item, minlength=self.item_count)

    @cached_property
    def items_per_basket(self) -> NDArray[np.int64]:
        """How many items each basket holds, by basket code."""
        return np.bincount(self.basket, minlength=self.basket_count)


def code_lines(lines: pl.DataFrame, asked: pl.Series | None = None) -> CodedLines:
    """Code `lines` (`basket_id` of any type, `item`); repeated lines count once, baskets are numbered as they come.

    `asked` are items that get a code too where no line holds them.

    Raises:
        ValueError: A column is missing or holds nulls.
    """
    check_columns(lines, ("basket_id", "item"), frame="lines")
    item, names = _coded_items(lines["item"], asked)
    basket = _numbered(lines["basket_id"])
    basket_count = int(basket.max(initial=-1)) + 1
    if not _is_distinct(basket, item):
        basket, item = unpacked(_distinct(packed(basket, item)))
    return CodedLines(names, basket, item, basket_count)


def _coded_items(items: pl.Series, asked: pl.Series | None) -> tuple[NDArray[np.int32], pl.Series]:
    """Codes of the items, and the names of those that occur or are asked for, sorted."""
    found = items.unique().cast(pl.String)
    names = (found if asked is None else pl.concat([found, asked.cast(pl.String)])).unique().sort()
    if isinstance(items.dtype, pl.Enum):
        # Categories that no line holds have no code, and no line asks for it.
        code_of = items.dtype.categories.cast(pl.Enum(names), strict=False).to_physical().fill_null(0).to_numpy().astype(np.int32)
        return code_of[items.to_physical().to_numpy()], names
    return items.cast(pl.String).cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int32), names


def _is_distinct(basket: NDArray[np.int32], item: NDArray[np.int32]) -> bool:
    """Whether lines are in strict order of both."""
    is_same = basket[1:] == basket[:-1]
    return bool(((basket[1:] > basket[:-1]) | (is_same & (item[1:] > item[:-1]))).all())


def packed(high: NDArray[np.int32], low: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pairs as one integer each, which sorts many times faster than a pair of columns."""
    return high.astype(np.int64) << 32 | low


def unpacked(keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The pairs of `packed`."""
    return (keys >> 32).astype(np.int32), keys.astype(np.int32)


def _distinct(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """The distinct keys in order; `keys` are sorted in place."""
    keys.sort()
    return np.asarray(keys[np.concatenate([keys[:1] >= 0, keys[1:] > keys[:-1]])])


def _numbered(basket_ids: pl.Series) -> NDArray[np.int32]:
    """The number of each line's basket, from 0, as they come."""
    if basket_ids.is_sorted():
        return basket_ids.rle_id().to_numpy().astype(np.int32)
    seen = basket_ids.to_frame().select(pl.col("basket_id").unique(maintain_order=True)).with_row_index("code")
    codes = basket_ids.to_frame().join(seen, on="basket_id", how="left", maintain_order="left")["code"]
    return codes.to_numpy().astype(np.int32)


def name_lists(codes: NDArray[np.integer], names: pl.Series) -> pl.Series:
    """A matrix of item codes, one itemset per row, as lists of names in the order of the columns."""
    return names.gather(codes.ravel()).reshape(codes.shape).arr.to_list()


def spans(costs: NDArray[np.integer], budget: int) -> Iterable[tuple[int, int]]:
    """Cut 0..len(costs) into consecutive half-open spans that cost at most `budget` each; a single dearer element stands alone."""
    ends = np.cumsum(costs, dtype=np.int64)
    start = 0
    while start < len(ends):
        spent = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, spent + budget, side="right")))
        yield start, stop
        start = stop
