"""SQLite connections wait for the disk again once a run is over, and other databases never notice."""

from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from retail_assets.run_storage import relaxed_sqlite

FULL, NORMAL = 2, 1


def synchronous(path: Path) -> int:
    with create_engine(f"sqlite:///{path}", poolclass=NullPool).connect() as connection:
        return int(connection.execute(text("pragma synchronous")).scalar_one())


def test_connections_are_relaxed_inside_the_block_only(tmp_path: Path) -> None:
    with relaxed_sqlite():
        assert synchronous(tmp_path / "events.db") == NORMAL
    assert synchronous(tmp_path / "events.db") == FULL
