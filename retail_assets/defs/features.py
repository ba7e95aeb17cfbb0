"""features: what each customer did, month by month, and the RFM snapshot at the end of each month. The method stands in `lib/rfm.py`."""

from datetime import date

import duckdb

from retail_assets import months as m
from retail_assets import quality
from retail_assets.contracts import CUSTOMER_MONTHS, RETURNS, RFM_CUT_POINTS, RFM_FEATURES, TRANSACTIONS
from retail_assets.lib import rfm
from retail_assets.monthly import Frames, key_of, monthly_asset
from retail_assets.partitions import until
from retail_assets.seeds import read_seed
from retail_assets.settings import Settings
from retail_assets.warehouse import read, read_months

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


@monthly_asset(tables=[CUSTOMER_MONTHS], deps=[TRANSACTIONS, RETURNS], checks=[sales_of_customers_complete])
def customer_months(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:  # noqa: ARG001 - one signature for all
    """Everything RFM needs, in a form that adds up over months: a refresh reads one month of transactions, not the history."""
    lines = read_months(connection, TRANSACTIONS, month, month)
    return {CUSTOMER_MONTHS: rfm.customer_months(lines, read_months(connection, RETURNS, month, month))}


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


@monthly_asset(tables=[RFM_FEATURES, RFM_CUT_POINTS], deps=[until(key_of(CUSTOMER_MONTHS))], checks=[scores_in_range])
def rfm_features(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:
    """Recency, frequency and monetary value of every customer as of the last day of the month, from what was known then.

    Scores from 1 to 5 in which equal values always score equally, their cut points, and the named segment of the 5x5 grid.
    """
    history = read(
        connection,
        "select * from features.customer_months where invoice_month <= $month order by customer_id, invoice_month",
        {"month": month},
    )
    snapshot = rfm.rfm_features(history, m.last_day(month), read_seed("rfm_segments"), settings.rfm_window_months)
    return {RFM_FEATURES: snapshot, RFM_CUT_POINTS: rfm.cut_points(snapshot)}
