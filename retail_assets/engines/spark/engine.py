"""The Spark engine: which rows go to which task, for each table that is made of lines; and mining and clustering by MLlib.

The tasks themselves, in `tasks`, are the same polars functions that one machine runs. A window of months is one job, whose months are then put in
place one by one, each with its checks in its own transaction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, cached_property
from typing import TYPE_CHECKING, Final

import polars as pl

from retail_assets import landing
from retail_assets import months as m
from retail_assets.contracts import (
    CUSTOMER_MONTHS,
    LANDED_FILES,
    LANDED_LINES,
    PRODUCT_NAMES,
    QUARANTINE,
    RAW_TRANSACTIONS,
    RETURNS,
    TRANSACTIONS,
    Table,
)
from retail_assets.engines.lake import LAKE_TABLES, Lake, Part
from retail_assets.engines.spark import mllib, tasks
from retail_assets.engines.spark.frames import from_arrow, spark_schema, to_arrow
from retail_assets.engines.spark.session import session
from retail_assets.lib.landed import LandedFile, find, name_of
from retail_assets.seeds import read_seed
from retail_assets.warehouse import read, replace_month

if TYPE_CHECKING:
    from datetime import datetime
    from fractions import Fraction
    from pathlib import Path

    import duckdb
    from pyspark.sql import Column, DataFrame, SparkSession

    from retail_assets.engines import Frames, Rows
    from retail_assets.landing import LandingReport
    from retail_assets.lib.parsing import DateOrder
    from retail_assets.lib.segments import FitCenters
    from retail_assets.settings import Settings

    Made = Mapping[Table, Mapping[date, Part]]
    Make = Callable[["SparkEngine", duckdb.DuckDBPyConnection, date, date, Settings], Made]
    """Makes the months of some tables from a first to a last one."""

_ROWS_PER_TASK: Final = 250_000
"""Rows that a task is given at a time where they may be split: some 200 MB as Arrow and polars hold them together."""

_BYTES_PER_TASK: Final = 16 << 20
"""Bytes of landed files that a task reads."""

_NO_MONTH: Final = "__HIVE_DEFAULT_PARTITION__"
"""What Spark calls the folder of the rows that have no month."""


@dataclass(frozen=True)
class SparkEngine:
    """Spark for everything of one row per line."""

    settings: Settings
    lake: Lake

    @classmethod
    def of(cls, settings: Settings) -> SparkEngine:
        """The engine at the places that the settings name; Spark starts when it is first needed."""
        return cls(settings, Lake(settings.lake_dir))

    @cached_property
    def spark(self) -> SparkSession:
        """The session."""
        return session(self.settings)

    @property
    def fit_centers(self) -> FitCenters:
        """Scikit-learn up to some number of customers, MLlib from there on."""
        return mllib.fit_centers(lambda: self.spark)

    def land(self, connection: duckdb.DuckDBPyConnection, settings: Settings, seen_at: datetime) -> LandingReport:
        """Hash, read and parse files on the workers."""
        self.lake.prepare(connection)
        self.lake.sweep(connection)
        return landing.land(connection, settings.landing_dir, seen_at, settings.date_order, LakeLines(self, connection))

    def months(
        self, tables: Sequence[Table], connection: duckdb.DuckDBPyConnection, months: Sequence[date], settings: Settings
    ) -> Callable[[date], Frames] | None:
        """Make all months in one job when the first of them is asked for; what is not made of lines is built as on one machine."""
        make = _MAKERS.get(tables[0])
        if make is None:
            return None
        made = cache(lambda: make(self, connection, months[0], months[-1], settings))
        return lambda month: {table: parts[month] for table, parts in made().items()}

    def replace_month(self, connection: duckdb.DuckDBPyConnection, table: Table, month: date, rows: Rows) -> int:
        """Put what Spark wrote in place; write what is in memory."""
        if isinstance(rows, Part):
            self.lake.replace_month(connection, table, month, rows)
            return rows.height
        return replace_month(connection, table, month, rows)

    def frequent_itemsets(
        self, connection: duckdb.DuckDBPyConnection, lines: pl.DataFrame, window: tuple[date, date], min_support: Fraction, max_length: int
    ) -> pl.DataFrame:
        """MLlib's FPGrowth on the baskets of the window, read from the lake; of `lines` only the number of baskets is used."""
        basket_count = lines["basket_id"].n_unique()
        sold = self.table(connection, TRANSACTIONS, *window).select(*tasks.BASKET_LINES)
        grouped = sold.groupBy(self.bucket(sum(self.counts(connection, TRANSACTIONS, *window).values()), "invoice_no"))
        baskets = grouped.applyInArrow(tasks.invoice_baskets, spark_schema(tasks.BASKET_SCHEMA))
        return mllib.frequent_itemsets(baskets, basket_count, min_support, max_length)

    def table(self, connection: duckdb.DuckDBPyConnection, table: Table, first: date, last: date) -> DataFrame:
        """Months of a table of the lake, both ends included."""
        return self.read(table, self.lake.parts(connection, table, first, last)["path"].to_list())

    def read(self, table: Table, paths: Sequence[str]) -> DataFrame:
        """The rows in folders of the lake."""
        schema = spark_schema(table.polars_schema)
        return self.spark.read.schema(schema).parquet(*paths) if paths else self.spark.createDataFrame([], schema)

    def small(self, frame: pl.DataFrame) -> DataFrame:
        """A frame of this process as a Spark DataFrame."""
        return self.spark.createDataFrame(to_arrow(frame, frame.schema))

    def write(self, frame: DataFrame, table: Table, months: Iterable[date]) -> dict[date, Part]:
        """Write rows aside by month, and say what was written for each of `months`."""
        folder = self.lake.new_folder(table)
        _write_by_month(frame.select(*table.polars_schema), folder)
        return self.lake.written(folder, months)

    def blocks(self, lines: DataFrame, schema: pl.Schema, counts: Mapping[date, int]) -> DataFrame:
        """Lines with a column `block`: those of a month and block can be cleaned by themselves.

        A month of few lines is one block. Of a month of many, each day is, but for days that share an invoice (`cleaning.with_invoice_days`).
        """
        from pyspark.sql import functions as f  # noqa: PLC0415

        if all(count <= _ROWS_PER_TASK for count in counts.values()):
            return lines.withColumn("block", f.lit(0))
        wider = pl.Schema({**schema, **tasks.INVOICE_SCHEMA})
        dated = lines.mapInArrow(tasks.invoice_days(schema), spark_schema(wider))
        invoices = dated.groupBy("invoice_month", "invoice").agg(f.collect_set("day").alias("days"), f.min("day").alias("first_day"))
        shared = invoices.where("size(days) > 1").select("invoice_month", "days").distinct().toArrow()
        first_days = joined_days(from_arrow(shared, pl.Schema({"invoice_month": pl.Date(), "days": pl.List(pl.Date())})))
        block_of = f.coalesce("joined_day", "first_day")
        placed = (
            invoices.select("invoice_month", "invoice", "first_day")
            .join(f.broadcast(self.small(first_days)), ["invoice_month", "first_day"], "left")
            .select(
                f.col("invoice_month").alias("month_of_block"),
                f.col("invoice").alias("invoice_of_block"),
                f.coalesce(f.dayofmonth(block_of), f.lit(0)).alias("block"),
            )
        )
        is_in_block = f.expr("invoice_month = month_of_block and invoice <=> invoice_of_block")
        return dated.join(placed, is_in_block, "left").select(*schema, "block")

    def counts(self, connection: duckdb.DuckDBPyConnection, table: Table, first: date, last: date) -> dict[date, int]:
        """Rows by month of a table of the lake."""
        parts = self.lake.parts(connection, table, first, last)
        return dict(parts.group_by("invoice_month").agg(pl.col("line_count").sum()).iter_rows())

    def bucket(self, row_count: int, *columns: str) -> Column:
        """Rows split into as many groups as they need, equal ones of `columns` together."""
        from pyspark.sql import functions as f  # noqa: PLC0415

        return f.pmod(f.xxhash64(*columns), f.lit(math.ceil(row_count / _ROWS_PER_TASK) or 1))


