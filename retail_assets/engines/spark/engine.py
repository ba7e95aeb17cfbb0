"""The Spark engine: which rows go to which task, for each table that is made of lines; and mining and clustering by MLlib.

The tasks themselves, in `tasks`, are the same polars functions that one machine runs. A window of months is one job, whose months are then put in
place one by one, each with its checks in its own transaction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from retail_assets.engines.store import PARTS
from retail_assets.lib import cleaning
from retail_assets.lib.baskets import least_count
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
    from retail_assets.lib.segments import Centers, FitCenters, Floats
    from retail_assets.settings import Settings

    Made = Mapping[Table, Mapping[date, Part]]
    Make = Callable[["SparkEngine", duckdb.DuckDBPyConnection, date, date, Settings], Made]
    """Makes the months of some tables from a first to a last one."""

_ROWS_PER_TASK: Final = 250_000
"""Rows that a task is given at a time where they may be split: some 200 MB as Arrow and polars hold them together."""

_BYTES_PER_TASK: Final = 16 << 20
"""Bytes of landed files that a task reads."""

_FEWEST_TASKS: Final = 4
"""Tasks that files are shared among where there are so many, however small."""


@dataclass(frozen=True)
class SparkEngine:
    """Spark for everything of one row per line."""

    settings: Settings
    lake: Lake

    @classmethod
    def of(cls, settings: Settings) -> SparkEngine:
        """The engine at the places that the settings name; Spark starts when it is first needed."""
        return cls(settings, Lake(settings.lake_dir, settings.lake_address if settings.is_lake_remote else None))

    @cached_property
    def spark(self) -> SparkSession:
        """The session."""
        return self.session_thread.submit(session, self.settings).result()

    @cached_property
    def session_thread(self) -> ThreadPoolExecutor:
        """The thread in which the session is made, and MLlib works: through Spark Connect its models know the session of their thread only."""
        return ThreadPoolExecutor(1, "spark")

    @property
    def fit_centers(self) -> FitCenters:
        """Scikit-learn up to some number of customers, MLlib from there on."""

        def of_many(points: Floats, ks: list[int], seed: int) -> dict[int, Centers]:
            return self.session_thread.submit(mllib.kmeans, self.spark, points, ks, seed).result()

        return mllib.fit_centers(of_many)

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
        """MLlib's FPGrowth on the baskets of the window, read from the lake; of `lines` only the baskets, all and by item, are counted."""
        basket_count = lines["basket_id"].n_unique()
        min_count = least_count(min_support, basket_count)
        if lines.unique().group_by("item").len().filter(pl.col("len") >= min_count).is_empty():
            # Through Spark Connect a model of no itemsets ends in an error (Spark 4.3: it is measured by reducing nothing).
            return mllib.itemsets(mllib.FOUND.to_frame(), basket_count)
        files = self.lake.parts(connection, TRANSACTIONS, *window)
        sold = self.read(files, TRANSACTIONS, columns=tuple(tasks.BASKET_LINES))
        grouped = sold.groupBy(self.bucket(files, "invoice_no"))
        found = grouped.applyInArrow(tasks.invoice_baskets, spark_schema(tasks.BASKET_SCHEMA))
        return self.session_thread.submit(mllib.frequent_itemsets, found, basket_count, min_support, max_length).result()

    def read(
        self,
        files: pl.DataFrame,
        table: Table,
        then: tasks.ByBatch | None = None,
        schema: pl.Schema | None = None,
        columns: tuple[str, ...] = (),
    ) -> DataFrame:
        """The rows in files of the lake.

        Args:
            files: Rows of `lake.parts`.
            table: Whose rows they are.
            then: What the workers do with the rows before Spark gets them.
            schema: What it gives; without it the rows are as in the files.
            columns: The columns that are read; all by default.
        """
        wanted = columns or tuple(table.polars_schema)
        given = schema or pl.Schema({name: table.polars_schema[name] for name in wanted})
        task = tasks.reading_lake(self.lake.address, wanted, then or tasks.by_frame(given, lambda rows: rows))
        task_count = min(files.height, max(_FEWEST_TASKS, self.group_count(files)))
        if files.is_empty():
            return self.spark.createDataFrame([], spark_schema(given))
        return self.small(files.select("path")).repartition(task_count).mapInArrow(task, spark_schema(given))

    def small(self, frame: pl.DataFrame) -> DataFrame:
        """A frame of this process as a Spark DataFrame."""
        return self.spark.createDataFrame(to_arrow(frame, frame.schema))

    def write(self, rows: DataFrame, table: Table, months: Iterable[date]) -> Made:
        """Write rows aside by month, and say what was written for each of `months`."""
        task = tasks.storing(table, self.lake.address, self.lake.new_folder(table))
        return self.written(rows.mapInArrow(task, spark_schema(PARTS.polars_schema)), [table], months)

    def written(self, files: DataFrame, tables: Iterable[Table], months: Iterable[date]) -> Made:
        """Run the job that writes files; what it wrote."""
        return self.lake.written(from_arrow(files.toArrow(), PARTS.polars_schema), tables, months)

    def in_parts(self, files: pl.DataFrame, table: Table) -> DataFrame:
        """Raw lines with a column `part`: those of a month and part can be cleaned by themselves, see `cleaning.part_starts`."""
        schema = pl.Schema({**table.polars_schema, "part": pl.Int32()})
        return self.read(files, table, tasks.by_frame(schema, tasks.parting(self.part_starts(files, table))), schema)

    def part_starts(self, files: pl.DataFrame, table: Table) -> tasks.Starts:
        """Where months of raw lines are cut; those of few lines are not."""
        from pyspark.sql import functions as f  # noqa: PLC0415

        large = files.filter(pl.col("line_count").sum().over("invoice_month") > _ROWS_PER_TASK)
        if large.is_empty():
            return {}
        first, last, count = f.min("first_day").alias("first_day"), f.max("last_day").alias("last_day"), f.sum("line_count").alias("line_count")
        invoices = (
            self.read(large, table, tasks.by_frame(tasks.DAYS_SCHEMA, tasks.invoice_days), tasks.DAYS_SCHEMA, tasks.DAYS_COLUMNS)
            .groupBy("invoice_month", "invoice")
            .agg(first, last, count)
        )
        # All that is asked of invoices are their days: some hundred rows a month come to this process.
        spans = invoices.groupBy("invoice_month", "first_day", "last_day").agg(count).toArrow()
        days = from_arrow(spans, {name: dtype for name, dtype in tasks.DAYS_SCHEMA.items() if name != "invoice"})
        by_month = days.partition_by("invoice_month", as_dict=True)
        return {month: cleaning.part_starts(of_month, _ROWS_PER_TASK) for (month,), of_month in by_month.items()}

    def group_count(self, files: pl.DataFrame) -> int:
        """How many groups the rows of files make that a task can hold."""
        return math.ceil(files["line_count"].sum() / _ROWS_PER_TASK) or 1

    def bucket(self, files: pl.DataFrame, *columns: str) -> Column:
        """The rows of files split into as many groups as they need, equal ones of `columns` together."""
        from pyspark.sql import functions as f  # noqa: PLC0415

        return f.pmod(f.xxhash64(*columns), f.lit(self.group_count(files)))


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
        engine = self.engine
        wanted = pl.DataFrame([(file.file_name, file.file_id, file.size_bytes) for file in files], tasks.FOUND_SCHEMA, orient="row")
        task_count = _task_count(wanted.height, int(wanted["size_bytes"].sum()))
        reading = tasks.reading(landing_dir, date_order, files[0].landed_at, engine.lake.address, engine.lake.new_folder(LANDED_LINES))
        read = engine.small(wanted).repartition(task_count).mapInArrow(reading, spark_schema(tasks.READ_SCHEMA))
        told = from_arrow(read.toArrow(), tasks.READ_SCHEMA)
        engine.lake.add(self.connection, LANDED_LINES, [Part(told.filter(pl.col("path").is_not_null()).select(PARTS.polars_schema.names()))])
        landed_at = {file.file_id: file.landed_at for file in files}
        outcomes = [tasks.outcome_of(text, files[0].landed_at) for text in told["outcome"].drop_nulls()]
        by_id = {file.file_id: replace(file, landed_at=landed_at[file.file_id]) for file in outcomes}
        return [by_id[file.file_id] for file in files]

    def forget(self, file_ids: Iterable[str]) -> None:
        """Write the months that hold lines of the contents again without them."""
        gone = sorted(file_ids)
        if not gone:
            return
        engine, schema = self.engine, LANDED_LINES.polars_schema
        query = "select distinct invoice_month from raw.landed_lines where list_contains($gone, file_id) order by invoice_month"
        months = read(self.connection, query, {"gone": gone})["invoice_month"].to_list()
        kept = tasks.by_frame(schema, lambda lines: lines.filter(~pl.col("file_id").is_in(gone)))
        made = engine.write(engine.read(self._files(months), LANDED_LINES, kept, schema), LANDED_LINES, months)
        for month, part in made[LANDED_LINES].items():
            engine.lake.replace_month(self.connection, LANDED_LINES, month, part)

    def count_product_names(self, months: Sequence[date]) -> None:
        """Count in one job for all months."""
        from pyspark.sql import functions as f  # noqa: PLC0415

        if not months:
            return
        lines = self.engine.in_parts(self._files(months), LANDED_LINES)
        counted = lines.groupBy("invoice_month", "part").applyInArrow(tasks.counting_names, spark_schema(PRODUCT_NAMES.polars_schema))
        added_up = counted.groupBy("stock_code", "invoice_month", "description").agg(
            f.sum("line_count").alias("line_count"), f.sum("unpriced_line_count").alias("unpriced_line_count")
        )
        names = from_arrow(added_up.toArrow(), PRODUCT_NAMES.polars_schema).sort(PRODUCT_NAMES.key)
        for month in months:
            replace_month(self.connection, PRODUCT_NAMES, month, names.filter(pl.col("invoice_month") == month))

    def _files(self, months: Sequence[date]) -> pl.DataFrame:
        return self.engine.lake.parts(self.connection, LANDED_LINES, date.min, date.max).filter(pl.col("invoice_month").is_in(list(months)))

    def clear_months_outside(self, table: Table, first: date, last: date) -> None:
        """Of the lake or of the warehouse."""
        if table in LAKE_TABLES:
            self.engine.lake.clear_months_outside(self.connection, table, first, last)
        else:
            landing.WarehouseLines(self.connection).clear_months_outside(table, first, last)


