"""Which months are stale: the changed ones and all after them, never one before; and whether what is published is what follows from the files."""

import shutil
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from retail_assets import provenance, seeds
from retail_assets.contracts import BUILT_TABLES, LANDED_FILES, RETURNS, TRANSACTIONS
from retail_assets.provenance import is_published, note, note_publication, origins, pending_months, stale_months
from retail_assets.settings import DBT_PROJECT_DIR, Settings
from retail_assets.warehouse import append, transaction

DECEMBER, JANUARY, FEBRUARY = date(2010, 12, 1), date(2011, 1, 1), date(2011, 2, 1)
SETTINGS = Settings()
FIRST = {"a": [DECEMBER], "b": [JANUARY], "c": [FEBRUARY]}
LATE = {**FIRST, "late": [JANUARY]}


def land(connection: duckdb.DuckDBPyConnection, contents: dict[str, list[date]]) -> None:
    """A landing with a file per item, named and hashed alike."""
    seen = datetime(2026, 1, 1)
    rows = [
        {"file_name": name, "file_id": name, "size_bytes": 1, "status": "landed", "line_count": 1, "months": months, "landed_at": seen}
        for name, months in contents.items()
    ]
    connection.execute("delete from raw.landed_files")
    append(connection, LANDED_FILES, pl.DataFrame(rows, schema=LANDED_FILES.polars_schema))


def build(connection: duckdb.DuckDBPyConnection, months: Iterable[date]) -> None:
    """Note every table of the months as built from what has landed."""
    with transaction(connection):
        for month in months:
            for table in BUILT_TABLES:
                note(connection, [table.full_name], month, origins(connection, SETTINGS)[month])


def test_at_first_every_landed_month_is_pending(connection: duckdb.DuckDBPyConnection) -> None:
    land(connection, FIRST)
    assert pending_months(connection, SETTINGS) == [DECEMBER, JANUARY, FEBRUARY]


def test_months_that_the_settings_leave_out_are_never_pending(connection: duckdb.DuckDBPyConnection) -> None:
    land(connection, FIRST)
    only_january = SETTINGS.model_copy(update={"first_month": "2011-01", "last_month": "2011-01"})
    assert pending_months(connection, only_january) == [JANUARY]
    assert origins(connection, only_january)[JANUARY] == origins(connection, SETTINGS)[JANUARY], "what a month is built from stays"


def test_where_nothing_has_landed_nothing_is_pending(connection: duckdb.DuckDBPyConnection) -> None:
    assert pending_months(connection, SETTINGS) == []


def test_an_edited_seed_makes_every_month_pending(connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    land(connection, FIRST)
    build(connection, [DECEMBER, JANUARY, FEBRUARY])
    monkeypatch.setattr(provenance, "definitions_hash", lambda: "edited")
    assert pending_months(connection, SETTINGS) == [DECEMBER, JANUARY, FEBRUARY]


def test_the_hash_of_the_seeds_follows_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(DBT_PROJECT_DIR / "seeds", tmp_path / "seeds")
    monkeypatch.setattr(seeds, "DBT_PROJECT_DIR", tmp_path)
    hash_of_files = seeds.definitions_hash.__wrapped__
    before = hash_of_files()
    assert before == seeds.definitions_hash()
    with (tmp_path / "seeds" / "rfm_segments.csv").open("a", encoding="utf-8") as seed:
        seed.write("5,5,champions\n")
    assert hash_of_files() != before


def test_nothing_is_pending_after_all_were_built(connection: duckdb.DuckDBPyConnection) -> None:
    land(connection, FIRST)
    build(connection, [DECEMBER, JANUARY, FEBRUARY])
    assert pending_months(connection, SETTINGS) == []


def test_a_late_file_reaches_its_month_and_all_after_it(connection: duckdb.DuckDBPyConnection) -> None:
    land(connection, FIRST)
    build(connection, [DECEMBER, JANUARY, FEBRUARY])
    land(connection, LATE)
    assert pending_months(connection, SETTINGS) == [JANUARY, FEBRUARY]
    build(connection, [JANUARY])
    assert pending_months(connection, SETTINGS) == [FEBRUARY], "refreshed alone, it leaves the months after it pending"


def test_a_new_month_is_pending_alone(connection: duckdb.DuckDBPyConnection) -> None:
    land(connection, {"a": [DECEMBER], "b": [JANUARY]})
    build(connection, [DECEMBER, JANUARY])
    land(connection, FIRST)
    assert pending_months(connection, SETTINGS) == [FEBRUARY]


def test_a_first_month_that_is_gone_makes_every_other_pending(connection: duckdb.DuckDBPyConnection) -> None:
    land(connection, FIRST)
    build(connection, [DECEMBER, JANUARY, FEBRUARY])
    land(connection, {"b": [JANUARY], "c": [FEBRUARY]})
    assert pending_months(connection, SETTINGS) == [JANUARY, FEBRUARY]


def test_one_table_of_a_month_that_was_not_built_makes_the_month_pending(connection: duckdb.DuckDBPyConnection) -> None:
    land(connection, FIRST)
    build(connection, [DECEMBER, JANUARY, FEBRUARY])
    note(connection, [RETURNS.full_name], JANUARY, None)
    assert stale_months(connection, SETTINGS) == {JANUARY: [RETURNS.full_name]}
    assert stale_months(connection, SETTINGS, [TRANSACTIONS]) == {}
    assert pending_months(connection, SETTINGS) == [JANUARY, FEBRUARY]


def test_a_setting_or_code_that_changes_results_makes_every_month_pending(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(connection, FIRST)
    build(connection, [DECEMBER, JANUARY, FEBRUARY])
    assert pending_months(connection, SETTINGS.model_copy(update={"memory_limit": "4GB"})) == []
    assert pending_months(connection, SETTINGS.model_copy(update={"min_support": 0.02})) == [DECEMBER, JANUARY, FEBRUARY]
    monkeypatch.setattr(provenance, "code_version", lambda: "99")
    assert pending_months(connection, SETTINGS) == [DECEMBER, JANUARY, FEBRUARY]


def test_a_month_without_files_between_others_is_carried_along(connection: duckdb.DuckDBPyConnection) -> None:
    land(connection, {"a": [DECEMBER], "c": [FEBRUARY]})
    assert pending_months(connection, SETTINGS) == [DECEMBER, JANUARY, FEBRUARY]


def test_a_publication_is_up_to_date_until_a_month_is_rebuilt_added_or_gone(connection: duckdb.DuckDBPyConnection) -> None:
    land(connection, FIRST)
    build(connection, [DECEMBER, JANUARY, FEBRUARY])
    assert not is_published(connection, SETTINGS)
    note_publication(connection, SETTINGS)
    assert is_published(connection, SETTINGS)
    land(connection, LATE)
    assert not is_published(connection, SETTINGS)
    note_publication(connection, SETTINGS)
    assert not is_published(connection, SETTINGS), "published while January was stale"
    build(connection, [JANUARY, FEBRUARY])
    note_publication(connection, SETTINGS)
    assert is_published(connection, SETTINGS)
    land(connection, {"a": [DECEMBER], "b": [JANUARY], "late": [JANUARY]})
    assert not is_published(connection, SETTINGS), "February is in the file and has no landed lines any more"


def test_what_is_noted_of_months_is_nothing_to_publish(connection: duckdb.DuckDBPyConnection) -> None:
    """Else every later publication and dbt test would ask all months again."""
    land(connection, FIRST)
    build(connection, [DECEMBER, JANUARY, FEBRUARY])
    note_publication(connection, SETTINGS)
    assert connection.execute("from quality.unpublished_months").fetchall() == []
