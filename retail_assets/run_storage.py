"""Dagster's own SQLite files in a run from the command line: written without waiting for the disk after every event.

A run of 13 months stores some 2,000 events. Dagster opens and closes a connection for each, and each time SQLite waits for the disk: at the commit,
and at the close, because the last connection to leave empties the write-ahead log into the file. Here one more connection stays open to each file,
so that none is the last, and `synchronous = NORMAL` leaves the waiting to the checkpoints. In WAL mode, which Dagster sets, that keeps the files
sound whatever happens; a loss of power may cost the last events of a run, a killed process none
(https://www.sqlite.org/pragma.html#pragma_synchronous). The warehouse and publications are DuckDB files and not concerned.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Engine, event

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def relaxed_sqlite() -> Iterator[None]:
    """Every SQLite connection that SQLAlchemy opens inside the block; other databases, such as Postgres, are left alone."""
    with ExitStack() as kept:
        kept_open: set[str] = set()

        def relax(connection: object, _record: object) -> None:
            if not isinstance(connection, sqlite3.Connection):
                return
            connection.execute("pragma synchronous = normal")
            path = connection.execute("pragma database_list").fetchone()[2]
            if path and path not in kept_open:
                kept_open.add(path)
                keeper = kept.enter_context(closing(sqlite3.connect(path, check_same_thread=False)))
                # It takes part in the log from its first read on.
                keeper.execute("select count(*) from sqlite_master").fetchall()

        event.listen(Engine, "connect", relax)
        try:
            yield
        finally:
            event.remove(Engine, "connect", relax)
