"""marts: what BI reads, as dbt models; also `core.products` and `core.customers`. The models, their texts and tests stand in `dbt_sql/`.

One dbt start per run builds them all. They are views, so they always show the months as they stand; the publication turns them into tables.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation, DbtCliResource, DbtProject, dbt_assets

from retail_assets.dbt_project import DBT_PROJECT, current_manifest
from retail_assets.dbt_start import target_path
from retail_assets.dbt_tests import KINDS
from retail_assets.lib import column_lineage
from retail_assets.monthly import COLUMN_LINEAGE, POOL, SINGLE_RUN
from retail_assets.order import open_warehouse
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

# The profile names the warehouse by this variable; set before parsing, because dbt parses anew when a profile changes.
os.environ["RETAIL_WAREHOUSE"] = str(Settings.from_environment().warehouse_path)


class _Translator(DagsterDbtTranslator):
    """dbt tests as checks that say what they ask and what to do, as all others do."""

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetCheckSpec | None:
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        if spec is None:
            return None
        test = manifest["nodes"][unique_id]["test_metadata"]
        kind = KINDS[test["name"]]
        return dg.AssetCheckSpec(
            spec.name,
            asset=spec.asset_key,
            description=kind.asked(test["kwargs"]),
            additional_deps=spec.additional_deps,
            blocking=spec.blocking,
            metadata={**(spec.metadata or {}), "recovery": kind.recovery},
        )


@dbt_assets(
    manifest=current_manifest(),
    project=DBT_PROJECT,
    dagster_dbt_translator=_Translator(),
    name="dbt_models",
    # Unit tests judge the models, not the data: `make test` runs them. Seeds are read by Python; no model needs them.
    exclude="resource_type:unit_test resource_type:seed",
    backfill_policy=SINGLE_RUN,
    pool=POOL,
)
def dbt_models(
    context: dg.AssetExecutionContext, dbt: DbtCliResource, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
) -> Iterator[object]:
    """Build every dbt model on the warehouse and run its data tests."""
    with open_warehouse(warehouse):
        # Waits its turn, with a message that names the holder; dbt itself waits for a moment only.
        pass
    build = dbt.cli(["build"], context=context, target_path=target_path(settings))
    for event in build.stream():
        if isinstance(event, dg.Output) and (unique_id := (event.metadata or {}).get("unique_id")):
            yield event.with_metadata({**event.metadata, COLUMN_LINEAGE: _column_lineage(build, str(unique_id.value))})
        else:
            yield event


def _column_lineage(build: DbtCliInvocation, unique_id: str) -> dg.TableColumnLineage:
    """Read from the compiled SQL while dbt goes on. dagster-dbt's own waits for dbt to end, then asks the warehouse (docs/decisions.md, 25)."""
    nodes = {**build.manifest["nodes"], **build.manifest["sources"]}
    parents = [nodes[parent] for parent in nodes[unique_id]["depends_on"]["nodes"]]
    columns = {(parent["schema"], parent["name"]): {name: column["data_type"] for name, column in parent["columns"].items()} for parent in parents}
    compiled = build.target_path / "compiled" / nodes[unique_id]["package_name"] / nodes[unique_id]["original_file_path"]
    found = column_lineage.origins(compiled.read_text(encoding="utf-8"), columns)
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(dg.AssetKey(list(relation)), column) for relation, column in sources] for name, sources in found.items()}
    )
