"""A landed file, and how files are read: bytes to parsed lines, one file or many at a time, with what became of each.

Which files count is decided in `retail_assets.landing`, how a kind of file is read in `parsing`. No storage in here: Spark runs it on its workers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from retail_assets.contracts import LANDED_LINES
from retail_assets.lib import parsing

if TYPE_CHECKING:
    from datetime import date, datetime
    from pathlib import Path

MOST_FILE_BYTES: Final = 2 * 1024**3
"""A larger file is refused: it is read whole."""

_LINES_PER_BATCH: Final = 250_000
"""Files are parsed together up to this many lines: few passes over many small files. Larger Parquet files are read in slices of so many."""

_LARGE_BYTES: Final = 1_000_000
"""A Parquet file of fewer bytes is read whole: sales take some six bytes a line."""

_FIRST_LINE_NO: Final = 2
_NO_LINES: Final = LANDED_LINES.polars_schema.to_frame()


@dataclass(frozen=True)
class LandedFile:
    """One row of `raw.landed_files`."""

    file_name: str
    file_id: str
    size_bytes: int
    landed_at: datetime
    status: str = "landed"
    reason: str | None = None
    line_count: int = 0
    months: tuple[date, ...] = ()
    encoding: str | None = None
    date_format: str | None = None


@dataclass(frozen=True)
class ReadFiles:
    """Some files that were read together: their lines as in LANDED_LINES, and what became of each file, refused ones included."""

    lines: pl.DataFrame
    files: tuple[LandedFile, ...]


def find(landing_dir: Path, path: Path, seen_at: datetime) -> LandedFile:
    """A file of the landing folder with hash and size; one that cannot be opened too, to be refused later."""
    name = name_of(landing_dir, path)
    try:
        _refuse_links_out(landing_dir, path)
        with path.open("rb") as file:
            return LandedFile(name, hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size, seen_at)
    except (parsing.RefusedFileError, OSError):
        return LandedFile(name, hashlib.sha256(f"unopened {name}".encode()).hexdigest(), 0, seen_at)


def name_of(landing_dir: Path, path: Path) -> str:
    """The name of a file below the landing folder; one that is no UTF-8 is told with its bytes in hexadecimal."""
    return os.fsencode(path.relative_to(landing_dir).as_posix()).decode("utf-8", "backslashreplace")


def read_files(landing_dir: Path, files: Iterable[LandedFile], date_order: parsing.DateOrder) -> Iterator[ReadFiles]:
    """Read and parse files in their order, as many at a time as come to some number of lines.

    Args:
        landing_dir: The folder that their names are below.
        files: What to read; content and name are given, the rest is found out.
        date_order: See `parsing.parse_lines`.
    """
    with parsing.SafeReader() as reader:
        yield from _read_together(reader, landing_dir, files, date_order)


def read_in_parts(landing_dir: Path, files: Sequence[LandedFile], date_order: parsing.DateOrder) -> Iterator[ReadFiles]:
    """Read and parse files as `read_files` does, large Parquet files after the others and slice by slice, so that memory stays bounded.

    What became of a large file is said with its last slice: where it is refused, the slices before must be forgotten.
    """
    large = [file for file in files if file.file_name.lower().endswith(".parquet") and file.size_bytes > _LARGE_BYTES]
    with parsing.SafeReader() as reader:
        yield from _read_together(reader, landing_dir, (file for file in files if file not in large), date_order)
        for file in large:
            yield from _read_slices(reader, landing_dir, file, date_order)


def _read_together(reader: parsing.SafeReader, landing_dir: Path, files: Iterable[LandedFile], date_order: parsing.DateOrder) -> Iterator[ReadFiles]:
    batch: list[_Read] = []
    for file in files:
        batch.append(_read_file(reader, landing_dir, file))
        if sum(item.file.line_count for item in batch) >= _LINES_PER_BATCH:
            yield _parse(batch, date_order)
            batch = []
    if batch:
        yield _parse(batch, date_order)


def _read_slices(reader: parsing.SafeReader, landing_dir: Path, file: LandedFile, date_order: parsing.DateOrder) -> Iterator[ReadFiles]:
    months: set[date] = set()
    try:
        content = _content(landing_dir, file)
        with reader.slices(content, _LINES_PER_BATCH, ("invoice_date", "unit_price")) as (_, columns):
            deciding = pl.concat(columns)
        decided = parsing.conventions(deciding["invoice_date"], deciding["unit_price"], date_order)
        month, line_no = decided.first_month, _FIRST_LINE_NO
        with reader.slices(content, _LINES_PER_BATCH) as (line_count, pieces):
            for piece in pieces:
                lines = piece.with_columns(line_no=pl.int_range(line_no, line_no + pl.len(), dtype=pl.Int32), file_id=pl.lit(file.file_id))
                parsed = parsing.parse_slice(lines, decided, month)
                month, line_no = parsed.item(-1, "invoice_month"), line_no + piece.height
                months.update(parsed["invoice_month"].unique())
                yield ReadFiles(parsed, ())
        outcome = replace(file, line_count=line_count, months=tuple(sorted(months)), date_format=decided.date_format)
    except parsing.RefusedFileError as error:
        outcome = replace(file, status="refused", reason=str(error))
    yield ReadFiles(_NO_LINES, (outcome,))


@dataclass(frozen=True)
class _Read:
    file: LandedFile
    parts: tuple[parsing.Part, ...] = ()


def _read_file(reader: parsing.SafeReader, landing_dir: Path, file: LandedFile) -> _Read:
    try:
        text = reader.read(file.file_name, _content(landing_dir, file))
    except parsing.RefusedFileError as error:
        return _Read(replace(file, status="refused", reason=str(error)))
    return _Read(replace(file, encoding=text.encoding, line_count=sum(part.lines.height for part in text.parts)), text.parts)


def _content(landing_dir: Path, file: LandedFile) -> bytes:
    """The content that the file was found with.

    Raises:
        RefusedFileError: It is not to be had. The reason holds no path of this machine: it is published.
    """
    path = landing_dir / file.file_name
    parsing.suffix_of(file.file_name)
    if file.size_bytes > MOST_FILE_BYTES:
        raise parsing.RefusedFileError(
            f"The file has {file.size_bytes / 1024**3:.1f} GiB. Land it in pieces of at most {MOST_FILE_BYTES // 1024**3} GiB."
        )
    _refuse_links_out(landing_dir, path)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise parsing.RefusedFileError("It is not there any more, or its name is no UTF-8. Rename it, or land it again.") from error
    except OSError as error:
        raise parsing.RefusedFileError(f"It cannot be opened ({error.strerror}). Mend its rights, or land it again.") from error
    if hashlib.sha256(content).hexdigest() != file.file_id:
        raise parsing.RefusedFileError(
            "It changed while it was read. It is read again with the next landing; move files into the folder when they are complete."
        )
    return content


def _refuse_links_out(landing_dir: Path, path: Path) -> None:
    """Who may put files into the folder, over SFTP say, must not have us read, and quote, what else there is on the machine."""
    if not path.is_symlink():
        return
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise parsing.RefusedFileError("It is a link that leads nowhere. Put the file itself into the folder.") from error
    if not target.is_file() or not target.is_relative_to(landing_dir.resolve()):
        raise parsing.RefusedFileError(
            "It is a link that leads out of the landing folder, or to a folder. Put the file itself there, or set RETAIL_LANDING."
        )


def _parse(batch: list[_Read], date_order: parsing.DateOrder) -> ReadFiles:
    # Dates and decimal marks are decided for each sheet or member by itself, so each is parsed as a file of its own.
    parts = {f"{item.file.file_id}/{number}": (item.file.file_id, part) for item in batch for number, part in enumerate(item.parts)}
    outcomes = {item.file.file_id: item.file for item in batch}
    if not parts:
        return ReadFiles(_NO_LINES, tuple(outcomes.values()))
    parsed = parsing.parse_lines(pl.concat([part.lines.with_columns(file_id=pl.lit(part_id)) for part_id, (_, part) in parts.items()]), date_order)
    for part_id, reason in parsed.refused.items():
        file_id, part = parts[part_id]
        whole_reason = f"{part.name}: {reason}" if part.name else reason
        outcomes[file_id] = replace(outcomes[file_id], status="refused", reason=whole_reason, line_count=0)
    kept = parsed.lines.with_columns(pl.col("file_id").str.split("/").list.first()).filter(
        pl.col("file_id").is_in([file_id for file_id, file in outcomes.items() if file.status != "refused"])
    )
    formats: dict[str, dict[str, None]] = {}
    for part_id, date_format in parsed.date_formats.items():
        formats.setdefault(parts[part_id][0], {})[date_format] = None
    for file_id, months in kept.group_by("file_id").agg(pl.col("invoice_month").unique().sort()).iter_rows():
        outcomes[file_id] = replace(outcomes[file_id], date_format=", ".join(formats[file_id]), months=tuple(months))
    return ReadFiles(kept, tuple(outcomes.values()))
