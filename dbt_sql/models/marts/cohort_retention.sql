with customer_months as (
    select *
    from {{ source('features', 'customer_months') }}
    where sale_invoice_count > 0
),

cohorts as (
    select
        customer_id,
        min(invoice_month) as cohort_month
    from customer_months
    group by customer_id
),

cohort_sizes as (
    select
        cohort_month,
        count(*) as cohort_customer_count
    from cohorts
    group by cohort_month
),

months as (
    select distinct invoice_month
    from customer_months
),

activity as (
    select
        cohorts.cohort_month,
        customer_months.invoice_month,
        count(*) as active_customer_count,
        sum(customer_months.sale_invoice_count) as order_count,
        sum(customer_months.gross_amount) as gross_amount
    from customer_months
    inner join cohorts
        on customer_months.customer_id = cohorts.customer_id
    group by cohorts.cohort_month, customer_months.invoice_month
),

final as (
    select
        cohort_sizes.cohort_month,
        months.invoice_month,
        cast(
            (extract(year from months.invoice_month) - extract(year from cohort_sizes.cohort_month)) * 12
            + extract(month from months.invoice_month) - extract(month from cohort_sizes.cohort_month) as integer
        ) as months_since_first_purchase,
        cohort_sizes.cohort_customer_count,
        coalesce(activity.active_customer_count, 0) as active_customer_count,
        cast(coalesce(activity.active_customer_count, 0) as double)
        / cast(cohort_sizes.cohort_customer_count as double) as retention_rate,
        cast(coalesce(activity.order_count, 0) as bigint) as order_count,
        cast(coalesce(activity.gross_amount, 0) as decimal(18, 4)) as gross_amount
    from cohort_sizes
    inner join months
        on cohort_sizes.cohort_month <= months.invoice_month
    left join activity
        on
            cohort_sizes.cohort_month = activity.cohort_month
            and months.invoice_month = activity.invoice_month
)

select * from final
