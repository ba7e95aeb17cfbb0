"""Settings come from the environment, and say so when they cannot."""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from retail_assets.settings import Settings, SettingsError


def test_every_setting_is_read_from_its_variable() -> None:
    settings = Settings.from_environment({"RETAIL_HOME": "/srv/retail", "RETAIL_MIN_SUPPORT": "0.02", "RETAIL_SEED": "7", "UNRELATED": "x"})
    assert (settings.home, settings.min_support, settings.seed) == (Path("/srv/retail"), 0.02, 7)


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert Settings.from_environment({"RETAIL_MIN_SUPPORT": ""}) == Settings()


def test_a_value_that_cannot_be_used_is_named_with_its_variable() -> None:
    with pytest.raises(SettingsError, match="RETAIL_MIN_SUPPORT='much'"):
        Settings.from_environment({"RETAIL_MIN_SUPPORT": "much"})


def test_the_hash_follows_what_changes_results_and_not_places() -> None:
    plain = Settings()
    assert plain.model_copy(update={"home": Path("/elsewhere"), "memory_limit": "4GB"}).results_hash() == plain.results_hash()
    assert plain.model_copy(update={"min_support": 0.02}).results_hash() != plain.results_hash()


def test_places_hang_below_the_home() -> None:
    settings = Settings(home=Path("/srv/retail"))
    assert settings.warehouse_path == Path("/srv/retail/warehouse/retail.duckdb")
    assert settings.landing_dir == Path("/srv/retail/landing")
    assert Settings(home=Path("/srv/retail"), landing=Path("/mnt/drop")).landing_dir == Path("/mnt/drop")


@pytest.mark.parametrize(
    ("lake", "address"),
    [
        ("s3a://bucket/lake/", "s3://bucket/lake"),
        ("s3://bucket", "s3://bucket"),
        ("gs://bucket/a/b", "gs://bucket/a/b"),
        ("abfss://files@account.dfs.core.windows.net/lake", "abfss://files@account.dfs.core.windows.net/lake"),
    ],
)
def test_a_lake_may_be_in_an_object_store_and_is_copied_below_the_home(lake: str, address: str) -> None:
    settings = Settings.from_environment({"RETAIL_HOME": "/srv/retail", "RETAIL_LAKE": lake})
    assert (settings.lake_address, settings.is_lake_remote, settings.lake_dir) == (address, True, Path("/srv/retail/lake"))


def test_a_lake_in_a_folder_is_read_where_it_is() -> None:
    settings = Settings.from_environment({"RETAIL_HOME": "/srv/retail", "RETAIL_LAKE": "/mnt/lake"})
    assert (settings.lake_address, settings.is_lake_remote, settings.lake_dir) == ("/mnt/lake", False, Path("/mnt/lake"))
    assert Settings(home=Path("/srv/retail")).lake_address == "/srv/retail/lake"


@pytest.mark.parametrize("lake", ["ftp://server/lake", "s3://", "hdfs://namenode/lake", "file:///mnt/lake"])
def test_an_address_of_no_known_store_is_refused(lake: str) -> None:
    with pytest.raises(SettingsError, match=rf"RETAIL_LAKE='{lake}'.*s3://, s3a://, gs://, abfss://"):
        Settings.from_environment({"RETAIL_LAKE": lake})


@pytest.mark.parametrize("variable", ["RETAIL_HOME", "RETAIL_LANDING"])
def test_home_and_landing_must_be_folders(variable: str) -> None:
    with pytest.raises(SettingsError, match=rf"{variable}='s3://bucket/files'.*must be a folder.*only RETAIL_LAKE may be an address"):
        Settings.from_environment({variable: "s3://bucket/files"})


@pytest.mark.parametrize("variable", ["RETAIL_FIRST_MONTH", "RETAIL_LAST_MONTH"])
@pytest.mark.parametrize("month", ["garbage", "2011", "2011-13", "2011-03-01", "2011-03:2011-04"])
def test_a_month_that_is_none_is_refused(variable: str, month: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable}='{month}'"):
        Settings.from_environment({variable: month})


def test_the_last_month_does_not_come_before_the_first() -> None:
    assert Settings(first_month="2011-03", last_month="2011-03").last_month == "2011-03"
    with pytest.raises(SettingsError, match=r"RETAIL_LAST_MONTH \(2011-02\) must not be before RETAIL_FIRST_MONTH \(2011-03\)"):
        Settings.from_environment({"RETAIL_FIRST_MONTH": "2011-03", "RETAIL_LAST_MONTH": "2011-02"})


def test_months_that_the_settings_leave_out_do_not_exist_and_none_is_made_up() -> None:
    landed = date(2010, 12, 1), date(2011, 2, 1)
    assert Settings().existing_months(*landed) == [date(2010, 12, 1), date(2011, 1, 1), date(2011, 2, 1)]
    assert Settings(first_month="2011-01", last_month="2011-12").existing_months(*landed) == [date(2011, 1, 1), date(2011, 2, 1)]
    assert Settings(last_month="2011-01").existing_months(*landed) == [date(2010, 12, 1), date(2011, 1, 1)]
    assert Settings(first_month="2011-03").existing_months(*landed) == []


@pytest.mark.parametrize("limit", ["4GB", "1.5 gb", "1500MB", "0.5TB", "512KiB", "2GiB", "1tib", "4G", "80%", "12.5 %", "100%"])
def test_what_duckdb_takes_for_memory_is_taken(limit: str) -> None:
    with duckdb.connect(config=Settings.from_environment({"RETAIL_MEMORY_LIMIT": limit}).duckdb_config) as connection:
        assert connection.execute("select 1").fetchall() == [(1,)]


@pytest.mark.parametrize("limit", ["lots", "4", "0", "0GB", "0%", "150%", "1,5GB", "4GBs", "4kg", "GB"])
def test_what_duckdb_does_not_take_for_memory_or_can_do_nothing_with_is_refused_by_name(limit: str) -> None:
    with pytest.raises(duckdb.Error), duckdb.connect(config={"memory_limit": limit}) as connection:
        connection.execute("create table numbers as from range(100_000)")
    with pytest.raises(SettingsError, match=f"RETAIL_MEMORY_LIMIT='{limit}'"):
        Settings.from_environment({"RETAIL_MEMORY_LIMIT": limit})


def test_settings_that_contradict_each_other_are_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"RETAIL_LOST_AFTER_DAYS \(30\) must be more than RETAIL_LAPSING_AFTER_DAYS \(90\)"):
        Settings.from_environment({"RETAIL_LOST_AFTER_DAYS": "30"})
