"""The warehouse closes, waits, replaces months whole, and refuses frames that are not as declared."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from retail_assets import provenance
from retail_assets.contracts import FORMAT, LANDED_FILES, PRODUCT_NAMES, RETURNS, TRANSACTIONS
from retail_assets.warehouse import (
    ContractError,
    Warehouse,
    WarehouseBusyError,
    WarehouseFormatError,
    append,
    read,
    read_months,
    replace_month,
    transaction,
)

JANUARY, FEBRUARY = date(2011, 1, 1), date(2011, 2, 1)


def names(month: date, *codes: str) -> pl.DataFrame:
    rows = [{"invoice_month": month, "stock_code": code, "description": "A", "line_count": 1, "unpriced_line_count": 0} for code in codes]
    return pl.DataFrame(rows, schema=PRODUCT_NAMES.polars_schema)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(database=str(tmp_path / "warehouse" / "retail.duckdb"), lock_timeout_seconds=0.2)


@pytest.fixture
def connection(warehouse: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with warehouse.get_connection() as opened:
        yield opened


def test_the_connection_closes_even_while_the_exception_is_held(warehouse: Warehouse) -> None:
    with pytest.raises(ZeroDivisionError) as held, warehouse.get_connection():
        _ = 1 / 0
    # Another process can have the file although the exception, and with it the frame of the block, is still alive.
    script = f"import duckdb; duckdb.connect({warehouse.database!r}).close()"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert held.value.args


def test_a_file_held_elsewhere_is_named_with_its_holder(warehouse: Warehouse, connection: duckdb.DuckDBPyConnection) -> None:
    script = f"""
from retail_assets.warehouse import Warehouse
with Warehouse(database={warehouse.database!r}, lock_timeout_seconds=0.1).get_connection():
    pass
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert WarehouseBusyError.__name__ in done.stderr
    assert "Conflicting lock is held" in done.stderr


EARLIER_LANDED_FILES = """
    create schema raw;
    create table raw.landed_files (
        file_name varchar not null, file_id varchar not null, size_bytes bigint not null, status varchar not null, reason varchar,
        line_count bigint not null, months date[] not null, landed_at timestamp not null
    );
    insert into raw.landed_files values ('a.csv', 'abc', 10, 'landed', null, 1, [date '2011-01-01'], timestamp '2026-01-01 12:00:00');
"""
"""Landed files as a version would have made them that did not note encodings and date formats yet."""


def made_by_another_version(warehouse: Warehouse, ddl: str) -> None:
    Path(warehouse.database).parent.mkdir()
    with duckdb.connect(warehouse.database) as connection:
        connection.execute(ddl)


def test_landed_files_of_an_earlier_version_are_carried_over(warehouse: Warehouse) -> None:
    made_by_another_version(warehouse, EARLIER_LANDED_FILES)
    for _ in range(2):
        with warehouse.get_connection() as connection:
            files = read(connection, "select * from raw.landed_files")
            assert files.schema == LANDED_FILES.polars_schema
            assert files.select("file_name", "line_count", "encoding").rows() == [("a.csv", 1, None)]
            assert read(connection, "select format from quality.warehouse_format")["format"].to_list() == [FORMAT]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("alter table raw.landed_files add column checksum integer", "checksum is unknown"),
        ("alter table raw.landed_files drop column size_bytes", "size_bytes is missing"),
        ("alter table raw.landed_files alter line_count type integer", "line_count is INTEGER, not BIGINT"),
        (
            f"create schema quality; create table quality.warehouse_format as select {FORMAT + 1} as format, '9' as code_version",
            "Install the newer",
        ),
    ],
)
def test_a_warehouse_that_cannot_be_followed_is_refused_and_left_as_it_is(warehouse: Warehouse, change: str, complaint: str) -> None:
    made_by_another_version(warehouse, EARLIER_LANDED_FILES + change)
    before = Path(warehouse.database).read_bytes()
    with pytest.raises(WarehouseFormatError, match=rf"{re.escape(warehouse.database)} .*{complaint}.*"), warehouse.get_connection():
        pass
    assert Path(warehouse.database).read_bytes() == before


def test_a_log_without_its_warehouse_is_not_played_into_a_new_one(warehouse: Warehouse) -> None:
    log = Path(f"{warehouse.database}.wal")
    log.parent.mkdir()
    log.write_bytes(b"log of another file")
    with pytest.raises(WarehouseFormatError, match=r"retail\.duckdb\.wal is the log of a warehouse that is not there"), warehouse.get_connection():
        pass
    assert not Path(warehouse.database).exists()


def test_a_damaged_file_fails_at_once(tmp_path: Path) -> None:
    (tmp_path / "retail.duckdb").write_bytes(b"not a database" * 400)
    with pytest.raises(duckdb.IOException, match="not a valid DuckDB"), Warehouse(database=str(tmp_path / "retail.duckdb")).get_connection():
        pass


