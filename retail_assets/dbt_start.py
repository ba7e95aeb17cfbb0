"""The command `retail-dbt`: dbt as Dagster starts it, but for one question that it answers by itself.

dagster-dbt asks `dbt --version` before each start, a process of its own that loads all of dbt and looks up the newest release on the network: some
4 seconds of a run, and a call home. The answer is known from what is installed. Everything else is dbt's own business.
"""

from __future__ import annotations

import sys
from importlib.metadata import version


def main() -> None:
    """Run dbt with the arguments of this process."""
    if sys.argv[1:] == ["--version"]:
        print(f"Core:\n  - installed: {version('dbt-core')}")  # noqa: T201
        return
    from dbt.cli.main import cli  # noqa: PLC0415

    cli(prog_name="dbt")
