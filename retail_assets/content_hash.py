"""One hash per published table, from its rows alone: the same input gives the same hashes on every machine, and anyone can compute them again.

The hash of a table is the sum of the hashes of its rows, so it depends on no order, and hashes of parts (months, say) add up to that of the whole.
The hash of a row is the MD5 of its cells as text, joined by `|`, taken as two numbers of 64 bits; each is summed modulo 2^64 (AdHash: Bellare and
Micciancio, A New Paradigm for Collision-Free Hashing, 1997). It finds changes; it is no signature. How each type is written stands in docs/bi.md.
Left out are columns that differ between runs on the same input (`is_volatile` in the contracts), and the table that holds the hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb

from retail_assets.contracts import Table

_HEX_DIGITS: Final = 16
_LIST: Final = "[]"

OF_NO_ROWS: Final = "0" * 2 * _HEX_DIGITS

_IN_FILE: Final = """
    select table_schema || '.' || table_name as table_name, list((column_name, data_type) order by column_position) as columns
    from marts.data_dictionary
    where is_hashed
    group by all
    order by all
"""


@dataclass(frozen=True)
class Comparison:
    """What a file says of a table, and what its rows are."""

    table_name: str
    stated: str | None
    found: str

    @property
    def is_as_stated(self) -> bool:
        """The rows are those that were published."""
        return self.stated == self.found


def hashed_columns(table: Table) -> list[tuple[str, str]]:
    """Names and types of the columns that count, in order."""
    return [(column.name, column.type) for column in table.columns if not column.is_volatile]


def hash_tables(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, str]:
    """The hashes of several tables by name: 32 hexadecimal digits each, zeros where there is no row. Small tables leave cores idle one by one."""
    queries = [f"select {number}, * from ({table_query(name, columns)})" for number, (name, columns) in enumerate(tables.items())]  # noqa: S608
    found = dict(connection.execute(" union all ".join(queries)).fetchall()) if queries else {}
    return {name: str(found[number]) for number, name in enumerate(tables)}


def hash_months(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, tuple[str, Sequence[tuple[str, str]]]]) -> dict[str, dict[date, str]]:
    """The hashes of the months of several tables, asked at once. Each is given with the name of its month column and the columns that count."""
    queries = [
        f"select {number} as number, {month} as month, {_SUM} as content_hash "  # noqa: S608 - names are our contracts
        f"from (select {month}, {_row_hash(columns)} as row_hash from {name}) group by {month}"
        for number, (name, (month, columns)) in enumerate(tables.items())
    ]
    found: dict[str, dict[date, str]] = {name: {} for name in tables}
    names = list(tables)
    for number, month, content_hash in connection.execute(" union all ".join(queries)).fetchall() if queries else ():
        found[names[number]][month] = content_hash
    return found


def table_query(table_name: str, columns: Sequence[tuple[str, str]]) -> str:
    """SQL that gives the hash of a table, for any DuckDB client."""
    return f"select {_SUM} from (select {_row_hash(columns)} as row_hash from {table_name})"  # noqa: S608 - names are our contracts


def _row_hash(columns: Sequence[tuple[str, str]]) -> str:
    # One number of all digits, read as bits: cheaper than to cut the text in two, and DuckDB 1.5 reads no hexadecimal digits into 128 bits.
    return f"unhex(md5(concat_ws('|', {', '.join(_cell(name, data_type) for name, data_type in columns)})))::bit::uhugeint"


def _half(half: str) -> str:
    return f"lpad(to_hex((coalesce(sum(({half})::ubigint), 0) % {2**64})::ubigint), {_HEX_DIGITS}, '0')"


_SUM: Final = f"lower({_half('row_hash >> 64')} || {_half(f'row_hash & {2**64 - 1}')})"
"""Hash of the rows whose hashes are `row_hash`."""


def exchanged(whole: str, going: str, coming: str) -> str:
    """The hash of a table in which some rows took the place of others, from the hashes of all three."""
    halves = (slice(0, _HEX_DIGITS), slice(_HEX_DIGITS, 2 * _HEX_DIGITS))
    sums = [(int(whole[half], 16) - int(going[half], 16) + int(coming[half], 16)) % 2**64 for half in halves]
    return "".join(f"{one:0{_HEX_DIGITS}x}" for one in sums)


def combined(hashes: dict[str, str]) -> str:
    """One hash for all tables: the SHA-256 of the hashes as JSON, names in order."""
    return hashlib.sha256(as_json(hashes).encode()).hexdigest()


def as_json(hashes: dict[str, str]) -> str:
    """Table and hash, names in order."""
    return json.dumps(dict(sorted(hashes.items())))


def compare(file: Path, config: Mapping[str, Any] | None = None) -> list[Comparison]:
    """Compute the hashes of a published file again, from the file alone, and hold them against those that it states. `config` is for DuckDB.

    Raises:
        duckdb.Error: It is no published file, or one of a version that stated no hashes.
    """
    with closing(duckdb.connect(file, read_only=True, config=dict(config or {}))) as reader:
        stated = json.loads(reader.execute("select content_hashes from marts.publication").fetchall()[0][0])
        tables = dict(reader.execute(_IN_FILE).fetchall())
        return [Comparison(name, stated.get(name), found) for name, found in hash_tables(reader, tables).items()]


def _cell(name: str, data_type: str) -> str:
    r"""A cell as text that no other value is written as: DuckDB's own text of it, `\N` for null, and `\|` and `\\` for what would be mistaken."""
    text = f'to_json("{name}")::varchar' if data_type.endswith(_LIST) else f'"{name}"::varchar'
    if data_type == "VARCHAR" or data_type.endswith(_LIST):
        # Asked first, because a text seldom holds either: two replacements cost more than all else.
        text = rf"if(contains({text}, '|') or contains({text}, '\'), replace(replace({text}, '\', '\\'), '|', '\|'), {text})"
    return rf"coalesce({text}, '\N')"
