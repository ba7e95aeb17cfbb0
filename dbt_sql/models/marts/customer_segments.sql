with customer_segments as (
    select * from {{ source('segments', 'customer_segments') }}
),

rfm_features as (
    select * from {{ source('features', 'rfm_features') }}
),

final as (
    select
        customer_segments.snapshot_month,
        customer_segments.customer_id,
        customer_segments.segment_id,
        customer_segments.segment_name,
        customer_segments.distance,
        customer_segments.silhouette,
        customer_segments.is_outlier,
        rfm_features.recency_days,
        rfm_features.frequency,
        rfm_features.monetary,
        rfm_features.net_amount,
        rfm_features.tenure_days,
        rfm_features.average_order_value,
        rfm_features.return_rate,
        rfm_features.country,
        rfm_features.r_score,
        rfm_features.f_score,
        rfm_features.m_score,
        rfm_features.rfm_segment,
        rfm_features.previous_rfm_segment,
        rfm_features.movement
    from customer_segments
    left join rfm_features
        on
            customer_segments.snapshot_month = rfm_features.snapshot_month
            and customer_segments.customer_id = rfm_features.customer_id
)

select * from final
