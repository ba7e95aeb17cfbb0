"""Every test process has a home of its own, with the months of the real data as partitions; nothing is read from or written to the checkout."""

import os
import tempfile
from pathlib import Path

import pytest

_HOME = tempfile.TemporaryDirectory(prefix="retail-assets-tests-")
os.environ |= {"RETAIL_HOME": _HOME.name, "RETAIL_FIRST_MONTH": "2010-12", "RETAIL_LAST_MONTH": "2011-12", "DAGSTER_DISABLE_TELEMETRY": "1"}


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real CSV files."""
    folder = Path(os.environ.get("RETAIL_REAL_DATA", Path(__file__).parents[2] / "shared" / "data" / "online-retail")) / "by-day"
    if not folder.is_dir():
        pytest.skip(f"the real data is not at {folder.parent}: set RETAIL_REAL_DATA")
    return folder
