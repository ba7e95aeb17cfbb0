"""Every question the report asks the published file. One query per section; parameters carry every value.

No Python but the texts of the queries: what is made of the answers stands in `figures.py`.
"""

from __future__ import annotations

from typing import Final

from retail_assets.summary import TELLING_RULE

PUBLICATION: Final = """
    select published_at, code_version, file_count, raw_line_count, settings, settings_hash, seed, run_id
    from marts.publication
"""

MONTHS: Final = """
    with movements as (
        select
            snapshot_month,
            count(*) as customer_count,
            count(*) filter (where movement = 'new') as new_count,
            count(*) filter (where movement = 'reactivated') as reactivated_count,
            count(*) filter (where movement = 'retained') as retained_count,
            count(*) filter (where movement = 'lapsing') as lapsing_count,
            count(*) filter (where movement = 'lost') as lost_count
        from marts.customer_segments
        group by snapshot_month
    ),
    sale_days as (
        select month_start, count(*) as sale_day_count, max(calendar_date) as last_sale_date
        from marts.dim_date
        where is_trading_day
        group by month_start
    )
    select
        kpis.invoice_month,
        kpis.raw_line_count,
        kpis.quarantined_line_count,
        kpis.gross_amount,
        kpis.credited_amount,
        kpis.first_seen_net_amount as net_amount,
        kpis.restated_net_amount,
        kpis.order_count,
        kpis.average_order_value,
        kpis.active_customer_count,
        kpis.anonymous_share,
        coalesce(sale_days.sale_day_count, 0) as sale_day_count,
        sale_days.last_sale_date,
        coalesce(movements.customer_count, 0) as customer_count,
        coalesce(movements.new_count, 0) as new_count,
        coalesce(movements.reactivated_count, 0) as reactivated_count,
        coalesce(movements.retained_count, 0) as retained_count,
        coalesce(movements.lapsing_count, 0) as lapsing_count,
        coalesce(movements.lost_count, 0) as lost_count
    from marts.monthly_kpis as kpis
    left join movements on kpis.invoice_month = movements.snapshot_month
    left join sale_days on kpis.invoice_month = sale_days.month_start
    order by kpis.invoice_month
"""

CUSTOMERS: Final = """
    select
        customer_id, segment_id, segment_name, recency_days, frequency,
        cast(monetary as double) as monetary, cast(net_amount as double) as net_amount, movement
    from marts.customer_segments
    where snapshot_month = $month
    order by customer_id
"""

SEGMENTS: Final = """
    select
        profiles.segment_id,
        profiles.segment_name,
        profiles.explanation,
        profiles.rule,
        profiles.rule_precision,
        profiles.rule_recall,
        profiles.customer_count,
        profiles.customer_share,
        profiles.net_amount,
        profiles.revenue_share,
        profiles.median_recency_days,
        profiles.median_frequency,
        profiles.median_monetary,
        profiles.top_products,
        profiles.top_countries,
        before.customer_count as customer_count_before,
        coalesce(health.fitted_month, profiles.snapshot_month) as fitted_month
    from marts.segment_profiles as profiles
    left join marts.segment_health as health on profiles.snapshot_month = health.snapshot_month
    left join marts.segment_profiles as before
        on profiles.segment_id = before.segment_id and before.snapshot_month = $month_before
    where profiles.snapshot_month = $month
    order by profiles.net_amount desc, profiles.segment_id
"""

MOVES: Final = """
    select from_segment_id, from_segment_name, to_segment_id, to_segment_name, customer_count, net_amount_before, net_amount
    from marts.segment_migration
    where snapshot_month = $month
    order by movement_id
"""

RFM_CELLS: Final = """
    select r_score, f_score, rfm_segment, count(*) as customer_count, sum(net_amount) as net_amount
    from features.rfm_features
    where snapshot_month = $month
    group by r_score, f_score, rfm_segment
    order by r_score, f_score
"""

RULES: Final = f"""
    select
        antecedent, consequent, antecedent_text, consequent_text, has_variants,
        basket_count, antecedent_count, total_basket_count, confidence, lift, expected_lift,
        lift / expected_lift as times_expected,
        basket_count * (1 - expected_lift / lift) as surplus_basket_count,
        count(*) over () as telling_rule_count
    from marts.association_rules
    where snapshot_month = $month and {TELLING_RULE}
    order by surplus_basket_count desc, times_expected desc, antecedent, consequent
    limit $limit
"""  # noqa: S608 - a constant of ours

PERSISTENCE: Final = """
    select sum(judged_rule_count)::bigint as judged_rule_count, sum(persistent_rule_count)::bigint as persistent_rule_count
    from marts.rule_persistence
    where snapshot_month = $month_before
    having sum(judged_rule_count) > 0
"""

HITS: Final = """
    select shown_count, hit_rate, popular_hit_rate
    from marts.recommendation_quality
    where snapshot_month = $month_before and shown_count = $ranks and line_count > 0
"""

RECOMMENDATIONS: Final = """
    with best_sellers as (
        select stock_code, sum(net_amount) as net_amount, count(distinct invoice_no) as order_count
        from marts.fct_sales
        where invoice_month = $month
        group by stock_code
        order by net_amount desc, stock_code
        limit $limit
    )
    select
        best_sellers.stock_code, best_sellers.net_amount, best_sellers.order_count,
        recommended.description, recommended.rank, recommended.recommended_stock_code, recommended.recommended_description,
        recommended.basis, recommended.basket_count
    from best_sellers
    inner join marts.product_recommendations as recommended
        on best_sellers.stock_code = recommended.stock_code and recommended.snapshot_month = $month
    where recommended.rank <= $ranks
    order by best_sellers.net_amount desc, best_sellers.stock_code, recommended.rank
"""

LARGEST_CREDIT: Final = """
    select returns.stock_code, products.description, sum(returns.amount) as amount
    from marts.fct_returns as returns
    left join marts.dim_product as products on returns.stock_code = products.stock_code
    where returns.invoice_month = $month
    group by returns.return_id, returns.stock_code, products.description
    order by amount desc, returns.return_id
    limit 1
"""

CHECKS: Final = """
    select
        severity,
        count(*) as result_count,
        count(*) filter (where is_passed) as passed_count
    from marts.data_quality
    where invoice_month is null or invoice_month <= $month
    group by severity
    order by severity
"""

FAILED_CHECKS: Final = """
    select invoice_month, table_name, check_name, severity, observed, expected, recovery
    from marts.data_quality
    where not is_passed and (invoice_month is null or invoice_month <= $month)
    order by invoice_month desc nulls first, severity, table_name, check_name
"""

COMPLETENESS: Final = """
    select observed, is_passed, recovery
    from marts.data_quality
    where invoice_month = $month and table_name = 'raw.raw_transactions' and check_name = 'month_is_complete'
"""

QUARANTINE: Final = """
    select
        reason,
        count(*) as line_count,
        coalesce(sum(amount), 0) as amount,
        count(*) filter (where invoice_month = $month) as month_line_count,
        coalesce(sum(amount) filter (where invoice_month = $month), 0) as month_amount
    from core.quarantine
    where invoice_month <= $month
    group by reason
    order by line_count desc, reason
"""

FILES: Final = """
    select file_name, status, reason
    from raw.landed_files
    where status = 'refused'
    order by file_name
"""
