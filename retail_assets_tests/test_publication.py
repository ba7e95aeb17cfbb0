"""The published file: whole, read-only, described, verified, replaced atomically, and put back on request."""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import polars as pl
import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from retail_assets import provenance, publication, published_file, quality
from retail_assets.contracts import BUILT_TABLES, QUARANTINE, RAW_TRANSACTIONS, TRANSACTIONS, Column, Table
from retail_assets.published_file import DATA_DICTIONARY, PUBLICATION, PublicationRefusedError
from retail_assets.settings import Settings
from retail_assets.warehouse import append
from retail_assets_tests.homes import NewWarehouse

pytestmark = pytest.mark.integration

JANUARY = date(2011, 1, 1)
START = datetime(2026, 1, 1, 12)

KPIS = Table(
    "marts", "kpis", "One row: it's all.", (Column("kpi_id", "INTEGER", "Always 1."), Column("line_count", "BIGINT", "Lines.")), key=("kpi_id",)
)
"""A mart of the size that a test can hold in its head."""
PUBLISHED = (*(table for table in published_file.published_tables() if table.schema in ("raw", "quality")), TRANSACTIONS, QUARANTINE, KPIS)
PUBLISHED += (DATA_DICTIONARY, PUBLICATION)
"""Some tables made by month and some that are not. All of them are published in `test_dbt_sql.py` and `test_publication_by_month.py`."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, kept_publications=2)


@pytest.fixture
def connection(settings: Settings, new_warehouse: NewWarehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse with one raw line that became one transaction, and one mart."""
    with new_warehouse(settings.warehouse_path).get_connection() as opened:
        append(opened, RAW_TRANSACTIONS, row(RAW_TRANSACTIONS, {"amount": "2.55"}))
        append(opened, TRANSACTIONS, row(TRANSACTIONS, {"amount": "2.55"}))
        opened.execute("create schema marts")
        opened.execute("create view marts.kpis as select count(*) as line_count, 1 as kpi_id from core.transactions")
        opened.execute("create view marts.left_by_older_code as select 1 as forgotten")
        yield opened


def row(table: Table, values: dict[str, str]) -> pl.DataFrame:
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


