"""The lake: a month of it changes with the transaction of the warehouse or not at all, and what nothing names is swept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from shutil import copyfile, rmtree

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyarrow import parquet
from pyarrow.fs import FileSelector

from retail_assets import provenance
from retail_assets.contracts import CUSTOMER_MONTHS, PRODUCT_NAMES, TABLES, TRANSACTIONS, Table
from retail_assets.engines import EngineError, engine_of, store
from retail_assets.engines.lake import LAKE_TABLES, Lake, Part, has_lake
from retail_assets.engines.local import LocalEngine
from retail_assets.engines.spark.frames import arrow_schema, from_arrow, to_arrow
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse, append, transaction
from retail_assets_tests.homes import NewWarehouse
from retail_assets_tests.object_store import object_store

pytestmark = pytest.mark.integration

JANUARY, FEBRUARY, MARCH = date(2011, 1, 1), date(2011, 2, 1), date(2011, 3, 1)


def names(month: date, *codes: str) -> pl.DataFrame:
    rows = [{"stock_code": code, "invoice_month": month, "description": "TEA", "line_count": 1, "unpriced_line_count": 0} for code in codes]
    return pl.DataFrame(rows, schema=PRODUCT_NAMES.polars_schema)


def part(lake: Lake, table: Table, month: date, frame: pl.DataFrame) -> Part:
    """A frame written as an engine writes it."""
    schema = arrow_schema(table.polars_schema)
    files = store.write(to_arrow(frame, table.polars_schema).to_batches(), table, schema, lake.address, lake.new_folder(table))
    return lake.written(files, [table], [month])[table][month]


def line(month: date, transaction_id: str) -> pl.DataFrame:
    """One line of core.transactions; only its id and month matter here."""
    values: dict[str, object] = {"transaction_id": transaction_id, "invoice_month": month}
    return pl.DataFrame([{name: values.get(name) for name in TRANSACTIONS.polars_schema}], schema=TRANSACTIONS.polars_schema)


@pytest.fixture
def connection(tmp_path: Path, new_warehouse: NewWarehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with new_warehouse(tmp_path / "home" / "warehouse" / "retail.duckdb").get_connection() as opened:
        yield opened


@pytest.fixture
def lake(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> Lake:
    made = Lake(tmp_path / "lake")
    made.prepare(connection)
    return made


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with object_store(tmp_path_factory.mktemp("s3")) as store_of_tests, pytest.MonkeyPatch.context() as environment:
        for name, value in store_of_tests.variables.items():
            environment.setenv(name, value)
        yield store_of_tests.bucket


def in_store(lake: Lake) -> set[str]:
    """The files of a lake in an object store."""
    filesystem, root = store.opened(lake.address)
    return {item.path.removeprefix(f"{root}/") for item in filesystem.get_file_info(FileSelector(root, recursive=True)) if item.is_file}


def stored(connection: duckdb.DuckDBPyConnection) -> list[tuple[str]]:
    return connection.execute("select transaction_id from core.transactions order by all").fetchall()


def test_tables_of_lines_are_empty_views_with_the_declared_columns(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    for table in LAKE_TABLES:
        assert connection.sql(f"select * from {table.full_name}").pl().schema == table.polars_schema
    assert has_lake(connection)


def test_a_month_is_replaced_whole_and_the_others_stay(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    for month, text in ((JANUARY, "old"), (FEBRUARY, "other"), (JANUARY, "new")):
        with transaction(connection):
            lake.replace_month(connection, TRANSACTIONS, month, part(lake, TRANSACTIONS, month, line(month, text)))
    assert stored(connection) == [("new",), ("other",)]


def test_a_month_that_is_rolled_back_is_as_before(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with transaction(connection):
        lake.replace_month(connection, TRANSACTIONS, JANUARY, part(lake, TRANSACTIONS, JANUARY, line(JANUARY, "old")))
    with pytest.raises(RuntimeError, match="refused"), transaction(connection):
        lake.replace_month(connection, TRANSACTIONS, JANUARY, part(lake, TRANSACTIONS, JANUARY, line(JANUARY, "new")))
        assert stored(connection) == [("new",)], "checks inside the transaction see the new rows"
        raise RuntimeError("refused")
    assert stored(connection) == [("old",)]


def test_a_month_without_rows_is_empty(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with transaction(connection):
        lake.replace_month(connection, TRANSACTIONS, JANUARY, part(lake, TRANSACTIONS, JANUARY, line(JANUARY, "old")))
    nothing = part(lake, TRANSACTIONS, JANUARY, line(JANUARY, "none").clear())
    assert nothing.height == 0
    with transaction(connection):
        lake.replace_month(connection, TRANSACTIONS, JANUARY, nothing)
    assert stored(connection) == []


def test_months_outside_leave_the_lake(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with transaction(connection):
        for month in (JANUARY, FEBRUARY, MARCH):
            lake.replace_month(connection, TRANSACTIONS, month, part(lake, TRANSACTIONS, month, line(month, f"{month:%B}")))
        lake.clear_months_outside(connection, TRANSACTIONS, FEBRUARY, FEBRUARY)
    assert stored(connection) == [("February",)]


def test_sweeping_keeps_what_counts_and_nothing_else(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    kept = part(lake, TRANSACTIONS, JANUARY, line(JANUARY, "kept"))
    (path,) = kept.files["path"]
    tried_before = (lake.root / path).with_name("of a task that was tried again.parquet")
    copyfile(lake.root / path, tried_before)
    left_behind = part(lake, TRANSACTIONS, JANUARY, line(JANUARY, "left by a run that was killed"))
    of_others = lake.root / "notes" / "keep.txt"
    of_others.parent.mkdir()
    of_others.touch()
    with transaction(connection):
        lake.replace_month(connection, TRANSACTIONS, JANUARY, kept)
    lake.sweep(connection)
    assert {file.relative_to(lake.root).as_posix() for file in lake.root.rglob("*") if file.is_file()} == {path, "notes/keep.txt"}
    assert not (lake.root / left_behind.files["path"].item()).parent.parent.exists()
    assert stored(connection) == [("kept",)]


def test_a_lake_in_an_object_store_is_read_from_a_copy(connection: duckdb.DuckDBPyConnection, tmp_path: Path, bucket: str) -> None:
    lake = Lake(tmp_path / "copy", f"{bucket}/lake")
    lake.prepare(connection)
    for month, text in ((JANUARY, "old"), (FEBRUARY, "other"), (JANUARY, "new")):
        with transaction(connection):
            lake.replace_month(connection, TRANSACTIONS, month, part(lake, TRANSACTIONS, month, line(month, text)))
    assert stored(connection) == [("new",), ("other",)]
    assert len(in_store(lake)) == 3
    lake.sweep(connection)
    assert in_store(lake) == {file.relative_to(lake.root).as_posix() for file in lake.root.rglob("*.parquet")}
    assert len(in_store(lake)) == 2
    # The copy was lost, or the home was put elsewhere: it is made again.
    rmtree(lake.root)
    lake.prepare(connection)
    assert stored(connection) == [("new",), ("other",)]


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_told_in_words(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"The lake s3://elsewhere/lake cannot be used .*AWS_ENDPOINT_URL"):
        Lake(tmp_path / "copy", "s3://elsewhere/lake").prepare(connection)


def test_large_writes_make_few_row_groups_and_lose_nothing(lake: Lake) -> None:
    batches = [names(month, *(f"{number}{month:%B}" for number in range(400))) for month in (JANUARY, FEBRUARY) for _ in range(150)]
    schema = PRODUCT_NAMES.polars_schema
    rows = (batch for frame in batches for batch in to_arrow(frame, schema).to_batches())
    files = store.write(rows, PRODUCT_NAMES, arrow_schema(schema), lake.address, lake.new_folder(PRODUCT_NAMES))
    assert files.select("invoice_month", "line_count").rows() == [(JANUARY, 60_000), (FEBRUARY, 60_000)]
    assert all(parquet.ParquetFile(lake.root / path).num_row_groups == 2 for path in files["path"])
    read = pl.concat([from_arrow(batch, schema) for batch in store.read(files["path"], lake.address, list(schema))])
    assert_frame_equal(read, pl.concat(batches))


def test_rows_of_a_table_of_the_warehouse_are_inserted_by_name(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    reordered = names(JANUARY, "A", "B").select(reversed(PRODUCT_NAMES.polars_schema.names()))
    with transaction(connection):
        append(connection, PRODUCT_NAMES, names(JANUARY, "OLD"))
        lake.replace_month(connection, PRODUCT_NAMES, JANUARY, part(lake, PRODUCT_NAMES, JANUARY, reordered))
    assert connection.sql("select * from raw.product_names order by stock_code").pl().equals(names(JANUARY, "A", "B"))


def test_a_warehouse_in_which_lines_have_landed_gets_no_lake(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("insert into raw.landed_lines (file_id, line_no, invoice_month) values ('x', 2, date '2011-01-01')")
    with pytest.raises(EngineError, match=r"begun with the engine duckdb.*--engine duckdb"):
        Lake(tmp_path / "lake").prepare(connection)


def test_one_machine_refuses_a_warehouse_whose_lines_are_in_a_lake(tmp_path: Path, connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with pytest.raises(EngineError, match="begun with the engine spark"):
        LocalEngine().land(connection, Settings(home=tmp_path / "home"), seen_at=None)  # type: ignore[arg-type]


def test_a_lake_survives_being_opened_again(tmp_path: Path, lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    with transaction(connection):
        lake.replace_month(connection, TRANSACTIONS, JANUARY, part(lake, TRANSACTIONS, JANUARY, line(JANUARY, "kept")))
    connection.close()
    with Warehouse(database=str(tmp_path / "home" / "warehouse" / "retail.duckdb")).get_connection() as again:
        lake.prepare(again)
        assert stored(again) == [("kept",)]


def test_a_lake_that_was_moved_is_found_at_its_new_place(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with transaction(connection):
        lake.replace_month(connection, TRANSACTIONS, JANUARY, part(lake, TRANSACTIONS, JANUARY, line(JANUARY, "kept")))
    moved = Lake(lake.root.rename(lake.root.with_name("elsewhere")))
    moved.prepare(connection)
    assert stored(connection) == [("kept",)]


def test_a_table_whose_columns_changed_is_emptied_and_its_months_are_stale(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with transaction(connection):
        lake.replace_month(connection, TRANSACTIONS, JANUARY, part(lake, TRANSACTIONS, JANUARY, line(JANUARY, "of older code")))
        provenance.note(connection, [TRANSACTIONS.full_name], JANUARY, provenance.Origin("files", "settings", "0.0.1"))
        connection.execute("create or replace view core.transactions as select 'x' as transaction_id, date '2011-01-01' as invoice_month")
    lake.prepare(connection)
    assert connection.sql("select * from core.transactions").pl().schema == TRANSACTIONS.polars_schema
    assert stored(connection) == []
    assert provenance.built(connection) == {}


def test_only_tables_by_month_are_in_the_lake() -> None:
    assert all(table in TABLES and table.month_column == "invoice_month" for table in LAKE_TABLES)
    assert CUSTOMER_MONTHS not in LAKE_TABLES


def test_one_machine_is_the_default() -> None:
    assert isinstance(engine_of(Settings()), LocalEngine)
