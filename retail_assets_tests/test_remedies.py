"""What people are told about disks and files that fail, in the words of every library that complains."""

from pathlib import Path

import pytest

from retail_assets import remedies
from retail_assets.errors import ToldError
from retail_assets.files import write_whole

# As these libraries said it, on a full, read-only or damaged file system: duckdb 2.0, SQLite 3.40, Python 3.11, SQLAlchemy.
FULL = [
    'duckdb.TransactionException: TransactionContext Error: Failed to commit: Could not write file "a.duckdb": No space left on device',
    "OperationalError: (sqlite3.OperationalError) database or disk is full\n[SQL: insert into event_logs]",
    "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) disk I/O error",
    "OSError: [Errno 28] No space left on device: 'reports/.2011-02.html.next'",
]
MEMORY = ["duckdb.OutOfMemoryException: Out of Memory Error: failed to allocate data of size 2.0 MiB (636.0 KiB/976.5 KiB used)"]
READ_ONLY = [
    'duckdb.IOException: IO Error: Cannot open file "b.duckdb": Read-only file system',
    "sqlite3.OperationalError: attempt to write a readonly database",
    "PermissionError: [Errno 13] Permission denied: 'serving'",
]
DAMAGED = [
    'duckdb.IOException: IO Error: Could not read enough bytes from file "retail.duckdb": attempted to read 4096 bytes from location 4096',
    'duckdb.IOException: IO Error: The file "retail.duckdb" exists, but it is not a valid DuckDB database file!',
    "duckdb.Error: Corrupt database file: computed checksum 1 does not match stored checksum 2 in block at location 4096",
    "Trying to read a database file with storage version number 99, but we can only read storage versions between 64 and 69.",
]


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        *((text, "Make room, then run again") for text in FULL),
        *((text, "more memory than it may have") for text in MEMORY),
        *((text, "must be writable but its landing folder") for text in READ_ONLY),
        *((text, "move the folder away (`mv ") for text in DAMAGED),
        ("(sqlite3.DatabaseError) file is not a database", "No data is in there: move it away (`mv "),
    ],
)
def test_the_words_of_a_library_lead_to_advice_that_repeats_them(text: str, advice: str) -> None:
    told = remedies.advice_on(f"Error occurred while executing a step\n{text}\nStack trace follows")
    assert told is not None
    assert advice in told
    assert text.splitlines()[0] in told


def test_who_stops_a_run_is_told_that_nothing_is_half_done() -> None:
    for stopped in ("dagster._core.errors.DagsterExecutionInterruptedError", "KeyboardInterrupt: "):
        assert "It was stopped. Months that were written stand" in str(remedies.advice_on(stopped))


def test_an_error_that_says_all_there_is_to_know_is_told_as_it_is_and_an_unknown_one_is_not_explained() -> None:
    assert remedies.advice(ToldError("Wait for better luck.")) == "Wait for better luck."
    assert remedies.advice(ZeroDivisionError("division by zero")) is None


def test_a_text_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "report.html", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
