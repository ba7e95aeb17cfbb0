"""A BI client as a process of its own: connects, reads several marts, closes, and again, until told to stop. See `test_publication.py`.

Usage: `python -m retail_assets_tests.reader_process duckdb|sqlalchemy FILE STOP_FILE`. Says `ready` after the first read; at the end one line of JSON
with what it saw. Each read must find one version in all marts: the fixture gives every mart as many rows as the version's number.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

QUERIES = (
    "select count(*) from core.transactions",
    "select line_count from marts.kpis",
    "select raw_line_count from marts.publication",
    "select count(*) from retail.raw.raw_transactions",
)


def duckdb_client(file: str) -> Callable[[], list[int]]:
    """Plain duckdb, one connection per read."""
    import duckdb  # noqa: PLC0415

    def read() -> list[int]:
        with duckdb.connect(file, read_only=True) as connection:
            return [int(connection.execute(query).fetchall()[0][0]) for query in QUERIES]

    return read


def sqlalchemy_client(file: str) -> Callable[[], list[int]]:
    """SQLAlchemy with duckdb-engine, as the recipes in docs/bi.md say."""
    from sqlalchemy import create_engine, text  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    engine = create_engine(f"duckdb:///{file}", poolclass=NullPool, connect_args={"read_only": True})

    def read() -> list[int]:
        with engine.connect() as connection:
            return [int(connection.execute(text(query)).scalar_one()) for query in QUERIES]

    return read


def main(client: str, file: str, stop_file: str) -> None:
    """Read until the stop file exists."""
    read = {"duckdb": duckdb_client, "sqlalchemy": sqlalchemy_client}[client](file)
    reads = [read()]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not Path(stop_file).exists():
        reads.append(read())
    reads.append(read())
    json.dump(reads, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
