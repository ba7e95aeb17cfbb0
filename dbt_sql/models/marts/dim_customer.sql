with customers as (
    select * from {{ ref('customers') }}
),

final as (
    select
        customer_id,
        home_country,
        country_count,
        cast(date_trunc('month', first_sale_at) as date) as cohort_month,
        first_sale_at,
        last_sale_at
    from customers
)

select * from final
