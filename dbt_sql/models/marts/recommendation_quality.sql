with recommendation_quality as (
    select * from {{ source('rules', 'recommendation_quality') }}
),

final as (
    select
        snapshot_month,
        shown_count,
        line_count,
        hit_count,
        hit_rate,
        popular_hit_count,
        popular_hit_rate
    from recommendation_quality
)

select * from final