def test_a_copy_without_a_month_is_not_published(connection: duckdb.DuckDBPyConnection, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = published_file._copy

    def copy_without_the_last_month(connection: duckdb.DuckDBPyConnection, table: Table, months: list[date] | None) -> None:
        copy(connection, table, months[:-1] if months and table == TRANSACTIONS else months)

    monkeypatch.setattr(published_file, "_copy", copy_without_the_last_month)
    with pytest.raises(PublicationRefusedError, match=r"The copy differs from the warehouse: .*core.transactions"):
        publish(connection, settings)
    assert publication.current(settings) is None


def test_a_publication_is_current_until_other_files_land_or_the_code_is_another(
    connection: duckdb.DuckDBPyConnection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_current() -> bool:
        provenance.note_publication(connection, settings)
        return publication.is_current(connection, settings)

    assert not is_current()
    publish(connection, settings)
    assert is_current()
    refused = "insert into raw.landed_files by name select 'a.csv' as file_name, 'x' as file_id, 1 as size_bytes, now()::timestamp as landed_at, "
    connection.execute(f"{refused} 'refused' as status, 'It is empty.' as reason, 0 as line_count, []::date[] as months")
    assert not is_current()
    publish(connection, settings, 1)
    assert is_current()
    publication.rollback(settings)
    assert is_current(), "what was put back on purpose stays until there is something to publish"
    with monkeypatch.context() as patch:
        patch.setattr(published_file, "code_hash", lambda: "of another checkout")
        assert not is_current()
    (settings.serving_dir / "retail.duckdb").unlink()
    assert not is_current()


def test_every_table_and_column_keeps_its_comment(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    assert query(settings, "select table_name from duckdb_tables() where comment is null or comment = ''") == []
    assert query(settings, "select table_name, column_name from duckdb_columns() where not internal and coalesce(comment, '') = ''") == []
    assert query(settings, "select comment from duckdb_tables() where table_name = 'kpis'") == [("One row: it's all.",)]


def test_the_dictionary_has_a_row_for_every_column_of_the_file(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    catalog = query(
        settings,
        "select schema_name, table_name, column_name, column_index, data_type, is_nullable, comment from duckdb_columns() where not internal",
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


def test_texts_that_repeat_are_stored_as_dictionaries(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    numbers = pl.Series(range(2, 3002), dtype=pl.Int32)
    texts = numbers.cast(pl.String)
    line, raw_line = (pl.concat([row(table, {"amount": "0"})] * len(numbers)) for table in (TRANSACTIONS, RAW_TRANSACTIONS))
    append(connection, TRANSACTIONS, line.with_columns(transaction_id=texts.str.zfill(32), customer_id=texts))
    append(connection, RAW_TRANSACTIONS, raw_line.with_columns(line_no=numbers))
    publish(connection, settings)
    stored = "select column_name, compression from pragma_storage_info('core.transactions') where segment_type = 'VARCHAR'"
    found = query(settings, stored)
    assert ("customer_id", "Dictionary") in found
    assert ("transaction_id", "FSST") in found, "a key is left to DuckDB"


def test_the_settings_of_the_file_can_be_read_back_and_its_files_are_hashed(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    ((stated, files_hash, code_hash),) = query(settings, "select settings, files_hash, code_hash from marts.publication")
    assert Settings.model_validate({**json.loads(str(stated)), "home": settings.home}).results_hash() == settings.results_hash()
    assert files_hash == hashlib.sha256(b"").hexdigest(), "no file has landed"
    assert code_hash == published_file.code_hash()


def test_the_hash_of_the_code_changes_with_python_sql_and_seeds_and_with_nothing_else(tmp_path: Path) -> None:
    files = ["retail_assets/lib/rfm.py", "dbt_sql/models/marts/rfm_grid.sql", "dbt_sql/seeds/rfm_segments.csv"]
    for name in (*files, "retail_assets/__pycache__/rfm.pyc", "docs/rfm.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    hashes = [published_file.code_hash(tmp_path)]
    (tmp_path / "retail_assets/__pycache__/rfm.pyc").write_text("after")
    (tmp_path / "docs/rfm.md").write_text("after")
    assert published_file.code_hash(tmp_path) == hashes[0]
    for name in files:
        (tmp_path / name).write_text("after")
        hashes.append(published_file.code_hash(tmp_path))
    assert len(set(hashes)) == 4


def test_sqlalchemy_reflects_tables_columns_and_comments(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    engine = create_engine(f"duckdb:///{settings.serving_dir / 'retail.duckdb'}", poolclass=NullPool, connect_args={"read_only": True})
    inspector = inspect(engine)
    assert set(inspector.get_table_names("marts")) == {table.name for table in PUBLISHED if table.schema == "marts"}
    columns = {column["name"]: column.get("comment") for column in inspector.get_columns("kpis", "marts")}
    assert columns == {column.name: column.comment for column in KPIS.columns}
    assert inspector.get_table_comment("kpis", "marts")["text"] == KPIS.grain


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
    append(connection, QUARANTINE, row(QUARANTINE, {"reason": "from nowhere"}))
    with pytest.raises(PublicationRefusedError, match="differ in 2011-01"):
        publish(connection, settings)
    assert publication.current(settings) is None


def test_a_warehouse_in_which_nothing_has_landed_is_not_published(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    connection.execute(f"delete from {RAW_TRANSACTIONS.full_name}")
    with pytest.raises(PublicationRefusedError, match="Nothing has landed"):
        publish(connection, settings)
    assert publication.current(settings) is None


def test_tables_that_an_upgrade_emptied_are_not_published_before_they_are_built_again(
    connection: duckdb.DuckDBPyConnection, settings: Settings
) -> None:
    published = publish(connection, settings)
    origin = provenance.Origin("files", "settings", "0.0.1")
    for table in BUILT_TABLES:
        provenance.note(connection, [table.full_name], JANUARY, origin)
    publish(connection, settings, minutes=1)
    provenance.note(connection, [TRANSACTIONS.full_name], JANUARY, None)
    with pytest.raises(PublicationRefusedError, match=r"No month of core\.transactions is built yet"):
        publish(connection, settings, minutes=2)
    assert publication.current(settings) != published.directory


def test_without_marts_nothing_is_published(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    connection.execute("drop view marts.kpis")
    with pytest.raises(PublicationRefusedError, match=r"no marts yet, or not all: marts\.kpis"):
        publish(connection, settings)


def test_a_reader_keeps_its_version_and_the_next_one_sees_the_new(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings)
    with duckdb.connect(settings.serving_dir / "retail.duckdb", read_only=True) as held:
        append(connection, RAW_TRANSACTIONS, row(RAW_TRANSACTIONS, {"amount": "1.00", "line_no": "2"}))
        append(connection, TRANSACTIONS, row(TRANSACTIONS, {"amount": "1.00", "transaction_id": "y"}))
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


def test_rollback_reaches_any_kept_version_by_name_forwards_too(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    first, second = (publish(connection, settings, minutes=minute).directory for minute in range(2))
    assert publication.rollback(settings, to=first.name) == first
    assert publication.rollback(settings, to=second.name) == second
    assert publication.current(settings) == second
    with pytest.raises(PublicationRefusedError, match=rf"no publication yesterday to put back\. Kept: {second.name} \(current\), {first.name}\."):
        publication.rollback(settings, to="yesterday")


def test_rollback_after_the_link_was_lost_puts_the_newest_version_back(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    _, second = (publish(connection, settings, minutes=minute).directory for minute in range(2))
    (settings.serving_dir / "retail.duckdb").unlink()
    assert publication.rollback(settings) == second


def test_a_damaged_version_is_not_rolled_back_to(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    first, second = (publish(connection, settings, minutes=minute) for minute in range(2))
    first.path.chmod(0o644)
    first.path.write_bytes(b"no longer a database")
    with pytest.raises(PublicationRefusedError, match="cannot be read, so the current one stays"):
        publication.rollback(settings)
    assert publication.current(settings) == second.directory


def test_a_rollback_waits_while_another_process_puts_a_publication_in_place_and_deletes_old_ones(
    connection: duckdb.DuckDBPyConnection, settings: Settings
) -> None:
    first, _ = publish(connection, settings).directory, publish(connection, settings, 1)
    versions = os.open(settings.serving_dir / "versions", os.O_RDONLY)
    fcntl.flock(versions, fcntl.LOCK_EX)
    with ThreadPoolExecutor() as pool:
        rollback = pool.submit(publication.rollback, settings)
        with pytest.raises(TimeoutError):
            rollback.result(0.2)
        # As that process might delete it.
        shutil.rmtree(first)
        os.close(versions)
        with pytest.raises(PublicationRefusedError, match="There is no earlier publication"):
            rollback.result()


def test_the_version_that_readers_see_after_a_rollback_is_never_pruned(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    first = publish(connection, settings).directory
    publish(connection, settings, minutes=1)
    publication.rollback(settings)
    third = publish(connection, settings, minutes=2).directory
    publication.rollback(settings, to=first.name if first.exists() else None)
    fourth = publish(connection, settings, minutes=3).directory
    assert publication.current(settings) == fourth
    assert publication.versions(settings) == [fourth, third], "only what is kept by number, once readers are on the newest"


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


CLIENTS = ("duckdb", "duckdb", "sqlalchemy", "sqlalchemy")
PUBLICATIONS = 30
OLD_DUCKDB = "1.1.3"
"""The oldest release that the storage version promises (docs/decisions.md, 2)."""


def publish_version(connection: duckdb.DuckDBPyConnection, settings: Settings, number: int) -> publication.Publication:
    """Version `number` has as many lines in every table as its number says."""
    if number > 1:
        append(connection, RAW_TRANSACTIONS, row(RAW_TRANSACTIONS, {"amount": "1.00", "line_no": str(number)}))
        append(connection, TRANSACTIONS, row(TRANSACTIONS, {"amount": "1.00", "transaction_id": f"t{number}"}))
    return publish(connection, settings, minutes=number)


@contextmanager
def readers(settings: Settings) -> Iterator[list[list[list[int]]]]:
    """One process per client, all past their first read when the block begins; filled with what each saw when it ends."""
    file, stop_file = settings.serving_dir / "retail.duckdb", settings.home / "stop"
    command = [sys.executable, "-m", "retail_assets_tests.reader_process"]
    processes = [
        subprocess.Popen([*command, client, str(file), str(stop_file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for client in CLIENTS
    ]
    seen: list[list[list[int]]] = []
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        yield seen
    finally:
        stop_file.touch()
        results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(CLIENTS), [errors for _, errors in results]
    seen.extend(json.loads(output) for output, _ in results)


@pytest.mark.slow
def test_readers_see_whole_versions_in_order_while_publications_follow_each_other(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish_version(connection, settings, 1)
    with readers(settings) as seen:
        for number in range(2, PUBLICATIONS + 1):
            publish_version(connection, settings, number)
    for reads in seen:
        assert [counts for counts in reads if len(set(counts)) != 1] == [], "two versions in one connection"
        numbers = [counts[0] for counts in reads]
        assert all(earlier <= later for earlier, later in pairwise(numbers)), "backwards"
        assert numbers[-1] == PUBLICATIONS
        assert len(set(numbers)) > 2, "the reader hardly read while publications went on"


@pytest.mark.slow
def test_readers_see_whole_versions_while_publications_are_rolled_back(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish_version(connection, settings, 1)
    second = publish_version(connection, settings, 2)
    with readers(settings) as seen:
        for _ in range(50):
            publication.rollback(settings)
            publication.rollback(settings, to=second.directory.name)
        publication.rollback(settings)
    for reads in seen:
        assert [counts for counts in reads if len(set(counts)) != 1] == [], "two versions in one connection"
        assert reads[-1] == [1, 1, 1, 1]
    assert query(settings, "select line_count from marts.kpis") == [(1,)]


@pytest.mark.slow
def test_an_old_duckdb_reads_rows_decimals_comments_and_keys(connection: duckdb.DuckDBPyConnection, settings: Settings, tmp_path: Path) -> None:
    publish_version(connection, settings, 1)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    installed = subprocess.run([python, "-m", "pip", "install", "--quiet", f"duckdb=={OLD_DUCKDB}"], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"duckdb {OLD_DUCKDB} cannot be installed here: {installed.stderr.strip().splitlines()[-1]}")
    code = """
import duckdb, json, sys
with duckdb.connect(sys.argv[1], read_only=True) as reader:
    rows = reader.execute("select version(), current_database(), sum(amount)::varchar from core.transactions").fetchall()
    comments = reader.execute("select comment from duckdb_columns() where table_name = 'kpis' order by column_index").fetchall()
    keys = reader.execute("select constraint_text from duckdb_constraints() where table_name = 'kpis' and constraint_type = 'PRIMARY KEY'").fetchall()
print(json.dumps([rows, comments, keys]))
"""
    done = subprocess.run([python, "-c", code, settings.serving_dir / "retail.duckdb"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows, comments, keys = json.loads(done.stdout)
    assert rows == [[f"v{OLD_DUCKDB}", "retail", "2.5500"]]
    assert comments == [[column.comment] for column in KPIS.columns]
    assert keys == [["PRIMARY KEY(kpi_id)"]]
