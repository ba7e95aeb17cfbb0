"""features: what each customer did, month by month, and the RFM snapshot at the end of each month. The method stands in `lib/rfm.py`."""

from collections.abc import Iterator
from datetime import date

import duckdb

from retail_assets import month_parts, quality
from retail_assets import months as m
from retail_assets.contracts import CUSTOMER_MONTHS, RETURNS, RFM_CUT_POINTS, RFM_FEATURES, TRANSACTIONS
from retail_assets.lib import rfm
from retail_assets.monthly import Frames, key_of, monthly_asset
from retail_assets.partitions import until
from retail_assets.seeds import read_seed
from retail_assets.settings import Settings
from retail_assets.warehouse import read

sales_of_customers_complete = quality.Check(
    name="sales_of_customers_complete",
    table=CUSTOMER_MONTHS,
    description="Gross sales of the roll-up are those of all lines with a customer, to the penny.",
    query="""
        with rolled_up as (
            select coalesce(sum(gross_amount), 0)::decimal(38, 4) as amount from features.customer_months where invoice_month = $month
        ),
        sold as (
            select coalesce(sum(amount), 0)::decimal(38, 4) as amount
            from core.transactions
            where invoice_month = $month and not is_return and customer_id is not null
        )
        select rolled_up.amount as observed, sold.amount as expected
        from rolled_up cross join sold
    """,
    recovery="Materialize core/transactions and features/customer_months of the month again.",
)


_READ_OF_LINES = (
    *("invoice_month", "customer_id", "invoice_no", "line_no", "invoiced_at", "stock_code"),
    *("quantity", "amount", "country", "is_return"),
)
_READ_OF_RETURNS = ("invoice_month", "customer_id", "sale_id", "amount")


