"""Recency, frequency and monetary value per customer: the monthly roll-up, the snapshot at a month's end, its scores and cut points.

Pure functions on polars frames whose columns are those of `retail_assets.contracts`. What is a product line and which sale a credit note reverses
is decided before (`cleaning`); clusters of customers are found after (`segments`). No storage, no Dagster and no clock in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

import polars as pl

from retail_assets.contracts import CUSTOMER_MONTHS, RETURNS, RFM_CUT_POINTS, RFM_FEATURES, TRANSACTIONS
from retail_assets.lib.cleaning import customer_text
from retail_assets.seeds import read_seed

if TYPE_CHECKING:
    from retail_assets.contracts import Table

SCORES = 5
"""Scores run from 1 to 5, a fifth of the customers each where values do not tie."""

_SCORED = {"recency_days": ("r_score", False), "frequency": ("f_score", True), "monetary": ("m_score", True)}
"""Scored metric -> its score column, and whether more is better."""

_LARGEST_AMOUNT = 1e14
"""From here on an amount does not fit DECIMAL(18,4)."""

_MONTH_KEY = ["invoice_month", "customer_id"]


@dataclass(frozen=True)
class Definition:
    """Which of the definitions that are in use for R, F and M a snapshot follows.

    Attributes:
        window_months: Length of the trailing window in months, that of the snapshot included; None for the whole history.
        frequency: `invoices` counts distinct sale invoices (Fader, Hardie and Lee 2005 call them transactions), `days` counts distinct days with one,
            so that an order keyed in two parts counts once.
        amount: `net` takes matched returns off, `gross` does not.
        monetary: `sum` to date, or the `mean` per unit of `frequency` (Hughes 1994 scores the sum; CLV models need the mean).
        lapsing_after_days: Days without a purchase after which a customer is lapsing.
        lost_after_days: Days without a purchase after which a customer is lost.
        fixed_cut_points: Rows of the seed `rfm_fixed_cut_points` to score by: `metric`, `score` (2 to 5), `cut_point`. None for quintiles.
    """

    window_months: int | None = None
    frequency: Literal["invoices", "days"] = "invoices"
    amount: Literal["net", "gross"] = "net"
    monetary: Literal["sum", "mean"] = "sum"
    lapsing_after_days: int = 90
    lost_after_days: int = 180
    fixed_cut_points: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        if self.window_months is not None and self.window_months < 1:
            raise ValueError(f"window_months must be at least 1, but is {self.window_months}")
        if not 0 < self.lapsing_after_days < self.lost_after_days:
            raise ValueError(
                f"lost_after_days ({self.lost_after_days}) must be more than lapsing_after_days ({self.lapsing_after_days}), and both above 0"
            )
        if self.fixed_cut_points is not None:
            validate_cut_points(self.fixed_cut_points)


USUAL = Definition()
"""What RFM mostly means: distinct invoices, net sales to date, scored by quintiles."""


def snapshot(lines: pl.DataFrame, as_of: date | None = None, definition: Definition = USUAL) -> pl.DataFrame:
    """RFM of a plain frame of sale lines in one call, for a notebook: the roll-up and one snapshot of it.

    Lines with a negative amount count as returns of the customer. In the pipeline only matched returns do: who needs that has the ledger
    (`retail_assets.lib.returns`) and calls `customer_months` and `rfm_features`.

    Args:
        lines: One row per sale or return line: `customer_id`, `invoice_no`, `invoiced_at` (Datetime), `amount` (any number, in one currency), and
            where known `stock_code`, `quantity` and `country`. Customers are read as in landed files: `17850.0` is `17850`; lines of nobody (null,
            NaN, blank) are left out.
        as_of: Last day of the snapshot month; that of the latest line if None.
        definition: Which definitions of R, F and M to follow.

    Returns:
        Rows of features.rfm_features, sorted by key.

    Raises:
        ValueError: A column is missing or null where there is a customer, an amount is no number (NaN) or too large, `as_of` is not the last day of a
            month, or nothing says which month it should be.
    """
    needed = ("customer_id", "invoice_no", "invoiced_at", "amount")
    if missing := [name for name in needed if name not in lines.columns]:
        raise ValueError(f"lines lack {missing}; they need the columns {list(needed)} and have {lines.columns}")
    optional = {"stock_code": pl.lit(""), "quantity": pl.lit(0), "country": pl.lit("")}
    identified = _identified(lines.with_columns(customer_text(pl.col("customer_id").cast(pl.String))))
    if nulls := {name: count for name in needed if (count := identified[name].null_count())}:
        raise ValueError(f"lines hold nulls: {nulls} of {identified.height} lines with a customer; drop these lines or repair them first")
    is_amount = pl.col("amount").cast(pl.Float64, strict=False).abs() < _LARGEST_AMOUNT
    if len(others := identified.filter(~is_amount.fill_null(value=False))):
        raise ValueError(
            f"amount of {others.height} lines is no number below {_LARGEST_AMOUNT:.0e}, such as {others.item(0, 'amount')} of invoice "
            f"{others.item(0, 'invoice_no')}; drop these lines or repair them first"
        )
    typed = identified.with_columns(
        pl.col("invoice_no").cast(pl.String),
        pl.col("invoiced_at").cast(pl.Datetime("us")),
        pl.col("amount").cast(TRANSACTIONS["amount"].polars_type),
        *(value.alias(name) for name, value in optional.items() if name not in lines.columns),
        line_no=pl.int_range(pl.len()),
        is_return=pl.col("amount") < 0,
        invoice_month=pl.col("invoiced_at").dt.date().dt.month_start(),
    )
    returned = typed.filter("is_return").select("invoice_month", "customer_id", amount=-pl.col("amount"), sale_id=pl.lit("unknown"))
    months = customer_months(typed, returned.cast({"amount": RETURNS["amount"].polars_type}))
    last = as_of or typed.select(pl.col("invoiced_at").dt.date().dt.month_end().max()).item()
    if last is None:
        raise ValueError("there is no line with a customer: give as_of, or lines")
    return rfm_features(months, last, definition=definition)


def customer_months(transactions: pl.DataFrame, returns: pl.DataFrame) -> pl.DataFrame:
    """What every identified customer bought and gave back in each month of the frames.

    Everything `rfm_features` needs adds up from these rows, so that a refresh reads one month of transactions and not the history. An invoice is a
    number within a month, so one whose lines straddle midnight at a month's end counts in both. The real data has none.

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
            pl.col("gross_amount", "returned_amount", "orphan_amount", "first_day_amount").fill_null(0),
            pl.col("stock_codes").fill_null([]),
        ),
        CUSTOMER_MONTHS,
    )


