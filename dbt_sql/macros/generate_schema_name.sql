{#- A model stands in exactly the schema it names (`marts`), not in `<target>_marts` as by dbt's default. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
