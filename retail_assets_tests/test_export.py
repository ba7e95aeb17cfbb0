"""Exports: Parquet by month, CSV that no spreadsheet runs, the same bytes twice, and nothing overwritten that is no export."""

import csv
import hashlib
import json
import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args

import duckdb
import polars as pl
import pytest

from retail_assets import export, publication, published_file
from retail_assets.cli import main
from retail_assets.contracts import Column, Table
from retail_assets.export import FORMULA_STARTS, ExportError
from retail_assets.settings import Settings
from retail_assets.warehouse import create_statement

JANUARY, FEBRUARY = date(2011, 1, 1), date(2011, 2, 1)

SALES = Table(
    "marts",
    "sales",
    "One row per sale.",
    (
        Column("invoice_month", "DATE", "Month."),
        Column("sale_id", "INTEGER", "Key."),
        Column("description", "VARCHAR", "Text that users bring.", nullable=True),
        Column("amount", "DECIMAL(18,4)", "Pounds, negative too."),
        Column("names", "VARCHAR[]", "A list."),
        Column("sold_at", "TIMESTAMP", "Time."),
    ),
    key=("sale_id",),
    month_column="invoice_month",
)
PRODUCTS = Table("marts", "products", "One row per product.", (Column("stock_code", "VARCHAR", "Code."),), key=("stock_code",))
EMPTY = Table(
    "marts",
    "empty",
    "One row per month.",
    (Column("invoice_month", "DATE", "Month."), Column("orders", "BIGINT", "Count.")),
    key=("invoice_month",),
    month_column="invoice_month",
)