@dataclass(frozen=True)
class LakeLines:
    """Lines of landed files in the lake: see `landing.Lines`."""

    engine: SparkEngine
    connection: duckdb.DuckDBPyConnection

    def find(self, landing_dir: Path, seen_at: datetime) -> list[LandedFile]:
        """Hash the files on the workers."""
        paths = landing.paths(landing_dir)
        names = [name_of(landing_dir, path) for path in paths]
        # A name that is no UTF-8 does not get to a worker and back; such a file is refused.
        told = [name for name, path in zip(names, paths, strict=True) if landing_dir / name == path]
        found = {file.file_name: file for file in self._hashed(landing_dir, told, seen_at)} if told else {}
        return [found.get(name) or find(landing_dir, path, seen_at) for name, path in zip(names, paths, strict=True)]

    def _hashed(self, landing_dir: Path, names: Sequence[str], seen_at: datetime) -> list[LandedFile]:
        size = sum((landing_dir / name).lstat().st_size for name in names)
        asked = self.engine.small(pl.DataFrame({"file_name": names})).repartition(_task_count(len(names), size))
        hashed = asked.mapInArrow(tasks.hashing(landing_dir, seen_at), spark_schema(tasks.FOUND_SCHEMA)).toArrow()
        return [LandedFile(**row, landed_at=seen_at) for row in from_arrow(hashed, tasks.FOUND_SCHEMA).to_dicts()]

    def read(self, landing_dir: Path, files: Sequence[LandedFile], date_order: DateOrder) -> Iterable[LandedFile]:
        """Read the files on the workers, a file in one task, and add what they wrote to the months of the lake."""
        if not files:
            return []
        wanted = pl.DataFrame([(file.file_name, file.file_id, file.size_bytes) for file in files], tasks.FOUND_SCHEMA, orient="row")
        task_count = _task_count(wanted.height, int(wanted["size_bytes"].sum()))
        reading = tasks.reading(landing_dir, date_order, files[0].landed_at)
        lines = self.engine.small(wanted).repartition(task_count).mapInArrow(reading, spark_schema(tasks.READ_SCHEMA))
        folder = self.engine.lake.new_folder(LANDED_LINES)
        _write_by_month(lines, folder)
        # Outcomes have no month, and Spark's name for that folder is no month of the lake.
        told = self.engine.spark.read.schema(spark_schema(tasks.READ_SCHEMA)).parquet(str(folder / f"month={_NO_MONTH}"))
        landed_at = {file.file_id: file.landed_at for file in files}
        outcomes = [tasks.outcome_of(text, files[0].landed_at) for text in told.select("outcome").toArrow()["outcome"].to_pylist()]
        months = sorted({month for file in outcomes for month in file.months})
        self.engine.lake.add(self.connection, LANDED_LINES, self.engine.lake.written(folder, months))
        by_id = {file.file_id: replace(file, landed_at=landed_at[file.file_id]) for file in outcomes}
        return [by_id[file.file_id] for file in files]

    def forget(self, file_ids: Iterable[str]) -> None:
        """Write the months that hold lines of the contents again without them."""
        gone = sorted(file_ids)
        if not gone:
            return
        query = "select distinct invoice_month from raw.landed_lines where list_contains($gone, file_id) order by invoice_month"
        months = read(self.connection, query, {"gone": gone})["invoice_month"].to_list()
        for month in months:
            kept = self.engine.table(self.connection, LANDED_LINES, month, month)
            part = self.engine.write(kept.where(~kept["file_id"].isin(gone)), LANDED_LINES, [month])[month]
            self.engine.lake.replace_month(self.connection, LANDED_LINES, month, part)

    def count_product_names(self, months: Sequence[date]) -> None:
        """Count in one job for all months."""
        from pyspark.sql import functions as f  # noqa: PLC0415

        if not months:
            return
        engine, schema = self.engine, LANDED_LINES.polars_schema
        lines = engine.table(self.connection, LANDED_LINES, months[0], months[-1]).where(f.col("invoice_month").isin(list(months)))
        blocks = engine.blocks(lines, schema, engine.counts(self.connection, LANDED_LINES, months[0], months[-1]))
        counted = blocks.groupBy("invoice_month", "block").applyInArrow(tasks.counting_names, spark_schema(PRODUCT_NAMES.polars_schema))
        added_up = counted.groupBy("stock_code", "invoice_month", "description").agg(
            f.sum("line_count").alias("line_count"), f.sum("unpriced_line_count").alias("unpriced_line_count")
        )
        names = from_arrow(added_up.toArrow(), PRODUCT_NAMES.polars_schema).sort(PRODUCT_NAMES.key)
        for month in months:
            replace_month(self.connection, PRODUCT_NAMES, month, names.filter(pl.col("invoice_month") == month))

    def clear_months_outside(self, table: Table, first: date, last: date) -> None:
        """Of the lake or of the warehouse."""
        if table in LAKE_TABLES:
            self.engine.lake.clear_months_outside(self.connection, table, first, last)
        else:
            landing.WarehouseLines(self.connection).clear_months_outside(table, first, last)


