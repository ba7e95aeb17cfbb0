"""The content hash: of rows and of nothing else, computed again by hand, and sensitive to every change."""

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets import content_hash
from retail_assets.cli import main
from retail_assets.contracts import LANDED_FILES, TABLES, Column, Table
from retail_assets.published_file import DATA_DICTIONARY, published_tables
from retail_assets.settings import REPOSITORY
from retail_assets.warehouse import create_statement

COLUMNS = [
    ("text", "VARCHAR"),
    ("number", "BIGINT"),
    ("money", "DECIMAL(18,4)"),
    ("share", "DOUBLE"),
    ("day", "DATE"),
    ("sold_at", "TIMESTAMP"),
    ("is_so", "BOOLEAN"),
    ("names", "VARCHAR[]"),
]
Row = tuple[str | None, int | None, Decimal | None, float | None, date | None, datetime | None, bool | None, list[str] | None]
ROW: Row = ("WHITE HEART", 6, Decimal("2.5500"), 0.1 + 0.2, date(2011, 1, 4), datetime(2011, 1, 4, 8, 26), True, ["a", "b|c"])
OTHER: Row = (None, None, None, None, None, None, None, None)


def hash_table(connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[tuple[str, str]]) -> str:
    """The hash of a table, or of a query in brackets, by itself."""
    return content_hash.hash_tables(connection, {name: columns})[name]


def hash_of(rows: Sequence[Row]) -> str:
    with duckdb.connect() as connection:
        connection.execute(f"create table t ({', '.join(f'{name} {data_type}' for name, data_type in COLUMNS)})")
        if rows:
            connection.executemany(f"insert into t values ({', '.join('?' * len(COLUMNS))})", rows)
        return hash_table(connection, "t", COLUMNS)


def by_hand(rows: Sequence[Row]) -> str:
    """The definition once more, in Python alone."""

    def cell(value: Any) -> str:
        if value is None:
            return r"\N"
        if isinstance(value, bool):
            return str(value).lower()
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False) if isinstance(value, list) else str(value)
        return text.replace("\\", "\\\\").replace("|", r"\|") if isinstance(value, str | list) else text

    digests = [hashlib.md5("|".join(map(cell, row)).encode(), usedforsecurity=False).hexdigest() for row in rows]
    return "".join(f"{sum(int(digest[at : at + 16], 16) for digest in digests) % 2**64:016x}" for at in (0, 16))


def test_the_hash_is_what_its_definition_says() -> None:
    for rows in ([], [ROW], [ROW, ROW], [ROW, OTHER]):
        assert hash_of(rows) == by_hand(rows)
    assert hash_of([]) == "0" * 32


def test_the_sql_of_the_docs_gives_the_same() -> None:
    [section] = re.findall(r"## Is it the same data\?(.*?)\n## ", (REPOSITORY / "docs" / "bi.md").read_text(encoding="utf-8"), re.DOTALL)
    [sql] = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    with duckdb.connect() as connection:
        connection.execute("create table example as select * from (values ('a', 1), ('b', 2)) as _(table_name, row_count)")
        expected = hash_table(connection, "example", [("table_name", "VARCHAR"), ("row_count", "INTEGER")])
        assert connection.execute(sql).fetchall() == [(expected,)]


_CELLS: st.SearchStrategy[Row] = st.tuples(
    st.none() | st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from([r"\N", "|", "\\", r"a\|b", "NULL"]),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.decimals(-(10**9), 10**9, places=4),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.dates(date(1900, 1, 1), date(2200, 1, 1)),
    st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda time: time.replace(microsecond=0)),
    st.none() | st.booleans(),
    st.none() | st.lists(st.sampled_from(["a", "b|c", 'd"', "\\", ""]), max_size=3),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_CELLS, max_size=4))
def test_any_rows_hash_as_the_definition_says_in_any_order(rows: list[Row]) -> None:
    assert hash_of(rows) == by_hand(rows) == hash_of(rows[::-1])


@settings(max_examples=20, deadline=None)
@given(st.lists(_CELLS, max_size=3), st.lists(_CELLS, max_size=3))
def test_hashes_of_parts_add_up_to_that_of_the_whole(one: list[Row], other: list[Row]) -> None:
    whole, *parts = (hash_of(rows) for rows in (one + other, one, other))
    assert [int(whole[at : at + 16], 16) for at in (0, 16)] == [sum(int(part[at : at + 16], 16) for part in parts) % 2**64 for at in (0, 16)]


