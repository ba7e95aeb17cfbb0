"""The same sales in several kinds of file count once: what comes out is what the daily CSV files alone give."""

import gzip
import io
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import xlsxwriter  # type: ignore[import-untyped]
from polars.testing import assert_frame_equal

from retail_assets import seeds
from retail_assets.landing import land
from retail_assets.lib import cleaning
from retail_assets.warehouse import read
from retail_assets_tests.homes import NewWarehouse

pytestmark = pytest.mark.usefixtures("_one_reader")

SEEN = datetime(2026, 1, 1)
COLUMNS = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
SALES = pl.DataFrame(
    [
        ("536365", "85123A", " WHITE  HEART ", 6, datetime(2010, 12, 1, 8, 26), 2.55, 17850, "United Kingdom"),  # blanks as in 113,452 real lines
        ("536365", "22423", "CAKESTAND", 1, datetime(2010, 12, 1, 8, 26), 12.75, 17850, "United Kingdom"),  # a code that sheets hold as a number
        ("536365", "22423", "CAKESTAND", 1, datetime(2010, 12, 1, 8, 26), 12.75, 17850, "United Kingdom"),  # a line keyed twice is two sales
        ("536366", "22138", "BAKING £ SET", 2, datetime(2010, 12, 1, 9, 0), 0.001, None, "EIRE"),  # no customer
        ("536366", "22139", None, 56, datetime(2010, 12, 1, 9, 0), 0.0, None, "EIRE"),  # no text
        ("C536379", "85123A", "WHITE HEART", -1, datetime(2010, 12, 2, 10, 0), 2.55, 17850, "United Kingdom"),  # an invoice number of letters
        ("536367", "22138", "BAKING £ SET", 3, datetime(2010, 12, 2, 11, 0), 4.95, 12680, "France"),
        # Without an invoice of several lines, a day that is there twice cannot be told from a day that sold twice.
        ("536367", "22423", "CAKESTAND", 1, datetime(2010, 12, 2, 11, 0), 12.75, 12680, "France"),
    ],
    schema={
        **dict.fromkeys(COLUMNS, pl.String),
        "Quantity": pl.Int64,
        "InvoiceDate": pl.Datetime("us"),
        "UnitPrice": pl.Float64,
        "CustomerID": pl.Int64,
    },
    orient="row",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    for (day,), lines in SALES.group_by(pl.col("InvoiceDate").dt.date(), maintain_order=True):
        (folder / f"{day}.csv").write_bytes(csv(lines))
    return folder


def csv(lines: pl.DataFrame) -> bytes:
    """As the real files were exported: `17850.0`."""
    text = lines.with_columns(
        pl.col("InvoiceDate").dt.to_string("%Y-%m-%d %H:%M:%S"), pl.col("CustomerID").cast(pl.Float64), pl.col("UnitPrice").cast(pl.Decimal(9, 3))
    )
    return text.write_csv().encode()


def csv_of_a_german_spreadsheet(lines: pl.DataFrame) -> bytes:
    text = lines.with_columns(
        pl.col("InvoiceDate").dt.to_string("%d.%m.%Y %H:%M"),
        pl.col("UnitPrice").cast(pl.Decimal(9, 3)).cast(pl.String).str.replace(".", ",", literal=True),
    )
    # A 13th day tells the order of day and month; the line itself cannot be read and is set aside.
    return (text.write_csv(separator=";") + "x;x;x;x;13.12.2010 00:00;;;\n").encode("cp1252")


def xlsx(*sheets: pl.DataFrame, serial: bool = False) -> bytes:
    buffer = io.BytesIO()
    formats = {} if serial else {"default_date_format": "d/m/yy h:mm"}
    with xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_numbers": True, **formats}) as workbook:
        for number, lines in enumerate(sheets):
            sheet = workbook.add_worksheet(f"Sheet {number}")
            for row_no, row in enumerate([lines.columns, *lines.rows()]):
                sheet.write_row(row_no, 0, row)
    return buffer.getvalue()


def parquet(lines: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    lines.write_parquet(buffer)
    return buffer.getvalue()


def parquet_of_decimals(lines: pl.DataFrame) -> bytes:
    return parquet(lines.with_columns(pl.col("CustomerID").cast(pl.Decimal(9, 2)), pl.col("UnitPrice").cast(pl.Decimal(18, 4))))


def zipped(lines: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("first.csv", csv(lines[:6]))
        archive.writestr("second.xlsx", xlsx(lines[6:]))
    return buffer.getvalue()


def cleaned(connection: duckdb.DuckDBPyConnection) -> cleaning.Cleaned:
    raw = read(connection, "select l.*, f.file_name from raw.landed_lines l join raw.landed_files f using (file_id) where f.status = 'landed'")
    return cleaning.clean(raw, cleaning.product_names(raw), seeds.read_seed("non_product_codes"), seeds.read_seed("country_names"))


ALSO_LANDED: dict[str, tuple[str, Callable[[pl.DataFrame], bytes]]] = {
    "a workbook": ("year.xlsx", xlsx),
    "a workbook with serial numbers for dates": ("year.xlsx", lambda lines: xlsx(lines, serial=True)),
    "a workbook that holds a sheet twice": ("year.xlsx", lambda lines: xlsx(lines, lines)),
    "Parquet": ("year.parquet", parquet),
    "Parquet with decimals": ("year.parquet", parquet_of_decimals),
    "another CSV": ("year.csv", csv_of_a_german_spreadsheet),
    "gzip": ("year.csv.gz", lambda lines: gzip.compress(csv(lines))),
    "an archive of two kinds": ("year.zip", zipped),
}


@pytest.mark.parametrize("also", ALSO_LANDED)
def test_sales_landed_again_in_another_kind_of_file_count_once(folder: Path, connection: duckdb.DuckDBPyConnection, also: str) -> None:
    land(connection, folder, SEEN)
    alone = cleaned(connection)
    name, write = ALSO_LANDED[also]
    (folder / name).write_bytes(write(SALES))
    assert land(connection, folder, SEEN).refused == ()
    together = cleaned(connection)
    assert_frame_equal(together.transactions, alone.transactions)
    assert together.quarantine.filter(pl.col("reason").is_in(["overlapping_file", "repeated_invoice"])).height >= SALES.height


def test_each_kind_of_file_alone_gives_the_same_transactions(folder: Path, tmp_path: Path, new_warehouse: NewWarehouse) -> None:
    expected = None
    for number, (name, write) in enumerate(ALSO_LANDED.values()):
        alone = tmp_path / str(number)
        alone.mkdir()
        (alone / name).write_bytes(write(SALES))
        with new_warehouse(tmp_path / f"{number}.duckdb").get_connection() as connection:
            assert land(connection, alone, SEEN).refused == ()
            transactions = cleaned(connection).transactions
        expected = transactions if expected is None else expected
        assert_frame_equal(transactions, expected)
    assert expected is not None
    assert expected["amount"].sum() == Decimal("65.8520")


def test_a_file_says_in_the_report_how_it_was_read(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    landing_dir = tmp_path / "mixed"
    landing_dir.mkdir()
    contents: dict[str, bytes] = {"a.xlsx": xlsx(SALES, serial=True), "b.ZIP": zipped(SALES), "c.CSV.gz": gzip.compress(csv(SALES))}
    for name, content in contents.items():
        (landing_dir / name).write_bytes(content)
    shown: list[tuple[Any, ...]] = [
        (file.file_name, file.encoding, file.date_format, file.line_count) for file in land(connection, landing_dir, SEEN).files
    ]
    assert shown == [
        ("a.xlsx", None, "excel serial", 8),
        ("b.ZIP", "utf-8", "year-month-day", 8),
        ("c.CSV.gz", "utf-8", "year-month-day", 8),
    ]


def test_sheets_with_different_dates_are_each_read_in_their_own_way(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    landing_dir = tmp_path / "landing"
    landing_dir.mkdir()
    (landing_dir / "two.xlsx").write_bytes(xlsx(SALES, SALES.with_columns(pl.col("InvoiceDate").dt.to_string("%d/%m/%Y %H:%M"))[-1:]))
    (refused,) = land(connection, landing_dir, SEEN).files
    assert (refused.status, refused.line_count) == ("refused", 0)
    assert str(refused.reason).startswith("sheet 'Sheet 1': The dates can be read as")
    assert connection.execute("select count(*) from raw.landed_lines").fetchall() == [(0,)]
    (landing_dir / "two.xlsx").write_bytes(xlsx(SALES, SALES[-1:].with_columns(pl.lit("13/12/2010 11:00").alias("InvoiceDate"))))
    (landed,) = land(connection, landing_dir, SEEN).landed
    assert (landed.date_format, landed.months) == ("year-month-day, day/month/year", (date(2010, 12, 1),))
