"""The published file: whole, read-only, described, verified, replaced atomically, and put back on request."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from retail_assets import publication, quality
from retail_assets.contracts import QUARANTINE, RAW_TRANSACTIONS, TRANSACTIONS, Column, Table
from retail_assets.publication import DATA_DICTIONARY, PUBLICATION, PublicationRefusedError
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse, append

JANUARY = date(2011, 1, 1)
START = datetime(2026, 1, 1, 12)

KPIS = Table(
    "marts", "kpis", "One row: it's all.", (Column("kpi_id", "INTEGER", "Always 1."), Column("line_count", "BIGINT", "Lines.")), key=("kpi_id",)
)
"""A mart of the size that a test can hold in its head."""
PUBLISHED = (*(table for table in publication.published_tables() if table.schema not in ("core", "marts")), TRANSACTIONS, QUARANTINE, KPIS)
PUBLISHED += (DATA_DICTIONARY, PUBLICATION)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, kept_publications=2)


@pytest.fixture
def connection(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse with one raw line that became one transaction, and one mart."""
    with Warehouse(database=str(settings.warehouse_path)).get_connection() as opened:
        append(opened, RAW_TRANSACTIONS, _row(RAW_TRANSACTIONS, {"amount": "2.55"}))
        append(opened, TRANSACTIONS, _row(TRANSACTIONS, {"amount": "2.55"}))
        opened.execute("create schema marts")
        opened.execute("create view marts.kpis as select count(*) as line_count, 1 as kpi_id from core.transactions")
        opened.execute("create view marts.left_by_older_code as select 1 as forgotten")
        yield opened


def _row(table: Table, values: dict[str, str]) -> pl.DataFrame:
    """One row with a plausible value in every column that must not be null."""
    defaults = {"DATE": JANUARY, "TIMESTAMP": START, "INTEGER": 1, "BIGINT": 1, "BOOLEAN": False, "VARCHAR": "x"}
    row = {column.name: values.get(column.name, None if column.nullable else defaults.get(column.type, "1")) for column in table.columns}
    texts = {column.name: pl.String() if column.type.startswith("DECIMAL") else column.polars_type for column in table.columns}
    return pl.DataFrame([row], schema=texts).cast(table.polars_schema)


def publish(connection: duckdb.DuckDBPyConnection, settings: Settings, minutes: int = 0) -> publication.Publication:
    return publication.publish(connection, settings, START + timedelta(minutes=minutes), "run", PUBLISHED)


def query(settings: Settings, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(settings.serving_dir / "retail.duckdb", read_only=True) as reader:
        return reader.execute(sql).fetchall()


def test_readers_find_what_is_declared_and_nothing_else_under_the_catalog_name_retail(
    connection: duckdb.DuckDBPyConnection, settings: Settings
) -> None:
    publish(connection, settings)
    tables = {f"{schema}.{name}" for schema, name in query(settings, "select schema_name, table_name from duckdb_tables()")}
    assert tables == {table.full_name for table in PUBLISHED}
    assert query(settings, "select line_count from retail.marts.kpis") == [(1,)]


def test_every_table_and_column_keeps_its_comment(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    assert query(settings, "select table_name from duckdb_tables() where comment is null or comment = ''") == []
    assert query(settings, "select table_name, column_name from duckdb_columns() where not internal and coalesce(comment, '') = ''") == []
    assert query(settings, "select comment from duckdb_tables() where table_name = 'kpis'") == [("One row: it's all.",)]


def test_the_dictionary_has_a_row_for_every_column_of_the_file(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    catalog = query(
        settings, "select schema_name, table_name, column_name, column_index, data_type, is_nullable, comment from duckdb_columns() where not internal"
    )
    dictionary = query(
        settings,
        "select table_schema, table_name, column_name, column_position, data_type, is_nullable, column_description from marts.data_dictionary",
    )
    assert sorted(dictionary, key=str) == sorted(catalog, key=str)
    kpis = query(settings, "select column_name, table_description, is_key from marts.data_dictionary where table_name = 'kpis' order by 1")
    assert kpis == [("kpi_id", KPIS.grain, True), ("line_count", KPIS.grain, False)]


def test_a_mart_of_one_thing_per_row_declares_its_key_and_what_is_never_null(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    keys = query(settings, "select constraint_column_names from duckdb_constraints() where table_name = 'kpis' and constraint_type = 'PRIMARY KEY'")
    assert keys == [(["kpi_id"],)]
    assert query(settings, "select distinct is_nullable from duckdb_columns() where table_name = 'kpis'") == [(False,)]


def test_the_settings_of_the_file_can_be_read_back_and_its_files_are_hashed(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    ((stated, files_hash, code_hash),) = query(settings, "select settings, files_hash, code_hash from marts.publication")
    assert Settings.model_validate({**json.loads(str(stated)), "home": settings.home}).results_hash() == settings.results_hash()
    assert files_hash == hashlib.sha256(b"").hexdigest(), "no file has landed"
    assert code_hash == publication.code_hash()


def test_a_mart_with_rows_that_share_a_key_is_not_published(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    connection.execute("create or replace view marts.kpis as select 1 as kpi_id, unnest([1, 2])::bigint as line_count")
    with pytest.raises(PublicationRefusedError, match=r"marts\.kpis is not what it is declared to be: .*Materialize it again"):
        publish(connection, settings)
    assert publication.current(settings) is None


def test_a_mart_built_by_older_code_is_not_published(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    connection.execute("create or replace view marts.kpis as select 1 as kpi_id")
    with pytest.raises(PublicationRefusedError, match=r"Not as declared: marts\.kpis\. Materialize"):
        publish(connection, settings)


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


def test_without_marts_nothing_is_published(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    connection.execute("drop view marts.kpis")
    with pytest.raises(PublicationRefusedError, match=r"no marts yet, or not all: marts\.kpis"):
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
