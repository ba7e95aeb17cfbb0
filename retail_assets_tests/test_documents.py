"""The dbt files that derive from the contracts are up to date, and a stale one is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from retail_assets import contracts, documents

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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
    sources = tmp_path / "models" / "sources.yml"

    assert documents.main(arguments) == 0
    assert documents.main([*arguments, "--check"]) == 0

    sources.write_text("edited by hand\n", encoding="utf-8")
    assert documents.main([*arguments, "--check"]) == 1
    assert f"{sources} is out of date" in capsys.readouterr().err
    assert sources.read_text(encoding="utf-8") == "edited by hand\n", "--check must not write"

    assert documents.main(arguments) == 0
    assert capsys.readouterr().out == f"{sources}\n"
    assert documents.main([*arguments, "--check"]) == 0