@monthly_asset(tables=[CUSTOMER_MONTHS], deps=[TRANSACTIONS, RETURNS], checks=[sales_of_customers_complete])
def customer_months(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Iterator[Frames]:  # noqa: ARG001 - one signature for all
    """Everything RFM needs, in a form that adds up over months: a refresh reads one month of transactions, not the history."""
    # A customer's figures are made of the customer's own lines alone, so large months are rolled up some customers at a time.
    parts = month_parts.part_count(connection, TRANSACTIONS, month)
    for part in range(parts):
        lines = month_parts.by_customer(connection, TRANSACTIONS, month, _READ_OF_LINES, part, parts)
        returned = month_parts.by_customer(connection, RETURNS, month, _READ_OF_RETURNS, part, parts)
        yield {CUSTOMER_MONTHS: rfm.customer_months(lines, returned)}


scores_in_range = quality.Check(
    name="scores_in_range",
    table=RFM_FEATURES,
    description="Every score is a whole number from 1 to 5, no recency is negative and no frequency below 1.",
    query="""
        select count(*) as observed, 0 as expected
        from features.rfm_features
        where
            snapshot_month = $month
            and (
                least(r_score, f_score, m_score) < 1
                or greatest(r_score, f_score, m_score) > 5
                or recency_days < 0
                or tenure_days < recency_days
                or frequency < 1
            )
    """,
    recovery="A fault of the pipeline: the month was not written. Report it with the month.",
)


def _guard(name: str, description: str, query: str, recovery: str) -> quality.Check:
    """A check that scores mean something. It reports: a shop in its first month has scores too, and its readers must know what they are worth."""
    return quality.Check(name=name, table=RFM_FEATURES, description=description, query=query, recovery=recovery, severity="WARN")


enough_buyers = _guard(
    "enough_buyers",
    "At least 100 customers: with fewer, a fifth of them is a handful, and one customer moves the cut points.",
    """
        select
            case when count(*) >= 100 then 'at least 100' else count(*) || ' customers' end as observed,
            'at least 100' as expected
        from features.rfm_features
        where snapshot_month = $month
    """,
    "Read scores as a ranking of these customers only, or set RETAIL_RFM_CUT_POINTS=fixed.",
)

enough_history = _guard(
    "enough_history",
    "At least 3 months from that of the first customers up to the snapshot: before, nobody can have been away for long, and frequency is cut short.",
    """
        with history as (
            select date_diff('month', min(invoice_month), $month) + 1 as month_count from features.customer_months where invoice_month <= $month
        )
        select
            case
                when month_count >= 3 then 'at least 3 months'
                when month_count = 1 then '1 month'
                else coalesce(month_count, 0) || ' months'
            end as observed,
            'at least 3 months' as expected
        from history
    """,
    "Land earlier months if there are any; else do not act on recency and frequency of this snapshot yet.",
)

recent_orders = _guard(
    "recent_orders",
    "At least 1 of 100 customers bought in the month of the snapshot: else recency tells how old the data is, not the customers.",
    """
        with bought as (
            select count(*) as customer_count, count(*) filter (where recency_days < day(last_day($month))) as recent_count
            from features.rfm_features
            where snapshot_month = $month
        )
        select
            case
                when recent_count >= 0.01 * customer_count and customer_count > 0 then 'at least 1 in 100'
                else recent_count || ' of ' || customer_count
            end as observed,
            'at least 1 in 100' as expected
        from bought
    """,
    "See in raw.landed_files whether the export of the month is missing or refused; land it and refresh the month.",
)

repeat_customers = _guard(
    "repeat_customers",
    "At least 1 of 10 customers bought more than once: else frequency is a constant and its scores are chance.",
    """
        with repeated as (
            select count(*) as customer_count, count(*) filter (where frequency > 1) as repeat_count
            from features.rfm_features
            where snapshot_month = $month
        )
        select
            case
                when repeat_count >= 0.1 * customer_count and customer_count > 0 then 'at least 1 in 10'
                else repeat_count || ' of ' || customer_count
            end as observed,
            'at least 1 in 10' as expected
        from repeated
    """,
    "Segment by recency and spend alone, and check that the source sends one customer number per customer.",
)


@monthly_asset(
    tables=[RFM_FEATURES, RFM_CUT_POINTS],
    deps=[until(key_of(CUSTOMER_MONTHS))],
    checks=[scores_in_range, enough_buyers, enough_history, recent_orders, repeat_customers],
)
def rfm_features(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:
    """Recency, frequency and monetary value of every customer as of the last day of the month, from what was known then.

    Scores from 1 to 5 in which equal values always score equally, their cut points, the named segment of the 5x5 grid beside that of the month
    before, and what became of the customer: new, retained, reactivated, lapsing or lost.
    """
    definition = _definition(settings)
    columns = ", ".join(name for name in CUSTOMER_MONTHS.polars_schema.names() if name != "stock_codes")
    history = read(
        connection,
        f"select {columns} from features.customer_months where invoice_month <= $month order by customer_id, invoice_month",  # noqa: S608
        {"month": month},
    )
    first = date.min if definition.window_months is None else m.shift(month, 1 - definition.window_months)
    products = read(connection, _PRODUCT_COUNTS, {"first": first, "month": month})
    snapshot = rfm.rfm_features(history, m.last_day(month), read_seed("rfm_segments"), definition, products)
    return {RFM_FEATURES: snapshot, RFM_CUT_POINTS: rfm.cut_points(snapshot, definition)}


_PRODUCT_COUNTS = """
    with bought as (
        select
            customer_id,
            unnest(stock_codes) as stock_code
        from features.customer_months
        where invoice_month between $first and $month and sale_line_count > 0
    )
    select
        customer_id,
        count(distinct stock_code) as distinct_products
    from bought
    group by customer_id
    order by customer_id
"""
"""The lists of products are the bulk of the history: the warehouse counts them, which can use the disk."""


def _definition(settings: Settings) -> rfm.Definition:
    return rfm.Definition(
        window_months=settings.rfm_window_months,
        frequency=settings.rfm_frequency,
        amount=settings.rfm_amount,
        monetary=settings.rfm_monetary,
        lapsing_after_days=settings.lapsing_after_days,
        lost_after_days=settings.lost_after_days,
        fixed_cut_points=read_seed("rfm_fixed_cut_points") if settings.rfm_cut_points == "fixed" else None,
    )
