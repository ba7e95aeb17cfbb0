"""Which months have to be refreshed: the changed ones and all after them, never one before."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from retail_assets.landing import LandedFile, LandingReport
from retail_assets.refreshed import pending_months, record
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

DECEMBER, JANUARY, FEBRUARY = date(2010, 12, 1), date(2011, 1, 1), date(2011, 2, 1)
SEEN = datetime(2026, 1, 1)
SETTINGS = Settings()


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(database=str(tmp_path / "retail.duckdb")).get_connection() as opened:
        yield opened


def landed(**contents: tuple[date, ...]) -> LandingReport:
    """A landing with a file per keyword, named and hashed alike."""
    return LandingReport(tuple(LandedFile(name, name, 1, SEEN, months=months) for name, months in contents.items()), ())


FIRST = landed(a=(DECEMBER,), b=(JANUARY,), c=(FEBRUARY,))


def test_at_first_every_landed_month_is_pending(connection: duckdb.DuckDBPyConnection) -> None:
    assert pending_months(connection, FIRST, SETTINGS) == [DECEMBER, JANUARY, FEBRUARY]


def test_nothing_is_pending_after_all_were_recorded(connection: duckdb.DuckDBPyConnection) -> None:
    record(connection, [DECEMBER, JANUARY, FEBRUARY], FIRST, SETTINGS)
    assert pending_months(connection, FIRST, SETTINGS) == []


def test_a_late_file_reaches_its_month_and_all_after_it(connection: duckdb.DuckDBPyConnection) -> None:
    record(connection, [DECEMBER, JANUARY, FEBRUARY], FIRST, SETTINGS)
    late = landed(a=(DECEMBER,), b=(JANUARY,), c=(FEBRUARY,), late=(JANUARY,))
    assert pending_months(connection, late, SETTINGS) == [JANUARY, FEBRUARY]


def test_months_after_a_changed_one_stay_pending_when_it_was_refreshed_alone(connection: duckdb.DuckDBPyConnection) -> None:
    record(connection, [DECEMBER, JANUARY, FEBRUARY], FIRST, SETTINGS)
    late = landed(a=(DECEMBER,), b=(JANUARY,), c=(FEBRUARY,), late=(JANUARY,))
    record(connection, [JANUARY], late, SETTINGS)
    assert pending_months(connection, late, SETTINGS) == [FEBRUARY]


def test_a_new_month_is_pending_alone(connection: duckdb.DuckDBPyConnection) -> None:
    record(connection, [DECEMBER, JANUARY], landed(a=(DECEMBER,), b=(JANUARY,)), SETTINGS)
    assert pending_months(connection, FIRST, SETTINGS) == [FEBRUARY]


def test_a_month_that_was_refreshed_out_of_order_leaves_the_others_pending(connection: duckdb.DuckDBPyConnection) -> None:
    record(connection, [DECEMBER, FEBRUARY], FIRST, SETTINGS)
    assert pending_months(connection, FIRST, SETTINGS) == [JANUARY, FEBRUARY]


def test_a_setting_that_changes_results_makes_every_month_pending(connection: duckdb.DuckDBPyConnection) -> None:
    record(connection, [DECEMBER, JANUARY, FEBRUARY], FIRST, SETTINGS)
    changed = SETTINGS.model_copy(update={"min_support": 0.02})
    assert pending_months(connection, FIRST, changed) == [DECEMBER, JANUARY, FEBRUARY]
    assert pending_months(connection, FIRST, SETTINGS.model_copy(update={"memory_limit": "4GB"})) == []


def test_a_month_without_files_between_others_is_carried_along(connection: duckdb.DuckDBPyConnection) -> None:
    assert pending_months(connection, landed(a=(DECEMBER,), c=(FEBRUARY,)), SETTINGS) == [DECEMBER, JANUARY, FEBRUARY]


def test_a_last_month_that_is_gone_makes_the_one_before_pending_until_it_is_published(connection: duckdb.DuckDBPyConnection) -> None:
    record(connection, [DECEMBER, JANUARY, FEBRUARY], FIRST, SETTINGS)
    shorter = landed(a=(DECEMBER,), b=(JANUARY,))
    assert pending_months(connection, shorter, SETTINGS) == [JANUARY]
    record(connection, [JANUARY], shorter, SETTINGS)
    assert pending_months(connection, shorter, SETTINGS) == []


def test_a_first_month_that_is_gone_makes_every_other_pending(connection: duckdb.DuckDBPyConnection) -> None:
    record(connection, [DECEMBER, JANUARY, FEBRUARY], FIRST, SETTINGS)
    assert pending_months(connection, landed(b=(JANUARY,), c=(FEBRUARY,)), SETTINGS) == [JANUARY, FEBRUARY]
