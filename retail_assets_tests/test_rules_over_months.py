"""Rules over months: what they did in the next month is known whatever the order of refreshing, and nothing else knows of later months."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retail_assets import months as m
from retail_assets import quality
from retail_assets.contracts import (
    ASSOCIATION_RULES,
    CUSTOMER_SEGMENTS,
    FREQUENT_ITEMSETS,
    GROUP_RULES,
    PRODUCT_RECOMMENDATIONS,
    RECOMMENDATION_QUALITY,
    TRANSACTIONS,
    Table,
)
from retail_assets.defs import rules
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse, append, create_statement, read_months, replace_month, transaction
from retail_assets_tests.homes import NewWarehouse

pytestmark = pytest.mark.integration

MONTHS = m.window(date(2011, 1, 1), date(2011, 4, 1))
TABLES = (FREQUENT_ITEMSETS, ASSOCIATION_RULES, PRODUCT_RECOMMENDATIONS, RECOMMENDATION_QUALITY, GROUP_RULES)
NEXT_MONTH = ("next_month_antecedent_count", "next_month_support", "next_month_confidence", "next_month_lift")
SETTINGS = Settings(
    rules_window_months=2, min_support=0.05, min_basket_count=3, min_confidence=0.1, min_lift=0.0, min_group_baskets=20, max_itemset_length=3
)


def lines(month: date, invoice_no: str, products: str, *, country: str = "France", is_batch_order: bool = False) -> list[dict[str, object]]:
    shared = {
        "invoice_month": month,
        "invoice_no": invoice_no,
        "quantity": 1,
        "unit_price": Decimal("1.00"),
        "amount": Decimal("1.00"),
        "invoiced_at": datetime(month.year, month.month, 3),
        "customer_id": invoice_no[-1],
        "country": country,
        "is_return": False,
        "is_batch_order": is_batch_order,
    }
    return [
        {**shared, "transaction_id": f"{invoice_no}/{product}", "stock_code": product, "description": f"NAME {product}", "line_no": number}
        for number, product in enumerate(products, start=1)
    ]


def shop() -> pl.DataFrame:
    """Fifty baskets a month of a few products, A and B often together; `S` is only ever bought alone, `W` only in a web-shop batch."""
    generator = np.random.default_rng(3)
    rows = []
    for month in MONTHS:
        for number in range(50):
            held = [product for product in "CDEFG" if generator.random() < 0.5] + ["A", "B"] * int(generator.random() < 0.4)
            country = "France" if number % 2 else "Germany"
            rows += lines(month, f"{month:%m}{number:02}", "".join(held) or "H", country=country)
    rows += lines(MONTHS[0], "0150", "S") + lines(MONTHS[0], "0151", "WX", is_batch_order=True)
    return pl.DataFrame(rows, schema=TRANSACTIONS.polars_schema)


SHOP = shop()
SEGMENTS = pl.DataFrame(
    [
        {"snapshot_month": month, "customer_id": str(customer), "segment_id": customer % 2, "segment_name": ("even", "odd")[customer % 2]}
        for month in MONTHS
        for customer in range(10)
    ]
)
OF_NO_MATTER = {pl.Boolean: False, pl.Int32: 0, pl.Float64: 0.0, pl.String: "-"}
"""What stands in the other columns of segments."""


def segments() -> pl.DataFrame:
    blanks = [
        pl.lit(OF_NO_MATTER[type(dtype)], dtype).alias(name)
        for name, dtype in CUSTOMER_SEGMENTS.polars_schema.items()
        if name not in SEGMENTS.columns and type(dtype) in OF_NO_MATTER
    ]
    return SEGMENTS.with_columns(pl.col("segment_id").cast(pl.Int32), *blanks)


def land(warehouse: Warehouse, months: Sequence[date]) -> None:
    with warehouse.get_connection() as connection, transaction(connection):
        for month in months:
            replace_month(connection, TRANSACTIONS, month, SHOP.filter(pl.col("invoice_month") == month))
        connection.execute("delete from segments.customer_segments")
        append(connection, CUSTOMER_SEGMENTS, segments())


def refresh(warehouse: Warehouse, first: date, last: date | None = None) -> None:
    tags = {"dagster/asset_partition_range_start": f"{first}", "dagster/asset_partition_range_end": f"{last or first}"}
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"warehouse": warehouse, "settings": SETTINGS}
        dg.materialize([rules.association_rules, rules.group_rules], instance=instance, resources=resources, tags=tags)


def stored(warehouse: Warehouse, table: Table) -> pl.DataFrame:
    with warehouse.get_connection() as connection:
        return read_months(connection, table, MONTHS[0], MONTHS[-1])


@pytest.fixture(scope="module")
def in_one_run(tmp_path_factory: pytest.TempPathFactory, new_warehouse: NewWarehouse) -> dict[Table, pl.DataFrame]:
    """The tables after all months landed and were refreshed in one run."""
    warehouse = new_warehouse(tmp_path_factory.mktemp("rules") / "retail.duckdb")
    land(warehouse, MONTHS)
    refresh(warehouse, MONTHS[0], MONTHS[-1])
    return {table: stored(warehouse, table) for table in TABLES}


def test_the_shop_gives_every_table_something_to_say(in_one_run: dict[Table, pl.DataFrame]) -> None:
    for table in (FREQUENT_ITEMSETS, ASSOCIATION_RULES, PRODUCT_RECOMMENDATIONS, GROUP_RULES):
        assert set(in_one_run[table]["snapshot_month"]) == set(MONTHS)
    assert set(in_one_run[RECOMMENDATION_QUALITY]["snapshot_month"]) == set(MONTHS[:-1])
    kinds = in_one_run[GROUP_RULES].group_by("group_kind").agg(pl.col("group_name").unique().sort()).sort("group_kind")
    assert kinds.rows() == [("country", ["France", "Germany"]), ("segment", ["even", "odd"])]


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)], ids=str)
@pytest.mark.usefixtures("_no_charts")
def test_any_order_of_refreshing_ends_in_the_same_tables(
    in_one_run: dict[Table, pl.DataFrame], tmp_path: Path, new_warehouse: NewWarehouse, order: tuple[int, ...]
) -> None:
    warehouse = new_warehouse(tmp_path / "retail.duckdb")
    land(warehouse, MONTHS)
    for index in order:
        refresh(warehouse, MONTHS[index])
    for table in TABLES:
        assert_frame_equal(stored(warehouse, table), in_one_run[table])


@pytest.mark.usefixtures("_no_charts")
def test_months_that_land_one_after_the_other_end_in_the_same_tables(
    in_one_run: dict[Table, pl.DataFrame], tmp_path: Path, new_warehouse: NewWarehouse
) -> None:
    warehouse = new_warehouse(tmp_path / "retail.duckdb")
    for number, month in enumerate(MONTHS, start=1):
        land(warehouse, MONTHS[:number])
        refresh(warehouse, month)
    for table in TABLES:
        assert_frame_equal(stored(warehouse, table), in_one_run[table])


@pytest.mark.usefixtures("_no_charts")
def test_nothing_but_what_a_rule_did_next_knows_of_later_months(
    in_one_run: dict[Table, pl.DataFrame], tmp_path: Path, new_warehouse: NewWarehouse
) -> None:
    for number, month in enumerate(MONTHS[:-1], start=1):
        warehouse = new_warehouse(tmp_path / f"{month}.duckdb")
        land(warehouse, MONTHS[:number])
        refresh(warehouse, month)
        is_month = pl.col("snapshot_month") == month
        for table in (FREQUENT_ITEMSETS, PRODUCT_RECOMMENDATIONS, GROUP_RULES):
            assert_frame_equal(stored(warehouse, table), in_one_run[table].filter(is_month))
        known_then = stored(warehouse, ASSOCIATION_RULES)
        assert_frame_equal(known_then.drop(NEXT_MONTH), in_one_run[ASSOCIATION_RULES].filter(is_month).drop(NEXT_MONTH))
        assert known_then.select(NEXT_MONTH).null_count().row(0) == (known_then.height,) * len(NEXT_MONTH)
        assert stored(warehouse, RECOMMENDATION_QUALITY).is_empty()


def test_what_a_rule_did_next_is_counted_in_the_baskets_of_that_month(in_one_run: dict[Table, pl.DataFrame]) -> None:
    february = SHOP.filter(pl.col("invoice_month") == MONTHS[1]).group_by("invoice_no").agg(pl.col("stock_code"))
    held = [set(products) for products in february["stock_code"] if len(products) > 1]
    [rule] = (
        in_one_run[ASSOCIATION_RULES]
        .filter(pl.col("snapshot_month") == MONTHS[0], pl.col("antecedent") == ["A"], pl.col("consequent") == ["C"])
        .to_dicts()
    )
    with_a, with_c, with_both = (sum(products <= basket for basket in held) for products in ({"A"}, {"C"}, {"A", "C"}))
    assert [rule[name] for name in NEXT_MONTH] == [
        with_a,
        with_both / len(held),
        with_both / with_a,
        pytest.approx(with_both * len(held) / (with_a * with_c)),
    ]


@pytest.mark.usefixtures("_no_charts")
def test_a_month_that_vanishes_takes_back_what_was_said_of_it(tmp_path: Path, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(tmp_path / "retail.duckdb")
    land(warehouse, MONTHS[:2])
    refresh(warehouse, MONTHS[0], MONTHS[1])
    assert stored(warehouse, ASSOCIATION_RULES).filter(pl.col("next_month_support").is_not_null()).height
    with warehouse.get_connection() as connection, transaction(connection):
        replace_month(connection, TRANSACTIONS, MONTHS[1], SHOP.clear())
    refresh(warehouse, MONTHS[1])
    assert stored(warehouse, ASSOCIATION_RULES)["next_month_support"].null_count() == stored(warehouse, ASSOCIATION_RULES).height
    assert stored(warehouse, RECOMMENDATION_QUALITY).is_empty()


def test_every_sold_product_has_recommendations_also_those_of_no_basket_or_before_the_window(in_one_run: dict[Table, pl.DataFrame]) -> None:
    april = in_one_run[PRODUCT_RECOMMENDATIONS].filter(pl.col("snapshot_month") == MONTHS[-1])
    assert set(april["stock_code"]) == set(SHOP["stock_code"])
    # Sold in January alone, by itself and in a batch; the window of April begins in March.
    assert set(april.filter(pl.col("stock_code").is_in(["S", "W", "X"]))["basis"]) == {"popular"}


@pytest.mark.parametrize(
    ("change", "is_passed"),
    [
        # 45 baskets: 5% are 2.25 of them, so that 3 are enough for the share and for the least number.
        ({}, True),
        ({"count": 2, "support": 2 / 45}, False),
        # Of 100 baskets, 5% are 5: 4 are enough for the least number only.
        ({"count": 5, "support": 0.05, "total_basket_count": 100}, True),
        ({"count": 4, "support": 0.04, "total_basket_count": 100}, False),
        # Of two baskets, the least number is two.
        ({"count": 2, "support": 1.0, "total_basket_count": 2}, True),
        ({"count": 1, "support": 0.5, "total_basket_count": 2}, False),
        ({"count": 46, "support": 46 / 45}, False),
        ({"support": 0.07}, False),
        ({"item_count": 2}, False),
    ],
)
def test_an_itemset_below_the_least_count_blocks_the_month(change: dict[str, object], is_passed: bool) -> None:
    itemset = {"snapshot_month": MONTHS[0], "itemset": ["A"], "item_count": 1, "count": 3, "support": 3 / 45, "total_basket_count": 45}
    row = {**itemset, "is_closed": True, "is_maximal": True, **change}
    with duckdb.connect() as connection:
        connection.execute(create_statement(FREQUENT_ITEMSETS))
        append(connection, FREQUENT_ITEMSETS, pl.DataFrame([row], schema=FREQUENT_ITEMSETS.polars_schema))
        result = quality.run(connection, rules.supports_are_exact, MONTHS[0], SETTINGS)
    assert (result.is_passed, result.is_blocking) == (is_passed, not is_passed)


def test_the_longest_itemsets_are_marked_as_if_mined_further(in_one_run: dict[Table, pl.DataFrame]) -> None:
    january = in_one_run[FREQUENT_ITEMSETS].filter(pl.col("snapshot_month") == MONTHS[0])
    longest = january.filter(pl.col("item_count") == SETTINGS.max_itemset_length)
    assert january["item_count"].max() == SETTINGS.max_itemset_length
    # Sets of four products are frequent too, but not shown: what they hold is not maximal.
    assert set(longest["is_maximal"]) == {True, False}
