"""Parquet files too large to be parsed at once are landed in slices, with the outcome of any other file."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from retail_assets import landing
from retail_assets.lib import landed
from retail_assets.warehouse import Warehouse, read
from retail_assets_tests.homes import NewWarehouse

pytestmark = pytest.mark.usefixtures("_one_reader")

SEEN_AT = datetime(2026, 1, 1)
SLICE = 3

# The first slice has no date at all, the second one only days that could be months, the last line none.
DAY_FIRST = [None, None, None, "04/01/2011 08:00", "05/01/2011 08:00", "06/01/2011 08:00", "soon", "31/01/2011 08:00", "01/02/2011 08:00", "later"]
SERIALS = ["40547.5", "40548", "40549", "40550", "40551", "40552", "40553", "40554", "40555", "40556.35141"]
ISO = [f"2011-01-{day:02} 08:00:00" for day in range(4, 14)]


def frame(dates: Sequence[str | None], prices: Sequence[str] | None = None) -> pl.DataFrame:
    count = len(dates)
    return pl.DataFrame(
        {
            "InvoiceNo": [str(number) for number in range(count)],
            "StockCode": ["A"] * count,
            "Description": ["HEART"] * count,
            "Quantity": list(range(count)),
            "InvoiceDate": dates,
            "UnitPrice": prices or ["2.55"] * count,
            "CustomerID": [17850.0] * count,
            "Country": ["United Kingdom"] * count,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "landing").mkdir()
    return tmp_path / "landing"


def land(folder: Path, warehouse: Warehouse) -> tuple[landed.LandedFile, pl.DataFrame]:
    with warehouse.get_connection() as connection:
        report = landing.land(connection, folder, SEEN_AT)
        return report.files[0], read(connection, "select * from raw.landed_lines order by line_no")


CASES = {
    "a date far from the middle of the file is none": frame(["2099-01-01 08:00:00", *ISO[1:]]),
    "day first, decided by the last slices": frame(DAY_FIRST),
    "Excel serials, of which one alone tells seconds": frame(SERIALS),
    "a decimal comma in the last slice only": frame(ISO, ["2"] * 9 + ["2,5"]),
    "commas that may be of thousands, and one in the last slice that may not": frame(ISO, ["1,000"] * 9 + ["2,5"]),
    "commas that may be of thousands everywhere": frame(ISO, ["1,000"] * 9 + ["2"]),
    "commas, but a point in the last slice: no decimal commas": frame(ISO, ["2,5"] * 9 + ["2.5"]),
}


@pytest.mark.parametrize("lines", CASES.values(), ids=CASES.keys())
def test_slices_give_what_the_whole_file_gives(
    folder: Path, tmp_path: Path, new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, lines: pl.DataFrame
) -> None:
    lines.write_parquet(folder / "january.parquet", row_group_size=4)
    whole = land(folder, new_warehouse(tmp_path / "whole.duckdb"))
    monkeypatch.setattr(landed, "_LINES_PER_BATCH", SLICE)
    monkeypatch.setattr(landed, "_LARGE_BYTES", 0)
    in_slices = land(folder, new_warehouse(tmp_path / "slices.duckdb"))
    assert in_slices[0] == whole[0]
    assert whole[0].status == "landed"
    assert_frame_equal(in_slices[1], whole[1])


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (frame([f"{day:02}/01/2011 08:00" for day in range(1, 11)]), "can be read as month/day/year and as day/month/year"),
        (frame(ISO).with_columns(Description=pl.Series([b"HEART"] * 9 + [b"\xff\xfe"])), "damaged or cannot be read"),
    ],
    ids=["ambiguous dates", "no UTF-8 in the last slice"],
)
def test_a_large_file_that_is_refused_leaves_no_line(
    folder: Path, connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, lines: pl.DataFrame, reason: str
) -> None:
    lines.write_parquet(folder / "january.parquet")
    monkeypatch.setattr(landed, "_LINES_PER_BATCH", SLICE)
    monkeypatch.setattr(landed, "_LARGE_BYTES", 0)
    report = landing.land(connection, folder, SEEN_AT)
    assert report.files[0].status == "refused"
    assert reason in str(report.files[0].reason)
    assert connection.execute("select count(*) from raw.landed_lines").fetchall() == [(0,)]
