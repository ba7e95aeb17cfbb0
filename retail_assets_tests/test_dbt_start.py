"""dbt as Dagster starts it: the version is that of dbt, told without loading it, and everything else is dbt."""

import subprocess
import sys

from retail_assets.dbt_project import DBT_PROJECT, dbt_resource

START = "import sys; from retail_assets.dbt_start import main; main(); print([name for name in sys.modules if name.split('.')[0] == 'dbt'])"


def test_the_version_is_told_without_loading_dbt() -> None:
    told = subprocess.run([sys.executable, "-c", START, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[-1] == "[]"
    by_dbt = subprocess.run([sys.executable, "-c", "import dbt.version; print(dbt.version.__version__)"], capture_output=True, text=True, check=True)
    assert told[1].split() == ["-", "installed:", by_dbt.stdout.strip()]


def test_dagster_starts_dbt_by_it() -> None:
    resource = dbt_resource()
    assert resource.dbt_executable.endswith("retail-dbt")
    listed = resource.cli(["ls", "--select", "customer_360", "--resource-type", "model", "--quiet"], target_path=DBT_PROJECT.manifest_path.parent)
    assert listed.is_successful()
