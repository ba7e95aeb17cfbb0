"""The folders below `RETAIL_HOME`, made on first use, and Dagster's own settings in there."""

from __future__ import annotations

import os
from pathlib import Path

from retail_assets.files import write_whole
from retail_assets.settings import Settings

_DAGSTER_YAML = Path(__file__).with_name("dagster.yaml")
_POSTGRES = """
storage:
  postgres:
    postgres_url:
      env: RETAIL_POSTGRES_URL
"""


def prepare(settings: Settings) -> None:
    """Make the folders and Dagster's `dagster.yaml` where they are missing, and point this process at them.

    An existing `dagster.yaml` is left alone: an operator may have put other storage or a run launcher in it.
    """
    for folder in (settings.landing_dir, settings.warehouse_path.parent, settings.serving_dir, settings.reports_dir, settings.dagster_home):
        if folder == settings.landing:
            continue
        folder.mkdir(parents=True, exist_ok=True)
    instance_settings = settings.dagster_home / "dagster.yaml"
    if not instance_settings.exists():
        shipped = _DAGSTER_YAML.read_text(encoding="utf-8")
        write_whole(instance_settings, shipped + (_POSTGRES if settings.postgres_url else ""))
    os.environ["RETAIL_HOME"] = str(settings.home.absolute())
    if settings.landing:
        os.environ["RETAIL_LANDING"] = str(settings.landing_dir)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
