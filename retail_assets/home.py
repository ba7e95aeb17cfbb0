"""The folders below `RETAIL_HOME`, made on first use, and Dagster's own settings in there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from retail_assets.settings import Settings

_DAGSTER_YAML = Path(__file__).with_name("dagster.yaml")


def prepare(settings: Settings) -> None:
    """Make the folders and Dagster's `dagster.yaml` where they are missing, and point this process at them.

    An existing `dagster.yaml` is left alone: an operator may have put Postgres storage or a run launcher in it.
    """
    for folder in (settings.landing_dir, settings.warehouse_path.parent, settings.serving_dir, settings.reports_dir, settings.dagster_home):
        if folder == settings.landing:
            continue
        folder.mkdir(parents=True, exist_ok=True)
    instance_settings = settings.dagster_home / "dagster.yaml"
    if not instance_settings.exists():
        shutil.copyfile(_DAGSTER_YAML, instance_settings)
    os.environ["RETAIL_HOME"] = str(settings.home.absolute())
    if settings.landing:
        os.environ["RETAIL_LANDING"] = str(settings.landing_dir)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
