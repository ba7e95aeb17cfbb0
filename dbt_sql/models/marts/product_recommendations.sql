with product_recommendations as (
    select * from {{ source('rules', 'product_recommendations') }}
),

products as (
    select * from {{ ref('products') }}
),

final as (
    select
        product_recommendations.snapshot_month,
        product_recommendations.stock_code,
        products.description,
        product_recommendations.rank,
        product_recommendations.recommended_stock_code,
        recommended_products.description as recommended_description,
        product_recommendations.basis,
        product_recommendations.basket_count,
        product_recommendations.score
    from product_recommendations
    left join products
        on product_recommendations.stock_code = products.stock_code
    left join products as recommended_products
        on product_recommendations.recommended_stock_code = recommended_products.stock_code
)

select * from final
