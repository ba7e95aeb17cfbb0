"""What runs on Spark's workers: Arrow in, the project's own polars functions, Arrow out. One task per group of rows that belong together.

Which rows belong together is said beside each task; that any larger group gives the same rows is what makes the results those of one machine. No
Dagster, DuckDB or Spark is imported here: a worker starts many Python processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Final

import polars as pl
import pyarrow as pa

from retail_assets.contracts import CUSTOMER_MONTHS, LANDED_LINES, PRODUCT_NAMES, QUARANTINE, RAW_TRANSACTIONS, RETURNS, TRANSACTIONS
from retail_assets.engines.spark.frames import from_arrow, to_arrow
from retail_assets.lib import baskets, cleaning, landed, returns, rfm

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from retail_assets.lib.parsing import DateOrder

FOUND_SCHEMA: Final = pl.Schema({"file_name": pl.String(), "file_id": pl.String(), "size_bytes": pl.Int64()})
READ_SCHEMA: Final = pl.Schema({**LANDED_LINES.polars_schema, "outcome": pl.String()})
"""Lines of files, and for each file one row that has only its `outcome`: a LandedFile as JSON."""

CLEANED_SCHEMA: Final = pl.Schema(
    {
        "invoice_month": pl.Date(),
        "kept": pl.Struct(TRANSACTIONS.polars_schema),
        "set_aside": pl.Struct(QUARANTINE.polars_schema),
    }
)
"""A line that counts or a line set aside; the other of the two is null."""

INVOICE_SCHEMA: Final = pl.Schema({"invoice": pl.String(), "day": pl.Date()})
"""What is added to lines, see `cleaning.with_invoice_days`."""

BASKET_LINES: Final = pl.Schema({"invoice_no": pl.String(), "stock_code": pl.String(), "is_return": pl.Boolean(), "is_batch_order": pl.Boolean()})
BASKET_SCHEMA: Final = pl.Schema({"basket_id": pl.String(), "items": pl.List(pl.String())})

TAKEN: Final = "taken"
"""Units of a sale that returns of earlier months took back."""

Batches = Iterator[pa.RecordBatch]
ByBatch = Callable[[Batches], Batches]
ByGroup = Callable[[pa.Table], pa.Table]


def hashing(landing_dir: Path, seen_at: datetime) -> ByBatch:
    """Content hash and size of files, by name."""

    def task(batches: Batches) -> Batches:
        for batch in batches:
            files = [landed.find(landing_dir, landing_dir / name, seen_at) for name in batch.column("file_name").to_pylist()]
            rows = [(file.file_name, file.file_id, file.size_bytes) for file in files]
            yield from to_arrow(pl.DataFrame(rows, FOUND_SCHEMA, orient="row"), FOUND_SCHEMA).to_batches()

    return task


def reading(landing_dir: Path, date_order: DateOrder, seen_at: datetime) -> ByBatch:
    """The lines of files, and the outcome of each. A file is read by one task, whole: its dates are decided from the whole column."""
    no_line = [pl.lit(None, dtype).alias(name) for name, dtype in LANDED_LINES.polars_schema.items()]

    def task(batches: Batches) -> Batches:
        for batch in batches:
            wanted = [landed.LandedFile(**row, landed_at=seen_at) for row in from_arrow(batch, FOUND_SCHEMA).to_dicts()]
            for read in landed.read_files(landing_dir, wanted, date_order):
                yield from to_arrow(read.lines.with_columns(outcome=pl.lit(None, pl.String)), READ_SCHEMA).to_batches()
                outcomes = pl.DataFrame({"outcome": [outcome_text(file) for file in read.files]})
                yield from to_arrow(outcomes.with_columns(no_line), READ_SCHEMA).to_batches()

    return task


def outcome_text(file: landed.LandedFile) -> str:
    """What became of a file, as text; when it was first seen is known elsewhere."""
    return json.dumps({**vars(file), "landed_at": None, "months": [f"{month}" for month in file.months]})


def outcome_of(text: str, landed_at: datetime) -> landed.LandedFile:
    """The file of an `outcome_text`."""
    told = json.loads(text)
    return landed.LandedFile(**{**told, "landed_at": landed_at, "months": tuple(map(date.fromisoformat, told["months"]))})


def invoice_days(schema: pl.Schema) -> ByBatch:
    """Lines with the number and day of their invoice, row by row."""
    wider = pl.Schema({**schema, **INVOICE_SCHEMA})

    def task(batches: Batches) -> Batches:
        for batch in batches:
            yield from to_arrow(cleaning.with_invoice_days(from_arrow(batch, schema)), wider).to_batches()

    return task


def counting_names(lines: pa.Table) -> pa.Table:
    """Texts of products, counted. Lines of a block (see `cleaning.with_invoice_days`) belong together; the counts of blocks add up."""
    return to_arrow(cleaning.product_names(from_arrow(lines, LANDED_LINES.polars_schema)), PRODUCT_NAMES.polars_schema)


def cleaning_lines(names: pl.DataFrame, non_product_codes: pl.DataFrame, country_names: pl.DataFrame, duplicates: cleaning.Duplicates) -> ByGroup:
    """Lines that count and lines set aside. Lines of a block (see `cleaning.with_invoice_days`) belong together."""

    def task(lines: pa.Table) -> pa.Table:
        raw = from_arrow(lines, RAW_TRANSACTIONS.polars_schema)
        cleaned = cleaning.clean(raw, names, non_product_codes, country_names, duplicates=duplicates)
        parts = {"kept": cleaned.transactions, "set_aside": cleaned.quarantine}
        rows = [frame.select("invoice_month", pl.struct(frame.columns).alias(name)) for name, frame in parts.items()]
        return to_arrow(pl.concat(rows, how="diagonal"), CLEANED_SCHEMA)

    return task


def matching_returns(data_start: date) -> ByGroup:
    """Credit lines matched to sales. Lines of a customer and product belong together.

    A group has lines of core.transactions, with the units of each that are taken back already.
    """

    def task(lines: pa.Table) -> pa.Table:
        found = from_arrow(lines, pl.Schema({**TRANSACTIONS.polars_schema, TAKEN: pl.Int64()}))
        consumed = found.drop_nulls(TAKEN).select(sale_id="transaction_id", quantity=pl.col(TAKEN).cast(pl.Int32))
        matched = returns.match_returns(found.filter("is_return"), found.drop(TAKEN), consumed, data_start=data_start)
        return to_arrow(matched, RETURNS.polars_schema)

    return task


def customer_months(transactions: pa.Table, ledger: pa.Table) -> pa.Table:
    """The roll-up of customers by month. Lines and returns of a customer belong together."""
    lines, returned = from_arrow(transactions, TRANSACTIONS.polars_schema), from_arrow(ledger, RETURNS.polars_schema)
    return to_arrow(rfm.customer_months(lines, returned), CUSTOMER_MONTHS.polars_schema)


def invoice_baskets(lines: pa.Table) -> pa.Table:
    """Baskets as lists of products. Lines of an invoice belong together."""
    found = baskets.baskets(from_arrow(lines, BASKET_LINES))
    return to_arrow(found.group_by("basket_id").agg(items="item"), BASKET_SCHEMA)
