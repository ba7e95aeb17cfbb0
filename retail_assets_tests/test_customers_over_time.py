"""Features and segments month by month, as Dagster makes them: nothing known later changes them, and a model is kept where it must be."""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import dagster as dg
import duckdb
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retail_assets import contracts, quality
from retail_assets import months as m
from retail_assets.contracts import (
    CUSTOMER_MONTHS,
    CUSTOMER_SEGMENTS,
    RETURNS,
    RFM_CUT_POINTS,
    RFM_FEATURES,
    SEGMENT_ALIGNMENT,
    SEGMENT_CANDIDATES,
    SEGMENT_DRIFT,
    SEGMENT_MIGRATION,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    TRANSACTIONS,
    UNPUBLISHED_MONTHS,
    Table,
)
from retail_assets.defs import features, segments
from retail_assets.monthly import key_of
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse, append, create_statement, read_months
from retail_assets_tests.homes import NewWarehouse

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

ASSETS = [features.customer_months, features.rfm_features, segments.segment_model, segments.segment_migration]
TABLES = (
    CUSTOMER_MONTHS, RFM_FEATURES, RFM_CUT_POINTS, SEGMENT_MODEL, SEGMENT_CANDIDATES, SEGMENT_ALIGNMENT, SEGMENT_DRIFT, CUSTOMER_SEGMENTS,
    SEGMENT_PROFILES, SEGMENT_MIGRATION,
)  # fmt: skip
JANUARY, FEBRUARY, MARCH, APRIL, MAY = (date(2011, month, 1) for month in range(1, 6))
END_OF_MAY = date(2011, 5, 31)

KINDS = {"regular": (3, 90.0), "occasional": (25, 60.0), "once": (400, 30.0)}
"""Kind of customer -> days between two orders, and pounds of an order."""
PER_KIND = 30


@functools.cache
def orders() -> pl.DataFrame:
    """Sale lines of 90 customers from January to May. Somebody buys on every day."""
    random = np.random.default_rng(11)
    rows = []
    for kind, (every, pounds) in KINDS.items():
        for number in range(PER_KIND):
            day = JANUARY + timedelta(days=number % 30)
            while day <= END_OF_MAY:
                amount = Decimal(round(pounds * float(np.exp(random.normal(0, 0.3))), 2)).quantize(Decimal("0.0001"))
                rows.append((f"{kind}-{number:02}", datetime(day.year, day.month, day.day, 10), amount, f"P{number % 7}"))
                day += timedelta(days=max(1, round(every * float(np.exp(random.normal(0, 0.2))))))
    schema = pl.Schema({"customer_id": pl.String(), "invoiced_at": pl.Datetime("us"), "amount": pl.Decimal(18, 4), "stock_code": pl.String()})
    lines = pl.DataFrame(rows, schema=schema, orient="row")
    identity = pl.format("{}/{}", "customer_id", pl.col("invoiced_at").dt.date())
    return lines.with_columns(
        transaction_id=identity, invoice_no=identity, invoice_month=pl.col("invoiced_at").dt.date().dt.month_start(), line_no=1, quantity=1,
        unit_price="amount", description=pl.format("PRODUCT {}", "stock_code"), country=pl.lit("France"), is_return=False, is_batch_order=False,
    ).cast({"line_no": pl.Int32, "quantity": pl.Int32})  # fmt: skip


class Shop:
    """A warehouse with sales up to a day, and the assets of this file."""

    def __init__(self, warehouse: Warehouse, last: date) -> None:
        self.warehouse = warehouse
        self.sell_until(last)

    def sell_until(self, last: date) -> None:
        with self.warehouse.get_connection() as connection:
            connection.execute("delete from core.transactions")
            lines = orders().filter(pl.col("invoiced_at").dt.date() <= last)
            append(connection, TRANSACTIONS, lines.select(TRANSACTIONS.polars_schema.names()))

    def refresh(self, instance: dg.DagsterInstance, first: date, last: date, **settings: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            ASSETS,
            instance=instance,
            resources={"warehouse": self.warehouse, "settings": Settings(**settings)},
            tags={"dagster/asset_partition_range_start": first.isoformat(), "dagster/asset_partition_range_end": last.isoformat()},
            raise_on_error=False,
        )

    def rows(self, table: Table, first: date, last: date | None = None) -> pl.DataFrame:
        with self.warehouse.get_connection() as connection:
            return read_months(connection, table, first, last or first)


@pytest.fixture
def warehouse(tmp_path: Path, new_warehouse: NewWarehouse) -> Warehouse:
    return new_warehouse(tmp_path / "retail.duckdb")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.mark.usefixtures("_no_charts")
