with transactions as (
    select * from {{ source('core', 'transactions') }}
),

returns as (
    select * from {{ source('core', 'returns') }}
),

lines_by_product as (
    select
        stock_code,
        max(description) as description,
        min(invoiced_at) filter (where not is_return) as first_sold_at,
        max(invoiced_at) filter (where not is_return) as last_sold_at,
        sum(quantity) filter (where not is_return) as units_sold,
        sum(amount) filter (where not is_return) as gross_amount
    from transactions
    group by stock_code
),

matched_returns_by_product as (
    select
        stock_code,
        sum(quantity) as units_returned,
        sum(amount) as returned_amount
    from returns
    where sale_id is not null
    group by stock_code
),

final as (
    select
        lines_by_product.stock_code,
        lines_by_product.description,
        lines_by_product.first_sold_at,
        lines_by_product.last_sold_at,
        cast(coalesce(lines_by_product.units_sold, 0) as bigint) as units_sold,
        cast(coalesce(lines_by_product.gross_amount, 0) as decimal(18, 4)) as gross_amount,
        cast(coalesce(matched_returns_by_product.units_returned, 0) as bigint) as units_returned,
        cast(coalesce(matched_returns_by_product.returned_amount, 0) as decimal(18, 4)) as returned_amount
    from lines_by_product
    left join matched_returns_by_product
        on lines_by_product.stock_code = matched_returns_by_product.stock_code
)

select * from final
