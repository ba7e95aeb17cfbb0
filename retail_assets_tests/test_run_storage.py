"""Events go through kept connections inside the block only, are there for others at once, and other databases never notice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from retail_assets.run_storage import kept_connections

FULL, NORMAL = 2, 1
SALES = dg.AssetKey("sales")
MONTHS = {"2011-01-01", "2011-02-01", "2011-03-01"}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as opened:
        yield opened


def note(instance: dg.DagsterInstance, month: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(SALES, partition=month))


def noted_months(instance: dg.DagsterInstance) -> set[str]:
    return set(instance.get_materialized_partitions(SALES))


def synchronous(instance: dg.DagsterInstance) -> int:
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        return int(connection.execute(text("pragma synchronous")).scalar_one())


def test_others_see_an_event_as_soon_as_it_is_stored(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    with kept_connections(instance):
        note(instance, "2011-01-01")
        with dg.DagsterInstance.local_temp(str(tmp_path)) as another:
            assert noted_months(another) == {"2011-01-01"}
            note(another, "2011-02-01")
        assert noted_months(instance) == {"2011-01-01", "2011-02-01"}


def test_the_log_outlives_each_event_and_ends_in_the_file(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    note(instance, "2011-01-01")
    assert not list(tmp_path.rglob("index.db-wal"))
    with kept_connections(instance):
        note(instance, "2011-02-01")
        assert list(tmp_path.rglob("index.db-wal"))
    assert not list(tmp_path.rglob("index.db-wal"))
    assert noted_months(instance) == {"2011-01-01", "2011-02-01"}


def test_connections_are_relaxed_inside_the_block_only(instance: dg.DagsterInstance) -> None:
    with kept_connections(instance):
        assert synchronous(instance) == NORMAL
    assert synchronous(instance) == FULL


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["2011-01-01", "2011-02-01", "2011-03-01"]), backfill_policy=dg.BackfillPolicy.single_run())
def sales() -> None:
    """Three months in one run."""


RANGE = {"dagster/asset_partition_range_start": "2011-01-01", "dagster/asset_partition_range_end": "2011-03-01"}


def refresh(instance: dg.DagsterInstance) -> str:
    result = dg.materialize([sales], instance=instance, tags=RANGE)
    return result.run_id


def kinds(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return sorted(str(entry.dagster_event_type) for entry in instance.all_logs(run_id) if entry.is_dagster_event)


def test_events_that_dagster_reports_together_are_those_it_stores_one_by_one(instance: dg.DagsterInstance) -> None:
    one_by_one = kinds(instance, refresh(instance))
    with kept_connections(instance):
        together = kinds(instance, refresh(instance))
    assert together == one_by_one
    assert together.count("DagsterEventType.ASSET_MATERIALIZATION_PLANNED") == len(MONTHS)
    assert noted_months(instance) == MONTHS


def test_events_reported_together_are_stored_in_one_transaction(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails leaves none behind, and Dagster then stores them one by one."""
    storage: Any = instance.event_log_storage
    seen_before_failing: list[int] = []
    store_event = storage.store_event

    def fail_once(event: dg.EventLogEntry) -> None:
        store_event(event)
        if not seen_before_failing and event.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            seen_before_failing.append(len(noted_months(instance)))
            raise OSError("disk full")

    monkeypatch.setattr(storage, "store_event", fail_once)
    with kept_connections(instance):
        run_id = refresh(instance)
    assert seen_before_failing == [1]
    assert kinds(instance, run_id).count("DagsterEventType.ASSET_MATERIALIZATION") == len(MONTHS)


def test_storage_that_is_no_sqlite_file_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        before = vars(instance.event_log_storage).copy()
        with kept_connections(instance):
            assert vars(instance.event_log_storage) == before
