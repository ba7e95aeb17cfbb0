with group_rules as (
    select * from {{ source('rules', 'group_rules') }}
),

final as (
    select
        snapshot_month,
        group_kind,
        group_name,
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
        everyone_lift,
        lift_difference,
        lift_ratio,
        lift_ratio_low,
        lift_ratio_high,
        difference_q_value
    from group_rules
)

select * from final