def test_a_month_is_replaced_and_the_others_stay(connection: duckdb.DuckDBPyConnection) -> None:
    append(connection, PRODUCT_NAMES, pl.concat([names(JANUARY, "A", "B"), names(FEBRUARY, "C")]))
    with transaction(connection):
        replace_month(connection, PRODUCT_NAMES, JANUARY, names(JANUARY, "D"))
    assert read_months(connection, PRODUCT_NAMES, JANUARY, FEBRUARY, ("stock_code",))["stock_code"].to_list() == ["D", "C"]


def test_an_empty_month_is_emptied(connection: duckdb.DuckDBPyConnection) -> None:
    append(connection, PRODUCT_NAMES, names(JANUARY, "A"))
    replace_month(connection, PRODUCT_NAMES, JANUARY, names(JANUARY))
    assert read_months(connection, PRODUCT_NAMES, JANUARY, JANUARY).is_empty()


def test_a_month_that_fails_half_way_is_as_it_was(connection: duckdb.DuckDBPyConnection) -> None:
    append(connection, PRODUCT_NAMES, names(JANUARY, "A"))
    with pytest.raises(RuntimeError, match="half way"), transaction(connection):
        replace_month(connection, PRODUCT_NAMES, JANUARY, names(JANUARY, "B"))
        raise RuntimeError("half way")
    assert read_months(connection, PRODUCT_NAMES, JANUARY, JANUARY)["stock_code"].to_list() == ["A"]


def test_columns_are_matched_by_name_not_by_position(connection: duckdb.DuckDBPyConnection) -> None:
    frame = names(JANUARY, "A").with_columns(pl.lit(7, pl.Int64).alias("unpriced_line_count"))
    append(connection, PRODUCT_NAMES, frame.select(reversed(frame.columns)))
    assert read(connection, "select line_count, unpriced_line_count from raw.product_names").row(0) == (1, 7)


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (names(JANUARY, "A").drop("line_count"), "line_count is missing"),
        (names(JANUARY, "A").with_columns(extra=1), "extra is not declared"),
        (names(JANUARY, "A").cast({"line_count": pl.Int32}), "line_count is Int32, declared Int64"),
        (names(JANUARY, "A").with_columns(stock_code=pl.lit(None, pl.String)), "stock_code is null in 1 rows"),
        (names(FEBRUARY, "A"), "rows of 2011-01 carry another month: 2011-02"),
    ],
    ids=["missing", "unknown", "retyped", "null", "other month"],
)
def test_a_frame_that_is_not_as_declared_is_refused_before_anything_is_deleted(
    connection: duckdb.DuckDBPyConnection, frame: pl.DataFrame, complaint: str
) -> None:
    append(connection, PRODUCT_NAMES, names(JANUARY, "kept"))
    with pytest.raises(ContractError, match=complaint):
        replace_month(connection, PRODUCT_NAMES, JANUARY, frame)
    assert read_months(connection, PRODUCT_NAMES, JANUARY, JANUARY)["stock_code"].to_list() == ["kept"]


def test_what_users_bring_is_data_and_never_sql(connection: duckdb.DuckDBPyConnection) -> None:
    hostile = "'); drop table raw.product_names; --"
    append(connection, PRODUCT_NAMES, names(JANUARY, hostile))
    found = read(connection, "select stock_code from raw.product_names where stock_code = $code", {"code": hostile})
    assert found["stock_code"].to_list() == [hostile]


def test_a_table_of_another_version_is_emptied_and_its_months_are_to_be_built_again(warehouse: Warehouse) -> None:
    origin = provenance.Origin("files", "settings", "0.0.1")
    with warehouse.get_connection() as connection, transaction(connection):
        replace_month(connection, PRODUCT_NAMES, JANUARY, names(JANUARY, "A"))
        for table in (RETURNS, TRANSACTIONS):
            provenance.note(connection, [table.full_name], JANUARY, origin)
    with duckdb.connect(warehouse.database) as other_version:
        other_version.execute("drop table core.returns")
        other_version.execute("create table core.returns as select 'C1/A' as return_id")
    with warehouse.get_connection() as connection:
        assert read(connection, "select * from core.returns").schema == RETURNS.polars_schema
        assert set(provenance.built(connection)) == {(TRANSACTIONS.full_name, JANUARY)}, "the others stay"
        assert read_months(connection, PRODUCT_NAMES, JANUARY, JANUARY).height == 1


def test_a_file_that_nobody_wrote_to_is_not_looked_through_again(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with warehouse.get_connection():
        pass
    looked_through: list[Path] = []
    monkeypatch.setattr("retail_assets.warehouse._create_tables", lambda _, path: looked_through.append(path))
    with warehouse.get_connection() as connection:
        append(connection, PRODUCT_NAMES, names(JANUARY, "A"))
    with warehouse.get_connection():
        pass
    assert not looked_through
    with duckdb.connect(warehouse.database) as somebody:
        somebody.execute("create table raw.notes as select 1 as note")
    with warehouse.get_connection():
        pass
    assert looked_through == [Path(warehouse.database)]
