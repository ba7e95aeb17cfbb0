"""A publication that takes over the last one and replaces the months that changed equals one that is made anew, table by table."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from shutil import copyfile

import duckdb
import polars as pl
import pytest

from retail_assets import content_hash, publication, published_file
from retail_assets.contracts import (
    ASSOCIATION_RULES,
    LAST_PUBLICATION,
    PRODUCT_RECOMMENDATIONS,
    RAW_TRANSACTIONS,
    RETURNS,
    TRANSACTIONS,
    UNPUBLISHED_MONTHS,
    Table,
)
from retail_assets.settings import DBT_PROJECT_DIR, Settings
from retail_assets.warehouse import Warehouse, replace_month
from retail_assets_tests.homes import NewWarehouse

pytestmark = pytest.mark.integration

DECEMBER, JANUARY, FEBRUARY, MARCH = date(2010, 12, 1), date(2011, 1, 1), date(2011, 2, 1), date(2011, 3, 1)
START = datetime(2026, 1, 1, 12)
PUBLISHED = published_file.published_tables()
OF_MONTHS = [
    table for table in PUBLISHED if table.full_name in published_file._MADE_BY_MONTH or table.name in ("products", "data_dictionary", "publication")
]
"""All tables made by month, and what goes with them. The others are made anew each time."""
_SOURCE_OR_REF = re.compile(r"{{ (?:source\('(?P<schema>\w+)', '(?P<table>\w+)'\)|ref\('(?P<model>\w+)'\)) }}")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, new_warehouse: NewWarehouse) -> Path:
    """A warehouse with the views of the dbt project, two months, and one before them that holds most of the lines and never changes."""
    made = new_warehouse(tmp_path_factory.mktemp("by_month") / "retail.duckdb")
    with made.get_connection() as opened:
        create_views(opened)
        write(opened, DECEMBER, sold=[(f"{number}/Z", 1) for number in range(100, 120)])
        write(opened, JANUARY, sold=[("1/A", 10), ("2/B", 4)])
        write(opened, FEBRUARY, sold=[("3/A", 5)])
    return Path(made.database)


@pytest.fixture
def connection(settings: Settings, warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A copy of that warehouse, opened."""
    settings.warehouse_path.parent.mkdir()
    copyfile(warehouse, settings.warehouse_path)
    with Warehouse(database=str(settings.warehouse_path)).get_connection() as opened:
        yield opened


def create_views(connection: duckdb.DuckDBPyConnection) -> None:
    """The models as dbt would create them, each after those it reads."""
    paths = {path.stem: path for path in (DBT_PROJECT_DIR / "models").rglob("*.sql")}
    waiting = dict(paths)
    connection.execute("create schema marts")
    while waiting:
        for name, path in list(waiting.items()):
            text = path.read_text(encoding="utf-8")
            if not {model["model"] for model in _SOURCE_OR_REF.finditer(text)} & waiting.keys():
                sql = _SOURCE_OR_REF.sub(
                    lambda found: f"{found['schema'] or paths[found['model']].parent.name}.{found['table'] or found['model']}", text
                )
                connection.execute(f"create view {path.parent.name}.{name} as {sql}")
                del waiting[name]


def table_of(found: re.Match[str], paths: Mapping[str, Path]) -> str:
    return f"{paths[found['model']].parent.name}.{found['model']}" if found["model"] else f"{found['schema']}.{found['table']}"


Sold = list[tuple[str, int]]
"""Id of the line, whose last letter is the product, and units."""
Returned = list[tuple[str, str | None, date | None, int]]
"""Id of the credit line, of the sale that it reverses, the month of that sale, and units."""


def row(table: Table, **values: object) -> dict[str, object]:
    """A row with a plausible value in every column that must not be null."""
    defaults = {"DATE": JANUARY, "TIMESTAMP": START, "INTEGER": 1, "BIGINT": 1, "BOOLEAN": False, "VARCHAR": "x", "DOUBLE": 0.5, "VARCHAR[]": ["x"]}
    return {column.name: values.get(column.name, None if column.nullable else defaults.get(column.type, Decimal(1))) for column in table.columns}


