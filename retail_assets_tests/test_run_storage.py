"""SQLite connections wait for the disk again once a run is over, and other databases never notice."""

from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from retail_assets.run_storage import relaxed_sqlite

FULL, NORMAL = 2, 1


def synchronous(path: Path) -> int:
    with create_engine(f"sqlite:///{path}", poolclass=NullPool).connect() as connection:
        return int(connection.execute(text("pragma synchronous")).scalar_one())


def test_the_log_outlives_each_connection_and_ends_in_the_file(tmp_path: Path) -> None:
    path, log = tmp_path / "events.db", tmp_path / "events.db-wal"
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("pragma journal_mode = wal"))
        connection.execute(text("create table events (id integer)"))
    assert not log.exists()
    with relaxed_sqlite():
        for number in range(3):
            with engine.begin() as connection:
                connection.execute(text("insert into events values (:number)"), {"number": number})
            assert log.exists()
    assert not log.exists()
    with engine.connect() as connection:
        assert connection.execute(text("select count(*) from events")).scalar_one() == 3


def test_connections_are_relaxed_inside_the_block_only(tmp_path: Path) -> None:
    with relaxed_sqlite():
        assert synchronous(tmp_path / "events.db") == NORMAL
    assert synchronous(tmp_path / "events.db") == FULL
