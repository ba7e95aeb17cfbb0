"""Dagster's own SQLite files in a run from the command line: one connection for all events, and no waiting for the disk after each.

A run of 13 months stores some 1,500 events, two rows for most. Dagster makes a new SQLAlchemy engine for each row: a connection that opens the file
and closes it, a statement compiled anew, and a wait for the disk at the commit and at the close, because the last connection to leave empties the
write-ahead log into the file. Here each file keeps one engine with an open connection while the run lasts, and `synchronous = NORMAL` leaves
the waiting to the checkpoints. In WAL mode, which Dagster sets, that keeps the files sound whatever happens; a loss of power may cost the last
events of a run, a killed process none (https://www.sqlite.org/pragma.html#pragma_synchronous). What Dagster reports together, such as the
materializations that a run plans, is stored in one transaction. The warehouse and publications are DuckDB files and not concerned.
"""

from __future__ import annotations

import functools
import os
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, create_engine, event

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import dagster as dg

_INDEX = "index"
"""The file that Dagster keeps of all runs; the others are named after their run."""

_BUSY_TIMEOUT_SECONDS = 60

_BATCH_SIZE: Final = "DAGSTER_EVENT_BATCH_SIZE"
_MOST_TOGETHER: Final = 1_000
"""Events in one transaction."""


@contextmanager
def kept_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """Inside the block, the events of the instance go through kept connections; other databases, such as Postgres, are left alone."""
    storage: Any = instance.event_log_storage
    if not hasattr(storage, "conn_string_for_shard"):
        yield
        return
    dagsters_way = {name: getattr(storage, name) for name in ("run_connection", "index_connection", "has_table", "store_event_batch")}
    engines: dict[str, Engine] = {}
    # Open transactions by file, in the thread that stores events together.
    together: ContextVar[tuple[ExitStack, dict[str, Connection]] | None] = ContextVar("together", default=None)

    @contextmanager
    def connection(shard: str, first: Callable[[], AbstractContextManager[Connection]]) -> Iterator[Connection]:
        if shard not in engines:
            with first():  # Makes the file and its tables.
                pass
            engines[shard] = _engine(storage.conn_string_for_shard(shard))
            kept.callback(engines[shard].dispose)
        if batch := together.get():
            transactions, connections = batch
            if shard not in connections:
                connections[shard] = transactions.enter_context(engines[shard].begin())
            yield connections[shard]
        else:
            with engines[shard].begin() as transaction:
                yield transaction

    def store_together(events: Sequence[dg.EventLogEntry]) -> None:
        with ExitStack() as transactions:
            transactions.callback(together.reset, together.set((transactions, {})))
            for event_ in events:
                storage.store_event(event_)

    with ExitStack() as kept:
        for name, way in dagsters_way.items():
            kept.callback(setattr, storage, name, way)
        storage.run_connection = lambda run_id=None: connection(run_id, lambda: dagsters_way["run_connection"](run_id))
        storage.index_connection = lambda: connection(_INDEX, dagsters_way["index_connection"])
        # Asked for each event of a check, with an engine of its own.
        storage.has_table = functools.cache(dagsters_way["has_table"])
        storage.store_event_batch = store_together
        kept.enter_context(_environment(_BATCH_SIZE, str(_MOST_TOGETHER)))
        yield


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def _relax(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("pragma synchronous = normal")

    return engine
