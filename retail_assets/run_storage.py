"""Dagster's own SQLite files in a run from the command line: one connection for all events, and no waiting for the disk after each.

A run of 13 months stores some 1,500 events, two rows for most. Dagster makes a new SQLAlchemy engine for each row: a connection that opens the file
and closes it, a statement compiled anew, and a wait for the disk at the commit and at the close, because the last connection to leave empties the
write-ahead log into the file. Here each file keeps one engine with an open connection while the run lasts, and `synchronous = NORMAL` leaves
the waiting to the checkpoints. In WAL mode, which Dagster sets, that keeps the files sound whatever happens; a loss of power may cost the last
events of a run, a killed process none (https://www.sqlite.org/pragma.html#pragma_synchronous). The warehouse and publications are DuckDB files and
not concerned.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import dagster as dg

_INDEX = "index"
"""The file that Dagster keeps of all runs; the others are named after their run."""

_BUSY_TIMEOUT_SECONDS = 60


@contextmanager
def kept_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """Inside the block, the events of the instance go through kept connections; other databases, such as Postgres, are left alone."""
    storage: Any = instance.event_log_storage
    if not hasattr(storage, "conn_string_for_shard"):
        yield
        return
    dagsters_way = {"run_connection": storage.run_connection, "index_connection": storage.index_connection}
    engines: dict[str, Engine] = {}

    @contextmanager
    def connection(shard: str, first: Callable[[], AbstractContextManager[Connection]]) -> Iterator[Connection]:
        if shard not in engines:
            with first():  # Makes the file and its tables.
                pass
            engines[shard] = _engine(storage.conn_string_for_shard(shard))
            kept.callback(engines[shard].dispose)
        with engines[shard].begin() as transaction:
            yield transaction

    with ExitStack() as kept:
        for name, way in dagsters_way.items():
            kept.callback(setattr, storage, name, way)
        storage.run_connection = lambda run_id=None: connection(run_id, lambda: dagsters_way["run_connection"](run_id))
        storage.index_connection = lambda: connection(_INDEX, dagsters_way["index_connection"])
        yield


def _engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def _relax(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("pragma synchronous = normal")

    return engine
