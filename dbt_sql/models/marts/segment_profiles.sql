with segment_profiles as (
    select * from {{ source('segments', 'segment_profiles') }}
),

final as (
    select
        snapshot_month,
        segment_id,
        segment_name,
        explanation,
        rule,
        rule_precision,
        rule_recall,
        customer_count,
        customer_share,
        outlier_count,
        net_amount,
        revenue_share,
        median_recency_days,
        median_frequency,
        median_monetary,
        recency_contribution,
        frequency_contribution,
        monetary_contribution,
        array_to_string(top_stock_codes, '; ') as top_stock_codes,
        array_to_string(top_products, '; ') as top_products,
        array_to_string(top_countries, '; ') as top_countries,
        mean_silhouette
    from segment_profiles
)

select * from final
