"""Which sales a credit note takes back.

A credit note of this shop names customer, product and quantity, but not the sale. Here each credit line consumes the latest earlier sales of the
same product to the same customer, until its quantity is used up or no sale is left; a unit sold is taken back at most once. What a month is worth
after that is the business of those who read the table.

What no sale explains is left-censored where the sale may lie before the first month of the data, and a true orphan otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from retail_assets.contracts import RETURNS

if TYPE_CHECKING:
    from collections.abc import Iterator

RETURN_WINDOW_DAYS = 90
"""Usual delay of a return. In the real data, 89% of the matches of June 2011 and later (which could find sales half a year old) lie within it, and
the share of customers' credit lines with units that no sale explains falls from 56%, 28% and 23% in the first three spells of 30 days to about 6%.

A constant and no quantile of the data that has landed: later months must not change what was said of earlier ones."""

_PAIR = ("customer_id", "stock_code")

_Pair = tuple[str, str]
_Sale = tuple[int, datetime, int]
"""Row, time, and units that no credit note has taken back yet."""

_MATCHES = pl.Schema({"credit_row": pl.UInt32(), "match_no": pl.Int32(), "sale_row": pl.UInt32(), "quantity": pl.Int32()})


def match_returns(credit_lines: pl.DataFrame, sales: pl.DataFrame, consumed: pl.DataFrame, *, data_start: date) -> pl.DataFrame:
    """Match credit lines to the sales they take back, latest sale first.

    A match depends only on what lies before the credit note. So the months can be matched one by one in order, with `consumed` from the months
    before, or all at once, with the same outcome.

    Args:
        credit_lines: Lines of core.transactions that are returns, of one or several months.
        sales: Lines of core.transactions; those that can count are sales to the customers of `credit_lines`, up to their time.
        consumed: `sale_id` and `quantity` that returns of earlier months took back.
        data_start: First day of the first month whose sales are known.

    Returns:
        Lines as in RETURNS, sorted by its key.
    """
    ordered_credits = credit_lines.sort("invoiced_at", "transaction_id").with_row_index("credit_row")
    ordered_sales = _open_sales(ordered_credits, sales, consumed)
    matches = pl.DataFrame(_matches(ordered_credits, ordered_sales), _MATCHES, orient="row")
    return (
        matches.lazy()
        .join(_described_credits(ordered_credits), on="credit_row")
        .join(ordered_sales.lazy().select("sale_row", sale_id="transaction_id", sale_month="invoice_month"), on="sale_row", how="left")
        .with_columns(
            amount=(pl.col("quantity").cast(pl.Decimal(18, 0)) * pl.col("unit_price")).cast(RETURNS["amount"].polars_type),
            match_status=_match_status().over("credit_row"),
            is_left_censored=_is_left_censored(data_start),
        )
        .select(RETURNS.polars_schema.names())
        .sort(RETURNS.key)
        .collect()
    )


def _described_credits(credit_lines: pl.DataFrame) -> pl.LazyFrame:
    return credit_lines.lazy().select("credit_row", "invoice_month", *_PAIR, "unit_price", return_id="transaction_id", returned_at="invoiced_at")


def _match_status() -> pl.Expr:
    is_matched = pl.col("sale_row").is_not_null()
    return pl.when(is_matched.all()).then(pl.lit("full")).when(is_matched.any()).then(pl.lit("partial")).otherwise(pl.lit("orphan"))


def _is_left_censored(data_start: date) -> pl.Expr:
    """A credit note without a customer matches no sale wherever that lies: its rest is never for the start of the data to explain."""
    is_early = pl.col("returned_at") < data_start + timedelta(days=RETURN_WINDOW_DAYS)
    return pl.col("sale_row").is_null() & pl.col("customer_id").is_not_null() & is_early


def _open_sales(credit_lines: pl.DataFrame, sales: pl.DataFrame, consumed: pl.DataFrame) -> pl.DataFrame:
    """The sales that a credit line could take back, in order of time, with the units that are left."""
    taken = consumed.lazy().group_by("sale_id").agg(taken=pl.col("quantity").sum())
    return (
        sales.lazy()
        .filter(~pl.col("is_return"))
        .join(credit_lines.lazy(), on=_PAIR, how="semi")
        .join(taken, left_on="transaction_id", right_on="sale_id", how="left")
        .with_columns(left=pl.col("quantity") - pl.col("taken").fill_null(0))
        .sort("invoiced_at", "transaction_id")
        .with_row_index("sale_row")
        .collect()
    )


def _matches(credit_lines: pl.DataFrame, sales: pl.DataFrame) -> Iterator[tuple[int, int, int | None, int]]:
    """Yield credit row, match number, sale row (none for the rest that no sale explains) and quantity.

    A plain loop, for each match depends on what the one before has left.
    """
    ahead = _sales_by_pair(sales)
    behind: defaultdict[_Pair, list[_Sale]] = defaultdict(list)
    for credit_row, customer, product, credited_at, quantity in credit_lines.select("credit_row", *_PAIR, "invoiced_at", "quantity").iter_rows():
        pair = (customer, product)
        _pass_sales(ahead[pair], behind[pair], credited_at)
        wanted, match_no = -quantity, 0
        while wanted and behind[pair]:
            sale_row, sold_at, left = behind[pair].pop()
            units = min(wanted, left)
            if left > units:
                behind[pair].append((sale_row, sold_at, left - units))
            wanted -= units
            match_no += 1
            yield credit_row, match_no, sale_row, units
        if wanted:
            yield credit_row, match_no + 1, None, wanted


def _sales_by_pair(sales: pl.DataFrame) -> defaultdict[_Pair, list[_Sale]]:
    """Sales with units left by customer and product, the earliest at the end of each list."""
    by_pair: defaultdict[_Pair, list[_Sale]] = defaultdict(list)
    rows = sales.filter(pl.col("left") > 0).select("sale_row", *_PAIR, "invoiced_at", "left").reverse()
    for sale_row, customer, product, sold_at, left in rows.iter_rows():
        by_pair[customer, product].append((sale_row, sold_at, left))
    return by_pair


def _pass_sales(ahead: list[_Sale], behind: list[_Sale], until: datetime) -> None:
    """Move the sales up to a time from those ahead to those behind, the latest of which is then at the end."""
    while ahead and ahead[-1][1] <= until:
        behind.append(ahead.pop())