HARMLESS: list[str | None] = ["WHITE HANGING HEART", "a-b", "1+1", 'SAY "HI", THEN', "two\nlines", " =1+1", "", None]
HARMFUL: list[str | None] = [f"{start}cmd|' /C calc'!A0" for start in FORMULA_STARTS]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose published file holds sales of two months with every awkward text, and an empty table."""
    settings = Settings(home=tmp_path / "home")
    version = settings.serving_dir / "versions" / "20260101T000000.000000Z"
    version.mkdir(parents=True)
    rows = [
        (JANUARY if number % 2 else FEBRUARY, number, text, Decimal("-1.5"), ["=1", 'a "b"'], datetime(2011, 1, 2, 3, 4))
        for number, text in enumerate(HARMLESS + HARMFUL)
    ]
    with duckdb.connect(version / "retail.duckdb") as connection:
        for table in (SALES, PRODUCTS, EMPTY):
            connection.execute(create_statement(table))
        connection.executemany("insert into marts.sales values (?, ?, ?, ?, ?, ?)", rows[::-1])
        connection.execute("insert into marts.products values ('22423'), ('-1')")
    (settings.serving_dir / "retail.duckdb").symlink_to(version / "retail.duckdb")
    monkeypatch.setattr(published_file, "published_tables", lambda: (SALES, PRODUCTS, EMPTY))
    return settings


def cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_parquet_has_a_folder_per_month_and_comes_back_as_it_was(settings: Settings, tmp_path: Path) -> None:
    exported = export.export(settings, tmp_path / "out", "parquet")
    assert exported.row_counts == {"marts.sales": len(HARMLESS + HARMFUL), "marts.products": 2, "marts.empty": 0}
    months = sorted(path.name for path in (tmp_path / "out" / "marts" / "sales").iterdir())
    assert months == ["invoice_month=2011-01-01", "invoice_month=2011-02-01"]
    back = pl.read_parquet(tmp_path / "out" / "marts" / "sales", hive_partitioning=True).sort("sale_id")
    assert back.schema == pl.Schema({**{name: SALES[name].polars_type for name in back.columns}})
    assert set(back.columns) == {column.name for column in SALES.columns}
    assert back["description"].to_list() == HARMLESS + HARMFUL, "Parquet has types: its texts need no guard"
    assert back["invoice_month"].to_list()[:2] == [FEBRUARY, JANUARY]


def test_an_empty_table_still_has_a_file_with_its_columns(settings: Settings, tmp_path: Path) -> None:
    export.export(settings, tmp_path / "out", "parquet", ["empty"])
    assert pl.read_parquet(tmp_path / "out" / "marts" / "empty.parquet").schema == EMPTY.polars_schema


@pytest.mark.parametrize("start", FORMULA_STARTS, ids=lambda start: f"U+{ord(start):04X}")
def test_no_text_cell_of_a_csv_begins_like_a_formula(settings: Settings, tmp_path: Path, start: str) -> None:
    export.export(settings, tmp_path / "out", "csv")
    texts = [row[2] for row in cells(tmp_path / "out" / "marts" / "sales.csv")[1:]]
    assert [text for text in texts if text.startswith(start)] == []
    assert f"'{start}cmd|' /C calc'!A0" in texts


def test_harmless_texts_numbers_and_times_stay_what_they_are(settings: Settings, tmp_path: Path) -> None:
    export.export(settings, tmp_path / "out", "csv")
    header, *rows = cells(tmp_path / "out" / "marts" / "sales.csv")
    assert header == [column.name for column in SALES.columns]
    assert [row[2] for row in rows[: len(HARMLESS)]] == [text or "" for text in HARMLESS]
    assert {(row[3], row[4], row[5]) for row in rows} == {("-1.5000", '["=1","a \\"b\\""]', "2011-01-02 03:04:00")}
    assert [int(row[1]) for row in rows] == list(range(len(rows))), "in the order of the key"


def test_a_null_is_no_empty_text(settings: Settings, tmp_path: Path) -> None:
    export.export(settings, tmp_path / "out", "csv")
    lines = (tmp_path / "out" / "marts" / "sales.csv").read_text(encoding="utf-8").splitlines()
    [empty] = [line for line in lines if line.startswith(f"2011-02-01,{HARMLESS.index('')},")]
    [null] = [line for line in lines if line.startswith(f"2011-01-01,{HARMLESS.index(None)},")]
    assert ',"",' in empty
    assert ",,-1.5000" in null


@pytest.mark.parametrize("file_format", get_args(export.Format))
def test_the_same_publication_gives_the_same_bytes(settings: Settings, tmp_path: Path, file_format: export.Format) -> None:
    export.export(settings, tmp_path / "a", file_format)
    export.export(settings, tmp_path / "b", file_format)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert len(hashes(tmp_path / "a")) >= 4


def test_an_earlier_export_is_replaced_whole_and_the_note_says_from_what(settings: Settings, tmp_path: Path) -> None:
    export.export(settings, tmp_path / "out", "csv")
    export.export(settings, tmp_path / "out", "parquet", ["marts.products"])
    assert set(hashes(tmp_path / "out")) == {"export.json", "marts/products.parquet"}
    note = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    assert note == {"publication": "20260101T000000.000000Z", "format": "parquet", "row_counts": {"marts.products": 2}}
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".building")] == []


def test_a_folder_with_other_files_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear")
    with pytest.raises(ExportError, match="letters holds other files"):
        export.export(settings, tmp_path / "letters", "csv")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "Dear"


def test_the_command_offers_the_formats_that_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--out", "out", "--format", "xlsx"])
    [offered] = re.findall(r"choose from (.*)\)", capsys.readouterr().err)
    assert offered.replace("'", "").split(", ") == list(get_args(export.Format))


def test_unknown_tables_are_named_beside_those_that_exist(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no table marts\.sale\. Published: marts\.empty, marts\.products, marts\.sales\."):
        export.export(settings, tmp_path / "out", "csv", ["sale", "products"])
    assert not (tmp_path / "out").exists()


def test_without_a_publication_there_is_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(publication.NothingPublishedError, match="`retail run` publishes"):
        export.export(Settings(home=tmp_path), tmp_path / "out", "csv")


def test_the_command_exports_and_its_exit_codes_tell_usage_from_attention(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAIL_HOME", str(settings.home))
    out, home = str(tmp_path / "out"), str(settings.home)
    assert main(["export", "--home", home, "--out", out, "--format", "csv", "--tables", "sales", "products"]) == 0
    assert "20  marts.sales" in capsys.readouterr().out
    assert main(["export", "--home", home, "--out", out, "--tables", "sale"]) == 2
    assert "Published:" in capsys.readouterr().err
    assert main(["export", "--home", str(tmp_path / "elsewhere"), "--out", out]) == 1
    assert "`retail run` publishes" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_:
        main(["export", "--home", home, "--out", out, "--format", "xlsx"])
    assert exit_.value.code == 2
