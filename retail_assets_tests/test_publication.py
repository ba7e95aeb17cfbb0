"""The published file: whole, read-only, described, verified, replaced atomically, and put back on request."""

import os
import stat
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from retail_assets import provenance, publication, quality
from retail_assets.contracts import BUILT_MONTHS, BUILT_TABLES, LANDED_LINES, PRODUCT_NAMES, QUARANTINE, RAW_TRANSACTIONS, TABLES, TRANSACTIONS, Table
from retail_assets.publication import PUBLICATION, PublicationRefusedError
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse, append

JANUARY = date(2011, 1, 1)
START = datetime(2026, 1, 1, 12)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, kept_publications=2)


@pytest.fixture
def connection(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse with one raw line that became one transaction, and one mart with comments."""
    with Warehouse(database=str(settings.warehouse_path)).get_connection() as opened:
        append(opened, RAW_TRANSACTIONS, _row(RAW_TRANSACTIONS, {"amount": "2.55"}))
        append(opened, TRANSACTIONS, _row(TRANSACTIONS, {"amount": "2.55"}))
        opened.execute("create schema marts")
        opened.execute("create view marts.kpis as select count(*) as line_count from core.transactions")
        opened.execute("comment on view marts.kpis is 'One row: it''s all.'")
        opened.execute("comment on column marts.kpis.line_count is 'Lines.'")
        yield opened


def _row(table: Table, values: dict[str, str]) -> pl.DataFrame:
    """One row with a plausible value in every column that must not be null."""
    defaults = {"DATE": JANUARY, "TIMESTAMP": START, "INTEGER": 1, "BIGINT": 1, "BOOLEAN": False, "VARCHAR": "x"}
    row = {column.name: values.get(column.name, None if column.nullable else defaults.get(column.type, "1")) for column in table.columns}
    texts = {column.name: pl.String() if column.type.startswith("DECIMAL") else column.polars_type for column in table.columns}
    return pl.DataFrame([row], schema=texts).cast(table.polars_schema)


def publish(connection: duckdb.DuckDBPyConnection, settings: Settings, minutes: int = 0) -> publication.Publication:
    return publication.publish(connection, settings, START + timedelta(minutes=minutes), run_id="run")


def query(settings: Settings, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(settings.serving_dir / "retail.duckdb", read_only=True) as reader:
        return reader.execute(sql).fetchall()


def test_readers_find_every_layer_under_the_catalog_name_retail(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    tables = {f"{schema}.{name}" for schema, name in query(settings, "select schema_name, table_name from duckdb_tables()")}
    left_out = {table.full_name for table in (LANDED_LINES, PRODUCT_NAMES, BUILT_MONTHS)}
    assert tables == {table.full_name for table in TABLES} - left_out | {"marts.kpis", PUBLICATION.full_name}
    assert query(settings, "select line_count from retail.marts.kpis") == [(1,)]


def test_every_table_and_column_keeps_its_comment(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    assert query(settings, "select table_name from duckdb_tables() where comment is null or comment = ''") == []
    assert query(settings, "select table_name, column_name from duckdb_columns() where not internal and coalesce(comment, '') = ''") == []
    assert query(settings, "select comment from duckdb_tables() where table_name = 'kpis'") == [("One row: it's all.",)]


def test_the_file_says_where_it_comes_from(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    found = query(settings, "select published_at, settings_hash, run_id, first_month, last_month, month_count, raw_line_count from marts.publication")
    assert found == [(START, settings.results_hash(), "run", JANUARY, JANUARY, 1, 1)]


def test_the_file_is_read_only_and_the_name_is_a_relative_link(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    published = publish(connection, settings)
    assert stat.S_IMODE(published.path.stat().st_mode) == 0o444
    target = (settings.serving_dir / "retail.duckdb").readlink()
    assert target == Path("versions") / published.directory.name / "retail.duckdb", "a relative link survives moving the home"


def test_the_file_opens_in_the_storage_version_of_old_drivers(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    published = publish(connection, settings)
    # The version of the storage stands after the magic bytes; 64 is the first one that DuckDB 1.0 to 2.0 all read.
    assert published.path.read_bytes()[8:13] == b"DUCK\x40"


def test_a_failed_blocking_check_keeps_the_last_good_publication(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    published = publish(connection, settings)
    failing = quality.Check("never", TRANSACTIONS, "Fails.", "select 1 as observed, 0 as expected", "Mend it.", by_month=False)
    quality.store(connection, [quality.run(connection, failing)])
    with pytest.raises(PublicationRefusedError, match=r"core\.transactions\.never .*Mend it"):
        publish(connection, settings, minutes=1)
    assert publication.current(settings) == published.directory


def test_lines_that_do_not_add_up_are_not_published(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    append(connection, QUARANTINE, _row(QUARANTINE, {"reason": "from nowhere"}))
    with pytest.raises(PublicationRefusedError, match="differ in 2011-01"):
        publish(connection, settings)
    assert publication.current(settings) is None


def test_tables_that_an_upgrade_emptied_are_not_published_before_they_are_built_again(
    connection: duckdb.DuckDBPyConnection, settings: Settings
) -> None:
    published = publish(connection, settings)
    origin = provenance.Origin("files", "settings", "0.0.1")
    for table in BUILT_TABLES:
        provenance.note(connection, table.full_name, JANUARY, origin)
    publish(connection, settings, minutes=1)
    provenance.note(connection, TRANSACTIONS.full_name, JANUARY, None)
    with pytest.raises(PublicationRefusedError, match=r"No month of core\.transactions is built yet"):
        publish(connection, settings, minutes=2)
    assert publication.current(settings) != published.directory


def test_without_marts_nothing_is_published(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    connection.execute("drop view marts.kpis")
    with pytest.raises(PublicationRefusedError, match="no marts yet"):
        publish(connection, settings)


def test_a_reader_keeps_its_version_and_the_next_one_sees_the_new(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    with duckdb.connect(settings.serving_dir / "retail.duckdb", read_only=True) as held:
        append(connection, RAW_TRANSACTIONS, _row(RAW_TRANSACTIONS, {"amount": "1.00", "line_no": "2"}))
        append(connection, TRANSACTIONS, _row(TRANSACTIONS, {"amount": "1.00", "transaction_id": "y"}))
        publish(connection, settings, minutes=1)
        assert held.execute("select line_count from marts.kpis").fetchall() == [(1,)]
    assert query(settings, "select line_count from marts.kpis") == [(2,)]


def test_only_the_newest_versions_are_kept(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    directories = [publish(connection, settings, minutes=minute).directory for minute in range(4)]
    assert publication.versions(settings) == directories[:1:-1]


def test_what_a_killed_publication_left_behind_goes_with_the_next(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    leftover = settings.serving_dir / "versions" / "20250101T000000.000000Z.building"
    leftover.mkdir(parents=True)
    publish(connection, settings)
    assert not leftover.exists()


def test_rollback_puts_the_version_before_back_and_then_there_is_none(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    first, _ = (publish(connection, settings, minutes=minute).directory for minute in range(2))
    assert publication.rollback(settings) == first
    assert query(settings, "select published_at from marts.publication") == [(START,)]
    with pytest.raises(PublicationRefusedError, match="no earlier publication"):
        publication.rollback(settings)


def test_a_publication_after_a_rollback_is_seen_and_the_one_rolled_back_to_stays(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    publish(connection, settings, minutes=1)
    publication.rollback(settings)
    newest = publish(connection, settings, minutes=2)
    assert publication.current(settings) == newest.directory


def test_the_link_is_never_missing_while_it_moves(connection: duckdb.DuckDBPyConnection, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(connection, settings)
    seen: list[bool] = []
    replace = Path.replace

    def watched(self: Path, target: os.PathLike[str]) -> Path:
        seen.append((settings.serving_dir / "retail.duckdb").exists())
        moved = replace(self, target)
        seen.append((settings.serving_dir / "retail.duckdb").exists())
        return moved

    monkeypatch.setattr(Path, "replace", watched)
    publish(connection, settings, minutes=1)
    assert seen == [True, True]
