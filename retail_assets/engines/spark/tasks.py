"""What runs on Spark's workers: Arrow in, the project's own polars functions, Arrow out. One task per group of rows that belong together.

Workers read and write the files of the lake themselves (`engines/store.py`), so that Spark needs no connector of the object store, and lines that
are only read, judged and written never pass through the JVM; where lines must come together, Spark carries them.

Which rows belong together is said beside each task; that any larger group gives the same rows is what makes the results those of one machine. No
Dagster, DuckDB or Spark is imported here: a worker starts many Python processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

import polars as pl
import pyarrow as pa

from retail_assets.contracts import CUSTOMER_MONTHS, LANDED_LINES, PRODUCT_NAMES, QUARANTINE, RAW_TRANSACTIONS, RETURNS, TRANSACTIONS, Table
from retail_assets.engines import store
from retail_assets.engines.spark.frames import arrow_schema, from_arrow, to_arrow
from retail_assets.engines.store import PARTS
from retail_assets.lib import baskets, cleaning, landed, returns, rfm

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from retail_assets.lib.parsing import DateOrder

FOUND_SCHEMA: Final = pl.Schema({"file_name": pl.String(), "file_id": pl.String(), "size_bytes": pl.Int64()})
READ_SCHEMA: Final = pl.Schema({**PARTS.polars_schema, "outcome": pl.String()})
"""Files that lines were written to; and for each landed file one row that has only its `outcome`: a LandedFile as JSON."""

DAYS_SCHEMA: Final = pl.Schema(
    {"invoice_month": pl.Date(), "invoice": pl.String(), "first_day": pl.Date(), "last_day": pl.Date(), "line_count": pl.Int64()}
)
"""See `cleaning.invoice_days`."""

DAYS_COLUMNS: Final = ("invoice_month", "invoice_no", "parsed_invoiced_at")

BASKET_LINES: Final = pl.Schema(
    {"invoice_month": pl.Date(), "invoice_no": pl.String(), "stock_code": pl.String(), "is_return": pl.Boolean(), "is_batch_order": pl.Boolean()}
)
BASKET_SCHEMA: Final = pl.Schema({"basket_id": pl.String(), "items": pl.List(pl.String())})

TAKEN: Final = "taken"
"""Units of a sale that returns of earlier months took back."""

Starts = Mapping[date, Sequence[date]]
"""By month, where it is cut: see `cleaning.part_starts`. A month that is not named is one part."""

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


def reading_lake(address: str, columns: Sequence[str], then: ByBatch) -> ByBatch:
    """The rows of files of the lake, by path, given to the next task in the same process."""

    def task(batches: Batches) -> Batches:
        paths = (path for batch in batches for path in batch.column("path").to_pylist())
        yield from then(store.read(paths, address, columns))

    return task


def storing(table: Table, address: str, folder: str) -> ByBatch:
    """Write rows to the lake; the files, as in PARTS."""

    def task(batches: Batches) -> Batches:
        files = store.write(batches, table, arrow_schema(table.polars_schema), address, folder)
        yield from to_arrow(files, PARTS.polars_schema).to_batches()

    return task


def one_after_the_other(first: ByBatch, then: ByBatch) -> ByBatch:
    """Two tasks in one process."""

    def task(batches: Batches) -> Batches:
        yield from then(first(batches))

    return task


def by_frame(schema: pl.Schema, function: Callable[[pl.DataFrame], pl.DataFrame]) -> ByBatch:
    """A function of frames, row by row, whose result has the columns of a schema."""

    def task(batches: Batches) -> Batches:
        for batch in batches:
            yield from to_arrow(function(from_arrow(batch)), schema).to_batches()

    return task


def reading(landing_dir: Path, date_order: DateOrder, seen_at: datetime, address: str, folder: str) -> ByBatch:
    """Read files and write their lines to the lake; the files of the lake, and the outcome of each file that was read.

    A file is read by one task: its dates are decided from the whole column. Lines of a file that is refused after some of them are stay unnamed.
    """

    def task(batches: Batches) -> Batches:
        wanted = [landed.LandedFile(**row, landed_at=seen_at) for batch in batches for row in from_arrow(batch, FOUND_SCHEMA).to_dicts()]
        written: list[pl.DataFrame] = []
        for read in landed.read_in_parts(landing_dir, wanted, date_order):
            written.append(_stored(read.lines, LANDED_LINES, address, folder))
            if not read.files:
                # A slice of a large file: what becomes of it is said with the last one.
                continue
            if all(file.status == "refused" for file in read.files):
                written = []
            outcomes = pl.DataFrame({"outcome": [outcome_text(file) for file in read.files]})
            yield from to_arrow(pl.concat([READ_SCHEMA.to_frame(), *written, outcomes], how="diagonal"), READ_SCHEMA).to_batches()
            written = []

    return task


def outcome_text(file: landed.LandedFile) -> str:
    """What became of a file, as text; when it was first seen is known elsewhere."""
    return json.dumps({**vars(file), "landed_at": None, "months": [f"{month}" for month in file.months]})


def outcome_of(text: str, landed_at: datetime) -> landed.LandedFile:
    """The file of an `outcome_text`."""
    told = json.loads(text)
    return landed.LandedFile(**{**told, "landed_at": landed_at, "months": tuple(map(date.fromisoformat, told["months"]))})


def invoice_days(lines: pl.DataFrame) -> pl.DataFrame:
    """On which days the invoices of months are, of the lines of one batch; those of several add up."""
    day = pl.col("parsed_invoiced_at").dt.date()
    told = lines.select("invoice_month", "invoice_no", first_day=day, last_day=day, line_count=pl.lit(1, pl.Int64))
    by_month = told.partition_by("invoice_month", as_dict=True)
    return pl.concat(cleaning.invoice_days(invoices).with_columns(invoice_month=pl.lit(month)) for (month,), invoices in by_month.items())


def parting(starts: Starts) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Lines with the part of their month that they belong to."""

    def function(lines: pl.DataFrame) -> pl.DataFrame:
        by_month = lines.partition_by("invoice_month", as_dict=True)
        return pl.concat(cleaning.in_parts(of_month, starts.get(month, ())) for (month,), of_month in by_month.items())

    return function