def _raw_transactions(engine: SparkEngine, connection: duckdb.DuckDBPyConnection, first: date, last: date, _settings: Settings) -> Made:
    from pyspark.sql import functions as f  # noqa: PLC0415

    files = read(connection, f"select file_id, file_name from {LANDED_FILES.full_name} where status = 'landed' order by file_id")  # noqa: S608
    lines = engine.table(connection, LANDED_LINES, first, last).join(f.broadcast(engine.small(files)), "file_id")
    return {RAW_TRANSACTIONS: engine.write(lines, RAW_TRANSACTIONS, m.window(first, last))}


def _transactions(engine: SparkEngine, connection: duckdb.DuckDBPyConnection, first: date, last: date, settings: Settings) -> Made:
    # Names of later months among these change nothing for the earlier ones: a line that counts has a price, so its product has one by then.
    names = read(connection, "select * from raw.product_names where invoice_month <= $last order by all", {"last": last})
    clean = tasks.cleaning_lines(names, read_seed("non_product_codes"), read_seed("country_names"), settings.duplicates)
    raw = engine.table(connection, RAW_TRANSACTIONS, first, last)
    blocks = engine.blocks(raw, RAW_TRANSACTIONS.polars_schema, engine.counts(connection, RAW_TRANSACTIONS, first, last))
    cleaned = blocks.groupBy("invoice_month", "block").applyInArrow(clean, spark_schema(tasks.CLEANED_SCHEMA)).persist()
    months = m.window(first, last)
    made = {
        table: engine.write(cleaned.where(f"{column}.invoice_month is not null").select(f"{column}.*"), table, months)
        for table, column in ((TRANSACTIONS, "kept"), (QUARANTINE, "set_aside"))
    }
    cleaned.unpersist()
    return made


