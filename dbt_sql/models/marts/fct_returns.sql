with returns as (
    select * from {{ source('core', 'returns') }}
),

credit_lines as (
    select *
    from {{ source('core', 'transactions') }}
    where is_return
),

final as (
    select
        returns.return_id,
        returns.match_no,
        credit_lines.invoice_no,
        returns.invoice_month,
        cast(returns.returned_at as date) as return_date,
        returns.returned_at,
        returns.sale_id,
        returns.sale_month,
        returns.stock_code,
        returns.customer_id,
        credit_lines.country,
        returns.match_status,
        returns.is_left_censored,
        returns.quantity,
        returns.amount
    from returns
    left join credit_lines
        on returns.return_id = credit_lines.transaction_id
)

select * from final
