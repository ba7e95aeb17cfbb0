"""core: typed lines that sell a product or take one back; every other line in quarantine with its reason; and which sale a return reverses.

The rules of cleaning stand in `lib/cleaning.py`, the matching of returns in `lib/returns.py`. `core.products` and `core.customers` are dbt models.
"""

from collections.abc import Iterator
from datetime import date

import duckdb

from retail_assets import month_parts, quality
from retail_assets.calendar_checks import trading_days_have_sales
from retail_assets.contracts import PRODUCT_NAMES, QUARANTINE, RAW_TRANSACTIONS, RETURNS, TRANSACTIONS
from retail_assets.lib import cleaning, returns
from retail_assets.monthly import Frames, key_of, monthly_asset
from retail_assets.partitions import before, until
from retail_assets.seeds import read_seed
from retail_assets.settings import Settings
from retail_assets.warehouse import read

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

values_in_range = quality.Check(
    name="values_in_range",
    table=TRANSACTIONS,
    description="Quantity has the sign of a sale or a return and is not 0, price is above 0, amount = quantity * unit_price, and the month is right.",
    query=quality.rows_at_fault("""
        select
            transaction_id as row_key,
            unnest(list_filter([
                case when quantity = 0 then 'quantity is 0' end,
                case when quantity < 0 and not is_return then 'a sale of negative quantity' end,
                case when quantity > 0 and is_return then 'a return of positive quantity' end,
                case when unit_price <= 0 then 'unit_price is not above 0' end,
                case when amount <> quantity * unit_price then 'amount is not quantity * unit_price' end,
                case when date_trunc('month', invoiced_at)::date <> invoice_month then 'invoiced_at is in another month' end
            ], lambda fault: fault is not null)) as fault
        from core.transactions
        where
            invoice_month = $month
            and (
                quantity = 0
                or (quantity < 0) <> is_return
                or unit_price <= 0
                or amount <> quantity * unit_price
                or date_trunc('month', invoiced_at)::date <> invoice_month
            )
    """),
    recovery="A rule of cleaning let lines through that it must set aside: the month was not written. Report it with the keys.",
)

lines_per_trading_day_usual = quality.Check(
    name="lines_per_trading_day_usual",
    table=TRANSACTIONS,
    description=(
        "Lines per day with trade are between half of and three times the median of the six months before; passes while there are fewer than three. "
        "By day, so that a month that is still running can be compared."
    ),
    query="""
        with daily as (
            select invoice_month, count(*) / count(distinct invoiced_at::date) as line_count
            from core.transactions
            where invoice_month between $month - interval 6 month and $month
            group by invoice_month
        ),
        past as (
            select median(line_count) as usual, count(*) as month_count from daily where invoice_month < $month
        ),
        now as (
            select coalesce(max(line_count), 0) as line_count from daily where invoice_month = $month
        )
        select
            case
                when past.month_count < 3 then 'too few months before: ' || past.month_count
                when now.line_count between 0.5 * past.usual and 3 * past.usual then 'between 0.5 and 3 times the usual'
                else format('{:.0f} lines per day, {:.2f} times the usual {:.0f}', now.line_count, now.line_count / past.usual, past.usual)
            end as observed,
            case
                when past.month_count < 3 then 'too few months before: ' || past.month_count
                else 'between 0.5 and 3 times the usual'
            end as expected
        from past cross join now
    """,
    recovery="Compare raw.landed_files of the month with what the source sent: a part of each day is missing, or lines came twice in another form.",
    severity="WARN",
)

quarantined_shares_usual = quality.Check(
    name="quarantined_shares_usual",
    table=QUARANTINE,
    description=(
        "The share of lines set aside for each reason is within five spreads of its median in the twelve months before (spread: the median absolute "
        "deviation as a standard deviation, or what chance alone would give if that is more); passes while there are fewer than six."
    ),
    query="""
        with landed as (
            select invoice_month, count(*) as line_count
            from raw.raw_transactions
            where invoice_month between $month - interval 12 month and $month
            group by invoice_month
        ),
        set_aside as (
            select invoice_month, reason, count(*) as line_count
            from core.quarantine
            -- Lines that landed twice have their own check, no_line_landed_twice.
            where invoice_month between $month - interval 12 month and $month and reason not in ('overlapping_file', 'repeated_invoice')
            group by invoice_month, reason
        ),
        shares as (
            select
                landed.invoice_month,
                reasons.reason,
                landed.line_count as landed_count,
                coalesce(set_aside.line_count, 0) as line_count,
                coalesce(set_aside.line_count, 0) / landed.line_count as share
            from landed
            cross join (select distinct reason from set_aside) as reasons
            left join set_aside on landed.invoice_month = set_aside.invoice_month and reasons.reason = set_aside.reason
        ),
        past as (
            select reason, median(share) as usual, 1.4826 * mad(share) as spread from shares where invoice_month < $month group by reason
        ),
        odd as (
            select format('{} {:.2f}% ({} lines), usually {:.2f}%', shares.reason, 100 * shares.share, shares.line_count, 100 * past.usual) as text
            from shares
            inner join past on shares.reason = past.reason
            where
                shares.invoice_month = $month
                and abs(shares.share - past.usual)
                > 5 * greatest(past.spread, sqrt(greatest(past.usual * shares.landed_count, 1)) / shares.landed_count)
        ),
        history as (
            select count(*) as month_count from landed where invoice_month < $month
        )
        select
            case
                when history.month_count < 6 then 'too few months before: ' || history.month_count
                else coalesce((select string_agg(text, '; ' order by text) from odd), 'every share as usual')
            end as observed,
            case when history.month_count < 6 then 'too few months before: ' || history.month_count else 'every share as usual' end as expected
        from history
    """,
    recovery="Look at core.quarantine of the month by reason and file_name: a new code, format or habit of the source shows there first.",
    severity="WARN",
)

