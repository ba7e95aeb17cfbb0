"""marts: what BI reads, as dbt models; also `core.products` and `core.customers`. The models, their texts and tests stand in `dbt_sql/`.

One dbt start per run builds them all. They are views, so they always show the months as they stand; the publication turns them into tables.
"""

import os
from collections.abc import Iterator

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from retail_assets.dbt_project import DBT_PROJECT, current_manifest
from retail_assets.monthly import POOL, SINGLE_RUN
from retail_assets.settings import Settings

# The profile names the warehouse by this variable; set before parsing, because dbt parses anew when a profile changes.
os.environ["RETAIL_WAREHOUSE"] = str(Settings.from_environment().warehouse_path)


@dbt_assets(
    manifest=current_manifest(),
    project=DBT_PROJECT,
    name="dbt_models",
    # Unit tests judge the models, not the data: `make test` runs them. Seeds are read by Python; no model needs them.
    exclude="resource_type:unit_test resource_type:seed",
    backfill_policy=SINGLE_RUN,
    pool=POOL,
)
def dbt_models(context: dg.AssetExecutionContext, dbt: DbtCliResource, settings: dg.ResourceParam[Settings]) -> Iterator[object]:
    """Build every dbt model on the warehouse and run its data tests."""
    yield from dbt.cli(["build"], context=context, target_path=settings.dagster_home / "dbt").stream()