def test_neither_later_months_nor_a_run_of_its_own_change_a_month(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    shop = Shop(warehouse, date(2011, 3, 31))
    assert shop.refresh(instance, JANUARY, MARCH).success
    before = {table: shop.rows(table, JANUARY, MARCH) for table in TABLES}
    shop.sell_until(END_OF_MAY)
    assert shop.refresh(instance, FEBRUARY, APRIL).success
    assert shop.refresh(instance, MARCH, MARCH).success
    for table, known_then in before.items():
        assert known_then.height, table.full_name
        assert_frame_equal(shop.rows(table, JANUARY, MARCH), known_then, check_exact=True)
        assert shop.rows(table, APRIL).height, table.full_name


def kept_from(shop: Shop, month: date) -> tuple[set[date], int]:
    """Where the model of a month comes from, and how many k were tried."""
    return set(shop.rows(SEGMENT_MODEL, month)["fitted_month"]), shop.rows(SEGMENT_CANDIDATES, month).height


def names(shop: Shop, month: date) -> dict[int, str]:
    return dict(shop.rows(SEGMENT_PROFILES, month).select("segment_id", "segment_name").iter_rows())


@pytest.mark.usefixtures("_no_charts")
def test_a_month_that_ends_early_keeps_the_model_and_the_names_of_the_month_before(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    shop = Shop(warehouse, date(2011, 4, 8))
    assert shop.refresh(instance, JANUARY, APRIL).success
    assert kept_from(shop, MARCH) == ({MARCH}, 9)
    assert kept_from(shop, APRIL) == ({MARCH}, 0)
    assert names(shop, APRIL).items() <= names(shop, MARCH).items()
    assert shop.rows(SEGMENT_DRIFT, APRIL)["reference_month"].unique().to_list() == [MARCH]
    alignment = shop.rows(SEGMENT_ALIGNMENT, APRIL).row(0, named=True)
    assert alignment["raw_agreement"] == alignment["aligned_agreement"] > 0

    shop.sell_until(date(2011, 4, 30))
    assert shop.refresh(instance, APRIL, APRIL).success
    assert kept_from(shop, APRIL) == ({APRIL}, 9)


@pytest.mark.usefixtures("_no_charts")
def test_a_month_that_ends_early_is_fitted_where_settings_say_so(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    shop = Shop(warehouse, date(2011, 4, 8))
    assert shop.refresh(instance, MARCH, APRIL, segment_incomplete_month="fit").success
    assert kept_from(shop, APRIL) == ({APRIL}, 9)


@pytest.mark.usefixtures("_no_charts")
def test_months_after_the_frozen_one_only_assign_their_customers(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    shop = Shop(warehouse, END_OF_MAY)
    assert shop.refresh(instance, JANUARY, MAY, segment_frozen_month="2011-02").success
    assert [kept_from(shop, month)[0] for month in (JANUARY, FEBRUARY, MARCH, APRIL, MAY)] == [
        {JANUARY},
        {FEBRUARY},
        {FEBRUARY},
        {FEBRUARY},
        {FEBRUARY},
    ]
    months = ["snapshot_month"]
    assert_frame_equal(shop.rows(SEGMENT_MODEL, MAY).drop(months), shop.rows(SEGMENT_MODEL, FEBRUARY).drop(months), check_exact=True)
    assert names(shop, MAY).items() <= names(shop, FEBRUARY).items()
    drift = shop.rows(SEGMENT_DRIFT, MAY)
    assert drift["reference_month"].unique().to_list() == [FEBRUARY]
    assert drift["measure"].to_list() == ["frequency", "monetary", "recency_days", "segment_id"]
    # Customers grow older and richer: three months later they are others than those of February, and the check says which measure tells.
    with shop.warehouse.get_connection() as connection:
        found = quality.run(connection, segments.customers_are_those_of_the_fit, MAY)
        assert not found.is_passed
        assert "monetary" in found.observed
        assert quality.run(connection, segments.customers_are_those_of_the_fit, FEBRUARY).is_passed


@pytest.mark.usefixtures("_no_charts")
def test_freezing_afterwards_says_from_where_to_refresh(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    shop = Shop(warehouse, date(2011, 4, 30))
    assert shop.refresh(instance, JANUARY, MARCH).success
    result = shop.refresh(instance, APRIL, APRIL, segment_frozen_month="2011-02")
    assert not result.success
    failure = next(event.step_failure_data for event in result.all_events if event.is_step_failure)
    assert failure.user_failure_data is not None
    assert "Refresh from 2011-02 on: `retail run --months 2011-02:2011-04`" in str(failure.user_failure_data.description)


def test_charts_stand_in_the_metadata(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    shop = Shop(warehouse, date(2011, 2, 28))
    assert shop.refresh(instance, JANUARY, FEBRUARY).success
    for table, charts in {
        SEGMENT_MODEL: ["choice_of_k"],
        CUSTOMER_SEGMENTS: ["map_of_segments", "silhouettes"],
        SEGMENT_MIGRATION: ["migration"],
    }.items():
        (record,) = instance.fetch_materializations(key_of(table), limit=1).records
        assert record.asset_materialization is not None
        for chart in charts:
            text = str(record.asset_materialization.metadata[chart].value)
            picture = base64.b64decode(text.partition("base64,")[2].rstrip(")"))
            assert picture.startswith(b"\x89PNG"), chart


@pytest.mark.usefixtures("_no_charts")
def test_migration_that_loses_a_customer_or_a_penny_is_refused(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    shop = Shop(warehouse, date(2011, 2, 28))
    assert shop.refresh(instance, JANUARY, FEBRUARY).success
    changes = ["net_amount = net_amount + 0.0001", "net_amount_before = net_amount_before - 0.0001", "customer_count = customer_count + 1"]
    with shop.warehouse.get_connection() as connection:
        assert quality.run(connection, segments.migration_reconciles, FEBRUARY).is_passed
        for change in changes:
            connection.begin()
            connection.execute(
                f"update segments.segment_migration set {change} where snapshot_month = $month and movement_id = '0>0'", {"month": FEBRUARY}
            )
            assert quality.run(connection, segments.migration_reconciles, FEBRUARY).is_blocking, change
            connection.rollback()


# Guards before scoring


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as memory:
        for table in (RFM_FEATURES, CUSTOMER_MONTHS, RETURNS, UNPUBLISHED_MONTHS):
            memory.execute(create_statement(table))
        yield memory


def customers(connection: duckdb.DuckDBPyConnection, count: int, recency_days: int, frequency: int) -> None:
    """Customers of a snapshot of March of whom nothing else matters."""
    blank: dict[str, Any] = {"VARCHAR": "-", "INTEGER": 1, "DOUBLE": 0.0, "DATE": MARCH, contracts.MONEY: Decimal(1)}
    rows = [
        {**{column.name: blank[column.type] for column in RFM_FEATURES.columns}, "recency_days": recency_days, "frequency": frequency}
        for _ in range(count)
    ]
    append(connection, RFM_FEATURES, pl.DataFrame(rows, schema=RFM_FEATURES.polars_schema))


@pytest.mark.parametrize(("count", "observed"), [(100, "at least 100"), (99, "99 customers"), (0, "0 customers")])
def test_scores_of_few_buyers_are_reported(connection: duckdb.DuckDBPyConnection, count: int, observed: str) -> None:
    if count:
        customers(connection, count, 0, 1)
    result = quality.run(connection, features.enough_buyers, MARCH)
    assert (result.observed, result.is_passed, result.is_blocking) == (observed, count >= 100, False)


@pytest.mark.parametrize(("recent", "old", "observed"), [(1, 99, "at least 1 in 100"), (1, 100, "1 of 101"), (0, 0, "0 of 0")])
def test_a_snapshot_that_nobody_bought_in_is_reported(connection: duckdb.DuckDBPyConnection, recent: int, old: int, observed: str) -> None:
    for count, recency_days in ((recent, 30), (old, 31)):
        if count:
            customers(connection, count, recency_days, 1)
    assert quality.run(connection, features.recent_orders, MARCH).observed == observed


@pytest.mark.parametrize(("repeat", "once", "observed"), [(1, 9, "at least 1 in 10"), (1, 10, "1 of 11")])
def test_a_shop_without_repeat_customers_is_reported(connection: duckdb.DuckDBPyConnection, repeat: int, once: int, observed: str) -> None:
    customers(connection, repeat, 0, 2)
    customers(connection, once, 0, 1)
    assert quality.run(connection, features.repeat_customers, MARCH).observed == observed


@pytest.mark.parametrize(("first", "observed"), [(JANUARY, "at least 3 months"), (FEBRUARY, "2 months"), (APRIL, "0 months")])
def test_a_short_history_is_reported(connection: duckdb.DuckDBPyConnection, first: date, observed: str) -> None:
    blank = {"invoice_month": first, "customer_id": "A", "stock_codes": []}
    row = {name: blank.get(name, 0 if dtype.is_numeric() else None) for name, dtype in CUSTOMER_MONTHS.polars_schema.items()}
    append(connection, CUSTOMER_MONTHS, pl.DataFrame([row], schema=CUSTOMER_MONTHS.polars_schema))
    assert m.shift(first, 2) >= MARCH
    assert quality.run(connection, features.enough_history, MARCH).observed == observed
