"""dbt as Dagster starts it: the version is told without loading dbt, a warm dbt takes one command, and everything else is dbt."""

import os
import socket
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

import pytest

from retail_assets import dbt_project
from retail_assets.dbt_project import PARTIAL_PARSE, dbt_resource
from retail_assets.dbt_start import WARM_DBT, socket_path, target_path, warm
from retail_assets.settings import DBT_PROJECT_DIR, Settings
from retail_assets_tests.homes import NewWarehouse

pytestmark = pytest.mark.integration

START = "import sys; from retail_assets.dbt_start import main; main(); print([name for name in sys.modules if name.split('.')[0] == 'dbt'])"
LOADS_DBT = "import sys; from retail_assets.dbt_start import main\ntry: main()\nfinally: print('dbt.cli.main' in sys.modules)"
LOADED, NOT_LOADED = "True", "False"
BUILD = ["build", "--select", "dim_date", "--indirect-selection", "cautious", "--no-use-colors"]


@pytest.fixture
def settings(tmp_path: Path, new_warehouse: NewWarehouse) -> Settings:
    # Below a path that is longer than that of a socket may be.
    settings = Settings(home=tmp_path / ("long" * 30))
    new_warehouse(settings.warehouse_path)
    return settings


class Built(NamedTuple):
    """Two builds in one home: whether the first one saved the project there, and what each said."""

    is_project_saved: bool
    handed_on: subprocess.CompletedProcess[str]
    by_itself: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, new_warehouse: NewWarehouse) -> Built:
    settings = Settings(home=tmp_path_factory.mktemp("built"))
    new_warehouse(settings.warehouse_path)
    with warm(settings):
        handed_on = dbt(settings, *BUILD)
        return Built((target_path(settings) / PARTIAL_PARSE).exists(), handed_on, dbt(settings, *BUILD))


def dbt(settings: Settings, *arguments: str, code: str = LOADS_DBT) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "RETAIL_WAREHOUSE": str(settings.warehouse_path),
        "DBT_TARGET_PATH": str(target_path(settings)),
        "DBT_LOG_PATH": str(target_path(settings)),
        "DBT_PROFILES_DIR": str(DBT_PROJECT_DIR),
    }
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=DBT_PROJECT_DIR, env=environment)


def test_the_version_is_told_without_loading_dbt() -> None:
    told = subprocess.run([sys.executable, "-c", START, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[-1] == "[]"
    by_dbt = subprocess.run([sys.executable, "-c", "import dbt.version; print(dbt.version.__version__)"], capture_output=True, text=True, check=True)
    assert told[1].split() == ["-", "installed:", by_dbt.stdout.strip()]


def test_dagster_starts_dbt_by_it_and_loads_no_adapter_itself(tmp_path: Path) -> None:
    resource = dbt_resource()
    assert resource.dbt_executable.endswith("retail-dbt")
    listed = resource.cli(["deps", "--quiet"], target_path=tmp_path)
    assert listed.is_successful()
    assert listed.adapter is None


def test_a_warm_dbt_takes_one_build_and_answers_as_dbt_does(built: Built) -> None:
    runs = (built.handed_on, built.by_itself)
    assert [run.stdout.splitlines()[-1] for run in runs] == [NOT_LOADED, LOADED]
    assert [run.returncode for run in runs] == [0, 0]
    done = [[line.split("  ")[-1] for line in run.stdout.splitlines() if "Done. PASS=" in line] for run in runs]
    assert len(done[0]) == 1
    assert done[0] == done[1]


def test_where_no_process_can_be_started_dbt_starts_when_it_is_asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/does/not/exist")
        with warm(settings):
            assert WARM_DBT not in os.environ
            assert not socket_path(settings).exists()


def test_a_warm_dbt_goes_by_what_was_saved_of_the_project(built: Built) -> None:
    assert built.handed_on.returncode == 0
    assert not built.is_project_saved, "dbt saves what it reads from the files"


def test_a_warm_dbt_reads_the_project_where_what_was_saved_cannot_be_read(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / PARTIAL_PARSE).write_bytes(b"of another version")
    monkeypatch.setattr(dbt_project, "current_manifest", lambda: tmp_path / "manifest.json")
    with warm(settings):
        handed_on = dbt(settings, *BUILD)
    assert (handed_on.stdout.splitlines()[-1], handed_on.returncode) == (NOT_LOADED, 0)
    assert (target_path(settings) / PARTIAL_PARSE).exists()


def test_the_socket_of_a_killed_run_is_no_hindrance_and_none_is_left(settings: Settings) -> None:
    with socket.socket(socket.AF_UNIX) as killed, chdir(settings.home):
        killed.bind(socket_path(settings).name)
    with warm(settings):
        assert WARM_DBT in os.environ
        assert socket_path(settings).stat().st_mode & 0o077 == 0, "a command for dbt comes from nobody else"
    assert not socket_path(settings).exists()


def test_where_no_socket_can_be_dbt_starts_when_it_is_asked(settings: Settings) -> None:
    socket_path(settings).mkdir()
    with warm(settings):
        assert WARM_DBT not in os.environ


def test_a_warm_dbt_hands_back_failure_and_ends_with_the_block(settings: Settings) -> None:
    with warm(settings):
        failed = dbt(settings, "build", "--no-such-option")
        assert (failed.stdout.splitlines()[-1], failed.returncode) == (NOT_LOADED, 2)
        assert "No such option" in failed.stderr
    assert WARM_DBT not in os.environ


def test_a_warm_dbt_that_is_gone_is_not_missed(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(WARM_DBT, str(tmp_path / "no-socket"))
    failed = dbt(settings, "build", "--no-such-option")
    assert (failed.stdout.splitlines()[-1], failed.returncode) == (LOADED, 2)
