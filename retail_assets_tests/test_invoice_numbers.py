"""A shop that uses its invoice numbers again, from the landed file to what readers see: an invoice is a number within one month."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from retail_assets_tests.processes import BESIDE_PYTHON, run

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
LINES = """
    536365,10001,CUP,6,2011-01-31 23:59,2.55,17850,France
    536365,10001,CUP,6,2011-02-01 00:00,2.55,17850,France
    C536366,10001,CUP,-8,2011-02-03 10:00,2.55,17850,France
    1,10002,TEA,1,2011-01-10 10:00,1.00,12583,France
    1,10003,POT,1,2011-01-10 10:00,4.00,12583,France
    1,10004,FORK,2,2011-02-10 10:00,2.00,12583,France
    1,10005,KNIFE,2,2011-02-10 10:00,3.00,12583,France
"""
"""A line that stands equal on both sides of midnight at a month's end, and the credit of more units than either sold; invoice 1 of each of two
months, two products on each."""


@pytest.fixture(scope="module")
def readers_see(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published file after one run."""
    home = tmp_path_factory.mktemp("home")
    (home / "landing").mkdir()
    (home / "landing" / "sales.csv").write_text("\n".join([HEADER, *LINES.split("\n    ")[1:]]), encoding="utf-8")
    # Every pair of products that is in one basket is told.
    done = run([BESIDE_PYTHON / "retail", "run"], home, RETAIL_MIN_BASKET_COUNT="1", RETAIL_MIN_LIFT="0")
    assert done.returncode == 0, done.stderr
    with duckdb.connect(home / "serving" / "retail.duckdb", read_only=True) as reader:
        yield reader


def test_equal_lines_of_two_months_are_two_sales(readers_see: duckdb.DuckDBPyConnection) -> None:
    sold = "select transaction_id, quantity, returned_quantity from marts.fct_sales where invoice_no = '536365' order by invoiced_at"
    assert readers_see.sql(sold).fetchall() == [("2011-01-31/536365/10001/6/2.55/1", 6, 2), ("2011-02-01/536365/10001/6/2.55/1", 6, 6)]


def test_a_credit_takes_back_sales_of_both_months_the_latest_first(readers_see: duckdb.DuckDBPyConnection) -> None:
    reversed_sales = "select match_no, sale_id, sale_month::varchar, quantity, match_status from core.returns order by match_no"
    assert readers_see.sql(reversed_sales).fetchall() == [
        (1, "2011-02-01/536365/10001/6/2.55/1", "2011-02-01", 6, "full"),
        (2, "2011-01-31/536365/10001/6/2.55/1", "2011-01-01", 2, "full"),
    ]


def test_orders_of_a_customer_are_as_many_as_its_invoices_by_month(readers_see: duckdb.DuckDBPyConnection) -> None:
    counted = "select customer_id, order_count, frequency, product_count, favourite_stock_code from marts.customer_360 order by customer_id"
    assert readers_see.sql(counted).fetchall() == [("12583", 2, 2, 4, "10005"), ("17850", 2, 2, 1, "10001")]
    assert readers_see.sql("select order_count from marts.monthly_kpis order by invoice_month").fetchall() == [(2,), (2,)]


def test_the_baskets_of_a_window_are_those_of_its_months(readers_see: duckdb.DuckDBPyConnection) -> None:
    pairs = "select snapshot_month::varchar, itemset, count, total_basket_count from rules.frequent_itemsets where item_count = 2 order by all"
    assert readers_see.sql(pairs).fetchall() == [
        ("2011-01-01", ["10002", "10003"], 1, 1),
        ("2011-02-01", ["10002", "10003"], 1, 2),
        ("2011-02-01", ["10004", "10005"], 1, 2),
    ]
