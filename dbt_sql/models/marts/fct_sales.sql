with sale_lines as (
    select *
    from {{ source('core', 'transactions') }}
    where not is_return
),

matched_returns as (
    select *
    from {{ source('core', 'returns') }}
    where sale_id is not null
),

returns_by_sale as (
    select
        sale_id,
        sum(quantity) as returned_quantity,
        sum(amount) as returned_amount
    from matched_returns
    group by sale_id
),

final as (
    select
        sale_lines.transaction_id,
        sale_lines.invoice_no,
        sale_lines.line_no,
        sale_lines.invoice_month,
        cast(sale_lines.invoiced_at as date) as sale_date,
        sale_lines.invoiced_at,
        sale_lines.stock_code,
        sale_lines.customer_id,
        sale_lines.country,
        sale_lines.is_batch_order,
        sale_lines.quantity,
        sale_lines.unit_price,
        sale_lines.amount,
        cast(coalesce(returns_by_sale.returned_quantity, 0) as bigint) as returned_quantity,
        cast(coalesce(returns_by_sale.returned_amount, 0) as decimal(18, 4)) as returned_amount,
        cast(sale_lines.quantity - coalesce(returns_by_sale.returned_quantity, 0) as bigint) as net_quantity,
        cast(sale_lines.amount - coalesce(returns_by_sale.returned_amount, 0) as decimal(18, 4)) as net_amount
    from sale_lines
    left join returns_by_sale
        on sale_lines.transaction_id = returns_by_sale.sale_id
)

select * from final
