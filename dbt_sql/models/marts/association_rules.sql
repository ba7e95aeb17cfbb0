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
        is_redundant
    from association_rules
)

select * from final