def test_the_hash_of_a_month_is_that_of_its_rows() -> None:
    january, february = date(2011, 1, 1), date(2011, 2, 1)
    columns = [("month", "DATE"), ("note", "VARCHAR")]
    with duckdb.connect() as connection:
        connection.execute("create table t (month date, note varchar)")
        connection.execute("create table nothing as from t")
        connection.executemany("insert into t values (?, ?)", [(january, "a"), (february, "b"), (january, None)])
        found = content_hash.hash_months(connection, {"t": ("month", columns), "nothing": ("month", columns)})
        by_hand = {month: hash_table(connection, f"(from t where month = date '{month}')", columns) for month in (january, february)}
    assert found == {"t": by_hand, "nothing": {}}
    assert content_hash.exchanged(by_hand[january], by_hand[january], content_hash.OF_NO_ROWS) == content_hash.OF_NO_ROWS


@pytest.mark.parametrize("at", range(len(COLUMNS)), ids=lambda at: COLUMNS[at][0])
def test_a_change_of_any_cell_changes_the_hash(at: int) -> None:
    changed = tuple(other if number == at else value for number, (value, other) in enumerate(zip(ROW, OTHER, strict=True)))
    assert hash_of([ROW]) != hash_of([changed])  # type: ignore[list-item]


def test_texts_do_not_run_into_each_other() -> None:
    pairs = [("a|b", "c"), ("a", "b|c"), ("a\\", "|b|c"), (None, ""), ("", None), (r"\N", "")]
    columns = [("x", "VARCHAR"), ("y", "VARCHAR")]
    with duckdb.connect() as connection:
        connection.execute("create table t (x varchar, y varchar)")
        hashes = set()
        for pair in pairs:
            connection.execute("delete from t")
            connection.execute("insert into t values (?, ?)", pair)
            hashes.add(hash_table(connection, "t", columns))
    assert len(hashes) == len(pairs)


def test_only_what_a_clock_says_is_left_out() -> None:
    volatile = {f"{table.full_name}.{column.name}" for table in (*TABLES, *published_tables()) for column in table.columns if column.is_volatile}
    assert volatile == {"raw.landed_files.landed_at"}
    assert "landed_at" not in dict(content_hash.hashed_columns(LANDED_FILES))


NOTES = Table("marts", "notes", "One row per note.", (Column("note_id", "INTEGER", "Key."), Column("note", "VARCHAR", "Text.")), key=("note_id",))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A published file of one table, with its dictionary and its hashes."""
    path = tmp_path / "retail.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute(create_statement(NOTES))
        connection.execute("insert into marts.notes values (1, 'a'), (2, 'b')")
        connection.execute(create_statement(DATA_DICTIONARY))
        for position, column in enumerate(NOTES.columns, start=1):
            row = ["marts", "notes", "x", column.name, position, column.type, False, False, True, None, "x"]
            connection.execute(f"insert into {DATA_DICTIONARY.full_name} values ({', '.join('?' * len(row))})", row)
        hashes = {"marts.notes": hash_table(connection, "marts.notes", content_hash.hashed_columns(NOTES))}
        connection.execute("create table marts.publication as select ? as content_hashes", [content_hash.as_json(hashes)])
    return path


def test_verify_finds_the_tables_as_published_and_names_the_one_that_is_not(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--file", str(file)]) == 0
    first = capsys.readouterr()
    assert first.out.endswith("  marts.notes\n")
    assert "1 tables are as published" in first.err
    with duckdb.connect(file) as connection:
        connection.execute("update marts.notes set note = 'c' where note_id = 2")
    assert main(["verify", "--file", str(file)]) == 1
    second = capsys.readouterr()
    assert "Not as published: marts.notes" in second.err
    assert second.out != first.out


def test_verify_says_so_where_a_file_states_no_hashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.duckdb").write_bytes(b"no database")
    assert main(["verify", "--file", str(tmp_path / "x.duckdb")]) == 1
    assert "no published file that states hashes" in capsys.readouterr().err
