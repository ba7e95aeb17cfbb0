"""What each kind of dbt test asks, and what to do when it fails. Which model is tested for what stands in the YAML of the dbt project.

No dbt and no Dagster in here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

Arguments = Mapping[str, Any]
"""The arguments of a test, as dbt's manifest has them."""

_REFERENCE: Final = re.compile(r"ref\('(\w+)'\)")
_AGAIN: Final = "`retail run --all` refreshes everything and asks again. If it still fails,"


class Kind(NamedTuple):
    """A kind of test: what it asks in general and of one model, and what to do."""

    question: str
    asked: Callable[[Arguments], str]
    recovery: str


def _primary_key(arguments: Arguments) -> str:
    columns, nullable = arguments["columns"], arguments.get("nullable", [])
    lacking = "it" if len(columns) == 1 else "one of them"
    exception = f", but {' and '.join(nullable)}" if nullable else ""
    return f"No two rows have the same {', '.join(columns)}, and no row lacks {lacking}{exception}."


def _relationships(arguments: Arguments) -> str:
    model = _REFERENCE.sub(r"\1", arguments["to"])
    return f"Every {arguments['column_name']}, where there is one, stands in {model}.{arguments['field']}."


KINDS: Final[Mapping[str, Kind]] = {
    "primary_key": Kind(
        "The columns of the key identify a row, and none of them is null but where the model says so.",
        _primary_key,
        f"{_AGAIN} the SQL of the model repeats rows, most likely in a join: mend it.",
    ),
    "not_null": Kind(
        "The column has a value in every row.",
        lambda arguments: f"{arguments['column_name']} has a value in every row.",
        f"{_AGAIN} the SQL of the model lets nulls through, most likely from a left join: mend it.",
    ),
    "relationships": Kind(
        "Every value of the column, where there is one, stands in the dimension it is looked up in.",
        _relationships,
        f"{_AGAIN} the model and its dimension read different rows: mend their SQL.",
    ),
    "accepted_values": Kind(
        "The column holds the listed values only.",
        lambda arguments: f"{arguments['column_name']} is one of: {', '.join(map(str, arguments['values']))}.",
        f"{_AGAIN} there is a new value: list it in the YAML of the model and tell who reads the column, or mend what writes it.",
    ),
}
"""By name of the generic test. A project with another kind is refused when it is loaded, until the kind is described here."""