def write(connection: duckdb.DuckDBPyConnection, month: date, sold: Sold, returned: Returned | None = None) -> None:
    """Write a month of raw lines, transactions and returns."""
    of_month = {"invoice_month": month, "invoiced_at": datetime(month.year, month.month, 3), "customer_id": "17850", "country": "France"}
    lines = [
        row(TRANSACTIONS, **of_month, transaction_id=line_id, stock_code=line_id[-1], quantity=units, amount=Decimal(units), is_return=units < 0)
        for line_id, units in [*sold, *((line_id, -units) for line_id, _, _, units in returned or [])]
    ]
    raw = [
        row(RAW_TRANSACTIONS, invoice_month=month, file_id=f"{month}", line_no=number, amount=line["amount"])
        for number, line in enumerate(lines, start=2)
    ]
    matches = [
        row(RETURNS, invoice_month=month, return_id=line_id, sale_id=sale_id, sale_month=sale_month, quantity=units, stock_code=line_id[-1])
        for line_id, sale_id, sale_month, units in returned or []
    ]
    for table, rows in ((TRANSACTIONS, lines), (RAW_TRANSACTIONS, raw), (RETURNS, matches)):
        replace_month(connection, table, month, pl.DataFrame(rows, schema=table.polars_schema))


def publish(connection: duckdb.DuckDBPyConnection, settings: Settings, minutes: int, tables: Sequence[Table] = OF_MONTHS) -> Path:
    return publication.publish(connection, settings, START + timedelta(minutes=minutes), "run", tables).path


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The rows of every table but `marts.publication`, which names the publication itself."""
    with duckdb.connect(path, read_only=True) as reader:
        names = reader.execute("select schema_name || '.' || table_name from duckdb_tables() order by all").fetchall()
        return {name: sorted(reader.execute(f"from {name}").fetchall(), key=str) for (name,) in names if name != "marts.publication"}


def structure(path: Path) -> list[tuple[object, ...]]:
    """Columns with comments, and keys."""
    with duckdb.connect(path, read_only=True) as reader:
        columns = reader.execute(
            "select schema_name, table_name, column_name, data_type, is_nullable, comment from duckdb_columns() where not internal"
        )
        found = columns.fetchall()
        found += reader.execute("select schema_name, table_name, constraint_type, constraint_text from duckdb_constraints()").fetchall()
        return sorted(found, key=str)


def sales(path: Path) -> list[tuple[object, ...]]:
    """Sales of all months but the first."""
    with duckdb.connect(path, read_only=True) as reader:
        query = "select transaction_id, net_quantity from marts.fct_sales where invoice_month <> ? order by all"
        return reader.execute(query, [DECEMBER]).fetchall()


def assert_equal_to_one_made_anew(
    connection: duckdb.DuckDBPyConnection, settings: Settings, path: Path, minutes: int, tables: Sequence[Table] = OF_MONTHS
) -> None:
    kept = connection.execute(f"from {LAST_PUBLICATION.full_name}").fetchall()
    connection.execute(f"delete from {LAST_PUBLICATION.full_name}")
    anew = publish(connection, settings, minutes, tables)
    assert content(path) == content(anew)
    compared = content_hash.compare(path)
    assert [found.table_name for found in compared if not found.is_as_stated] == []
    assert compared == content_hash.compare(anew)
    assert structure(path) == structure(anew)
    # Go on from the one that took over the last.
    connection.execute(f"delete from {LAST_PUBLICATION.full_name}")
    connection.executemany(f"insert into {LAST_PUBLICATION.full_name} values (?, ?, ?, ?, ?, ?)", kept)


def test_whatever_months_change_the_file_equals_one_made_anew(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings, 0, PUBLISHED)
    # A further month takes back part of a sale of January, whose row in fct_sales changes though January was not written.
    write(connection, MARCH, sold=[("4/A", 7)], returned=[("C5/A", "1/A", JANUARY, 6)])
    path = publish(connection, settings, 1, PUBLISHED)
    assert sales(path) == [("1/A", 4), ("2/B", 4), ("3/A", 5), ("4/A", 7)]
    assert_equal_to_one_made_anew(connection, settings, path, 2, PUBLISHED)
    # The return turns out to be one of February, which has another sale now: January is whole again.
    write(connection, FEBRUARY, sold=[("3/A", 9), ("6/B", 1)])
    write(connection, MARCH, sold=[("4/A", 7)], returned=[("C5/A", "3/A", FEBRUARY, 6)])
    path = publish(connection, settings, 3, PUBLISHED)
    assert sales(path) == [("1/A", 10), ("2/B", 4), ("3/A", 3), ("4/A", 7), ("6/B", 1)]
    assert_equal_to_one_made_anew(connection, settings, path, 4, PUBLISHED)
    # January is no landed month any more: the landing deletes it without writing it.
    for table in (RAW_TRANSACTIONS, TRANSACTIONS, RETURNS):
        connection.execute(f"delete from {table.full_name} where invoice_month = ?", [JANUARY])
    path = publish(connection, settings, 5, PUBLISHED)
    assert sales(path) == [("3/A", 3), ("4/A", 7), ("6/B", 1)]
    assert_equal_to_one_made_anew(connection, settings, path, 6, PUBLISHED)


def copied_months(connection: duckdb.DuckDBPyConnection, settings: Settings, minutes: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[date]]:
    """What a publication copies of the tables made by month."""
    seen: dict[str, list[date]] = {}
    decide = published_file._months_to_copy

    def watched(*arguments: object) -> dict[str, list[date]]:
        seen.update(decide(*arguments))  # type: ignore[arg-type]
        return seen

    with monkeypatch.context() as patched:
        patched.setattr(published_file, "_months_to_copy", watched)
        publish(connection, settings, minutes)
    return {name: months for name, months in seen.items() if months}


def test_only_the_months_that_changed_are_copied(connection: duckdb.DuckDBPyConnection, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert copied_months(connection, settings, 0, monkeypatch)["core.transactions"] == [DECEMBER, JANUARY, FEBRUARY]
    assert connection.execute(f"from {UNPUBLISHED_MONTHS.full_name}").fetchall() == []
    assert copied_months(connection, settings, 1, monkeypatch) == {}
    write(connection, MARCH, sold=[("4/A", 7)], returned=[("C5/A", "1/A", JANUARY, 6)])
    copied = copied_months(connection, settings, 2, monkeypatch)
    assert set(copied) == {"raw.raw_transactions", "core.transactions", "core.returns", "marts.fct_sales", "marts.fct_returns"}
    assert set(map(tuple, copied.values())) == {(MARCH,)}


def test_a_month_that_was_built_again_to_the_same_rows_stays_where_it_is(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings, 0)
    write(connection, JANUARY, sold=[("1/A", 9), ("2/B", 4)])
    write(connection, FEBRUARY, sold=[("3/A", 5)])
    path = publish(connection, settings, 1)
    with duckdb.connect(path, read_only=True) as reader:
        for table in ("core.transactions", "marts.fct_sales"):
            months = reader.execute(f"select invoice_month from {table} group by all order by max(rowid)").fetchall()
            assert months == [(DECEMBER,), (FEBRUARY,), (JANUARY,)], "what is replaced comes last"
    assert_equal_to_one_made_anew(connection, settings, path, 2)


def test_where_most_lines_are_of_changed_months_the_file_is_made_anew(
    connection: duckdb.DuckDBPyConnection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(connection, settings, 0)
    write(connection, DECEMBER, sold=[(f"{number}/Z", 2) for number in range(100, 120)])
    assert copied_months(connection, settings, 1, monkeypatch)["core.transactions"] == [DECEMBER, JANUARY, FEBRUARY]


@pytest.mark.parametrize("rows_at_once", [1, 22])
def test_however_many_rows_are_copied_at_once_the_file_is_the_same(
    connection: duckdb.DuckDBPyConnection, settings: Settings, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    at_once = publish(connection, settings, 0, PUBLISHED)
    connection.execute(f"delete from {LAST_PUBLICATION.full_name}")
    monkeypatch.setattr(published_file, "_ROWS_AT_ONCE", rows_at_once)
    in_batches = publish(connection, settings, 1, PUBLISHED)
    assert content(in_batches) == content(at_once)
    assert content_hash.compare(in_batches) == content_hash.compare(at_once)


def test_rows_lie_by_month_and_key(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    with duckdb.connect(publish(connection, settings, 0), read_only=True) as reader:
        ids = [line_id for (line_id,) in reader.execute("select transaction_id from core.transactions").fetchall()]
    assert ids == [*(f"{number}/Z" for number in range(100, 120)), "1/A", "2/B", "3/A"]


def write_rules(connection: duckdb.DuckDBPyConnection, month: date, antecedents: str) -> None:
    """Write a rule per letter."""
    rules = [row(ASSOCIATION_RULES, snapshot_month=month, antecedent=[letter], consequent=["Z"]) for letter in antecedents]
    replace_month(connection, ASSOCIATION_RULES, month, pl.DataFrame(rules, schema=ASSOCIATION_RULES.polars_schema))


def test_rules_of_the_month_after_a_changed_one_are_compared_anew(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    for month, antecedents in ((JANUARY, "AB"), (FEBRUARY, "BC"), (MARCH, "C")):
        write_rules(connection, month, antecedents)
    publish(connection, settings, 0)
    write_rules(connection, JANUARY, "BC")
    path = publish(connection, settings, 1)
    with duckdb.connect(path, read_only=True) as reader:
        found = reader.execute("select snapshot_month, antecedent[1], rule_status from marts.rule_changes order by all").fetchall()
    assert found == [(FEBRUARY, "B", "kept"), (FEBRUARY, "C", "kept"), (MARCH, "B", "gone"), (MARCH, "C", "kept")]
    assert_equal_to_one_made_anew(connection, settings, path, 2)


def test_recommendations_of_other_months_take_the_new_name_of_a_product(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    for month in (DECEMBER, JANUARY):
        recommended = [row(PRODUCT_RECOMMENDATIONS, snapshot_month=month, stock_code=code, recommended_stock_code="Z", rank=1) for code in "AB"]
        replace_month(connection, PRODUCT_RECOMMENDATIONS, month, pl.DataFrame(recommended, schema=PRODUCT_RECOMMENDATIONS.polars_schema))
    publish(connection, settings, 0)
    connection.execute("update core.transactions set description = 'renamed' where stock_code = 'A'")
    path = publish(connection, settings, 1)
    with duckdb.connect(path, read_only=True) as reader:
        found = reader.execute("select snapshot_month, stock_code, description from marts.product_recommendations order by all").fetchall()
    assert found == [(month, code, name) for month in (DECEMBER, JANUARY) for code, name in (("A", "renamed"), ("B", "x"))]


def test_after_a_publication_that_was_refused_its_months_are_still_to_be_copied(
    connection: duckdb.DuckDBPyConnection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(connection, settings, 0)
    write(connection, MARCH, sold=[("4/A", 7)])
    connection.execute(f"update {RAW_TRANSACTIONS.full_name} set amount = 1 where invoice_month = ?", [MARCH])
    with pytest.raises(published_file.PublicationRefusedError, match="differ in 2011-03"):
        publish(connection, settings, 1)
    connection.execute(f"update {RAW_TRANSACTIONS.full_name} set amount = 7 where invoice_month = ?", [MARCH])
    assert copied_months(connection, settings, 2, monkeypatch)["core.transactions"] == [MARCH]


def test_after_a_rollback_the_next_publication_still_goes_on_from_the_last(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    publish(connection, settings, 0)
    write(connection, MARCH, sold=[("4/A", 7)])
    publish(connection, settings, 1)
    publication.rollback(settings)
    path = publish(connection, settings, 2)
    assert sales(path)[-1] == ("4/A", 7)
    assert_equal_to_one_made_anew(connection, settings, path, 3)


def test_a_file_that_a_client_wrote_to_is_not_gone_on_from(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    written_to = publish(connection, settings, 0)
    written_to.chmod(0o644)
    with duckdb.connect(written_to) as client:
        client.execute("update core.transactions set description = 'by a client'")
    path = publish(connection, settings, 1)
    with duckdb.connect(path, read_only=True) as reader:
        assert reader.execute("select count(*) from core.transactions where description = 'by a client'").fetchall() == [(0,)]


@pytest.mark.parametrize("column", ["code_hash", "duckdb_version"])
def test_a_file_of_other_code_or_another_duckdb_is_not_gone_on_from(
    connection: duckdb.DuckDBPyConnection, settings: Settings, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    publish(connection, settings, 0)
    connection.execute(f"update {LAST_PUBLICATION.full_name} set {column} = 'another'")
    assert copied_months(connection, settings, 1, monkeypatch)["core.transactions"] == [DECEMBER, JANUARY, FEBRUARY]
