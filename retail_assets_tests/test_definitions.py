"""The code location: every asset is described as the UI promises, keys mirror storage, jobs hold what they say."""

import functools
import subprocess
import sys

import dagster as dg
import pytest
import yaml

from retail_assets import dbt_project
from retail_assets.contracts import TABLES
from retail_assets.definitions import defs
from retail_assets.defs import automation
from retail_assets.monthly import key_of
from retail_assets.settings import REPOSITORY

pytestmark = pytest.mark.integration

GROUPS = {"raw", "core", "features", "segments", "rules", "marts", "published"}  # and `quality`, which is written by all of them
UNPARTITIONED = {
    "raw/landed_files",
    "raw/landed_lines",
    "raw/product_names",
    "core/products",
    "core/customers",
    "published/retail",
    "published/report",
}


@functools.cache
def repository() -> dg.RepositoryDefinition:
    return defs().get_repository_def()


def specs() -> list[dg.AssetSpec]:
    return sorted(
        (spec for assets in repository().assets_defs_by_key.values() for spec in [*assets.specs] if assets.is_executable), key=lambda spec: spec.key
    )


def test_every_table_is_an_asset_whose_key_mirrors_storage() -> None:
    keys = {spec.key for spec in specs()}
    assert {key_of(table) for table in TABLES if table.schema != "quality"} <= keys
    assert {spec.group_name for spec in specs()} == GROUPS
    assert all(spec.key.path[0] == spec.group_name for spec in specs())


def test_every_asset_says_what_it_is_who_owns_it_and_what_it_is_made_of() -> None:
    for spec in specs():
        assert len(spec.description or "") > 20, spec.key
        assert spec.owners, spec.key
        assert spec.kinds & {"duckdb", "html"}, spec.key


def test_every_table_shows_its_columns_with_comments() -> None:
    for spec in specs():
        if spec.group_name == "published":
            continue
        schema = spec.metadata["dagster/column_schema"]
        assert schema.columns, spec.key
        assert all(column.description for column in schema.columns), spec.key


def test_layers_from_raw_to_rules_have_months_and_run_a_range_in_one_run() -> None:
    for key, assets in repository().assets_defs_by_key.items():
        if assets.is_executable and key.path[0] != "marts" and key.to_user_string() not in UNPARTITIONED:
            assert isinstance(assets.partitions_def, dg.MonthlyPartitionsDefinition), key
            assert assets.backfill_policy == dg.BackfillPolicy.single_run(), key


def test_partitions_are_the_landed_months_and_no_others() -> None:
    partitions = repository().assets_defs_by_key[dg.AssetKey(["core", "transactions"])].partitions_def
    assert partitions is not None
    keys = partitions.get_partition_keys()
    assert (keys[0], keys[-1], len(keys)) == ("2010-12-01", "2011-12-01", 13)


def test_whatever_opens_the_warehouse_is_in_the_one_pool() -> None:
    pools = {key.to_user_string(): assets.op.pool for key, assets in repository().assets_defs_by_key.items() if assets.is_executable}
    assert pools.pop("published/report") is None, "it reads the published file alone"
    assert set(pools.values()) == {"warehouse"}


@pytest.mark.parametrize(
    ("job", "steps"),
    [
        ("land", {"raw__landing", "months_are_current"}),
        ("publish", {"dbt_models", "published__retail", "published__report"}),
        (
            "refresh",
            {
                "raw__landing",
                "raw__raw_transactions",
                "core__transactions",
                "core__returns",
                "features__customer_months",
                "features__rfm_features",
                "segments__segment_model",
                "segments__segment_migration",
                "rules__frequent_itemsets",
                "rules__group_rules",
                "months_are_current",
                "dbt_models",
                "published__retail",
                "published__report",
            },
        ),
    ],
)
def test_jobs_hold_exactly_their_steps(job: str, steps: set[str]) -> None:
    assert {node.name for node in repository().get_job(job).nodes} == steps


def test_conservation_blocks_what_is_downstream() -> None:
    graph = repository().asset_graph
    check = graph.get_check_spec(dg.AssetCheckKey(dg.AssetKey(["core", "transactions"]), "lines_and_pennies_conserved"))
    assert check.blocking


def test_the_code_location_loads_without_what_only_steps_need() -> None:
    script = "import sys; from retail_assets.definitions import defs; defs(); print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sklearn", "scipy", "matplotlib", "mlxtend", "pandas", "gql", "selenium"} & set(loaded)


def test_dbt_is_not_asked_where_the_manifest_is_as_new_as_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = dbt_project.current_manifest()
    monkeypatch.setattr(dbt_project, "dbt_resource", lambda: pytest.fail("dbt was asked"))
    assert dbt_project.current_manifest() == manifest


def test_the_name_of_the_code_location_is_that_of_the_workspace() -> None:
    workspace = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())
    assert [target["python_module"]["location_name"] for target in workspace["load_from"]] == [automation.LOCATION]
