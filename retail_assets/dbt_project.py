"""Where the dbt project is, and its manifest, parsed again only when a file of the project is newer."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dagster_dbt import DbtCliResource, DbtProject

from retail_assets.settings import DBT_PROJECT_DIR

DBT_PROJECT = DbtProject(project_dir=DBT_PROJECT_DIR, profiles_dir=DBT_PROJECT_DIR)

PARTIAL_PARSE = "partial_parse.msgpack"
"""What dbt saves beside its manifest, to begin with it when it reads the project again."""

_SOURCE_FOLDERS = ("models", "seeds", "macros", "tests")


class _DbtCliResource(DbtCliResource):
    """dbt without the adapter that dagster-dbt loads into the process of the run, to fetch metadata we do not ask for: 1.2 seconds."""

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:  # type: ignore[override]
        pass


def dbt_resource() -> DbtCliResource:
    """Dbt from the environment of this Python, whether or not that environment is on the PATH."""
    beside_python = Path(sys.executable).with_name("retail-dbt")
    return _DbtCliResource(
        project_dir=str(DBT_PROJECT.project_dir),
        profiles_dir=str(DBT_PROJECT.profiles_dir),
        dbt_executable=str(beside_python) if beside_python.exists() else "retail-dbt",
    )


def current_manifest() -> Path:
    """The path of a manifest that is as new as the project. dagster-dbt's own preparer acts under `dagster dev` only, and then always."""
    manifest = DBT_PROJECT.manifest_path
    if not _is_current(manifest):
        manifest.parent.mkdir(exist_ok=True)
        # Aside, and put in place by a rename: half a manifest from a killed parse would look current for ever.
        with tempfile.TemporaryDirectory(dir=manifest.parent, prefix="parse-") as folder:
            dbt_resource().cli(["parse", "--quiet"], target_path=Path(folder)).wait()
            for name in (PARTIAL_PARSE, manifest.name):
                (Path(folder) / name).replace(manifest.with_name(name))
    return manifest


def _is_current(manifest: Path) -> bool:
    if not manifest.exists():
        return False
    sources = [*DBT_PROJECT_DIR.glob("*.yml"), *(path for folder in _SOURCE_FOLDERS for path in (DBT_PROJECT_DIR / folder).rglob("*"))]
    return manifest.stat().st_mtime >= max(path.stat().st_mtime for path in sources)
