"""The Parquet files of a lake, through Arrow's file systems: a folder, or an address in an object store. The driver and the workers call it.

Credentials, region and endpoint of an object store are those of its own environment variables, on each machine (`AWS_...`; docs/spark.md). Which
files count is said elsewhere (`lake`); here nothing of the warehouse is known. Arrow is imported when it is needed: the warehouse needs none.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import polars as pl

from retail_assets.contracts import Column, Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

PARTS: Final = Table(
    schema="lake",
    name="parts",
    grain="One row per Parquet file of the lake that counts.",
    key=("path",),
    month_column="invoice_month",
    columns=(
        Column("table_name", "VARCHAR", "Table with its schema."),
        Column("invoice_month", "DATE", "First day of the month."),
        Column("path", "VARCHAR", "The file below the lake."),
        Column("line_count", "BIGINT", "Rows in the file."),
    ),
)
"""What a write tells, and the table in which the warehouse keeps it."""

_ROWS_AT_A_TIME: Final = 100_000
_FEWEST_ROWS_PER_GROUP: Final = 50_000
"""Rows of a month are held back until they are so many, or all: small row groups make large files that are read slowly."""
_FILES_AT_A_TIME: Final = 8


@cache
def opened(address: str) -> tuple[FileSystem, str]:
    """The file system of a folder or address, and what the lake is called in it."""
    from pyarrow.fs import FileSystem  # noqa: PLC0415

    filesystem, path = FileSystem.from_uri(address)
    return filesystem, path


def write(batches: Iterable[pa.RecordBatch], table: Table, schema: pa.Schema, address: str, folder: str) -> pl.DataFrame:
    """Write rows of a table, a file for each of their months. No file has the name of an earlier one, so a task may be tried again.

    Args:
        batches: The rows.
        table: The table, which has an `invoice_month`.
        schema: Its columns.
        address: The lake.
        folder: Where in the lake.

    Returns:
        The files, as in PARTS.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import dataset  # noqa: PLC0415

    filesystem, root = opened(address)
    written: list[tuple[str, date, str, int]] = []

    def note(file: dataset.WrittenFile) -> None:
        path = PurePosixPath(file.path).relative_to(root)
        month = date.fromisoformat(path.parent.name.removeprefix("month="))
        written.append((table.full_name, month, str(path), file.metadata.num_rows))

    by_month = pa.field("month", pa.date32())
    rows = (batch.select(schema.names).cast(schema) for batch in batches)
    dataset.write_dataset(
        pa.RecordBatchReader.from_batches(schema.append(by_month), (batch.append_column(by_month, batch["invoice_month"]) for batch in rows)),
        f"{root}/{folder}",
        filesystem=filesystem,
        partitioning=dataset.partitioning(pa.schema([by_month]), flavor="hive"),
        basename_template=f"{uuid.uuid4().hex}-{{i}}.parquet",
        format="parquet",
        file_options=dataset.ParquetFileFormat().make_write_options(compression="zstd"),
        min_rows_per_group=_FEWEST_ROWS_PER_GROUP,
        existing_data_behavior="overwrite_or_ignore",
        create_dir=filesystem.type_name == "local",
        use_threads=False,
        file_visitor=note,
    )
    return pl.DataFrame(sorted(written), PARTS.polars_schema, orient="row")


def read(paths: Iterable[str], address: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of files of a lake."""
    from pyarrow import parquet  # noqa: PLC0415

    filesystem, root = opened(address)
    for path in paths:
        with parquet.ParquetFile(f"{root}/{path}", filesystem=filesystem, pre_buffer=True) as file:
            yield from file.iter_batches(_ROWS_AT_A_TIME, columns=list(columns), use_threads=False)


def fetch(paths: Iterable[str], address: str, to: Path) -> None:
    """Copy files of a lake that are not there yet; one that is there is whole, and is never written again."""
    from pyarrow.fs import LocalFileSystem, copy_files  # noqa: PLC0415

    filesystem, root = opened(address)

    def fetch_one(path: str) -> None:
        unfinished = (to / path).with_name(f".{PurePosixPath(path).name}.next")
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        copy_files(f"{root}/{path}", str(unfinished), source_filesystem=filesystem, destination_filesystem=LocalFileSystem())
        unfinished.replace(to / path)

    with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        list(pool.map(fetch_one, (path for path in paths if not (to / path).exists())))


def sweep(address: str, folders: Iterable[str], named: set[str]) -> None:
    """Delete the files in folders of a lake that are not `named`. Each folder holds a folder for each write; one without a named file goes whole."""
    from pyarrow.fs import FileSelector, FileType  # noqa: PLC0415

    filesystem, root = opened(address)
    for folder in folders:
        place = f"{root}/{folder}"
        found = filesystem.get_file_info(FileSelector(place, allow_not_found=True, recursive=True))
        kept = {PurePosixPath(path).relative_to(folder).parts[0] for path in named if path.startswith(f"{folder}/")}
        for write in {PurePosixPath(item.path).relative_to(place).parts[0] for item in found} - kept:
            filesystem.delete_dir(f"{place}/{write}")
        for item in found:
            path = PurePosixPath(item.path)
            if item.type == FileType.File and path.relative_to(place).parts[0] in kept and str(path.relative_to(root)) not in named:
                filesystem.delete_file(item.path)
