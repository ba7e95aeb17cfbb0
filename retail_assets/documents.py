"""Writes what dbt needs to know of the tables that Python writes: its sources, and the column texts that the marts inherit.

Both files are generated from `contracts`, so that a text has one home. They are committed; a test proves them up to date.
Usage: `python -m retail_assets.documents [--check]`. No Dagster in here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from retail_assets import contracts
from retail_assets.settings import DBT_PROJECT_DIR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retail_assets.contracts import Column, Table

_ORIGIN = "Generated from retail_assets/contracts.py by `python -m retail_assets.documents`; do not edit."


def render_sources() -> str:
    """The dbt sources file: one source per schema, one table per contract."""
    schemas = dict.fromkeys(table.schema for table in contracts.TABLES)
    sources = [
        {"name": schema, "schema": schema, "tables": [_source_table(table) for table in contracts.TABLES if table.schema == schema]}
        for schema in schemas
    ]
    body = yaml.safe_dump({"sources": sources}, sort_keys=False, allow_unicode=True, width=140)
    return f"# {_ORIGIN}\n{body}"


def render_column_docs() -> str:
    """One dbt docs block per column, named `<schema>__<table>__<column>`."""
    blocks = [f"{{% docs {_doc_name(table, column)} %}}{column.comment}{{% enddocs %}}\n" for table in contracts.TABLES for column in table.columns]
    return f"<!-- {_ORIGIN} -->\n\n{''.join(blocks)}"


def write(root: Path = DBT_PROJECT_DIR) -> list[Path]:
    """Bring the generated files under `root` up to date; returns those that changed."""
    changed = stale(root)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_generated(root)[path], encoding="utf-8")
    return changed


def stale(root: Path = DBT_PROJECT_DIR) -> list[Path]:
    """The generated files under `root` that are missing or differ from the contracts."""
    return [path for path, text in _generated(root).items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with `--check` only say which are out of date (exit 1)."""
    parser = argparse.ArgumentParser(prog="python -m retail_assets.documents", description="Write the dbt files that derive from the contracts.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    parser.add_argument("--root", type=Path, default=DBT_PROJECT_DIR, help="the dbt project (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.check:
        outdated = stale(options.root)
        for path in outdated:
            sys.stderr.write(f"{path} is out of date: run `python -m retail_assets.documents`\n")
        return 1 if outdated else 0
    for path in write(options.root):
        sys.stdout.write(f"{path}\n")
    return 0


def _generated(root: Path) -> dict[Path, str]:
    return {root / "models" / "sources.yml": render_sources(), root / "models" / "columns.md": render_column_docs()}


def _source_table(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "description": table.grain,
        "config": {"meta": {"dagster": {"asset_key": [table.schema, table.name]}}},
        "columns": [
            {"name": column.name, "data_type": column.type.lower(), "description": f'{{{{ doc("{_doc_name(table, column)}") }}}}'}
            for column in table.columns
        ],
    }


def _doc_name(table: Table, column: Column) -> str:
    return f"{table.schema}__{table.name}__{column.name}"


if __name__ == "__main__":
    sys.exit(main())
