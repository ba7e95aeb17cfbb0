"""Which files count: what lies in the landing folder against what was landed before, by name and content.

A content counts once, under the first name it came with. New content under a name replaces the old one, once it could be read. A file that was taken
away after it landed still counts: emptying the folder is housekeeping, not a correction. How a file is read stands in `lib/landed.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import duckdb
import polars as pl

from retail_assets import month_parts, provenance
from retail_assets import months as m
from retail_assets.contracts import LANDED_FILES, LANDED_LINES, PRODUCT_NAMES, TABLES, Table
from retail_assets.files import write_whole
from retail_assets.lib import cleaning, landed, parsing
from retail_assets.lib.landed import LandedFile
from retail_assets.warehouse import append, read, replace_month, transaction


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
    def line_count(self) -> int:
        """Lines that count."""
        return sum(file.line_count for file in self.landed)

    @property
    def months(self) -> tuple[date, ...]:
        """Every month that has lines, in order."""
        return tuple(sorted({month for file in self.landed for month in file.months}))


def land(
    connection: duckdb.DuckDBPyConnection,
    landing_dir: Path,
    seen_at: datetime,
    date_order: parsing.DateOrder = "auto",
    lines: Lines | None = None,
) -> LandingReport:
    """Bring `raw.landed_files`, `raw.landed_lines` and `raw.product_names` up to date with the landing folder, in one transaction.

    Months before the first landed one or after the last are no partitions any more, so no run could empty them: here their rows leave every table.

    Args:
        connection: A connection to the warehouse.
        landing_dir: The folder; files in folders below it count too, hidden ones do not.
        seen_at: The time noted beside contents seen for the first time, in UTC.
        date_order: See `parsing.parse_lines`.
        lines: Where lines are kept; by default in the warehouse.
    """
    kept = lines or WarehouseLines(connection)
    before, found = _known_files(connection), kept.find(landing_dir, seen_at)
    had_lines = {file.file_id for file in before if file.status == "landed"}
    wanted = {file.file_id: file for file in decide(before, found) if file.status == "landed" and file.file_id not in had_lines}
    with transaction(connection):
        read_files = list(kept.read(landing_dir, list(wanted.values()), date_order))
        after = _with_outcomes(decide(before, found, {file.file_id for file in read_files if file.status == "refused"}), before, read_files)
        kept.forget(had_lines - {file.file_id for file in after if file.status == "landed"})
        connection.execute(f"delete from {LANDED_FILES.full_name}")  # noqa: S608 - names are our contracts
        append(connection, LANDED_FILES, _frame(after))
        touched = _touched(before, after)
        kept.count_product_names(touched)
        report = LandingReport(after, touched, tuple(file.file_name for file in read_files))
        _clear_months_outside(connection, report.months, kept)
    return report


class Lines(Protocol):
    """Where the lines of landed files are kept, and the tables made of them. Called inside the transaction of a landing."""

    def find(self, landing_dir: Path, seen_at: datetime) -> list[LandedFile]:
        """The files of the landing folder with hash and size, in the order of their names."""

    def read(self, landing_dir: Path, files: Sequence[LandedFile], date_order: parsing.DateOrder) -> Iterable[LandedFile]:
        """Read files, keep their lines as `raw.landed_lines`, and say what became of each file."""

    def forget(self, file_ids: Iterable[str]) -> None:
        """Remove the lines of these contents."""

    def count_product_names(self, months: Sequence[date]) -> None:
        """Bring months of `raw.product_names` up to date with the lines."""

    def clear_months_outside(self, table: Table, first: date, last: date) -> None:
        """Remove the rows of a table whose month is before `first` or after `last`."""


@dataclass(frozen=True)
class WarehouseLines:
    """Lines as rows of the warehouse."""

    connection: duckdb.DuckDBPyConnection

    def find(self, landing_dir: Path, seen_at: datetime) -> list[LandedFile]:
        """Hash the files one by one."""
        return find_files(landing_dir, seen_at)

    def read(self, landing_dir: Path, files: Sequence[LandedFile], date_order: parsing.DateOrder) -> Iterable[LandedFile]:
        """Read files batch by batch."""
        for read_files in landed.read_in_parts(landing_dir, files, date_order):
            append(self.connection, LANDED_LINES, read_files.lines)
            # A file that is refused after its first slices leaves nothing behind.
            self.forget(file.file_id for file in read_files.files if file.status == "refused")
            yield from read_files.files

    def forget(self, file_ids: Iterable[str]) -> None:
        """Delete lines."""
        if gone := sorted(file_ids):
            self.connection.execute(f"delete from {LANDED_LINES.full_name} where list_contains($gone, file_id)", {"gone": gone})  # noqa: S608

    def count_product_names(self, months: Sequence[date]) -> None:
        """Count month by month, and those of which another version left no names."""
        for month in sorted({*months, *_months_without_names(self.connection)}):
            parts = month_parts.whole_invoices(self.connection, LANDED_LINES, month)
            replace_month(self.connection, PRODUCT_NAMES, month, cleaning.added_up(cleaning.product_names(part) for part in parts))

    def clear_months_outside(self, table: Table, first: date, last: date) -> None:
        """Delete rows."""
        outside = f"{table.month_column} not between $first and $last"
        self.connection.execute(f"delete from {table.full_name} where {outside}", {"first": first, "last": last})  # noqa: S608


def find_files(landing_dir: Path, seen_at: datetime) -> list[LandedFile]:
    """The files of the landing folder with hash and size, in the order of their names; those that cannot be opened too, to be refused later."""
    return [landed.find(landing_dir, path, seen_at) for path in paths(landing_dir)]


def fingerprint(landing_dir: Path) -> str:
    """A text that changes when a file of the landing folder comes, goes or changes, made without reading any: from names, sizes and times."""
    seen = [
        (path.relative_to(landing_dir).as_posix(), status.st_size, status.st_mtime_ns)
        for path in paths(landing_dir)
        for status in [path.stat(follow_symlinks=False)]
    ]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16] if seen else ""


def decide(known: Iterable[LandedFile], found: Iterable[LandedFile], unreadable: Collection[str] = ()) -> tuple[LandedFile, ...]:
    """Which contents count, from what was known and what lies in the folder now: every file with its new status, in the order of names.

    A file whose content cannot be read replaces nothing: what landed under its name before still counts. It is tried again while it lies in the
    folder, because a setting may make it readable, and is forgotten once it is taken away.

    Args:
        known: The rows of `raw.landed_files`.
        found: What lies in the folder now.
        unreadable: The contents of these that turned out to be unreadable.
    """
    by_key = {(file.file_name, file.file_id): file for file in known}
    current_id = {file.file_name: file.file_id for file in by_key.values() if file.status not in ("superseded", "refused")}
    refused = set()
    for file in found:
        key = file.file_name, file.file_id
        earlier = by_key.get(key, file)
        by_key[key] = replace(file, landed_at=earlier.landed_at) if earlier.status == "refused" else earlier
        if file.file_id in unreadable:
            refused.add(key)
        else:
            current_id[file.file_name] = file.file_id
    owners: dict[str, str] = {}
    for file in sorted(by_key.values(), key=lambda file: (file.landed_at, file.file_name)):
        if current_id.get(file.file_name) == file.file_id:
            owners.setdefault(file.file_id, file.file_name)

    def status(file: LandedFile) -> str:
        if (file.file_name, file.file_id) in refused:
            return "refused"
        if current_id.get(file.file_name) != file.file_id:
            return "superseded"
        return "landed" if owners[file.file_id] == file.file_name else "duplicate"

    return tuple(replace(file, status=status(file)) for file in sorted(by_key.values(), key=lambda file: (file.file_name, file.landed_at)))


def write_months(path: Path, months: Iterable[date]) -> None:
    """Note the first and last landed month where the code location finds them when it loads; atomically. Without months there is no note."""
    ordered = sorted(months)
    if not ordered:
        path.unlink(missing_ok=True)
        return
    write_whole(path, json.dumps({"first_month": m.label(ordered[0]), "last_month": m.label(ordered[-1])}))


def paths(landing_dir: Path) -> list[Path]:
    """Files, and links whatever they lead to: a link to a folder is not followed, and must not be passed over in silence."""
    return sorted(
        path
        for path in landing_dir.rglob("*")
        if (path.is_file() or path.is_symlink()) and not any(part.startswith(".") for part in path.relative_to(landing_dir).parts)
    )


def _with_outcomes(decided: Sequence[LandedFile], before: Iterable[LandedFile], read_files: Iterable[LandedFile]) -> tuple[LandedFile, ...]:
    """The files with what is known of their contents: from reading them now, or when they landed under whichever name."""
    contents = {file.file_id: file for file in before if file.line_count} | {file.file_id: file for file in read_files}
    keeps_lines = {file.file_name for file in decided if file.status in ("landed", "duplicate")}

    def complete(file: LandedFile) -> LandedFile:
        if file.file_id not in contents:
            return file
        told = replace(contents[file.file_id], file_name=file.file_name, landed_at=file.landed_at, status=file.status)
        if told.status == "refused" and told.file_name in keeps_lines:
            return replace(told, reason=f"{told.reason} What landed under this name before still counts.")
        return told

    return tuple(complete(file) for file in decided)


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


def _clear_months_outside(connection: duckdb.DuckDBPyConnection, months: tuple[date, ...], lines: Lines) -> None:
    kept = {"first": months[0], "last": months[-1]} if months else {"first": date.max, "last": date.min}
    connection.execute(
        # A published file with a month that is gone is out of date as a whole; the last month looked ahead into a month that may be gone.
        "delete from quality.built_months where (table_name = $published or invoice_month = $last) and exists ("
        "select 1 from quality.built_months where invoice_month not between $first and $last)",
        {"published": provenance.PUBLISHED, **kept},
    )
    for table in TABLES:
        if table.month_column:
            lines.clear_months_outside(table, **kept)
