"""The Spark engine in parts: which lines go together, mining and clustering by MLlib, the session. The whole of it: `test_spark_cluster.py`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import polars as pl
import pytest

from retail_assets.contracts import LANDED_LINES, RAW_TRANSACTIONS, TABLES, Table
from retail_assets.engines import EngineError, store
from retail_assets.engines.spark import engine as spark_engine
from retail_assets.engines.spark import mllib, tasks
from retail_assets.engines.spark.engine import SparkEngine
from retail_assets.engines.spark.frames import from_arrow, spark_type, to_arrow
from retail_assets.engines.spark.session import configuration, session
from retail_assets.engines.store import PARTS
from retail_assets.lib import baskets, cleaning, landed, rfm, sample, segments
from retail_assets.seeds import read_seed
from retail_assets.settings import Settings
from retail_assets_tests.processes import free_port
from retail_assets_tests.spark import needs_spark
from retail_assets_tests.test_landing_slices import ISO, SLICE, frame

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


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.full_name)
def test_a_table_goes_through_arrow_without_loss(table: Table) -> None:
    empty = table.polars_schema.to_frame()
    assert from_arrow(to_arrow(empty, empty.schema), empty.schema).schema == empty.schema
    assert all(spark_type(dtype) for dtype in empty.schema.values())


def test_what_became_of_a_file_survives_as_text() -> None:
    file = landed.LandedFile("a.csv", "hash", 3, SEEN_AT, "refused", "It is none: “ä”.", 5, (date(2011, 1, 1),), "utf-8", None)
    assert tasks.outcome_of(tasks.outcome_text(file), SEEN_AT) == file


@pytest.mark.usefixtures("_one_reader")
def test_lines_of_a_large_file_that_is_refused_at_its_end_are_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landed, "_LINES_PER_BATCH", SLICE)
    monkeypatch.setattr(landed, "_LARGE_BYTES", 0)
    frame(ISO).write_parquet(tmp_path / "good.parquet")
    frame(ISO).with_columns(Description=pl.Series([b"HEART"] * 9 + [b"\xff\xfe"])).write_parquet(tmp_path / "bad.parquet")
    found = [landed.find(tmp_path, tmp_path / name, SEEN_AT) for name in ("bad.parquet", "good.parquet")]
    wanted = pl.DataFrame([(file.file_name, file.file_id, file.size_bytes) for file in found], tasks.FOUND_SCHEMA, orient="row")
    task = tasks.reading(tmp_path, "auto", SEEN_AT, str(tmp_path / "lake"), "raw/landed_lines/x")
    told = pl.concat(from_arrow(batch, tasks.READ_SCHEMA) for batch in task(iter(to_arrow(wanted, wanted.schema).to_batches())))
    outcomes = [tasks.outcome_of(text, SEEN_AT) for text in told["outcome"].drop_nulls()]
    assert [(file.file_name, file.status) for file in outcomes] == [("bad.parquet", "refused"), ("good.parquet", "landed")]
    paths = told["path"].drop_nulls().to_list()
    read = pl.concat(from_arrow(batch) for batch in store.read(paths, str(tmp_path / "lake"), ["file_id", "line_no"]))
    assert read.rows() == [(found[1].file_id, number) for number in range(2, 12)]
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) > len(paths), "slices of the refused file were written before"


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
@pytest.mark.usefixtures("spark")
def test_spark_cuts_months_of_many_lines_as_one_machine_does(raw: pl.DataFrame, engine: SparkEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_engine, "_ROWS_PER_TASK", 100)
    lines = raw.select(LANDED_LINES.polars_schema.names())
    task = tasks.storing(LANDED_LINES, engine.lake.address, engine.lake.new_folder(LANDED_LINES))
    files = pl.concat(
        from_arrow(told, PARTS.polars_schema) for batch in to_arrow(lines, LANDED_LINES.polars_schema).to_batches(200) for told in task(iter([batch]))
    )
    cut = from_arrow(engine.in_parts(files, LANDED_LINES).toArrow(), {**lines.schema, "part": pl.Int32()})
    day = pl.col("parsed_invoiced_at").dt.date()
    for (month,), of_month in lines.partition_by("invoice_month", as_dict=True).items():
        spans = cleaning.invoice_days(of_month.select("invoice_no", first_day=day, last_day=day, line_count=pl.lit(1, pl.Int64)))
        starts = cleaning.part_starts(spans, 100)
        assert len(starts) > 0
        key = ["file_id", "line_no", "part"]
        found = cut.filter(pl.col("invoice_month") == month).sort(key)
        assert found.equals(cleaning.in_parts(of_month, starts).select(found.columns).sort(key))


@needs_spark
def test_no_itemset_is_frequent_where_no_item_is(engine: SparkEngine) -> None:
    lines = pl.DataFrame({"basket_id": [1, 1, 2, 2], "item": [10, 11, 12, 13]})
    window = date(2011, 1, 1), date(2011, 1, 1)
    with duckdb.connect() as connection:
        found = engine.frequent_itemsets(connection, lines, window, Fraction(1), 3)
    assert found.schema == {"itemset": pl.List(pl.String), "count": pl.Int64, "support": pl.Float64}
    assert found.is_empty()


@needs_spark
def test_a_spark_connect_server_that_does_not_answer_is_told_at_once(tmp_path: Path) -> None:
    url = f"sc://127.0.0.1:{free_port()}"
    with pytest.raises(EngineError, match=rf"No Spark Connect server answers at {url} .*RETAIL_SPARK_URL"):
        session(Settings(home=tmp_path, spark_url=url))


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
    def refuse(*_: object) -> dict[int, segments.Centers]:
        raise AssertionError("started")

    points = np.random.default_rng(1).normal(size=(50, 3))
    found = mllib.fit_centers(refuse)(points, {2: None}, "kmeans", 1)
    assert np.array_equal(found[2].means, segments.fit_centers(points, {2: None}, "kmeans", 1)[2].means)
