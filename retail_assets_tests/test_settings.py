"""Settings come from the environment, and say so when they cannot."""

from pathlib import Path

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


def test_settings_that_contradict_each_other_are_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"RETAIL_LOST_AFTER_DAYS \(30\) must be more than RETAIL_LAPSING_AFTER_DAYS \(90\)"):
        Settings.from_environment({"RETAIL_LOST_AFTER_DAYS": "30"})
