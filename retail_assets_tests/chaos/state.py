"""What is seen of a home from outside: its tables, leftovers of killed processes, runs that look unfinished."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import duckdb

CLOCK_COLUMNS: Final = frozenset({"landed_at", "published_at", "run_id"})
"""The columns that say when something was done or by which run: all that two equal runs may differ in."""

OF_THE_FILE: Final = frozenset({("quality.last_publication", column) for column in ("version", "size_bytes", "modified_ns")})
"""And what the warehouse notes of the published file itself: its name, which is a time, and its bytes, which depend on DuckDB's threads."""

_PUBLISHED: Final = re.compile(r"Published [-0-9]+ [:0-9]+ UTC|run [-0-9a-f]{36}")
DAMAGED: Final = "warehouse.damaged"
"""Where a warehouse that cannot be read is moved to, as the message says, with its log."""

_UNFINISHED_FILES: Final = ("*.building", "*.next", "*.part", "*.tmp", "*.wal", "*.socket", "dagster/executing/*")
_FINISHED: Final = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

Tables = Mapping[str, str]
"""Name of a table -> SHA-256 of its columns and rows."""


def published(home: Path) -> Tables:
    """Every table of the published file.

    Raises:
        duckdb.Error: There is none, or it cannot be read.
    """
    return _tables(home / "serving" / "retail.duckdb")


def warehouse(home: Path) -> Tables:
    """Every table of the warehouse, which nobody else may have open."""
    return _tables(home / "warehouse" / "retail.duckdb")


def _tables(file: Path) -> Tables:
    """Rows in an order of their own: a month that is refreshed alone is stored after the others."""
    with duckdb.connect(file, read_only=True) as reader:
        columns = reader.execute(
            "select schema_name || '.' || table_name, column_name from duckdb_columns() where table_oid in (select table_oid from duckdb_tables()) "
            "and not internal order by schema_name, table_name, column_index"
        ).fetchall()
        shown: dict[str, list[str]] = {}
        for table, column in columns:
            shown.setdefault(table, []).extend([] if column in CLOCK_COLUMNS or (table, column) in OF_THE_FILE else [column])
        return {
            table: _digest(repr((names, reader.execute(f"select {', '.join(names)} from {table} order by all").fetchall())))
            for table, names in shown.items()
        }


def digest(tables: Tables) -> str:
    """One text for all tables."""
    return _digest(repr(sorted(tables.items())))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def line_count(home: Path) -> int:
    """Lines that readers see."""
    with duckdb.connect(home / "serving" / "retail.duckdb", read_only=True) as reader:
        ((count,),) = reader.execute("select count(*) from raw.raw_transactions").fetchall()
    return int(count)


def reports(home: Path) -> Tables:
    """Every report by name, without the time and the run of its publication."""
    return {path.name: _digest(_PUBLISHED.sub("", path.read_text(encoding="utf-8"))) for path in sorted((home / "reports").glob("*.html"))}


def scratch(home: Path) -> Path:
    """The folder of the temporary files of all commands in a home, beside it."""
    return home.with_name(f"{home.name}-tmp")


def leftovers(home: Path) -> list[str]:
    """Files of unfinished work, versions beyond those that are kept, and what Dagster takes for running."""
    unfinished_files = [path for pattern in _UNFINISHED_FILES for path in home.rglob(pattern) if not path.is_relative_to(home / DAMAGED)]
    found = [str(path.relative_to(home)) for path in unfinished_files]
    found += [f"temporary {path.name}" for path in scratch(home).iterdir()]
    versions = list((home / "serving" / "versions").iterdir())
    found += [f"{len(versions)} versions"] if len(versions) > 3 else []
    found += [f"{path.name} without a file" for path in versions if not (path / "retail.duckdb").exists()]
    found += [f"run.lock: {words}" for words in [(home / "run.lock").read_text()] if words]
    runs = _query(home / "dagster" / "history" / "runs.db", "select run_id, status from runs")
    found += [f"unfinished run {run}" for run, status in runs if status not in _FINISHED]
    return found + [f"turn held by {run} {step}" for run, step in turns(home)]


def turns(home: Path) -> list[tuple[str, str]]:
    """Runs and their steps that have a turn at the warehouse, as Dagster sees it."""
    index = home / "dagster" / "history" / "runs" / "index.db"
    return _query(index, "select run_id, step_key from concurrency_slots where run_id is not null")


def _query(file: Path, sql: str) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()
