with transactions as (
    select *
    from {{ source('core', 'transactions') }}
    where customer_id is not null
),

countries_by_customer as (
    select
        customer_id,
        country,
        count(*) filter (where not is_return) as sale_line_count,
        min(invoiced_at) filter (where not is_return) as first_sale_at,
        max(invoiced_at) filter (where not is_return) as last_sale_at,
        max(invoiced_at) as last_seen_at
    from transactions
    group by customer_id, country
),

ranked_countries as (
    select
        *,
        row_number() over (
            partition by customer_id order by sale_line_count desc, last_seen_at desc, country asc
        ) as country_rank
    from countries_by_customer
),

final as (
    select
        customer_id,
        max(country) filter (where country_rank = 1) as home_country,
        count(*) as country_count,
        min(first_sale_at) as first_sale_at,
        max(last_sale_at) as last_sale_at
    from ranked_countries
    group by customer_id
)

select * from final
