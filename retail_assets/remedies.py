"""What to do about disks, folders, files and memory that fail, whichever library complains.

Found by the words of the error: DuckDB, SQLite, dbt and Python say the same thing in types of their own, and a failed step of Dagster hands on the
words alone.
"""

from __future__ import annotations

import re
from typing import Final

from retail_assets.errors import ToldError
from retail_assets.settings import Settings

_STOPPED: Final = re.compile(r"KeyboardInterrupt|DagsterExecutionInterruptedError")
_FULL: Final = re.compile(r"No space left on device|database or disk is full|Disk quota exceeded|disk I/O error")
"""SQLite speaks of an I/O error where there is no room for its shared memory."""
_MEMORY: Final = re.compile(r"Out of Memory Error")
_READ_ONLY: Final = re.compile(r"Read-only file system|Permission denied|attempt to write a readonly database|unable to open database file")
_HISTORY: Final = re.compile(r"file is not a database|database disk image is malformed|alembic_version|table \w+ already exists")
"""SQLite's words, and those of what Dagster makes of it."""
_DAMAGED: Final = re.compile(
    r"Corrupt database file|Could not read enough bytes|not a valid DuckDB database file|WAL does not match|storage version|replaying WAL"
)


def advice(error: BaseException) -> str | None:
    """What to tell a person about an error; None where it is none of those known here."""
    return str(error) if isinstance(error, ToldError) else advice_on(f"{type(error).__name__}: {error}")


def advice_on(text: str) -> str | None:
    """The same, for what is left of an error once a library has wrapped it: its words."""
    settings = Settings.from_environment()
    home, complaint = settings.home.absolute(), _complaint(text)
    if _STOPPED.search(text):
        return "It was stopped. Months that were written stand, and readers see the last publication. `retail run` does the rest."
    if _FULL.search(text):
        return f"The disk of {home} is full, or fails. Months, publications and reports stand as they were. Make room, then run again. ({complaint})"
    if _MEMORY.search(text):
        bound = f"RETAIL_MEMORY_LIMIT is {settings.memory_limit}: raise it" if settings.memory_limit else "Close other programs"
        return (
            f"DuckDB needs more memory than it may have. Months, publications and reports stand as they were. {bound}, then run again. ({complaint})"
        )
    if _READ_ONLY.search(text):
        return (
            f"A file or folder cannot be written: it is read-only, or belongs to another user. Everything stands as it was. All of {home} must be "
            f"writable but its landing folder; or name another with --home. ({complaint})"
        )
    if _HISTORY.search(text):
        folder = settings.dagster_home
        return (
            f"Dagster's history of runs in {folder} is damaged. No data is in there: move it away (`mv {folder} {folder}.damaged`), then run again. "
            f"Settings of your own in its dagster.yaml go into the new one. ({complaint})"
        )
    return damaged_warehouse(complaint, settings) if _DAMAGED.search(text) else None


def damaged_warehouse(complaint: str, settings: Settings) -> str:
    """What to do about a warehouse that DuckDB does not read."""
    folder = settings.warehouse_path.parent
    return (
        f"The warehouse {settings.warehouse_path} cannot be read: cut off, damaged, or written by a newer DuckDB. Readers keep the last publication. "
        f"If you have a copy of the folder {folder}, put it back. Else move the folder away (`mv {folder} {folder}.damaged`) and run again: all "
        f"is built from the files in {settings.landing_dir}, so see first that they are all there. ({complaint})"
    )


def _complaint(text: str) -> str:
    """The line of a longer text that names the trouble."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(
        (line for line in lines for pattern in (_FULL, _MEMORY, _READ_ONLY, _HISTORY, _DAMAGED) if pattern.search(line)), lines[0] if lines else text
    )
