with customers as (
    select * from {{ ref('dim_customer') }}
),

products as (
    select * from {{ ref('dim_product') }}
),

sales as (
    select *
    from {{ ref('fct_sales') }}
    where customer_id is not null
),

orphan_returns as (
    select *
    from {{ ref('fct_returns') }}
    where sale_id is null
),

customer_months as (
    select * from {{ source('features', 'customer_months') }}
),

rfm_features as (
    select * from {{ source('features', 'rfm_features') }}
),

customer_segments as (
    select * from {{ source('segments', 'customer_segments') }}
),

snapshots as (
    select
        max(snapshot_month) as latest_month,
        cast(max(snapshot_month) - interval '1' month as date) as previous_month
    from rfm_features
),

latest_features as (
    select rfm_features.*
    from rfm_features
    inner join snapshots
        on rfm_features.snapshot_month = snapshots.latest_month
),

latest_segments as (
    select customer_segments.*
    from customer_segments
    inner join snapshots
        on customer_segments.snapshot_month = snapshots.latest_month
),

previous_segments as (
    select customer_segments.*
    from customer_segments
    inner join snapshots
        on customer_segments.snapshot_month = snapshots.previous_month
),

orders_by_customer as (
    select
        customer_id,
        cast(sum(sale_invoice_count) as bigint) as order_count
    from customer_months
    group by customer_id
),

ordered_products as (
    select
        customer_id,
        stock_code,
        invoice_month,
        invoice_no,
        sum(amount) as gross_amount,
        sum(returned_amount) as returned_amount,
        sum(net_amount) as net_amount
    from sales
    group by customer_id, stock_code, invoice_month, invoice_no
),

products_by_customer as (
    select
        customer_id,
        stock_code,
        count(*) as order_count,
        sum(gross_amount) as gross_amount,
        sum(returned_amount) as returned_amount,
        sum(net_amount) as net_amount
    from ordered_products
    group by customer_id, stock_code
),

sales_by_customer as (
    select
        customer_id,
        count(*) as product_count,
        sum(gross_amount) as gross_amount,
        sum(returned_amount) as returned_amount,
        sum(net_amount) as net_amount
    from products_by_customer
    group by customer_id
),

orphan_credits_by_customer as (
    select
        customer_id,
        sum(amount) as orphan_amount
    from orphan_returns
    group by customer_id
),

ranked_products as (
    select
        customer_id,
        stock_code,
        row_number() over (
            partition by customer_id order by order_count desc, net_amount desc, stock_code asc
        ) as product_rank
    from products_by_customer
),

favourite_products as (
    select
        ranked_products.customer_id,
        ranked_products.stock_code,
        products.description
    from ranked_products
    inner join products
        on ranked_products.stock_code = products.stock_code
    where ranked_products.product_rank = 1
),

final as (
    select
        customers.customer_id,
        customers.home_country,
        customers.cohort_month,
        customers.first_sale_at,
        customers.last_sale_at,
        coalesce(orders_by_customer.order_count, 0) as order_count,
        coalesce(sales_by_customer.product_count, 0) as product_count,
        cast(coalesce(sales_by_customer.gross_amount, 0) as decimal(18, 4)) as gross_amount,
        cast(coalesce(sales_by_customer.returned_amount, 0) as decimal(18, 4)) as returned_amount,
        cast(coalesce(sales_by_customer.net_amount, 0) as decimal(18, 4)) as net_amount,
        cast(coalesce(orphan_credits_by_customer.orphan_amount, 0) as decimal(18, 4)) as orphan_amount,
        favourite_products.stock_code as favourite_stock_code,
        favourite_products.description as favourite_product,
        latest_features.snapshot_month,
        latest_features.recency_days,
        latest_features.frequency,
        latest_features.monetary,
        latest_features.tenure_days,
        latest_features.average_order_value,
        latest_features.return_rate,
        latest_features.clv_frequency,
        latest_features.clv_recency_days,
        latest_features.clv_monetary_value,
        latest_features.r_score,
        latest_features.f_score,
        latest_features.m_score,
        latest_features.rfm_segment,
        latest_features.previous_rfm_segment,
        latest_features.movement,
        latest_segments.segment_id,
        latest_segments.segment_name,
        previous_segments.segment_id as previous_segment_id,
        previous_segments.segment_name as previous_segment_name
    from customers
    left join orders_by_customer
        on customers.customer_id = orders_by_customer.customer_id
    left join sales_by_customer
        on customers.customer_id = sales_by_customer.customer_id
    left join orphan_credits_by_customer
        on customers.customer_id = orphan_credits_by_customer.customer_id
    left join favourite_products
        on customers.customer_id = favourite_products.customer_id
    left join latest_features
        on customers.customer_id = latest_features.customer_id
    left join latest_segments
        on customers.customer_id = latest_segments.customer_id
    left join previous_segments
        on customers.customer_id = previous_segments.customer_id
)

select * from final