no_line_landed_twice = quality.Check(
    name="no_line_landed_twice",
    table=QUARANTINE,
    description="No line was set aside because another file, or its own, holds it again. Such lines count once; the files named hold the copies.",
    query=quality.rows_at_fault("""
        select reason as fault, file_name as row_key
        from core.quarantine
        where invoice_month = $month and reason in ('overlapping_file', 'repeated_invoice')
    """),
    recovery="Nothing is counted twice. Take the overlapping file out of the landing folder if it should not be there.",
    severity="WARN",
)


_AS_PARSED = {"quantity": "parsed_quantity", "unit_price": "parsed_unit_price", "invoiced_at": "parsed_invoiced_at"}
_LINEAGE = {
    TRANSACTIONS: {
        **{
            name: [(RAW_TRANSACTIONS, _AS_PARSED.get(name, name))]
            for name in ("invoice_month", "invoice_no", "stock_code", "quantity", "unit_price", "amount", "invoiced_at", "customer_id", "country")
        },
        "description": [(PRODUCT_NAMES, "description"), (PRODUCT_NAMES, "line_count"), (PRODUCT_NAMES, "unpriced_line_count")],
        "is_return": [(RAW_TRANSACTIONS, "invoice_no"), (RAW_TRANSACTIONS, "parsed_quantity")],
    },
    QUARANTINE: {column.name: [(RAW_TRANSACTIONS, column.name)] for column in QUARANTINE.columns if column.name in RAW_TRANSACTIONS.polars_schema},
}


@monthly_asset(
    tables=[TRANSACTIONS, QUARANTINE],
    deps=[RAW_TRANSACTIONS, PRODUCT_NAMES],
    checks=[
        lines_and_pennies_conserved,
        values_in_range,
        trading_days_have_sales,
        lines_per_trading_day_usual,
        quarantined_shares_usual,
        no_line_landed_twice,
    ],
    lineage=_LINEAGE,
)
def transactions(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Iterator[Frames]:
    """Every raw line goes to exactly one of core.transactions and core.quarantine, by one ordered table of rules.

    A product has one name: the commonest text on priced lines of its first month, so that later files never rename it.
    """
    return ({TRANSACTIONS: part.transactions, QUARANTINE: part.quarantine} for part in cleaned_parts(connection, month, settings.duplicates))


def cleaned_parts(
    connection: duckdb.DuckDBPyConnection, month: date, duplicates: cleaning.Duplicates = "keep", size: int = month_parts.LINES_PER_PART
) -> Iterator[cleaning.Cleaned]:
    """The month cleaned in parts of about so many lines; together they are what cleaning it at once gives."""
    names = read(connection, "select * from raw.product_names where invoice_month <= $month order by all", {"month": month})
    for number, lines in enumerate(month_parts.whole_invoices(connection, RAW_TRANSACTIONS, month, size)):
        yield cleaning.clean(
            lines, names, read_seed("non_product_codes"), read_seed("country_names"), duplicates=duplicates, is_first_part=number == 0
        )


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

reversed_sales_exist = quality.Check(
    name="reversed_sales_exist",
    table=RETURNS,
    description="Every sale that is reversed is a sale in core.transactions: same customer and product, its month as said, not after the return.",
    query=quality.rows_at_fault("""
        select
            returns.return_id || ' -> ' || returns.sale_id as row_key,
            case
                when sales.transaction_id is null then 'no such line'
                when sales.is_return then 'not a sale'
                when sales.customer_id is distinct from returns.customer_id or sales.stock_code <> returns.stock_code
                    then 'sale of another customer or product'
                when sales.invoice_month is distinct from returns.sale_month then 'sale of another month'
                else 'sold after the return'
            end as fault
        from core.returns
        left join core.transactions as sales on returns.sale_id = sales.transaction_id
        where
            returns.invoice_month = $month
            and returns.sale_id is not null
            and (
                sales.transaction_id is null
                or sales.is_return
                or sales.customer_id is distinct from returns.customer_id
                or sales.stock_code <> returns.stock_code
                or sales.invoice_month is distinct from returns.sale_month
                or sales.invoiced_at > returns.returned_at
            )
    """),
    recovery="An earlier month was written again after this one. Materialize core/returns from that month to the last.",
)


@monthly_asset(
    tables=[RETURNS],
    deps=[until(key_of(TRANSACTIONS)), before(key_of(RETURNS))],
    checks=[credits_accounted_for, never_more_returned_than_sold, reversed_sales_exist],
)
def returns_ledger(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:  # noqa: ARG001 - one signature for all
    """Each credit line matched to the sales it reverses: same customer and product, latest earlier sale first, never more units than were sold.

    A credit line is matched in full, in part or not at all (orphan). A sale before the first landed month cannot be found: what may belong to one is
    marked as left-censored.
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
    # Of the months that can be matched, which may begin after the first landed one.
    data_start = read(connection, "select min(invoice_month) as first_month from core.transactions").item() or month
    return {RETURNS: returns.match_returns(credit_lines, sales, consumed, data_start=data_start)}
