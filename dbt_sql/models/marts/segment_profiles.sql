with segment_profiles as (
    select * from {{ source('segments', 'segment_profiles') }}
),

final as (
    select
        snapshot_month,
        segment_id,
        segment_name,
        explanation,
        customer_count,
        customer_share,
        monetary,
        monetary_share,
        median_recency_days,
        median_frequency,
        median_monetary,
        mean_silhouette
    from segment_profiles
)

select * from final
