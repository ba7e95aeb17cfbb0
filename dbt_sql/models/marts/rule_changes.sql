with association_rules as (
    select * from {{ source('rules', 'association_rules') }}
),

numbered as (
    select
        snapshot_month,
        extract(year from snapshot_month) * 12 + extract(month from snapshot_month) as month_no,
        antecedent,
        consequent,
        array_to_string(antecedent_names, ' + ') as antecedent_text,
        array_to_string(consequent_names, ' + ') as consequent_text,
        confidence,
        lift,
        basket_count
    from association_rules
),

months as (
    select distinct
        snapshot_month,
        month_no
    from numbered
),

compared_months as (
    select months.*
    from months
    inner join months as earlier_months
        on months.month_no = earlier_months.month_no + 1
),

rules_now as (
    select numbered.*
    from numbered
    inner join compared_months
        on numbered.month_no = compared_months.month_no
),

rules_before as (
    select
        compared_months.snapshot_month as compared_month,
        numbered.*
    from numbered
    inner join compared_months
        on numbered.month_no + 1 = compared_months.month_no
),

final as (
    select
        coalesce(rules_now.snapshot_month, rules_before.compared_month) as snapshot_month,
        coalesce(rules_now.antecedent, rules_before.antecedent) as antecedent,
        coalesce(rules_now.consequent, rules_before.consequent) as consequent,
        coalesce(rules_now.antecedent_text, rules_before.antecedent_text) as antecedent_text,
        coalesce(rules_now.consequent_text, rules_before.consequent_text) as consequent_text,
        case
            when rules_before.antecedent is null then 'new'
            when rules_now.antecedent is null then 'gone'
            else 'kept'
        end as rule_status,
        rules_before.basket_count as basket_count_before,
        rules_now.basket_count,
        rules_before.confidence as confidence_before,
        rules_now.confidence,
        rules_before.lift as lift_before,
        rules_now.lift
    from rules_now
    full join rules_before
        on
            rules_now.snapshot_month = rules_before.compared_month
            and rules_now.antecedent = rules_before.antecedent
            and rules_now.consequent = rules_before.consequent
)

select * from final
