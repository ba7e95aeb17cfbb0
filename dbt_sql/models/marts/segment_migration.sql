with segment_migration as (
    select * from {{ source('segments', 'segment_migration') }}
),

final as (
    select
        snapshot_month,
        movement_id,
        from_segment_id,
        from_segment_name,
        to_segment_id,
        to_segment_name,
        customer_count,
        net_amount_before,
        net_amount
    from segment_migration
)

select * from final
