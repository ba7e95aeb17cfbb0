"""An asset with months writes each month whole with its checks inside, and a month that a check refuses stays as it was."""

import base64
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from retail_assets import quality
from retail_assets.contracts import PRODUCT_NAMES
from retail_assets.monthly import Frames, key_of, monthly_asset, preview
from retail_assets.settings import Settings
from retail_assets.warehouse import Query, Warehouse, read
from retail_assets_tests.homes import NewWarehouse

REFUSED_COUNT = 13
"""The check below refuses a month whose only line count is this."""

not_unlucky = quality.Check(
    name="not_unlucky",
    table=PRODUCT_NAMES,
    description="No line count is unlucky.",
    query=f"select count(*) as observed, 0 as expected from raw.product_names where invoice_month = $month and line_count = {REFUSED_COUNT}",
    recovery="Wait for better luck.",
)
odd = quality.Check(
    name="odd",
    table=PRODUCT_NAMES,
    description="Line counts are odd.",
    query="select min(line_count % 2) as observed, 1 as expected from raw.product_names where invoice_month = $month",
    recovery="Nothing to do.",
    severity="WARN",
)

is_last = quality.Check(
    name="is_last",
    table=PRODUCT_NAMES,
    description="Says whether a later month is there; never fails.",
    query="""
        select if(max(invoice_month) > $month, 'followed', 'last') as observed, if(max(invoice_month) > $month, 'followed', 'last') as expected
        from raw.product_names
    """,
    recovery="Nothing to do.",
    severity="WARN",
    looks_ahead=True,
)

line_counts: dict[int, int] = {}
"""What the asset below writes, by month."""


