with association_rules as (
    select * from {{ source('rules', 'association_rules') }}
),

looked_up as (
    select
        snapshot_month,
        case
            when basket_count < 10 then 1
            when basket_count < 20 then 10
            when basket_count < 50 then 20
            when basket_count < 100 then 50
            when basket_count < 200 then 100
            else 200
        end as min_basket_count,
        confidence,
        next_month_confidence,
        lift,
        next_month_lift,
        next_month_lift > expected_lift as is_persistent
    from association_rules
    where next_month_support is not null
),

final as (
    select
        snapshot_month,
        min_basket_count,
        count(*) as rule_count,
        count(next_month_lift) as judged_rule_count,
        count(*) filter (where is_persistent) as persistent_rule_count,
        case when count(next_month_lift) > 0 then count(*) filter (where is_persistent) / count(next_month_lift) end as persistence_rate,
        -- Rounded, because a sum of floating-point numbers depends on the order in which rows are stored.
        round(avg(confidence) filter (where next_month_lift is not null), 9) as mean_confidence,
        round(avg(next_month_confidence) filter (where next_month_lift is not null), 9) as mean_next_month_confidence,
        round(avg(lift) filter (where next_month_lift is not null), 9) as mean_lift,
        round(avg(next_month_lift), 9) as mean_next_month_lift
    from looked_up
    group by snapshot_month, min_basket_count
)

select * from final
