"""The Python in README and docs runs as it stands: on the published file of a small shop where it reads one, else by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
SNIPPETS = [
    pytest.param(code, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL), start=1)
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_a_snippet_runs_as_it_stands(code: str, tmp_path: Path) -> None:
    serving = tmp_path / "data" / "serving"
    serving.mkdir(parents=True)
    with duckdb.connect(serving / "retail.duckdb") as published:
        published.execute("create schema marts")
        published.execute("create table marts.segment_profiles (snapshot_month date, segment_name text, customer_count int, revenue_share double)")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
