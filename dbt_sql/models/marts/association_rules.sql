with association_rules as (
    select * from {{ source('rules', 'association_rules') }}
),

final as (
    select
        snapshot_month,
        antecedent,
        consequent,
        array_to_string(antecedent_names, ' + ') as antecedent_text,
        array_to_string(consequent_names, ' + ') as consequent_text,
        basket_count,
        antecedent_count,
        consequent_count,
        total_basket_count,
        support,
        confidence,
        lift,
        leverage,
        conviction,
        zhangs_metric,
        jaccard,
        expected_lift,
        q_value,
        is_redundant,
        is_mirror,
        has_variants,
        certainty,
        cosine,
        kulczynski,
        imbalance_ratio,
        odds_ratio,
        phi,
        chi_squared,
        fisher_p_value,
        next_month_antecedent_count,
        next_month_support,
        next_month_confidence,
        next_month_lift
    from association_rules
)

select * from final