def rfm_features(
    customer_months: pl.DataFrame,
    as_of: date,
    rfm_segments: pl.DataFrame | None = None,
    definition: Definition = USUAL,
    product_counts: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One snapshot: every customer who had bought by the end of a month, from what was known then.

    Months after the snapshot are ignored, so the whole of features.customer_months may be passed. With a trailing window only its months count:
    customers without a sale in them are left out, tenure starts at the first sale inside the window, and a return counts in the month of its credit
    note, even where the sale it reverses lies before the window. Movement looks at the whole history all the same: nobody is new twice.

    Args:
        customer_months: Rows of features.customer_months.
        as_of: Last day of the snapshot month; recency and tenure count to this day.
        rfm_segments: The seed `rfm_segments`: `r_score`, `f_score`, `rfm_segment`, one row per cell of the grid. The project's own if None.
        definition: Which definitions of R, F and M to follow.
        product_counts: `customer_id` and `distinct_products` of the months that count, where they are known; then `customer_months` needs no
            `stock_codes`. Counted from them if None.

    Returns:
        Rows of features.rfm_features, sorted by key.

    Raises:
        ValueError: `as_of` is not the last day of a month, or the seed does not cover the grid.
    """
    if (as_of + timedelta(days=1)).day != 1:
        raise ValueError(f"as_of must be the last day of a month, but is {as_of}")
    seed = read_seed("rfm_segments") if rfm_segments is None else rfm_segments
    validate_segments(seed)
    month_before = as_of.replace(day=1) - timedelta(days=1)
    named = _named(customer_months, as_of, seed, definition)
    before = _named(customer_months, month_before, seed, definition).select("customer_id", previous_rfm_segment="rfm_segment")
    bought_before = (
        customer_months.filter(pl.col("invoice_month") <= month_before)
        .group_by("customer_id")
        .agg(_days_until(month_before, pl.col("last_sale_at").max()).alias("recency_days_before"))
    )
    products = _product_counts(customer_months.filter(_known_by(as_of, definition.window_months))) if product_counts is None else product_counts
    snapshot_rows = named
    for others in (before, bought_before, products):
        snapshot_rows = snapshot_rows.join(others, on="customer_id", how="left", validate="1:1")
    return _conform(snapshot_rows.with_columns(_movement(definition)), RFM_FEATURES)


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


def fixed_score(values: pl.Series, cut_points: pl.Series, higher_is_better: bool) -> pl.Series:
    """Scores from 1 to 5 by four cut points, in the order of the scores 2 to 5: the highest whose cut point a value reaches, else 1."""
    reached = pl.DataFrame({str(cut): values >= cut if higher_is_better else values <= cut for cut in cut_points})
    return (reached.sum_horizontal() + 1).cast(pl.Int32)


def cut_points(rfm: pl.DataFrame, definition: Definition = USUAL) -> pl.DataFrame:
    """The range of values behind every score of features.rfm_features, as rows of features.rfm_cut_points, sorted by key."""
    method = "quintiles" if definition.fixed_cut_points is None else "fixed"
    per_metric = [
        rfm.group_by("snapshot_month", pl.col(column).alias("score")).agg(
            pl.lit(metric).alias("metric"),
            pl.lit(method).alias("method"),
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


def validate_cut_points(fixed_cut_points: pl.DataFrame) -> None:
    """Raise ValueError unless every metric has a cut point for each score from 2 to 5, and a better score never has a worse one."""
    wanted = list(range(2, SCORES + 1))
    for metric, (_, higher_is_better) in _SCORED.items():
        rows = fixed_cut_points.filter(pl.col("metric") == metric).sort("score")
        if (scores := rows["score"].to_list()) != wanted:
            raise ValueError(f"seed rfm_fixed_cut_points must give {metric} one cut point for each score of {wanted}, but gives {scores}")
        points = rows["cut_point"].to_list()
        if points != sorted(set(points), reverse=not higher_is_better):
            raise ValueError(f"seed rfm_fixed_cut_points: cut points of {metric} must get better from score 2 to 5, but are {points}")


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
        pl.col("amount").filter(pl.col("invoiced_at").dt.date() == pl.col("invoiced_at").min().dt.date()).sum().alias("first_day_amount"),
        pl.col("country").sort_by("invoiced_at", "invoice_no", "line_no").last(),
        pl.col("stock_code").unique().sort().alias("stock_codes"),
    ]


def _known_by(as_of: date, window_months: int | None) -> pl.Expr:
    month = as_of.replace(day=1)
    known = pl.col("invoice_month") <= month
    return known if window_months is None else known & (pl.col("invoice_month") > pl.lit(month).dt.offset_by(f"-{window_months}mo"))


def _named(customer_months: pl.DataFrame, as_of: date, rfm_segments: pl.DataFrame, definition: Definition) -> pl.DataFrame:
    """Customers of a snapshot with metrics, scores and named segment."""
    totals = _totals(customer_months.filter(_known_by(as_of, definition.window_months)))
    features = totals.with_columns(_feature_columns(as_of, definition)).with_columns(_monetary(definition))
    scored = features.with_columns(_scores(features, definition.fixed_cut_points))
    names = rfm_segments.select(pl.col("r_score", "f_score").cast(pl.Int32), "rfm_segment")
    return scored.join(names, on=["r_score", "f_score"], how="left", validate="m:1")


def _totals(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per customer with a sale in the rows; who only gave back has no recency and is no customer of the snapshot."""
    return (
        rows.group_by("customer_id")
        .agg(
            pl.col("sale_invoice_count", "sale_day_count", "gross_amount", "returned_amount").sum(),
            pl.col("first_sale_at").min(),
            pl.col("last_sale_at").max(),
            # Months of returns only have no first sale, and sort last.
            pl.col("first_day_amount").sort_by("first_sale_at", nulls_last=True).first(),
            pl.col("country").sort_by("last_sale_at").last(),
        )
        .filter(pl.col("sale_invoice_count") > 0)
    )


def _product_counts(rows: pl.DataFrame) -> pl.DataFrame:
    bought = rows.filter(pl.col("sale_line_count") > 0).select("customer_id", pl.col("stock_codes")).explode("stock_codes")
    return bought.group_by("customer_id").agg(pl.col("stock_codes").n_unique().alias("distinct_products"))


def _feature_columns(as_of: date, definition: Definition) -> list[pl.Expr]:
    gross, returned, net = pl.col("gross_amount"), pl.col("returned_amount"), pl.col("gross_amount") - pl.col("returned_amount")
    repeat_days = pl.col("sale_day_count") - 1
    later_amount = (gross - pl.col("first_day_amount")).cast(pl.Float64)
    return [
        pl.lit(as_of.replace(day=1)).alias("snapshot_month"),
        _days_until(as_of, pl.col("last_sale_at")).alias("recency_days"),
        _days_until(as_of, pl.col("first_sale_at")).alias("tenure_days"),
        pl.col("sale_invoice_count" if definition.frequency == "invoices" else "sale_day_count").alias("frequency"),
        net.alias("net_amount"),
        (net.cast(pl.Float64) / pl.col("sale_invoice_count")).alias("average_order_value"),
        # A credit note may pay more than the sale did, and goods given away have no gross amount to divide by.
        pl.when(gross > 0).then((returned.cast(pl.Float64) / gross.cast(pl.Float64)).clip(0, 1)).otherwise(0.0).alias("return_rate"),
        repeat_days.alias("clv_frequency"),
        (pl.col("last_sale_at").dt.date() - pl.col("first_sale_at").dt.date()).dt.total_days().alias("clv_recency_days"),
        pl.when(repeat_days > 0).then(later_amount / repeat_days).otherwise(0.0).alias("clv_monetary_value"),
    ]


def _monetary(definition: Definition) -> pl.Expr:
    amount = pl.col("net_amount" if definition.amount == "net" else "gross_amount")
    if definition.monetary == "mean":
        amount = (amount.cast(pl.Float64) / pl.col("frequency")).round(4)
    return amount.cast(RFM_FEATURES["monetary"].polars_type).alias("monetary")


def _scores(features: pl.DataFrame, fixed_cut_points: pl.DataFrame | None) -> list[pl.Series]:
    if fixed_cut_points is None:
        return [score(features[metric], higher_is_better).alias(column) for metric, (column, higher_is_better) in _SCORED.items()]
    cuts = {metric: fixed_cut_points.filter(pl.col("metric") == metric).sort("score")["cut_point"] for metric in _SCORED}
    return [
        fixed_score(features[metric].cast(pl.Float64), cuts[metric], higher_is_better).alias(column)
        for metric, (column, higher_is_better) in _SCORED.items()
    ]


def _movement(definition: Definition) -> pl.Expr:
    """What became of a customer in the month, by the days without a purchase now and at the end of the month before."""
    now, before = pl.col("recency_days"), pl.col("recency_days_before")
    return (
        pl.when(before.is_null())
        .then(pl.lit("new"))
        .when(now > definition.lost_after_days)
        .then(pl.lit("lost"))
        .when(now > definition.lapsing_after_days)
        .then(pl.lit("lapsing"))
        .when(before > definition.lapsing_after_days)
        .then(pl.lit("reactivated"))
        .otherwise(pl.lit("retained"))
        .alias("movement")
    )


def _days_until(as_of: date, moment: pl.Expr) -> pl.Expr:
    return (pl.lit(as_of) - moment.dt.date()).dt.total_days()


def _conform(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The frame with the columns, types and order of rows of its table."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in table.polars_schema.items()).sort(table.key)
