"""Recency, frequency and monetary value per customer: the monthly roll-up, the snapshot at a month's end, its scores and cut points.

Pure functions on polars frames whose columns are those of `retail_assets.contracts`. What is a product line and which sale a credit note reverses
is decided before (`cleaning`); clusters of customers are found after (`segments`). No storage, no Dagster and no clock in here.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import polars as pl

from retail_assets.contracts import CUSTOMER_MONTHS, RFM_CUT_POINTS, RFM_FEATURES

if TYPE_CHECKING:
    from retail_assets.contracts import Table

SCORES = 5
"""Scores run from 1 to 5, a fifth of the customers each where values do not tie."""

_SCORED = {"recency_days": ("r_score", False), "frequency": ("f_score", True), "monetary": ("m_score", True)}
"""Scored metric -> its score column, and whether more is better."""

_MONTH_KEY = ["invoice_month", "customer_id"]


def customer_months(transactions: pl.DataFrame, returns: pl.DataFrame) -> pl.DataFrame:
    """What every identified customer bought and gave back in each month of the frames.

    Everything `rfm_features` needs adds up from these rows, so that a refresh reads one month of transactions and not the history. The one thing that
    does not add up exactly is an invoice whose lines straddle midnight at a month's end: it would count in both months. The real data has none.

    Args:
        transactions: Rows of core.transactions, whole months.
        returns: Rows of core.returns of the same months, by the month of the credit note.

    Returns:
        Rows of features.customer_months, sorted by key.
    """
    # Credit lines are left to `returns`, which holds each of them, split by the sale it reverses.
    sales = _identified(transactions).filter(~pl.col("is_return")).group_by(_MONTH_KEY).agg(_sale_figures())
    matched = pl.col("sale_id").is_not_null()
    credits_ = _identified(returns).group_by(_MONTH_KEY).agg(
        pl.col("amount").filter(matched).sum().alias("returned_amount"),
        pl.col("amount").filter(~matched).sum().alias("orphan_amount"),
    )  # fmt: skip
    # A customer may have only sales or only returns in a month: nothing of the other is 0 and no products, while the dates stay unknown.
    return _conform(
        sales.join(credits_, on=_MONTH_KEY, how="full", coalesce=True, validate="1:1").with_columns(
            pl.col("sale_invoice_count", "sale_day_count", "sale_line_count", "units_sold").fill_null(0),
            pl.col("gross_amount", "returned_amount", "orphan_amount").fill_null(0),
            pl.col("stock_codes").fill_null([]),
        ),
        CUSTOMER_MONTHS,
    )


def rfm_features(customer_months: pl.DataFrame, as_of: date, rfm_segments: pl.DataFrame, window_months: int | None = None) -> pl.DataFrame:
    """One snapshot: every customer who had bought by the end of a month, from what was known then.

    Months after the snapshot are ignored, so the whole of features.customer_months may be passed. With `window_months` only the trailing months
    count, that of the snapshot included: customers without a sale in them are left out, tenure starts at the first sale inside the window, and a
    return counts in the month of its credit note, even where the sale it reverses lies before the window.

    Args:
        customer_months: Rows of features.customer_months.
        as_of: Last day of the snapshot month; recency and tenure count to this day.
        rfm_segments: The seed `rfm_segments`: `r_score`, `f_score`, `rfm_segment`, one row per cell of the grid.
        window_months: Length of the trailing window in months; None for the whole history.

    Returns:
        Rows of features.rfm_features, sorted by key.

    Raises:
        ValueError: `as_of` is not the last day of a month, the window is empty, or the seed does not cover the grid.
    """
    if (as_of + timedelta(days=1)).day != 1:
        raise ValueError(f"as_of must be the last day of a month, but is {as_of}")
    validate_segments(rfm_segments)
    rows = customer_months.filter(_known_by(as_of, window_months))
    features = _totals(rows).join(_product_counts(rows), on="customer_id", how="left", validate="1:1").with_columns(_feature_columns(as_of))
    scored = features.with_columns(
        score(features[metric], higher_is_better=higher_is_better).alias(column) for metric, (column, higher_is_better) in _SCORED.items()
    )
    names = rfm_segments.select(pl.col("r_score", "f_score").cast(pl.Int32), "rfm_segment")
    return _conform(scored.join(names, on=["r_score", "f_score"], how="left", validate="m:1"), RFM_FEATURES)


def score(values: pl.Series, higher_is_better: bool) -> pl.Series:
    """Scores from 1 (worst) to 5 (best); equal values always score equally.

    The rule is the lower edge of a tie: score = 1 + the whole fifths of the customers who are strictly worse. NTILE splits ties at random, and
    quantile bins fail or vanish on them (a third of the customers have frequency 1). Placing a tie by its middle would be as safe, but then the score
    of the worst value drifts with the size of its tie. By the lower edge the worst value scores 1 in every month, so that `f_score` 1 always holds
    the customers who bought once; 5 means better than at least four fifths; and a score without customers is one that a large tie jumped over. Whole
    numbers throughout: no rounding decides a score.
    """
    strictly_worse = values.rank("min", descending=not higher_is_better).cast(pl.Int64) - 1
    return (strictly_worse * SCORES // values.len() + 1).cast(pl.Int32)


def cut_points(rfm: pl.DataFrame) -> pl.DataFrame:
    """The range of values behind every score of features.rfm_features, as rows of features.rfm_cut_points, sorted by key."""
    per_metric = [
        rfm.group_by("snapshot_month", pl.col(column).alias("score")).agg(
            pl.lit(metric).alias("metric"),
            pl.col(metric).min().cast(pl.Float64).alias("lowest"),
            pl.col(metric).max().cast(pl.Float64).alias("highest"),
            pl.len().alias("customer_count"),
        )
        for metric, (column, _) in _SCORED.items()
    ]
    return _conform(pl.concat(per_metric), RFM_CUT_POINTS)


def validate_segments(rfm_segments: pl.DataFrame) -> None:
    """Raise ValueError unless the seed names every cell of the recency and frequency grid exactly once, and the message says which it does not."""
    cells = list(rfm_segments.select("r_score", "f_score").iter_rows())
    grid = [(r, f) for r in range(1, SCORES + 1) for f in range(1, SCORES + 1)]
    problems = {
        "missing": [cell for cell in grid if cell not in cells],
        "double": [cell for cell in grid if cells.count(cell) > 1],
        "outside the grid": [cell for cell in cells if cell not in grid],
        "without a name": list(rfm_segments.filter(pl.col("rfm_segment").fill_null("") == "").select("r_score", "f_score").iter_rows()),
    }
    found = [f"{problem}: {', '.join(f'r{r} f{f}' for r, f in where)}" for problem, where in problems.items() if where]
    if found:
        raise ValueError(f"seed rfm_segments must name each of the {len(grid)} cells once; {'; '.join(found)}")


def _identified(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.filter(pl.col("customer_id").is_not_null())


def _sale_figures() -> list[pl.Expr]:
    return [
        pl.col("invoice_no").n_unique().alias("sale_invoice_count"),
        pl.col("invoiced_at").dt.date().n_unique().alias("sale_day_count"),
        pl.len().alias("sale_line_count"),
        pl.col("quantity").cast(pl.Int64).sum().alias("units_sold"),
        pl.col("amount").sum().alias("gross_amount"),
        pl.col("invoiced_at").min().alias("first_sale_at"),
        pl.col("invoiced_at").max().alias("last_sale_at"),
        pl.col("stock_code").unique().sort().alias("stock_codes"),
    ]


def _known_by(as_of: date, window_months: int | None) -> pl.Expr:
    month = as_of.replace(day=1)
    known = pl.col("invoice_month") <= month
    if window_months is None:
        return known
    if window_months < 1:
        raise ValueError(f"window_months must be at least 1, but is {window_months}")
    return known & (pl.col("invoice_month") > pl.lit(month).dt.offset_by(f"-{window_months}mo"))


def _totals(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per customer with a sale in the rows; who only gave back has no recency and is no customer of the snapshot."""
    return (
        rows.group_by("customer_id")
        .agg(
            pl.col("sale_invoice_count").sum().alias("frequency"),
            pl.col("gross_amount", "returned_amount").sum(),
            pl.col("first_sale_at").min(),
            pl.col("last_sale_at").max(),
        )
        .filter(pl.col("frequency") > 0)
    )


