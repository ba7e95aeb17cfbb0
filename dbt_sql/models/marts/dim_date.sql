with transactions as (
    select * from {{ source('core', 'transactions') }}
),

loaded_months as (
    select
        min(invoice_month) as first_day,
        cast(max(invoice_month) + interval '1' month - interval '1' day as date) as last_day
    from transactions
),

calendar as (
    select cast(unnest(generate_series(first_day, last_day, interval '1' day)) as date) as calendar_date
    from loaded_months
),

trading_days as (
    select distinct cast(invoiced_at as date) as calendar_date
    from transactions
    where not is_return
),

final as (
    select
        calendar.calendar_date,
        cast(date_trunc('month', calendar.calendar_date) as date) as month_start,
        cast(extract(year from calendar.calendar_date) as integer) as calendar_year,
        cast(extract(quarter from calendar.calendar_date) as integer) as calendar_quarter,
        cast(extract(month from calendar.calendar_date) as integer) as calendar_month,
        cast(date_trunc('week', calendar.calendar_date) as date) as week_start,
        cast(extract(week from calendar.calendar_date) as integer) as iso_week,
        cast(extract(isodow from calendar.calendar_date) as integer) as iso_weekday,
        dayname(calendar.calendar_date) as weekday_name,
        extract(isodow from calendar.calendar_date) in (6, 7) as is_weekend,
        trading_days.calendar_date is not null as is_trading_day
    from calendar
    left join trading_days
        on calendar.calendar_date = trading_days.calendar_date
)

select * from final
