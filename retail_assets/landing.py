"""Which files count: what lies in the landing folder against what was landed before, by name and content.

A content counts once, under the first name it came with. New content under a name replaces the old one. A file that was taken away after it landed
still counts: emptying the folder is housekeeping, not a correction. How a file is read stands in `lib/parsing/`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from retail_assets import month_parts, provenance
from retail_assets import months as m
from retail_assets.contracts import LANDED_FILES, LANDED_LINES, PRODUCT_NAMES, TABLES
from retail_assets.files import write_whole
from retail_assets.lib import cleaning, parsing
from retail_assets.warehouse import append, read, replace_month, transaction

MOST_FILE_BYTES: Final = 2 * 1024**3
"""A larger file is refused: it is read whole."""

_LINES_PER_BATCH: Final = 250_000
"""Files are parsed together up to this many lines: few passes over many small files. Larger Parquet files are read in slices of so many."""

_FIRST_LINE_NO: Final = 2

_LARGE_BYTES: Final = 1_000_000
"""A Parquet file of fewer bytes is read whole: sales take some six bytes a line."""


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
class LandingReport:
    """What a landing did: every known file, the months whose lines changed, and the names of the files it read."""

    files: tuple[LandedFile, ...]
    touched_months: tuple[date, ...]
    read_files: tuple[str, ...] = field(default=())

    @property
    def refused(self) -> tuple[LandedFile, ...]:
        """Files that could not be read."""
        return tuple(file for file in self.files if file.status == "refused")

    @property
    def landed(self) -> tuple[LandedFile, ...]:
        """Files whose lines count."""
        return tuple(file for file in self.files if file.status == "landed")

    @property
    def months(self) -> tuple[date, ...]:
        """Every month that has lines, in order."""
        return tuple(sorted({month for file in self.landed for month in file.months}))


def land(connection: duckdb.DuckDBPyConnection, landing_dir: Path, seen_at: datetime, date_order: parsing.DateOrder = "auto") -> LandingReport:
    """Bring `raw.landed_files`, `raw.landed_lines` and `raw.product_names` up to date with the landing folder, in one transaction.

    Months before the first landed one or after the last are no partitions any more, so no run could empty them: here their rows leave every table.

    Args:
        connection: A connection to the warehouse.
        landing_dir: The folder; files in folders below it count too, hidden ones do not.
        seen_at: The time noted beside contents seen for the first time, in UTC.
        date_order: See `parsing.parse_lines`.
    """
    before = _known_files(connection)
    current = decide(before, find_files(landing_dir, seen_at))
    had_lines = {file.file_id for file in before if file.status == "landed"}
    wanted = {file.file_id: file for file in current if file.status == "landed" and file.file_id not in had_lines}
    outcomes: dict[str, LandedFile] = {}
    with transaction(connection):
        with parsing.SafeReader() as reader:
            large = {file_id: file for file_id, file in wanted.items() if _may_be_large(file)}
            for batch in _batches(reader, landing_dir, (file for file_id, file in wanted.items() if file_id not in large)):
                outcomes |= _read_batch(connection, batch, date_order)
            for file_id, file in large.items():
                outcomes[file_id] = _read_in_slices(connection, reader, landing_dir, file, date_order)
        after = tuple(
            replace(outcomes[file.file_id], file_name=file.file_name, status=_status(file, outcomes)) if file.file_id in outcomes else file
            for file in current
        )
        gone = had_lines - {file.file_id for file in after if file.status == "landed"}
        connection.execute(f"delete from {LANDED_LINES.full_name} where list_contains($gone, file_id)", {"gone": sorted(gone)})  # noqa: S608
        connection.execute(f"delete from {LANDED_FILES.full_name}")  # noqa: S608 - names are our contracts
        append(connection, LANDED_FILES, _frame(after))
        touched = _touched(before, after)
        for month in sorted({*touched, *_months_without_names(connection)}):
            replace_month(connection, PRODUCT_NAMES, month, _product_names(connection, month))
        report = LandingReport(after, touched, tuple(file.file_name for file in outcomes.values()))
        _clear_months_outside(connection, report.months)
    return report


def find_files(landing_dir: Path, seen_at: datetime) -> list[LandedFile]:
    """The files of the landing folder with hash and size, in the order of their names; those that cannot be opened too, to be refused later."""
    found = []
    for path in _paths(landing_dir):
        # A name that is no UTF-8 is told with its bytes as `\\xff`.
        name = os.fsencode(path.relative_to(landing_dir).as_posix()).decode("utf-8", "backslashreplace")
        try:
            _refuse_links_out(landing_dir, path)
            found.append(LandedFile(name, _sha256(path), path.stat().st_size, seen_at))
        except (parsing.RefusedFileError, OSError):
            found.append(LandedFile(name, hashlib.sha256(f"unopened {name}".encode()).hexdigest(), 0, seen_at))
    return found


def fingerprint(landing_dir: Path) -> str:
    """A text that changes when a file of the landing folder comes, goes or changes, made without reading any: from names, sizes and times."""
    seen = [
        (path.relative_to(landing_dir).as_posix(), status.st_size, status.st_mtime_ns)
        for path in _paths(landing_dir)
        for status in [path.stat(follow_symlinks=False)]
    ]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16] if seen else ""


def decide(known: Iterable[LandedFile], found: Iterable[LandedFile]) -> tuple[LandedFile, ...]:
    """Which contents count, from what was known and what lies in the folder now: every file with its new status, in the order of names.

    A refused file is tried again while it lies in the folder, because a setting may make it readable, and is forgotten once it is taken away.
    """
    by_key = {(file.file_name, file.file_id): file for file in known}
    current_id = {file.file_name: file.file_id for file in by_key.values() if file.status not in ("superseded", "refused")}
    for file in found:
        key = file.file_name, file.file_id
        earlier = by_key.get(key, file)
        by_key[key] = replace(file, landed_at=earlier.landed_at) if earlier.status == "refused" else earlier
        current_id[file.file_name] = file.file_id
    owners: dict[str, str] = {}
    for file in sorted(by_key.values(), key=lambda file: (file.landed_at, file.file_name)):
        if current_id.get(file.file_name) == file.file_id:
            owners.setdefault(file.file_id, file.file_name)
    return tuple(
        replace(file, status=_decide_status(file, current_id, owners))
        for file in sorted(by_key.values(), key=lambda file: (file.file_name, file.landed_at))
    )


def write_months(path: Path, months: Iterable[date]) -> None:
    """Note the first and last landed month where the code location finds them when it loads; atomically. Without months there is no note."""
    ordered = sorted(months)
    if not ordered:
        path.unlink(missing_ok=True)
        return
    write_whole(path, json.dumps({"first_month": m.label(ordered[0]), "last_month": m.label(ordered[-1])}))


def _paths(landing_dir: Path) -> list[Path]:
    """Files, and links whatever they lead to: a link to a folder is not followed, and must not be passed over in silence."""
    return sorted(
        path
        for path in landing_dir.rglob("*")
        if (path.is_file() or path.is_symlink()) and not any(part.startswith(".") for part in path.relative_to(landing_dir).parts)
    )


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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _decide_status(file: LandedFile, current_id: dict[str, str], owners: dict[str, str]) -> str:
    if current_id.get(file.file_name) != file.file_id:
        return "superseded"
    return "landed" if owners[file.file_id] == file.file_name else "duplicate"


def _status(file: LandedFile, outcomes: dict[str, LandedFile]) -> str:
    return "refused" if outcomes[file.file_id].status == "refused" else file.status


def _known_files(connection: duckdb.DuckDBPyConnection) -> list[LandedFile]:
    rows = read(connection, f"select * from {LANDED_FILES.full_name} order by file_name, landed_at").to_dicts()  # noqa: S608
    return [LandedFile(**{**row, "months": tuple(row["months"])}) for row in rows]


def _frame(files: Iterable[LandedFile]) -> pl.DataFrame:
    rows = [{**vars(file), "months": list(file.months)} for file in files]
    return pl.DataFrame(rows, schema=LANDED_FILES.polars_schema)


def _touched(before: Iterable[LandedFile], after: Iterable[LandedFile]) -> tuple[date, ...]:
    """Months whose lines changed: those of contents that count now and did not, or did and do not any more."""
    counted_before, counted_after = ({file.file_id: file.months for file in files if file.status == "landed"} for files in (before, after))
    changed = counted_before.keys() ^ counted_after.keys()
    return tuple(sorted({month for file_id in changed for month in (counted_before | counted_after)[file_id]}))


def _months_without_names(connection: duckdb.DuckDBPyConnection) -> list[date]:
    """Months of landed lines whose names are missing: another version made them otherwise, or not at all (see `warehouse.py`)."""
    named = f"select invoice_month from {PRODUCT_NAMES.full_name}"  # noqa: S608 - names are our contracts
    rows = connection.execute(f"select distinct invoice_month from {LANDED_LINES.full_name} where invoice_month not in ({named})").fetchall()  # noqa: S608
    return [month for (month,) in rows]


def _clear_months_outside(connection: duckdb.DuckDBPyConnection, months: tuple[date, ...]) -> None:
    kept = {"first": months[0], "last": months[-1]} if months else {"first": date.max, "last": date.min}
    connection.execute(
        # A published file with a month that is gone is out of date as a whole; the last month looked ahead into a month that may be gone.
        "delete from quality.built_months where (table_name = $published or invoice_month = $last) and exists ("
        "select 1 from quality.built_months where invoice_month not between $first and $last)",
        {"published": provenance.PUBLISHED, **kept},
    )
    for table in TABLES:
        if table.month_column:
            outside = f"{table.month_column} not between $first and $last"
            connection.execute(f"delete from {table.full_name} where {outside}", kept)  # noqa: S608 - names are our contracts


@dataclass(frozen=True)
class _Read:
    file: LandedFile
    parts: tuple[parsing.Part, ...] = ()


def _batches(reader: parsing.SafeReader, landing_dir: Path, files: Iterable[LandedFile]) -> Iterator[list[_Read]]:
    """Read files in order, handing them on whenever enough lines have come together."""
    batch: list[_Read] = []
    for file in files:
        batch.append(_read_file(reader, landing_dir, file))
        if sum(item.file.line_count for item in batch) >= _LINES_PER_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _read_file(reader: parsing.SafeReader, landing_dir: Path, file: LandedFile) -> _Read:
    try:
        text = reader.read(file.file_name, _content(landing_dir, file))
    except parsing.RefusedFileError as error:
        return _Read(replace(file, status="refused", reason=str(error)))
    return _Read(replace(file, encoding=text.encoding, line_count=sum(part.lines.height for part in text.parts)), text.parts)


def _may_be_large(file: LandedFile) -> bool:
    return file.file_name.lower().endswith(".parquet") and file.size_bytes > _LARGE_BYTES


def _read_in_slices(
    connection: duckdb.DuckDBPyConnection, reader: parsing.SafeReader, landing_dir: Path, file: LandedFile, date_order: parsing.DateOrder
) -> LandedFile:
    """Parse and store the lines of a Parquet file slice by slice, and say what became of it."""
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
                append(connection, LANDED_LINES, parsed)
    except parsing.RefusedFileError as error:
        connection.execute(f"delete from {LANDED_LINES.full_name} where file_id = ?", [file.file_id])  # noqa: S608 - names are our contracts
        return replace(file, status="refused", reason=str(error))
    return replace(file, line_count=line_count, months=tuple(sorted(months)), date_format=decided.date_format)


def _product_names(connection: duckdb.DuckDBPyConnection, month: date) -> pl.DataFrame:
    """The roll-up of names of a month, from its lines part by part."""
    return cleaning.added_up(cleaning.product_names(part) for part in month_parts.whole_invoices(connection, LANDED_LINES, month))


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


def _read_batch(connection: duckdb.DuckDBPyConnection, batch: list[_Read], date_order: parsing.DateOrder) -> dict[str, LandedFile]:
    """Parse and store the lines of some files; what became of each, by its id."""
    # Dates and decimal marks are decided for each sheet or member by itself, so each is parsed as a file of its own.
    parts = {f"{item.file.file_id}/{number}": (item.file.file_id, part) for item in batch for number, part in enumerate(item.parts)}
    lines = [part.lines.with_columns(file_id=pl.lit(part_id)) for part_id, (_, part) in parts.items()]
    outcomes = {item.file.file_id: item.file for item in batch}
    if not lines:
        return outcomes
    parsed = parsing.parse_lines(pl.concat(lines), date_order)
    for part_id, reason in parsed.refused.items():
        file_id, part = parts[part_id]
        whole_reason = f"{part.name}: {reason}" if part.name else reason
        outcomes[file_id] = replace(outcomes[file_id], status="refused", reason=whole_reason, line_count=0)
    kept = parsed.lines.with_columns(pl.col("file_id").str.split("/").list.first()).filter(
        pl.col("file_id").is_in([file_id for file_id, file in outcomes.items() if file.status != "refused"])
    )
    append(connection, LANDED_LINES, kept)
    formats: dict[str, dict[str, None]] = {}
    for part_id, date_format in parsed.date_formats.items():
        formats.setdefault(parts[part_id][0], {})[date_format] = None
    for file_id, months in kept.group_by("file_id").agg(pl.col("invoice_month").unique().sort()).iter_rows():
        outcomes[file_id] = replace(outcomes[file_id], date_format=", ".join(formats[file_id]), months=tuple(months))
    return outcomes
