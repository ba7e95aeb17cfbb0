"""Every test process has a home of its own, with the months of the real data as partitions; nothing is read from or written to the checkout."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from shutil import copyfile
from typing import Any

import duckdb
import pytest

from retail_assets import worker
from retail_assets.lib import parsing
from retail_assets.processes import collect_seldom
from retail_assets.warehouse import Warehouse
from retail_assets_tests.homes import NewWarehouse, made_once

collect_seldom()
_HOME = tempfile.TemporaryDirectory(prefix="retail-assets-tests-")
os.environ |= {"RETAIL_HOME": _HOME.name, "RETAIL_FIRST_MONTH": "2010-12", "RETAIL_LAST_MONTH": "2011-12", "DAGSTER_DISABLE_TELEMETRY": "1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with integration tests come first, so that no worker is left with a long one at the end."""
    long_files = {item.path for item in items if item.get_closest_marker("integration")}
    items.sort(key=lambda item: item.path not in long_files)


@pytest.fixture(autouse=True)
def _environment_is_left_as_it_was() -> Iterator[None]:
    """A command that is called in the process of the tests puts its options into the environment, as Dagster's processes need them there."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ |= before


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real CSV files."""
    folder = Path(os.environ.get("RETAIL_REAL_DATA", Path(__file__).parents[2] / "shared" / "data" / "online-retail")) / "by-day"
    if not folder.is_dir():
        pytest.skip(f"the real data is not at {folder.parent}: set RETAIL_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def new_warehouse(tmp_path_factory: pytest.TempPathFactory) -> NewWarehouse:
    """Makes an empty warehouse, as a copy: to create its tables takes longer than what most tests do with them."""

    def make(folder: Path) -> None:
        with Warehouse(database=str(folder / "retail.duckdb")).get_connection():
            pass

    empty = made_once(tmp_path_factory, "empty_warehouse", make) / "retail.duckdb"

    def new(path: Path) -> Warehouse:
        path.parent.mkdir(parents=True, exist_ok=True)
        copyfile(empty, path)
        return Warehouse(database=str(path))

    return new


@pytest.fixture
def connection(tmp_path: Path, new_warehouse: NewWarehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty warehouse, opened."""
    with new_warehouse(tmp_path / "retail.duckdb").get_connection() as opened:
        yield opened


@pytest.fixture(scope="session")
def _reader() -> Iterator[parsing.SafeReader]:
    with parsing.SafeReader() as reader:
        yield reader


@pytest.fixture
def _one_reader(_reader: parsing.SafeReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Landings have one process that reads workbooks, archives and Parquet, instead of one each: it takes longer to start than to read."""

    def kept() -> AbstractContextManager[parsing.SafeReader]:
        return nullcontext(_reader)

    monkeypatch.setattr(parsing, "SafeReader", kept)


@pytest.fixture
def _no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts for the metadata are not drawn, where a test is of tables: they are a third of its time."""
    begin = worker.begin

    def begin_all_but_charts(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[], Any]:
        return bytes if function.__module__.startswith("retail_assets.lib.charts.") else begin(function, *args, **kwargs)

    monkeypatch.setattr(worker, "begin", begin_all_but_charts)
