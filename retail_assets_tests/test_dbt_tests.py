"""Tests of dbt say what they ask and what to do, each kind in its own words."""

import json

import pytest

from retail_assets.dbt_project import current_manifest
from retail_assets.dbt_tests import KINDS, Arguments
from retail_assets.defs.marts import dbt_models


@pytest.mark.parametrize(
    ("kind", "arguments", "asked"),
    [
        ("primary_key", {"columns": ["stock_code"]}, "No two rows have the same stock_code, and no row lacks it."),
        (
            "primary_key",
            {"columns": ["check_name", "invoice_month"], "nullable": ["invoice_month"]},
            "No two rows have the same check_name, invoice_month, and no row lacks one of them, but invoice_month.",
        ),
        ("not_null", {"column_name": "home_country"}, "home_country has a value in every row."),
        (
            "relationships",
            {"column_name": "sale_date", "to": "ref('dim_date')", "field": "calendar_date"},
            "Every sale_date, where there is one, stands in dim_date.calendar_date.",
        ),
        ("accepted_values", {"column_name": "basis", "values": ["together", 1]}, "basis is one of: together, 1."),
    ],
)
def test_a_test_says_what_it_asks_of_its_model(kind: str, arguments: Arguments, asked: str) -> None:
    assert KINDS[kind].asked(arguments) == asked


def test_every_kind_of_test_in_the_project_is_described_and_none_besides() -> None:
    nodes = json.loads(current_manifest().read_text(encoding="utf-8"))["nodes"].values()
    assert {node["test_metadata"]["name"] for node in nodes if node["resource_type"] == "test"} == KINDS.keys()


def test_every_test_of_a_model_is_a_check_with_a_description_and_a_recovery() -> None:
    specs = list(dbt_models.check_specs)
    assert len(specs) > 30
    assert all(spec.blocking and spec.description and (spec.metadata or {})["recovery"] for spec in specs)
    [of_sales] = [spec for spec in specs if spec.name == "relationships_fct_sales_customer_id__customer_id__ref_dim_customer_"]
    assert [dep.asset_key.path for dep in of_sales.additional_deps] == [["marts", "dim_customer"]], "as dagster-dbt has it"