def _product_counts(rows: pl.DataFrame) -> pl.DataFrame:
    bought = rows.filter(pl.col("sale_line_count") > 0).select("customer_id", pl.col("stock_codes")).explode("stock_codes")
    return bought.group_by("customer_id").agg(pl.col("stock_codes").n_unique().alias("distinct_products"))


def _feature_columns(as_of: date) -> list[pl.Expr]:
    gross, returned = pl.col("gross_amount"), pl.col("returned_amount")
    monetary = (gross - returned).cast(pl.Decimal(18, 4))
    return [
        pl.lit(as_of.replace(day=1)).alias("snapshot_month"),
        _days_until(as_of, "last_sale_at").alias("recency_days"),
        _days_until(as_of, "first_sale_at").alias("tenure_days"),
        monetary.alias("monetary"),
        (monetary.cast(pl.Float64) / pl.col("frequency")).alias("average_order_value"),
        # A credit note may pay more than the sale did, and goods given away have no gross amount to divide by.
        pl.when(gross > 0).then((returned.cast(pl.Float64) / gross.cast(pl.Float64)).clip(0, 1)).otherwise(0.0).alias("return_rate"),
    ]


def _days_until(as_of: date, moment: str) -> pl.Expr:
    return (pl.lit(as_of) - pl.col(moment).dt.date()).dt.total_days()


def _conform(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The frame with the columns, types and order of rows of its table."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in table.polars_schema.items()).sort(table.key)