def _returns(engine: SparkEngine, connection: duckdb.DuckDBPyConnection, first: date, last: date, _settings: Settings) -> Made:
    from pyspark.sql import functions as f  # noqa: PLC0415

    pair = ["customer_id", "stock_code"]
    known = engine.table(connection, TRANSACTIONS, date.min, last)
    credited = known.where(f.col("is_return") & (f.col("invoice_month") >= f.lit(first)))
    sales = known.where(~f.col("is_return")).join(credited.select(*pair).distinct(), pair, "left_semi")
    consumed = (
        engine.table(connection, RETURNS, date.min, m.shift(first, -1))
        .where("sale_id is not null")
        .groupBy(f.col("sale_id").alias("transaction_id"))
        .agg(f.sum("quantity").alias(tasks.TAKEN))
    )
    lines = credited.withColumn(tasks.TAKEN, f.lit(None).cast("bigint")).unionByName(sales.join(consumed, "transaction_id", "left"))
    counts = engine.counts(connection, TRANSACTIONS, date.min, last)
    match = tasks.matching_returns(min(counts, default=first))
    matched = lines.groupBy(engine.bucket(sum(counts.values()), *pair)).applyInArrow(match, spark_schema(RETURNS.polars_schema))
    return {RETURNS: engine.write(matched, RETURNS, m.window(first, last))}


def _customer_months(engine: SparkEngine, connection: duckdb.DuckDBPyConnection, first: date, last: date, _settings: Settings) -> Made:
    group = engine.bucket(sum(engine.counts(connection, TRANSACTIONS, first, last).values()), "customer_id").alias("bucket")
    lines, ledger = (
        engine.table(connection, table, first, last).where("customer_id is not null").groupBy(group) for table in (TRANSACTIONS, RETURNS)
    )
    rolled_up = lines.cogroup(ledger).applyInArrow(tasks.customer_months, spark_schema(CUSTOMER_MONTHS.polars_schema))
    return {CUSTOMER_MONTHS: engine.write(rolled_up, CUSTOMER_MONTHS, m.window(first, last))}


_MAKERS: Final[Mapping[Table, Make]] = {
    RAW_TRANSACTIONS: _raw_transactions,
    TRANSACTIONS: _transactions,
    RETURNS: _returns,
    CUSTOMER_MONTHS: _customer_months,
}
"""By the first table of the asset."""


def _task_count(file_count: int, size_bytes: int) -> int:
    return min(file_count, max(4, math.ceil(size_bytes / _BYTES_PER_TASK)))


def _write_by_month(frame: DataFrame, folder: Path) -> None:
    """Write rows as Parquet, a folder per month; what has no month goes to a folder of its own."""
    from pyspark.sql import functions as f  # noqa: PLC0415

    frame.withColumn("month", f.col("invoice_month")).write.partitionBy("month").parquet(str(folder))


def joined_days(shared: pl.DataFrame) -> pl.DataFrame:
    """Days that invoices share, joined: `invoice_month`, `first_day` and the `joined_day` that stands for all it is joined with, directly or not.

    Args:
        shared: `invoice_month` and `days`, the days of an invoice that has several.
    """
    root: dict[tuple[date, date], date] = {}

    def find(month: date, day: date) -> date:
        while (above := root.setdefault((month, day), day)) != day:
            day = above
        return day

    for month, days in shared.iter_rows():
        roots = [find(month, day) for day in days]
        for other in roots:
            root[month, other] = min(roots)
    rows = [(month, day, find(month, day)) for month, day in sorted(root)]
    return pl.DataFrame(rows, {"invoice_month": pl.Date, "first_day": pl.Date, "joined_day": pl.Date}, orient="row")