def _raw_transactions(engine: SparkEngine, connection: duckdb.DuckDBPyConnection, first: date, last: date, _settings: Settings) -> Made:
    names = read(connection, f"select file_id, file_name from {LANDED_FILES.full_name} where status = 'landed' order by file_id")  # noqa: S608
    schema = RAW_TRANSACTIONS.polars_schema
    store = tasks.storing(RAW_TRANSACTIONS, engine.lake.address, engine.lake.new_folder(RAW_TRANSACTIONS))
    task = tasks.one_after_the_other(tasks.by_frame(schema, tasks.naming(names)), store)
    files = engine.read(engine.lake.parts(connection, LANDED_LINES, first, last), LANDED_LINES, task, PARTS.polars_schema)
    return engine.written(files, [RAW_TRANSACTIONS], m.window(first, last))


def _transactions(engine: SparkEngine, connection: duckdb.DuckDBPyConnection, first: date, last: date, settings: Settings) -> Made:
    # Names of later months among these change nothing for the earlier ones: a line that counts has a price, so its product has one by then.
    names = read(connection, "select * from raw.product_names where invoice_month <= $last order by all", {"last": last})
    tables = TRANSACTIONS, QUARANTINE
    folders = {table: engine.lake.new_folder(table) for table in tables}
    seeds = read_seed("non_product_codes"), read_seed("country_names")
    clean = tasks.cleaning_lines(names, seeds, settings.duplicates, engine.lake.address, folders)
    lines = engine.in_parts(engine.lake.parts(connection, RAW_TRANSACTIONS, first, last), RAW_TRANSACTIONS)
    files = lines.groupBy("invoice_month", "part").applyInArrow(clean, spark_schema(PARTS.polars_schema))
    return engine.written(files, tables, m.window(first, last))


