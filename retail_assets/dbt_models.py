"""The dbt models as `Table`s: name, grain, columns, types, comments, key and references, read from the YAML of the dbt project.

The YAML is where a model is declared. What dbt tests there (`primary_key`, `not_null`, `relationships`), or cannot enforce on a view (the
constraint `not_null`), is what the published file and the data dictionary state. Texts that come from `contracts` are resolved from there.
No dbt and no Dagster in here: reading takes some hundredths of a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from retail_assets import contracts
from retail_assets.contracts import Column, Table
from retail_assets.settings import DBT_PROJECT_DIR

MONTH_COLUMNS: Final = ("snapshot_month", "invoice_month")
"""Names of the column that holds a table's month, where it has one that is never null."""

_DOC_BLOCK: Final = re.compile(r"{% docs (\w+) %}(.*?){% enddocs %}", re.DOTALL)
_DOC_CALL: Final = re.compile(r"""{{ doc\(["'](\w+)["']\) }}""")
_REFERENCE: Final = re.compile(r"ref\('(\w+)'\)")


class DbtModelError(ValueError):
    """The YAML of a model says something that cannot be read."""


def doc_name(table: Table, column: Column) -> str:
    """Name of the dbt docs block that holds the comment of a column."""
    return f"{table.schema}__{table.name}__{column.name}"


def tables(project: Path = DBT_PROJECT_DIR) -> tuple[Table, ...]:
    """Every dbt model, by schema and name.

    Raises:
        DbtModelError: A text refers to a docs block that does not exist, or a model declares no key.
    """
    texts = _texts(project)
    found = [
        _table(model, path.parent.name, texts)
        for path in sorted((project / "models").rglob("*.yml"))
        for model in (yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader) or {}).get("models", [])
    ]
    return tuple(sorted(found, key=lambda table: table.full_name))


def _texts(project: Path) -> dict[str, str]:
    """Docs blocks by name: those written by hand, and those of the contracts, which are generated and need no reading."""
    pages = sorted((project / "models").rglob("*.md"))
    by_hand = {name: text for page in pages for name, text in _DOC_BLOCK.findall(page.read_text(encoding="utf-8"))}
    return by_hand | {doc_name(table, column): column.comment for table in contracts.TABLES for column in table.columns}


def _table(model: Mapping[str, Any], schema: str, texts: Mapping[str, str]) -> Table:
    name = model["name"]
    key, nullable = _key(model)
    if not key:
        raise DbtModelError(f"{schema}.{name} declares no key: give it the data test `primary_key`.")
    columns = tuple(
        Column(
            name=column["name"],
            type=column["data_type"].upper(),
            comment=_resolved(column["description"], texts, f"{schema}.{name}.{column['name']}"),
            nullable=column["name"] in nullable or not (column["name"] in key or _is_declared_not_null(column)),
            references=next(iter(_references(column)), ""),
        )
        for column in model["columns"]
    )
    month = next((column.name for column in columns if column.name in MONTH_COLUMNS and not column.nullable), None)
    return Table(schema, name, _resolved(model["description"], texts, f"{schema}.{name}"), columns, key, month)


def _key(model: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that identify a row, and those of them that may be null."""
    arguments = dict(_tests(model)).get("primary_key", {})
    return tuple(arguments.get("columns", ())), tuple(arguments.get("nullable", ()))


def _is_declared_not_null(column: Mapping[str, Any]) -> bool:
    return "not_null" in dict(_tests(column)) or any(constraint["type"] == "not_null" for constraint in column.get("constraints", ()))


def _tests(node: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The data tests of a model or column, each with its arguments."""
    for test in node.get("data_tests", []):
        if isinstance(test, str):
            yield test, {}
        else:
            yield from ((name, (details or {}).get("arguments", {})) for name, details in test.items())


def _references(column: Mapping[str, Any]) -> Iterator[str]:
    for name, arguments in _tests(column):
        if name == "relationships" and (model := _REFERENCE.fullmatch(arguments["to"])):
            yield f"{model[1]}.{arguments['field']}"


def _resolved(text: str, texts: Mapping[str, str], where: str) -> str:
    def block(call: re.Match[str]) -> str:
        if call[1] not in texts:
            raise DbtModelError(f"{where} refers to the docs block {call[1]!r}, which does not exist.")
        return texts[call[1]]

    return _DOC_CALL.sub(block, text)
