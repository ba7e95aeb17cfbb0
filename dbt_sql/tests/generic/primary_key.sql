{#- The columns together identify a row, and none of them is null, except those in `nullable`: `unique` and `not_null` at one reading. -#}
{% test primary_key(model, columns, nullable=[]) %}

    select
        {{ columns | join(', ') }},
        count(*) as row_count
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1 or {{ columns | reject('in', nullable) | join(' is null or ') }} is null

{% endtest %}
