with segment_model as (
    select * from {{ source('segments', 'segment_model') }}
),

segment_candidates as (
    select *
    from {{ source('segments', 'segment_candidates') }}
    where is_chosen
),

segment_alignment as (
    select * from {{ source('segments', 'segment_alignment') }}
),

segment_drift as (
    select * from {{ source('segments', 'segment_drift') }}
),

customer_segments as (
    select * from {{ source('segments', 'customer_segments') }}
),

models as (
    select distinct
        snapshot_month,
        fitted_month,
        algorithm,
        k
    from segment_model
),

customers_by_month as (
    select
        snapshot_month,
        count(*) as customer_count,
        -- Rounded, because a sum of floating-point numbers depends on the order in which rows are stored.
        round(avg(silhouette), 9) as mean_silhouette,
        avg(case when is_outlier then 1.0 else 0.0 end) as outlier_share
    from customer_segments
    group by snapshot_month
),

ranked_drift as (
    select
        snapshot_month,
        measure,
        psi,
        row_number() over (partition by snapshot_month order by psi desc, measure asc) as drift_rank
    from segment_drift
),

largest_drift as (
    select *
    from ranked_drift
    where drift_rank = 1
),

final as (
    select
        models.snapshot_month,
        models.algorithm,
        models.k as segment_count,
        models.fitted_month,
        models.fitted_month < models.snapshot_month as is_kept_model,
        segment_candidates.silhouette as fit_silhouette,
        segment_candidates.stability as fit_stability,
        coalesce(customers_by_month.customer_count, 0) as customer_count,
        cast(customers_by_month.mean_silhouette as double) as mean_silhouette,
        cast(customers_by_month.outlier_share as double) as outlier_share,
        segment_alignment.aligned_agreement as same_segment_share,
        largest_drift.psi as largest_psi,
        largest_drift.measure as most_drifted_measure
    from models
    left join segment_candidates
        on
            models.fitted_month = segment_candidates.snapshot_month
            and models.k = segment_candidates.k
    left join customers_by_month
        on models.snapshot_month = customers_by_month.snapshot_month
    left join segment_alignment
        on models.snapshot_month = segment_alignment.snapshot_month
    left join largest_drift
        on models.snapshot_month = largest_drift.snapshot_month
)

select * from final
