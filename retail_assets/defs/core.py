"""core: typed lines that sell a product or take one back; every other line in quarantine with its reason; and which sale a return reverses.

The rules of cleaning stand in `lib/cleaning.py`, the matching of returns in `lib/returns.py`. `core.products` and `core.customers` are dbt models.
"""

from datetime import date

import duckdb

from retail_assets import quality
from retail_assets.contracts import PRODUCT_NAMES, QUARANTINE, RAW_TRANSACTIONS, RETURNS, TRANSACTIONS
from retail_assets.lib import cleaning, returns
from retail_assets.monthly import Frames, key_of, monthly_asset
from retail_assets.partitions import before, until
from retail_assets.seeds import read_seed
from retail_assets.settings import Settings
from retail_assets.warehouse import read, read_months

lines_and_pennies_conserved = quality.Check(
    name="lines_and_pennies_conserved",
    table=TRANSACTIONS,
    description="Raw lines = transactions + quarantine, and raw value = value of transactions + value of quarantine, to the penny.",
    query="""
        with kept as (
            select amount from core.transactions where invoice_month = $month
            union all
            select amount from core.quarantine where invoice_month = $month
        ),
        kept_totals as (
            select count(*) || ' lines, ' || coalesce(sum(amount), 0)::decimal(38, 4) || ' GBP' as total from kept
        ),
        raw_totals as (
            select count(*) || ' lines, ' || coalesce(sum(amount), 0)::decimal(38, 4) || ' GBP' as total
            from raw.raw_transactions
            where invoice_month = $month
        )
        select kept_totals.total as observed, raw_totals.total as expected
        from kept_totals cross join raw_totals
    """,
    recovery="A fault of the pipeline: the month was not written. Report it with the month and the files landed for it.",
)


@monthly_asset(
    tables=[TRANSACTIONS, QUARANTINE],
    deps=[RAW_TRANSACTIONS, PRODUCT_NAMES],
    checks=[lines_and_pennies_conserved],
)
def transactions(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:
    """Every raw line goes to exactly one of core.transactions and core.quarantine, by one ordered table of rules.

    A product has one name: the commonest text on priced lines of its first month, so that later files never rename it.
    """
    names = read(connection, "select * from raw.product_names where invoice_month <= $month order by all", {"month": month})
    cleaned = cleaning.clean(
        read_months(connection, RAW_TRANSACTIONS, month, month),
        names,
        read_seed("non_product_codes"),
        read_seed("country_names"),
        duplicates=settings.duplicates,
    )
    return {TRANSACTIONS: cleaned.transactions, QUARANTINE: cleaned.quarantine}


credits_accounted_for = quality.Check(
    name="credits_accounted_for",
    table=RETURNS,
    description="Quantity and value of the matches of a month are those of its credit lines, to the penny.",
    query="""
        with matched as (
            select coalesce(sum(quantity), 0)::bigint || ' units, ' || coalesce(sum(amount), 0)::decimal(38, 4) || ' GBP' as total
            from core.returns
            where invoice_month = $month
        ),
        credited as (
            select coalesce(-sum(quantity), 0)::bigint || ' units, ' || coalesce(-sum(amount), 0)::decimal(38, 4) || ' GBP' as total
            from core.transactions
            where invoice_month = $month and is_return
        )
        select matched.total as observed, credited.total as expected
        from matched cross join credited
    """,
    recovery="A fault of the pipeline: the month was not written. Report it with the month.",
)

never_more_returned_than_sold = quality.Check(
    name="never_more_returned_than_sold",
    table=RETURNS,
    description="No sale line is reversed for more units than it sold, over all months.",
    query="""
        with reversed_units as (
            select sale_id, sum(quantity) as quantity from core.returns where sale_id is not null group by sale_id
        ),
        touched as (
            select distinct sale_id from core.returns where invoice_month = $month and sale_id is not null
        )
        select count(*) as observed, 0 as expected
        from touched
        inner join reversed_units on touched.sale_id = reversed_units.sale_id
        left join core.transactions as sales on reversed_units.sale_id = sales.transaction_id
        where sales.quantity is null or reversed_units.quantity > sales.quantity
    """,
    recovery="An earlier month was written again after this one. Materialize core/returns from that month to the last.",
)


@monthly_asset(
    tables=[RETURNS],
    deps=[until(key_of(TRANSACTIONS)), before(key_of(RETURNS))],
    checks=[credits_accounted_for, never_more_returned_than_sold],
)
def returns_ledger(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:  # noqa: ARG001 - one signature for all
    """Each credit line matched to the sales it reverses: same customer and product, latest earlier sale first, never more units than were sold.

    A credit line is matched in full, in part or not at all (orphan): a sale before the first landed month cannot be found.
    """
    month_of_credits = {"month": month}
    credit_lines = read(
        connection,
        "select * from core.transactions where invoice_month = $month and is_return order by invoiced_at, transaction_id",
        month_of_credits,
    )
    sales = read(
        connection,
        """
        select sales.*
        from core.transactions as sales
        semi join (select customer_id, stock_code from core.transactions where invoice_month = $month and is_return) as credited
            on sales.customer_id = credited.customer_id and sales.stock_code = credited.stock_code
        where sales.invoice_month <= $month and not sales.is_return
        order by sales.invoiced_at, sales.transaction_id
        """,
        month_of_credits,
    )
    consumed = read(
        connection,
        """
        select sale_id, sum(quantity)::integer as quantity
        from core.returns
        where invoice_month < $month and sale_id is not null
        group by sale_id
        order by sale_id
        """,
        month_of_credits,
    )
    return {RETURNS: returns.match_returns(credit_lines, sales, consumed)}
