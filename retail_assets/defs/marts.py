"""marts: what BI reads, as dbt models; also `core.products` and `core.customers`. The models, their texts and tests stand in `dbt_sql/`.

One dbt start per run builds them all. They are views, so they always show the months as they stand; the publication turns them into tables.
"""

import os
from collections.abc import Iterator

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from retail_assets.dbt_project import DBT_PROJECT, current_manifest
from retail_assets.monthly import POOL
from retail_assets.settings import Settings


@dbt_assets(manifest=current_manifest(), project=DBT_PROJECT, name="dbt_models", pool=POOL)
def dbt_models(context: dg.AssetExecutionContext, dbt: DbtCliResource, settings: dg.ResourceParam[Settings]) -> Iterator[object]:
    """Build and test every dbt model on the warehouse."""
    os.environ["RETAIL_WAREHOUSE"] = str(settings.warehouse_path)
    yield from dbt.cli(["build"], context=context).stream()
