"""The lake: a month of it changes with the transaction of the warehouse or not at all, and what nothing names is swept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from retail_assets import provenance
from retail_assets.contracts import CUSTOMER_MONTHS, PRODUCT_NAMES, TABLES, TRANSACTIONS, Table
from retail_assets.engines import EngineError, engine_of
from retail_assets.engines.lake import LAKE_TABLES, Lake, Part, has_lake
from retail_assets.engines.local import LocalEngine
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse, append, transaction

JANUARY, FEBRUARY, MARCH = date(2011, 1, 1), date(2011, 2, 1), date(2011, 3, 1)


def names(month: date, *codes: str) -> pl.DataFrame:
    rows = [{"stock_code": code, "invoice_month": month, "description": "TEA", "line_count": 1, "unpriced_line_count": 0} for code in codes]
    return pl.DataFrame(rows, schema=PRODUCT_NAMES.polars_schema)


def part(lake: Lake, table: Table, month: date, frame: pl.DataFrame) -> Part:
    """A frame written as an engine writes it."""
    folder = lake.new_folder(table)
    (folder / f"month={month}").mkdir(parents=True)
    frame.write_parquet(folder / f"month={month}" / "part-0.parquet")
    return lake.written(folder, [month])[month]


def line(month: date, transaction_id: str) -> pl.DataFrame:
    """One line of core.transactions; only its id and month matter here."""
    values: dict[str, object] = {"transaction_id": transaction_id, "invoice_month": month}
    return pl.DataFrame([{name: values.get(name) for name in TRANSACTIONS.polars_schema}], schema=TRANSACTIONS.polars_schema)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(database=str(tmp_path / "home" / "warehouse" / "retail.duckdb")).get_connection() as opened:
        yield opened


@pytest.fixture
def lake(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> Lake:
    made = Lake(tmp_path / "lake")
    made.prepare(connection)
    return made


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
    nothing = lake.written(lake.new_folder(TRANSACTIONS), [JANUARY])[JANUARY]
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
    left_behind = part(lake, TRANSACTIONS, JANUARY, line(JANUARY, "left by a run that was killed"))
    with transaction(connection):
        lake.replace_month(connection, TRANSACTIONS, JANUARY, kept)
    lake.sweep(connection)
    assert (kept.path.exists(), left_behind.path.parent.exists()) == (True, False)
    assert stored(connection) == [("kept",)]


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
