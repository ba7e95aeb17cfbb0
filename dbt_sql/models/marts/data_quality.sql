with check_results as (
    select * from {{ source('quality', 'check_results') }}
),

final as (
    select
        invoice_month,
        table_name,
        check_name,
        severity,
        is_passed,
        observed,
        expected,
        recovery
    from check_results
)

select * from final
