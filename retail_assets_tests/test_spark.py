"""The Spark engine in parts: which lines go together, mining and clustering by MLlib, the session. The whole of it: `test_spark_cluster.py`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from retail_assets.contracts import LANDED_LINES, RAW_TRANSACTIONS, TABLES, Table
from retail_assets.engines.spark import engine as spark_engine
from retail_assets.engines.spark import mllib, tasks
from retail_assets.engines.spark.engine import SparkEngine, joined_days
from retail_assets.engines.spark.frames import from_arrow, spark_type, to_arrow
from retail_assets.engines.spark.session import configuration
from retail_assets.lib import baskets, cleaning, landed, rfm, sample, segments
from retail_assets.seeds import read_seed
from retail_assets.settings import Settings
from retail_assets_tests.spark import needs_spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SEEN_AT = datetime(2011, 12, 31)

BASKETS = [["a", "b", "c"], ["a", "b"], ["a", "c"], ["b", "d"], ["a", "b", "c", "d"], ["d", "e"], ["a", "e"]]
"""a 5, b 4, c 3, d 3, e 2; ab 3, ac 3, bc 2, bd 2."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """A sample by month, some of its days landed again by themselves, and twice an invoice that goes on after midnight, with
    a line that cannot be read."""
    folder = tmp_path_factory.mktemp("landing")
    lines = sample.generate(2_500, 5)
    sample.write(lines, folder)
    sample.write(lines, folder / "days", files="day")
    midnight = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n" + "".join(
        f"X1,8512{digit},TEA,{quantity},{time},2.55,17850,United Kingdom\n"
        for digit, quantity, time in (
            (1, "1", "2011-03-09 23:59:00"),
            (2, "1", "2011-03-10 00:00:00"),
            (1, "1", "2011-03-10 00:00:00"),
            (2, "1", "2011-03-10 00:00:00"),
            (3, "six", "2011-03-10 00:00:00"),
        )
    )
    for name in ("night.csv", "night again.csv"):
        (folder / name).write_text(midnight + ("" if name == "night.csv" else "\n"), encoding="utf-8")
    nights = [folder / "night.csv", folder / "night again.csv"]
    paths = [*sorted(folder.glob("2*.csv")), *sorted((folder / "days").glob("2011-03-*.csv")), *nights]
    found = [landed.find(folder, path, SEEN_AT) for path in paths]
    (read,) = landed.read_files(folder, found, "auto")
    return read.lines.with_columns(file_name="file_id").select(RAW_TRANSACTIONS.polars_schema.names())


def cleaned(raw: pl.DataFrame, names: pl.DataFrame) -> cleaning.Cleaned:
    return cleaning.clean(raw, names, read_seed("non_product_codes"), read_seed("country_names"))


def in_blocks(raw: pl.DataFrame) -> list[pl.DataFrame]:
    """The lines as cut by month, and within it by the days that no invoice joins."""
    dated = cleaning.with_invoice_days(raw)
    by_invoice = dated.group_by("invoice_month", "invoice").agg(days=pl.col("day").drop_nulls().unique().sort(), first_day=pl.col("day").min())
    joined = joined_days(by_invoice.filter(pl.col("days").list.len() > 1).select("invoice_month", "days"))
    block = pl.coalesce("joined_day", "first_day").alias("block")
    placed = by_invoice.join(joined, on=["invoice_month", "first_day"], how="left").select("invoice_month", "invoice", block)
    lines = dated.join(placed, on=["invoice_month", "invoice"], how="left", nulls_equal=True)
    return [part.select(raw.columns) for part in lines.partition_by("invoice_month", "block")]


def test_lines_cleaned_in_blocks_are_those_cleaned_at_once(raw: pl.DataFrame) -> None:
    names = cleaning.product_names(raw)
    whole, parts = cleaned(raw, names), [cleaned(part, names) for part in in_blocks(raw)]
    assert len(parts) > 100
    reasons = whole.quarantine["reason"].unique()
    assert {"overlapping_file", "unparseable"} <= set(reasons)
    assert pl.concat([part.transactions for part in parts]).sort("transaction_id").equals(whole.transactions.sort("transaction_id"))
    key = ["file_id", "line_no"]
    assert pl.concat([part.quarantine for part in parts]).sort(key).equals(whole.quarantine.sort(key))


def test_names_counted_in_blocks_add_up_to_those_counted_at_once(raw: pl.DataFrame) -> None:
    key = ["stock_code", "invoice_month", "description"]
    added_up = (
        pl.concat([cleaning.product_names(part) for part in in_blocks(raw)]).group_by(key).agg(pl.col("line_count", "unpriced_line_count").sum())
    )
    assert added_up.sort(key).equals(cleaning.product_names(raw).sort(key))


def test_days_that_share_invoices_are_joined_directly_or_by_others() -> None:
    month, other = date(2011, 3, 1), date(2011, 4, 1)
    first, second, third, apart, beside = (month.replace(day=day) for day in (1, 2, 3, 7, 8))
    shared = pl.DataFrame(
        [(month, [second, third]), (month, [first, second]), (month, [beside, apart]), (other, [date(2011, 4, 2), date(2011, 4, 3)])],
        schema={"invoice_month": pl.Date, "days": pl.List(pl.Date)},
        orient="row",
    )
    assert joined_days(shared).rows() == [
        (month, first, first),
        (month, second, first),
        (month, third, first),
        (month, apart, apart),
        (month, beside, apart),
        (other, date(2011, 4, 2), date(2011, 4, 2)),
        (other, date(2011, 4, 3), date(2011, 4, 2)),
    ]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.full_name)
def test_a_table_goes_through_arrow_without_loss(table: Table) -> None:
    empty = table.polars_schema.to_frame()
    assert from_arrow(to_arrow(empty, empty.schema), empty.schema).schema == empty.schema
    assert all(spark_type(dtype) for dtype in empty.schema.values())


def test_what_became_of_a_file_survives_as_text() -> None:
    file = landed.LandedFile("a.csv", "hash", 3, SEEN_AT, "refused", "It is none: “ä”.", 5, (date(2011, 1, 1),), "utf-8", None)
    assert tasks.outcome_of(tasks.outcome_text(file), SEEN_AT) == file


def test_a_local_session_listens_on_the_loopback_alone_and_writes_below_the_home(tmp_path: Path) -> None:
    for url in ("local[2]", "spark://127.0.0.1:7077"):
        found = configuration(Settings(home=tmp_path, spark_url=url))
        assert (found["spark.driver.bindAddress"], found["spark.ui.enabled"]) == ("127.0.0.1", "false")
        assert found["spark.local.dir"].startswith(str(tmp_path))
        assert found["spark.sql.warehouse.dir"].startswith(str(tmp_path))
    assert "spark.driver.bindAddress" not in configuration(Settings(home=tmp_path, spark_url="spark://cluster:7077"))


def test_through_spark_connect_only_what_a_client_may_set_is_set(tmp_path: Path) -> None:
    assert all(name.startswith("spark.sql.") for name in configuration(Settings(home=tmp_path, spark_url="sc://cluster:15002")))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> SparkEngine:
    return SparkEngine.of(Settings(home=tmp_path_factory.mktemp("home"), engine="spark", spark_url="local[2]"))


@pytest.fixture(scope="module")
def spark(engine: SparkEngine) -> Iterator[SparkSession]:
    yield engine.spark
    engine.spark.stop()


@needs_spark
def test_spark_cuts_months_of_many_lines_into_the_same_blocks(
    raw: pl.DataFrame, engine: SparkEngine, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_engine, "_ROWS_PER_TASK", 10)
    counts = dict(raw.group_by("invoice_month").len().iter_rows())
    schema = LANDED_LINES.polars_schema
    cut = engine.blocks(engine.small(raw.select(list(schema))), schema, counts)
    rows = pl.from_arrow(cut.select("file_id", "line_no", "invoice_month", "block").toArrow())
    assert isinstance(rows, pl.DataFrame)
    assert rows.height == raw.height
    key = ["file_id", "line_no"]
    found = {frozenset(part.select(key).rows()) for part in rows.partition_by("invoice_month", "block")}
    assert found == {frozenset(part.select(key).rows()) for part in in_blocks(raw)}


@needs_spark
@pytest.mark.parametrize("min_support", [Fraction(1, 7), Fraction(2, 7), Fraction(3, 7), Fraction("0.43"), Fraction(4, 7), Fraction(1)])
@pytest.mark.parametrize("max_length", [1, 2, None])
def test_fpgrowth_of_mllib_finds_what_eclat_finds(spark: SparkSession, min_support: Fraction, max_length: int | None) -> None:
    lines = pl.DataFrame({"basket_id": range(len(BASKETS)), "item": BASKETS}).explode("item")
    found = mllib.frequent_itemsets(
        spark.createDataFrame([(items,) for items in BASKETS], "items array<string>"), len(BASKETS), min_support, max_length
    )
    assert found.equals(baskets.frequent_itemsets(lines, min_support, max_length))


@needs_spark
def test_kmeans_of_mllib_is_as_good_as_that_of_scikit_learn(raw: pl.DataFrame, spark: SparkSession) -> None:
    transactions = cleaned(raw, cleaning.product_names(raw)).transactions
    customers = rfm.snapshot(transactions, date(2011, 12, 31))
    model = segments.fit(customers, k_range=range(2, 6), seed=1)
    points = model.points(customers)
    found = mllib.kmeans(spark, points, [2, 3, 4, 5], seed=1)
    ours = dict(model.candidates.select("k", "inertia").iter_rows())
    for k, centers in found.items():
        assert centers.nearest(points)[1] <= 1.01 * ours[k]
    assert segments.fit(customers, k_range=range(2, 6), seed=1, fit_all=lambda *_: found).k in found


@needs_spark
@pytest.mark.slow
@pytest.mark.real_data
def test_kmeans_of_mllib_on_the_real_customers_is_within_a_hundredth(real_data: Path, spark: SparkSession) -> None:
    files = [landed.find(real_data, path, SEEN_AT) for path in sorted(real_data.glob("*.csv"))]
    read = pl.concat([part.lines for part in landed.read_files(real_data, files, "auto")])
    lines = read.with_columns(file_name="file_id").select(RAW_TRANSACTIONS.polars_schema.names())
    customers = rfm.snapshot(cleaned(lines, cleaning.product_names(lines)).transactions, date(2011, 11, 30))
    model = segments.fit(customers, seed=1)
    points = model.points(customers)
    ours = dict(model.candidates.select("k", "inertia").iter_rows())
    found = mllib.kmeans(spark, points, list(range(2, 11)), seed=1)
    assert {k for k, centers in found.items() if centers.nearest(points)[1] > 1.01 * ours[k]} == set()


@needs_spark
def test_few_customers_are_fitted_by_scikit_learn_without_starting_spark() -> None:
    def refuse() -> SparkSession:
        raise AssertionError("started")

    points = np.random.default_rng(1).normal(size=(50, 3))
    found = mllib.fit_centers(refuse)(points, {2: None}, "kmeans", 1)
    assert np.array_equal(found[2].means, segments.fit_centers(points, {2: None}, "kmeans", 1)[2].means)
