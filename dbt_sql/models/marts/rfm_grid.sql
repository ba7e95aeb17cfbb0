with rfm_features as (
    select * from {{ source('features', 'rfm_features') }}
),

cells as (
    select
        snapshot_month,
        r_score,
        f_score,
        rfm_segment,
        count(*) as customer_count,
        sum(net_amount) as net_amount,
        avg(m_score) as mean_m_score
    from rfm_features
    group by snapshot_month, r_score, f_score, rfm_segment
),

months as (
    select
        snapshot_month,
        sum(customer_count) as customer_count,
        sum(net_amount) as net_amount
    from cells
    group by snapshot_month
),

final as (
    select
        cells.snapshot_month,
        cells.r_score,
        cells.f_score,
        cells.rfm_segment,
        cells.customer_count,
        cast(cells.customer_count as double) / cast(months.customer_count as double) as customer_share,
        cast(cells.net_amount as decimal(18, 4)) as net_amount,
        cast(cells.net_amount as double) / nullif(cast(months.net_amount as double), 0) as revenue_share,
        cast(cells.mean_m_score as double) as mean_m_score
    from cells
    inner join months
        on cells.snapshot_month = months.snapshot_month
)

select * from final
