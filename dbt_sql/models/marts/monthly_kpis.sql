with raw_transactions as (
    select * from {{ source('raw', 'raw_transactions') }}
),

transactions as (
    select * from {{ source('core', 'transactions') }}
),

quarantine as (
    select * from {{ source('core', 'quarantine') }}
),

sales as (
    select * from {{ ref('fct_sales') }}
),

returns as (
    select * from {{ ref('fct_returns') }}
),

customers as (
    select * from {{ ref('dim_customer') }}
),

raw_by_month as (
    select
        invoice_month,
        count(*) as line_count,
        sum(amount) as amount
    from raw_transactions
    group by invoice_month
),

transactions_by_month as (
    select
        invoice_month,
        count(*) as line_count,
        sum(amount) as amount
    from transactions
    group by invoice_month
),

quarantine_by_month as (
    select
        invoice_month,
        count(*) as line_count,
        sum(amount) as amount
    from quarantine
    group by invoice_month
),

-- A month that has landed but is not cleaned yet would show sales of zero: it is left out.
cleaned_months as (
    select invoice_month from transactions_by_month
    union distinct
    select invoice_month from quarantine_by_month
),

sales_by_month as (
    select
        invoice_month,
        count(distinct invoice_no) as order_count,
        count(distinct customer_id) as active_customer_count,
        sum(amount) as gross_amount,
        sum(amount) filter (where customer_id is null) as anonymous_amount,
        sum(returned_amount) as returned_amount,
        sum(net_amount) as net_amount
    from sales
    group by invoice_month
),

credits_by_month as (
    select
        invoice_month,
        sum(amount) as credited_amount,
        sum(amount) filter (where sale_id is null) as orphan_amount
    from returns
    group by invoice_month
),

new_customers_by_month as (
    select
        cohort_month as invoice_month,
        count(*) as new_customer_count
    from customers
    group by cohort_month
),

baskets as (
    select
        invoice_month,
        invoice_no
    from sales
    where not is_batch_order
    group by invoice_month, invoice_no
    having count(distinct stock_code) >= 2
),

baskets_by_month as (
    select
        invoice_month,
        count(*) as basket_count
    from baskets
    group by invoice_month
),

final as (
    select
        cleaned_months.invoice_month,
        coalesce(raw_by_month.line_count, 0) as raw_line_count,
        coalesce(transactions_by_month.line_count, 0) as transaction_line_count,
        coalesce(quarantine_by_month.line_count, 0) as quarantined_line_count,
        cast(coalesce(raw_by_month.amount, 0) as decimal(18, 4)) as raw_amount,
        cast(coalesce(transactions_by_month.amount, 0) as decimal(18, 4)) as transaction_amount,
        cast(coalesce(quarantine_by_month.amount, 0) as decimal(18, 4)) as quarantined_amount,
        cast(coalesce(sales_by_month.gross_amount, 0) as decimal(18, 4)) as gross_amount,
        cast(coalesce(credits_by_month.credited_amount, 0) as decimal(18, 4)) as credited_amount,
        cast(coalesce(credits_by_month.orphan_amount, 0) as decimal(18, 4)) as orphan_amount,
        cast(
            coalesce(sales_by_month.gross_amount, 0) - coalesce(credits_by_month.credited_amount, 0) as decimal(18, 4)
        ) as first_seen_net_amount,
        cast(coalesce(sales_by_month.returned_amount, 0) as decimal(18, 4)) as returned_amount,
        cast(coalesce(sales_by_month.net_amount, 0) as decimal(18, 4)) as restated_net_amount,
        coalesce(sales_by_month.order_count, 0) as order_count,
        cast(sales_by_month.gross_amount as double) / nullif(sales_by_month.order_count, 0) as average_order_value,
        coalesce(baskets_by_month.basket_count, 0) as basket_count,
        coalesce(sales_by_month.active_customer_count, 0) as active_customer_count,
        coalesce(new_customers_by_month.new_customer_count, 0) as new_customer_count,
        cast(coalesce(sales_by_month.anonymous_amount, 0) as double)
        / nullif(cast(sales_by_month.gross_amount as double), 0) as anonymous_share
    from cleaned_months
    left join raw_by_month
        on cleaned_months.invoice_month = raw_by_month.invoice_month
    left join transactions_by_month
        on cleaned_months.invoice_month = transactions_by_month.invoice_month
    left join quarantine_by_month
        on cleaned_months.invoice_month = quarantine_by_month.invoice_month
    left join sales_by_month
        on cleaned_months.invoice_month = sales_by_month.invoice_month
    left join credits_by_month
        on cleaned_months.invoice_month = credits_by_month.invoice_month
    left join new_customers_by_month
        on cleaned_months.invoice_month = new_customers_by_month.invoice_month
    left join baskets_by_month
        on cleaned_months.invoice_month = baskets_by_month.invoice_month
)

select * from final
