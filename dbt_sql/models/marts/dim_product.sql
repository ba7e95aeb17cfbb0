with products as (
    select * from {{ ref('products') }}
),

final as (
    select
        stock_code,
        description,
        first_sold_at,
        last_sold_at,
        units_sold,
        units_returned,
        gross_amount,
        returned_amount,
        cast(gross_amount - returned_amount as decimal(18, 4)) as net_amount
    from products
)

select * from final