def draw(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> dict[str, Callable[[], bytes]]:
    """A picture that says which month it was drawn of, from what stands in the warehouse."""
    ((count,),) = connection.execute("select line_count from raw.product_names where invoice_month = $month", {"month": month}).fetchall()
    return {"chart": f"{month:%Y-%m}: {count}".encode}


def one_row(month: date, line_count: int) -> Frames:
    """A month of one product."""
    row = {"invoice_month": month, "stock_code": "A", "description": "HEART", "line_count": line_count, "unpriced_line_count": 0}
    return {PRODUCT_NAMES: pl.DataFrame([row], schema=PRODUCT_NAMES.polars_schema)}


@monthly_asset(tables=[PRODUCT_NAMES], deps=[], checks=[not_unlucky, odd, is_last], pictures={PRODUCT_NAMES: draw})
def counted(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:
    """Writes one row a month."""
    return one_row(month, line_counts[month.month])


@monthly_asset(tables=[PRODUCT_NAMES], deps=[], checks=[not_unlucky])
def counted_in_parts(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Iterator[Frames]:
    """Writes a month as two parts, the second of which is worked out inside the warehouse."""
    yield one_row(month, 1)
    ((count,),) = connection.execute("select 1 + $count", {"count": line_counts[month.month]}).fetchall()
    second = (
        "select $month as invoice_month, 'B' as stock_code, 'STAR' as description, $count::bigint as line_count, 0::bigint as unpriced_line_count"
    )
    yield {PRODUCT_NAMES: Query(second, {"month": month, "count": count - 1})}


@dg.multi_asset(
    specs=[dg.AssetSpec("downstream", deps=[key_of(PRODUCT_NAMES)])],
    partitions_def=counted.partitions_def,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def downstream() -> dg.MaterializeResult[None]:
    """Must not run where a month was refused."""
    return dg.MaterializeResult(asset_key="downstream")


steps: list[str] = []
"""What the asset below does, in order."""
march_is_prepared = threading.Event()


def prepare(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> int:
    steps.append(f"prepare {month:%m}")
    if month.month not in line_counts:
        raise ValueError(f"no line count for {month:%m}")
    if month.month == 3:
        march_is_prepared.set()
    return line_counts[month.month]


@monthly_asset(tables=[PRODUCT_NAMES], deps=[], prepare=prepare)
def prepared(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings, line_count: int) -> Frames:
    """Writes February only when March has been prepared, or after ten seconds."""
    if month.month == 2:
        march_is_prepared.wait(10)
    steps.append(f"build {month:%m}")
    return one_row(month, line_count)


@pytest.fixture
def warehouse(tmp_path: Path, new_warehouse: NewWarehouse) -> Warehouse:
    return new_warehouse(tmp_path / "retail.duckdb")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def refresh(
    warehouse: Warehouse, instance: dg.DagsterInstance, first: str, last: str, assets: Sequence[dg.AssetsDefinition] = (counted, downstream)
) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    resources = {"warehouse": warehouse, "settings": Settings()}
    return dg.materialize(assets, instance=instance, resources=resources, tags=tags, raise_on_error=False)


def stored(warehouse: Warehouse) -> list[tuple[int, int]]:
    with warehouse.get_connection() as connection:
        return connection.execute("select month(invoice_month), line_count from raw.product_names order by invoice_month, stock_code").fetchall()


def test_a_range_of_months_is_one_run_and_each_month_reports_its_rows(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({1: 1, 2: 3})
    result = refresh(warehouse, instance, "2011-01-01", "2011-02-01")
    assert result.success
    assert stored(warehouse) == [(1, 1), (2, 3)]
    records = instance.fetch_materializations(key_of(PRODUCT_NAMES), limit=10).records
    reported = {
        record.partition_key: record.asset_materialization.metadata["dagster/partition_row_count"].value
        for record in records
        if record.asset_materialization
    }
    assert reported == {"2011-01-01": 1, "2011-02-01": 1}


def test_the_next_month_is_prepared_while_one_is_built(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({2: 3, 3: 5})
    steps.clear()
    march_is_prepared.clear()
    assert refresh(warehouse, instance, "2011-02-01", "2011-03-01", [prepared]).success
    assert steps == ["prepare 02", "prepare 03", "build 02", "build 03"]
    assert stored(warehouse) == [(2, 3), (3, 5)]


def test_with_two_workers_two_months_are_prepared_while_one_is_built(
    warehouse: Warehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retail_assets.worker.count", lambda: 2)
    # February is written only once March and April are both being prepared; where they are not, each waits until the meeting is called off.
    meeting = threading.Barrier(3, timeout=10)

    def meet_while_preparing(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> int:
        if month.month > 2:
            meeting.wait()
        return month.month

    @monthly_asset(tables=[PRODUCT_NAMES], deps=[], prepare=meet_while_preparing)
    def prepared_by_two(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings, line_count: int) -> Frames:
        """Writes the number of the month."""
        if month.month == 2:
            meeting.wait()
        return one_row(month, line_count)

    assert refresh(warehouse, instance, "2011-02-01", "2011-04-01", [prepared_by_two]).success
    assert stored(warehouse) == [(2, 2), (3, 3), (4, 4)]


def test_in_a_large_shop_months_are_prepared_one_after_another(
    warehouse: Warehouse, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retail_assets.worker.MOST_LINES", -1)
    line_counts.update({3: 5, 4: 7})
    steps.clear()
    assert refresh(warehouse, instance, "2011-03-01", "2011-04-01", [prepared]).success
    assert steps == ["prepare 03", "build 03", "prepare 04", "build 04"]


def test_what_fails_ahead_fails_in_its_own_month(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.clear()
    line_counts.update({3: 5})
    result = refresh(warehouse, instance, "2011-03-01", "2011-04-01", [prepared])
    assert not result.success
    [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.error
    assert "no line count for 04" in str(failure.error)
    assert stored(warehouse) == [(3, 5)]


def test_running_again_gives_the_same_rows(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({1: 1, 2: 3})
    for _ in range(2):
        refresh(warehouse, instance, "2011-01-01", "2011-02-01")
    assert stored(warehouse) == [(1, 1), (2, 3)]


def test_a_refused_month_stays_as_it_was_and_stops_what_is_downstream(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({1: 1, 2: 3, 3: 5})
    refresh(warehouse, instance, "2011-01-01", "2011-03-01")
    line_counts.update({1: 7, 2: REFUSED_COUNT, 3: 9})
    result = refresh(warehouse, instance, "2011-01-01", "2011-03-01")
    assert not result.success
    assert stored(warehouse) == [(1, 7), (2, 3), (3, 9)], "the good months are written, the refused one is as before"
    assert result.get_step_failure_events()[0].step_key == "raw__product_names"
    assert not [event for event in result.all_events if event.is_step_start and event.step_key == "downstream"]


def test_a_month_in_parts_is_written_whole_or_not_at_all(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({1: 2, 2: 4})
    assert refresh(warehouse, instance, "2011-01-01", "2011-02-01", [counted_in_parts]).success
    assert stored(warehouse) == [(1, 1), (1, 2), (2, 1), (2, 4)]
    line_counts.update({1: 6, 2: REFUSED_COUNT})
    assert not refresh(warehouse, instance, "2011-01-01", "2011-02-01", [counted_in_parts]).success
    assert stored(warehouse) == [(1, 1), (1, 6), (2, 1), (2, 4)]


def test_a_failed_check_says_where_what_and_what_to_do(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({1: 1, 2: REFUSED_COUNT})
    result = refresh(warehouse, instance, "2011-01-01", "2011-02-01")
    evaluations = {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
    assert evaluations["not_unlucky"].description == "Failed for 2011-02: observed 1, expected 0. Wait for better luck."
    assert evaluations["key_is_unique"].passed
    failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert failure is not None
    assert "raw.product_names 2011-02" in str(failure.description)


def test_a_check_that_looks_ahead_is_asked_again_of_the_month_before_and_of_no_other(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({1: 1, 2: 3, 3: 5})
    months = {1: date(2011, 1, 1), 2: date(2011, 2, 1), 3: date(2011, 3, 1)}
    with warehouse.get_connection() as connection:
        connection.execute(
            "insert into raw.landed_files by name select 'a' as file_name, 'a' as file_id, 1 as size_bytes, 'landed' as status, 1 as line_count, "
            "$months as months, timestamp '2026-01-01' as landed_at",
            {"months": [*months.values()]},
        )
    for month, said in ((1, ["last"]), (2, ["followed", "last"]), (3, ["followed", "followed", "last"])):
        refresh(warehouse, instance, months[month].isoformat(), months[month].isoformat())
        with warehouse.get_connection() as connection:
            found = read(connection, "select observed from quality.check_results where check_name = 'is_last' order by invoice_month")
        assert found["observed"].to_list() == said


def test_a_warning_reports_and_lets_pass(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({1: 2})
    result = refresh(warehouse, instance, "2011-01-01", "2011-01-01")
    assert result.success
    assert [evaluation.passed for evaluation in result.get_asset_check_evaluations() if evaluation.check_name == "odd"] == [False]


def test_every_result_is_kept_by_month_and_replaced_by_the_next(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({1: 1, 2: REFUSED_COUNT})
    refresh(warehouse, instance, "2011-01-01", "2011-02-01")
    with warehouse.get_connection() as connection:
        assert quality.blocking_failures(connection)["invoice_month"].to_list() == [date(2011, 2, 1)]
    line_counts.update({2: 3})
    refresh(warehouse, instance, "2011-02-01", "2011-02-01")
    with warehouse.get_connection() as connection:
        assert quality.blocking_failures(connection).is_empty()
        kept = connection.execute("select invoice_month from quality.check_results where check_name = 'not_unlucky' order by all").fetchall()
    assert kept == [(date(2011, 1, 1),), (date(2011, 2, 1),)]


def test_the_asset_carries_what_the_ui_shows() -> None:
    spec = counted.specs_by_key[key_of(PRODUCT_NAMES)]
    assert spec.group_name == "raw"
    assert "Writes one row a month." in str(spec.description)
    schema = spec.metadata["dagster/column_schema"]
    assert [(column.name, column.type) for column in schema.columns] == [(column.name, column.type) for column in PRODUCT_NAMES.columns]
    assert all(column.description for column in schema.columns)


def test_a_preview_defuses_what_markdown_and_html_act_on() -> None:
    shown = preview(pl.DataFrame({"description": ["<script>alert(1)</script> | [x](javascript:1)\nnext"]}))
    assert "<script>" not in shown
    assert "](" not in shown
    assert shown.count("\n") == 2, "a line break in a text starts no new row"


def test_pictures_are_drawn_of_the_last_month_of_a_run_and_stand_in_its_metadata(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({1: 1, 2: 3})
    refresh(warehouse, instance, "2011-01-01", "2011-02-01")
    (record,) = instance.fetch_materializations(key_of(PRODUCT_NAMES), limit=1).records
    assert record.asset_materialization is not None
    text = str(record.asset_materialization.metadata["chart"].value)
    assert text == f"![chart](data:image/png;base64,{base64.b64encode(b'2011-02: 3').decode()})"


def test_no_picture_is_drawn_of_a_refused_month(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    line_counts.update({1: 1, 2: REFUSED_COUNT})
    assert not refresh(warehouse, instance, "2011-01-01", "2011-02-01").success
    records = instance.fetch_materializations(key_of(PRODUCT_NAMES), limit=10).records
    assert records
    assert not any("chart" in record.asset_materialization.metadata for record in records if record.asset_materialization)
