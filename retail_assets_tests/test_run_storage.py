"""Events go through kept connections inside the block only, are there for others at once, and other databases never notice."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from retail_assets.run_storage import kept_connections

FULL, NORMAL = 2, 1
SALES = dg.AssetKey("sales")


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


def test_storage_that_is_no_sqlite_file_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        before = vars(instance.event_log_storage).copy()
        with kept_connections(instance):
            assert vars(instance.event_log_storage) == before
