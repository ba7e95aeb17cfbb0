"""Dagster's own SQLite files in a run from the command line: written without waiting for the disk after every event.

A run of 13 months writes some 2,000 rows, each in a transaction of its own, and waits about 2 ms for the disk each time. In WAL mode, which Dagster
sets, `synchronous = NORMAL` keeps the files sound whatever happens; a loss of power may cost the last events of a run, a killed process none
(https://www.sqlite.org/pragma.html#pragma_synchronous). The warehouse and publications are DuckDB files and not concerned.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Engine, event

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def relaxed_sqlite() -> Iterator[None]:
    """Every SQLite connection that SQLAlchemy opens inside the block; other databases, such as Postgres, are left alone."""
    event.listen(Engine, "connect", _relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", _relax)


def _relax(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("pragma synchronous = normal")