def naming(files: pl.DataFrame) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Landed lines with the names of their files."""
    return lambda lines: lines.join(files, on="file_id", maintain_order="left")


def counting_names(lines: pa.Table) -> pa.Table:
    """Texts of products, counted. Lines of a part of a month belong together; the counts of parts add up."""
    return to_arrow(cleaning.product_names(from_arrow(lines, LANDED_LINES.polars_schema)), PRODUCT_NAMES.polars_schema)


def cleaning_lines(
    names: pl.DataFrame, seeds: tuple[pl.DataFrame, pl.DataFrame], duplicates: cleaning.Duplicates, address: str, folders: Mapping[Table, str]
) -> ByGroup:
    """Lines that count and lines set aside, written to the lake; the files, as in PARTS. Lines of a part of a month belong together."""

    def task(lines: pa.Table) -> pa.Table:
        raw, is_first_part = from_arrow(lines, RAW_TRANSACTIONS.polars_schema), not lines["part"][0].as_py()
        cleaned = cleaning.clean(raw, names, *seeds, duplicates=duplicates, is_first_part=is_first_part)
        made = {TRANSACTIONS: cleaned.transactions, QUARANTINE: cleaned.quarantine}
        files = pl.concat(_stored(rows, table, address, folders[table]) for table, rows in made.items())
        return to_arrow(files, PARTS.polars_schema)

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


def _stored(rows: pl.DataFrame, table: Table, address: str, folder: str) -> pl.DataFrame:
    return store.write(to_arrow(rows, table.polars_schema).to_batches(), table, arrow_schema(table.polars_schema), address, folder)