def _returns(engine: SparkEngine, connection: duckdb.DuckDBPyConnection, first: date, last: date, _settings: Settings) -> Made:
    from pyspark.sql import functions as f  # noqa: PLC0415

    pair = ["customer_id", "stock_code"]
    schema = TRANSACTIONS.polars_schema
    known = engine.lake.parts(connection, TRANSACTIONS, date.min, last)
    is_return = tasks.by_frame(schema, lambda lines: lines.filter("is_return"))
    is_sale = tasks.by_frame(schema, lambda lines: lines.filter(~pl.col("is_return")))
    credited = engine.read(known.filter(pl.col("invoice_month") >= first), TRANSACTIONS, is_return, schema)
    sales = engine.read(known, TRANSACTIONS, is_sale, schema).join(credited.select(*pair).distinct(), pair, "left_semi")
    consumed = (
        engine.read(engine.lake.parts(connection, RETURNS, date.min, m.shift(first, -1)), RETURNS, columns=("sale_id", "quantity"))
        .where("sale_id is not null")
        .groupBy(f.col("sale_id").alias("transaction_id"))
        .agg(f.sum("quantity").alias(tasks.TAKEN))
    )
    lines = credited.withColumn(tasks.TAKEN, f.lit(None).cast("bigint")).unionByName(sales.join(consumed, "transaction_id", "left"))
    match = tasks.matching_returns(min(known["invoice_month"], default=first))
    matched = lines.groupBy(engine.bucket(known, *pair)).applyInArrow(match, spark_schema(RETURNS.polars_schema))
    return engine.write(matched, RETURNS, m.window(first, last))


def _customer_months(engine: SparkEngine, connection: duckdb.DuckDBPyConnection, first: date, last: date, _settings: Settings) -> Made:
    found = {table: engine.lake.parts(connection, table, first, last) for table in (TRANSACTIONS, RETURNS)}
    group = engine.bucket(found[TRANSACTIONS], "customer_id").alias("bucket")
    lines, ledger = (engine.read(files, table).where("customer_id is not null").groupBy(group) for table, files in found.items())
    rolled_up = lines.cogroup(ledger).applyInArrow(tasks.customer_months, spark_schema(CUSTOMER_MONTHS.polars_schema))
    return engine.write(rolled_up, CUSTOMER_MONTHS, m.window(first, last))


_MAKERS: Final[Mapping[Table, Make]] = {
    RAW_TRANSACTIONS: _raw_transactions,
    TRANSACTIONS: _transactions,
    RETURNS: _returns,
    CUSTOMER_MONTHS: _customer_months,
}
"""By the first table of the asset."""


def _task_count(file_count: int, size_bytes: int) -> int:
    return min(file_count, max(_FEWEST_TASKS, math.ceil(size_bytes / _BYTES_PER_TASK)))
