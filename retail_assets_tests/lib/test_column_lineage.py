"""Where the columns of a query come from, through CTEs, joins, stars and unions."""

import pytest
from sqlglot.errors import SqlglotError

from retail_assets.lib.column_lineage import origins

SALES, PRODUCTS = ("core", "sales"), ("core", "products")
COLUMNS = {
    SALES: {"stock_code": "varchar", "quantity": "integer", "unit_price": "decimal(18,4)"},
    PRODUCTS: {"stock_code": "varchar", "description": "varchar"},
}


def test_columns_are_followed_through_ctes_joins_and_stars() -> None:
    query = """
        with sales as (select * from "retail"."core"."sales"),
        products as (select * from "retail"."core"."products"),
        final as (
            select
                sales.stock_code,
                products.description as product,
                sum(sales.quantity * sales.unit_price) as amount,
                count(*) as line_count
            from sales
            left join products on sales.stock_code = products.stock_code
            group by sales.stock_code, products.description
        )
        select * from final
    """
    assert origins(query, COLUMNS) == {
        "stock_code": [(SALES, "stock_code")],
        "product": [(PRODUCTS, "description")],
        "amount": [(SALES, "quantity"), (SALES, "unit_price")],
        "line_count": [],
    }


def test_both_sides_of_a_union_count() -> None:
    query = "select stock_code from core.sales union all select stock_code from core.products"
    assert origins(query, COLUMNS) == {"stock_code": [(PRODUCTS, "stock_code"), (SALES, "stock_code")]}


def test_what_is_no_query_and_what_no_table_has_is_refused() -> None:
    with pytest.raises(SqlglotError):
        origins("select price from core.sales", COLUMNS)
    with pytest.raises(SqlglotError):
        origins("select (", COLUMNS)
    with pytest.raises(SqlglotError, match="no query"):
        origins("drop table core.sales", COLUMNS)
