"""A month that builds on the months before it comes after them, whatever the order of runs; a step tries again only where waiting helps."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from retail_assets import months as m
from retail_assets import provenance, quality
from retail_assets.contracts import LANDED_FILES, RETURNS, RFM_CUT_POINTS, TRANSACTIONS
from retail_assets.monthly import Frames, key_of, monthly_asset
from retail_assets.order import Input, inputs, open_warehouse
from retail_assets.partitions import PARTITION, RANGE_END, RANGE_START, before, until
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse, WarehouseBusyError, append, read_months
from retail_assets_tests.homes import NewWarehouse

JANUARY, FEBRUARY, MARCH = "2011-01-01", "2011-02-01", "2011-03-01"
unlucky: list[date] = []
"""Months that the check below refuses."""

not_unlucky = quality.Check(
    name="not_unlucky",
    table=RFM_CUT_POINTS,
    description="No month is unlucky.",
    query=lambda _, month: ("unlucky" if month in unlucky else "lucky", "lucky"),
    recovery="Wait for better luck.",
)


@monthly_asset(tables=[RFM_CUT_POINTS], deps=[before(key_of(RFM_CUT_POINTS), 1)], checks=[not_unlucky])
def counted(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:
    """Counts the months: one more than stands in the month before."""
    earlier = read_months(connection, RFM_CUT_POINTS, m.shift(month, -1), m.shift(month, -1))
    count = 1 + (earlier["customer_count"].item() if earlier.height else 0)
    anything = {"VARCHAR": "any", "INTEGER": 1, "DOUBLE": 0.0}
    row = {column.name: anything.get(column.type) for column in RFM_CUT_POINTS.columns} | {"snapshot_month": month, "customer_count": count}
    return {RFM_CUT_POINTS: pl.DataFrame([row], schema=RFM_CUT_POINTS.polars_schema)}


@dg.job
def other() -> None:
    """Stands for a run that has not ended."""


@pytest.fixture
def warehouse(tmp_path: Path, new_warehouse: NewWarehouse) -> Warehouse:
    unlucky.clear()
    warehouse = new_warehouse(tmp_path / "retail.duckdb").model_copy(update={"lock_timeout_seconds": 0})
    land(warehouse, "first", date(2011, 1, 1), date(2011, 3, 1))
    return warehouse


def land(warehouse: Warehouse, name: str, *months: date) -> None:
    row = {
        "file_name": name,
        "file_id": name,
        "size_bytes": 1,
        "status": "landed",
        "line_count": 1,
        "months": months,
        "landed_at": datetime(2026, 1, 1),
    }
    with warehouse.get_connection() as connection:
        append(connection, LANDED_FILES, pl.DataFrame([row], schema=LANDED_FILES.polars_schema))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def run(warehouse: Warehouse, instance: dg.DagsterInstance, first: str, last: str) -> dg.ExecuteInProcessResult:
    resources = {"warehouse": warehouse, "settings": Settings()}
    return dg.materialize([counted], instance=instance, resources=resources, tags={RANGE_START: first, RANGE_END: last}, raise_on_error=False)


def counts(warehouse: Warehouse) -> list[tuple[int, int]]:
    with warehouse.get_connection() as connection:
        return connection.execute("select month(snapshot_month), customer_count from features.rfm_cut_points order by all").fetchall()


def reason(result: dg.ExecuteInProcessResult) -> str:
    failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert failure is not None
    return str(failure.description)


def test_one_run_and_a_run_per_month_end_in_the_same_table(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    assert run(warehouse, instance, JANUARY, MARCH).success
    assert counts(warehouse) == [(1, 1), (2, 2), (3, 3)]
    assert all(run(warehouse, instance, month, month).success for month in (JANUARY, FEBRUARY, MARCH))
    assert counts(warehouse) == [(1, 1), (2, 2), (3, 3)]


def test_a_month_whose_month_before_is_missing_is_not_written_and_says_what_to_do(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    result = run(warehouse, instance, FEBRUARY, MARCH)
    assert not result.success
    assert counts(warehouse) == []
    assert "features.rfm_cut_points 2011-02 builds on the months before it, and of these 2011-01 is missing or older" in reason(result)
    assert "`retail run --months 2011-01:2011-02`" in reason(result)


def test_a_month_whose_month_before_is_older_than_a_late_file_is_not_written(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    run(warehouse, instance, JANUARY, MARCH)
    land(warehouse, "late", date(2011, 1, 1))
    assert not run(warehouse, instance, FEBRUARY, FEBRUARY).success
    assert run(warehouse, instance, JANUARY, JANUARY).success
    assert run(warehouse, instance, FEBRUARY, FEBRUARY).success


def test_a_month_after_a_refused_one_is_not_written_in_the_same_run_either(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    unlucky.append(date(2011, 2, 1))
    result = run(warehouse, instance, JANUARY, MARCH)
    assert counts(warehouse) == [(1, 1)]
    assert reason(result) == (
        "features.rfm_cut_points 2011-02 not written: not_unlucky observed unlucky, expected lucky. Wait for better luck. "
        "2011-03 not written either: built on the months before."
    )
    assert instance.get_materialized_partitions(key_of(RFM_CUT_POINTS)) == {JANUARY}


def test_a_month_waits_for_an_unfinished_run_that_covers_the_month_before(
    warehouse: Warehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retail_assets.order._ORDER_RETRIES", 1)
    monkeypatch.setattr("retail_assets.order._ORDER_WAIT_SECONDS", 0)
    instance.create_run_for_job(other, tags={PARTITION: JANUARY}, status=dg.DagsterRunStatus.STARTED)
    result = run(warehouse, instance, FEBRUARY, FEBRUARY)
    assert [event.step_key for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY] == [
        "features__rfm_cut_points"
    ]
    assert "builds on the months before it" in reason(result), "it was tried again once, and the other run had still not ended"


def test_a_month_lets_a_run_go_first_that_refreshes_earlier_months_it_reads(
    warehouse: Warehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @monthly_asset(tables=[RETURNS], deps=[until(key_of(TRANSACTIONS), 1)])
    def looking_back(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:
        """Reads transactions of the month before, but nothing of its own."""
        return {RETURNS: pl.DataFrame(schema=RETURNS.polars_schema)}

    def retries(month: str) -> int:
        resources = {"warehouse": warehouse, "settings": Settings()}
        result = dg.materialize([looking_back], instance=instance, resources=resources, partition_key=month)
        assert result.success
        return sum(event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)

    monkeypatch.setattr("retail_assets.order._ORDER_RETRIES", 1)
    monkeypatch.setattr("retail_assets.order._ORDER_WAIT_SECONDS", 0)
    assert retries(FEBRUARY) == 0, "no run is on: the month is built from what there is"
    instance.create_run_for_job(other, tags={PARTITION: JANUARY}, status=dg.DagsterRunStatus.STARTED)
    assert retries(FEBRUARY) == 1
    assert retries(JANUARY) == 0, "a run of the same month is none to wait for"
    with warehouse.get_connection() as connection:
        assert provenance.built(connection) == {}, "built from a stale month, so stale itself"


def test_a_month_built_from_a_stale_one_is_not_noted_as_up_to_date(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    @monthly_asset(tables=[RETURNS], deps=[TRANSACTIONS])
    def empty(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:
        """Built from transactions that were never built."""
        return {RETURNS: pl.DataFrame(schema=RETURNS.polars_schema)}

    resources = {"warehouse": warehouse, "settings": Settings()}
    assert dg.materialize([empty], instance=instance, resources=resources, partition_key=JANUARY).success
    run(warehouse, instance, JANUARY, JANUARY)
    with warehouse.get_connection() as connection:
        assert {table for table, _ in provenance.built(connection)} == {RFM_CUT_POINTS.full_name}


def test_dependencies_are_read_as_offsets_of_months() -> None:
    assert inputs([TRANSACTIONS, LANDED_FILES, until(key_of(RETURNS), 1), before(key_of(RETURNS), 2), dg.AssetDep("other")]) == [
        Input(TRANSACTIONS, 0, 0),
        Input(RETURNS, -1, 0),
        Input(RETURNS, -2, -1),
    ]


def test_a_busy_warehouse_is_tried_again_and_nothing_else_is(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(_: Warehouse) -> None:
        raise WarehouseBusyError("held by another process")

    with pytest.raises(ZeroDivisionError), open_warehouse(warehouse):
        raise ZeroDivisionError
    monkeypatch.setattr(Warehouse, "get_connection", busy)
    with pytest.raises(dg.RetryRequested), open_warehouse(warehouse):
        pytest.fail("not reached")
