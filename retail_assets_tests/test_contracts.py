"""Contracts hold together: what they declare can be made, stored and read back."""

from itertools import pairwise

import duckdb
import polars as pl
import pytest

from retail_assets.contracts import TABLES, TRANSACTIONS, Column, Table
from retail_assets.warehouse import create_statement


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.full_name)
def test_duckdb_gives_a_declared_table_back_with_the_declared_polars_types(table: Table) -> None:
    with duckdb.connect() as connection:
        connection.execute(create_statement(table))
        assert connection.sql(f"select * from {table.full_name}").pl().schema == table.polars_schema


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.full_name)
def test_every_table_and_column_says_what_it_is(table: Table) -> None:
    with duckdb.connect() as connection:
        connection.execute(create_statement(table))
        comments = connection.execute("select column_name, comment from duckdb_columns() where not internal order by column_index").fetchall()
    assert comments == [(column.name, column.comment) for column in table.columns]
    assert all(len(text) > 5 for text in (table.grain, *(column.comment for column in table.columns)))


def test_a_key_must_be_among_the_columns() -> None:
    with pytest.raises(ValueError, match="not among the columns: \\['id'\\]"):
        Table("core", "broken", "One row.", (Column("name", "VARCHAR", "A name."),), key=("id",))


def test_columns_are_found_by_name() -> None:
    assert TRANSACTIONS["amount"].polars_type == pl.Decimal(18, 4)


def test_no_two_tables_share_a_name() -> None:
    names = sorted(table.full_name for table in TABLES)
    assert all(first != second for first, second in pairwise(names))
