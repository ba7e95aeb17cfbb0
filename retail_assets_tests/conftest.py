"""Every test process has a home of its own, with the months of the real data as partitions; nothing is read from or written to the checkout."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_HOME = tempfile.TemporaryDirectory(prefix="retail-assets-tests-")
os.environ |= {"RETAIL_HOME": _HOME.name, "RETAIL_FIRST_MONTH": "2010-12", "RETAIL_LAST_MONTH": "2011-12", "DAGSTER_DISABLE_TELEMETRY": "1"}


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
