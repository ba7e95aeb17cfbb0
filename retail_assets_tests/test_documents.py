"""The documents that derive from code are up to date, and a stale one is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from retail_assets import contracts, documents, published_file
from retail_assets.lib import cleaning

if TYPE_CHECKING:
    from pathlib import Path


def test_committed_files_equal_the_rendered_ones() -> None:
    assert documents.stale() == [], "run `python -m retail_assets.documents`"


def test_every_contract_is_a_source_with_its_columns_and_types() -> None:
    rendered = yaml.safe_load(documents.render_sources())
    declared = {
        (source["name"], table["name"]): [(column["name"], column["data_type"].upper()) for column in table["columns"]]
        for source in rendered["sources"]
        for table in source["tables"]
    }
    assert declared == {(table.schema, table.name): [(column.name, column.type) for column in table.columns] for table in contracts.TABLES}


def test_source_maps_to_the_asset_key_that_mirrors_storage() -> None:
    tables = [table for source in yaml.safe_load(documents.render_sources())["sources"] for table in source["tables"]]
    keys = ["/".join(table["config"]["meta"]["dagster"]["asset_key"]) for table in tables]
    assert "core/transactions" in keys
    assert sorted(keys) == sorted(f"{table.schema}/{table.name}" for table in contracts.TABLES)


def test_every_column_has_one_docs_block() -> None:
    text = documents.render_column_docs()
    for table in contracts.TABLES:
        for column in table.columns:
            assert text.count(f"{{% docs {table.schema}__{table.name}__{column.name} %}}{column.comment}{{% enddocs %}}") == 1


def test_write_repairs_what_check_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--root", str(tmp_path)]
    sources = tmp_path / "dbt_sql" / "models" / "sources.yml"

    assert documents.main(arguments) == 0
    assert documents.main([*arguments, "--check"]) == 0

    sources.write_text("edited by hand\n", encoding="utf-8")
    assert documents.main([*arguments, "--check"]) == 1
    assert f"{sources} is out of date" in capsys.readouterr().err
    assert sources.read_text(encoding="utf-8") == "edited by hand\n", "--check must not write"

    assert documents.main(arguments) == 0
    assert capsys.readouterr().out == f"{sources}\n"
    assert documents.main([*arguments, "--check"]) == 0


def test_every_rule_of_cleaning_is_documented_in_order() -> None:
    rows = documents.render_rules().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [rule.reason for rule in cleaning.RULES]


def test_every_check_is_documented_with_what_to_do() -> None:
    rows = [row.strip("| ").split(" | ") for row in documents.render_checks().splitlines()[2:]]
    assert ["`core.transactions`", "`lines_and_pennies_conserved`", "ERROR"] in [row[:3] for row in rows]
    assert ["`raw.raw_transactions`", "`month_is_complete`", "WARN"] in [row[:3] for row in rows]
    assert all(len(row) == 5 and all(row) for row in rows)
    assert len({(row[0], row[1]) for row in rows}) == len(rows)


def test_every_published_table_and_column_is_in_the_dictionary_once() -> None:
    text = documents.render_dictionary()
    for table in published_file.published_tables():
        _, _, entry = text.partition(f"### {table.full_name}\n")
        rows = entry.partition("\n### ")[0].splitlines()
        assert [row.split("`")[1] for row in rows if row.startswith("| `")] == [column.name for column in table.columns]
    assert "| `sale_date` | `DATE` |  | Day of the sale. Looked up in `marts.dim_date.calendar_date`. |" in text
    assert "Key: `stock_code` (primary key)." in text
    assert "    dim_product ||--o{ fct_sales : stock_code\n" in text
    assert "    dim_customer |o--o{ fct_sales : customer_id\n" in text, "anonymous sales have no customer"


def test_what_is_written_by_hand_around_the_markers_stays(tmp_path: Path) -> None:
    documents.write(tmp_path)
    page = tmp_path / "docs" / "cleaning.md"
    generated = page.read_text(encoding="utf-8")
    page.write_text(f"# By hand\n\n{generated.replace('zero_price', 'edited')}\nAlso by hand.\n", encoding="utf-8")
    assert documents.write(tmp_path) == [page]
    assert page.read_text(encoding="utf-8") == f"# By hand\n\n{generated}\nAlso by hand.\n"


def test_a_lost_end_marker_is_named_and_nothing_is_cut(tmp_path: Path) -> None:
    documents.write(tmp_path)
    page = tmp_path / "docs" / "checks.md"
    page.write_text(page.read_text(encoding="utf-8").replace("End of the generated part", ""), encoding="utf-8")
    with pytest.raises(ValueError, match=r"checks\.md has lost its line"):
        documents.write(tmp_path)
