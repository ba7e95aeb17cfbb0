"""What the published file holds, and how it is made: anew, or as a copy of the last one that is brought up to date.

Most tables are copied some months at a time, and of the last file only the months that changed; what else changes with them is said below. How the
file gets to its place, and which ones are kept, stands in `publication.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from retail_assets import content_hash, dbt_models
from retail_assets import months as m
from retail_assets.contracts import (
    ASSOCIATION_RULES,
    BUILT_MONTHS,
    BUILT_TABLES,
    CUSTOMER_SEGMENTS,
    GROUP_RULES,
    LANDED_LINES,
    LAST_PUBLICATION,
    MONEY,
    PRODUCT_NAMES,
    PRODUCT_RECOMMENDATIONS,
    RAW_TRANSACTIONS,
    RETURNS,
    RFM_FEATURES,
    TABLES,
    TRANSACTIONS,
    UNPUBLISHED_MONTHS,
    WAREHOUSE_FORMAT,
    Column,
    Table,
)
from retail_assets.settings import DBT_PROJECT_DIR, REPOSITORY, Settings
from retail_assets.warehouse import STORAGE_VERSION, another, create_statement, sql_text, transaction

_ROWS_AT_ONCE: Final = 2_000_000


_CATALOG: Final = "published"
"""Name of the new file while it is being built."""


_CODE_SUFFIXES: Final = frozenset({".py", ".sql", ".yml", ".csv"})


_WORKING_TABLES: Final = (LANDED_LINES, PRODUCT_NAMES, BUILT_MONTHS, WAREHOUSE_FORMAT, UNPUBLISHED_MONTHS, LAST_PUBLICATION)
"""Left out: what readers need of the landing is in raw.raw_transactions."""


_FCT_SALES: Final = "marts.fct_sales"


_PRODUCT_RECOMMENDATIONS: Final = "marts.product_recommendations"


_MADE_BY_MONTH: Final[Mapping[str, tuple[Table, ...]]] = {
    **{table.full_name: (table,) for table in BUILT_TABLES},
    _FCT_SALES: (TRANSACTIONS,),
    "marts.fct_returns": (TRANSACTIONS, RETURNS),
    "marts.customer_segments": (CUSTOMER_SEGMENTS, RFM_FEATURES),
    "marts.association_rules": (ASSOCIATION_RULES,),
    "marts.group_rules": (GROUP_RULES,),
    "marts.rule_changes": (ASSOCIATION_RULES,),
    _PRODUCT_RECOMMENDATIONS: (PRODUCT_RECOMMENDATIONS,),
}
"""Published tables of which a month is made of the same month of some tables. They are copied some months at a time, which bounds memory, and only
those that changed. All others are small, or of the whole history by their nature."""


_READ_THE_MONTH_BEFORE: Final = frozenset({"marts.rule_changes"})
"""Those of which a month is made of the month before as well."""


_CHANGED_ROWS: Final[Mapping[str, str]] = {
    _FCT_SALES: "transaction_id in (select sale_id from changed_sales)",
    _PRODUCT_RECOMMENDATIONS: "(stock_code in (from changed_names) or recommended_stock_code in (from changed_names))",
}
"""Of these, rows of other months change as well: the condition that they fulfil. What it asks is noted by `_note_changed_rows`."""


PUBLICATION = Table(
    schema="marts",
    name="publication",
    grain="One row: what this published file is and where it comes from.",
    key=("published_at",),
    columns=(
        Column("published_at", "TIMESTAMP", "When the file was published, in UTC."),
        Column("code_version", "VARCHAR", "Version of retail_assets."),
        Column("code_hash", "VARCHAR", "Changes when Python, SQL, YAML or a seed of retail_assets changes."),
        Column("duckdb_version", "VARCHAR", "Version of DuckDB that wrote the file."),
        Column("settings_hash", "VARCHAR", "Changes when a setting changes that can change a result."),
        Column("settings", "VARCHAR", "These settings with their values, as JSON."),
        Column("seed", "INTEGER", "Seed of everything random."),
        Column("run_id", "VARCHAR", "Dagster run that published the file."),
        Column("first_month", "DATE", "First day of the first month in the file."),
        Column("last_month", "DATE", "First day of the last month in the file."),
        Column("month_count", "INTEGER", "Months in the file."),
        Column("file_count", "INTEGER", "Landed files whose lines count; raw.landed_files names them."),
        Column("files_hash", "VARCHAR", "Changes when other file contents count: SHA-256 of their sorted SHA-256."),
        Column("raw_line_count", "BIGINT", "Raw lines in the file."),
        Column("raw_amount", MONEY, "Value of the raw lines in pounds sterling.", nullable=True),
        Column(
            "content_hash", "VARCHAR", "Changes when a row of the file does: SHA-256 of `content_hashes`. Equal on all machines for the same input."
        ),
        Column("content_hashes", "VARCHAR", "Hash of the rows of each table but this one, as JSON; `retail verify` computes them again."),
    ),
)


DATA_DICTIONARY = Table(
    schema="marts",
    name="data_dictionary",
    grain="One row per column of this published file: what it means, for tools that show no comments.",
    key=("table_schema", "table_name", "column_name"),
    columns=(
        Column("table_schema", "VARCHAR", "Schema of the table."),
        Column("table_name", "VARCHAR", "Name of the table."),
        Column("table_description", "VARCHAR", "What one row of the table is."),
        Column("column_name", "VARCHAR", "Name of the column."),
        Column("column_position", "INTEGER", "Position of the column in its table, from 1."),
        Column("data_type", "VARCHAR", "Type of the column in DuckDB."),
        Column("is_nullable", "BOOLEAN", "The column may be null."),
        Column("is_key", "BOOLEAN", "The column is part of the key: the columns that together identify a row."),
        Column("is_hashed", "BOOLEAN", "The column counts in marts.publication.content_hashes: it follows from the input, as no clock does."),
        Column("looked_up_in", "VARCHAR", "Table and column of marts that holds each of its values; null where there is none.", nullable=True),
        Column("column_description", "VARCHAR", "What the column means, with its unit."),
    ),
)


def published_tables() -> tuple[Table, ...]:
    """Every table of a published file: what Python writes, the dbt models, and what the file says of itself."""
    from_python = tuple(table for table in TABLES if table not in _WORKING_TABLES)
    return (*from_python, *dbt_models.tables(), DATA_DICTIONARY, PUBLICATION)


def has_primary_key(table: Table) -> bool:
    """Whether the published file declares the key as PRIMARY KEY: in marts of one thing per row, facts left out.

    The index of a key costs the file and the publication more than the rows: docs/decisions.md, 28.
    """
    return table.schema == "marts" and len(table.key) == 1 and not table.name.startswith("fct_")


class PublicationRefusedError(RuntimeError):
    """What stands in the warehouse must not be published. The published file stays as it is."""


def build(
    connection: duckdb.DuckDBPyConnection, file: Path, tables: Sequence[Table], settings: Settings, published_at: datetime, run_id: str
) -> dict[str, int]:
    """Make the file, or bring the copy of the last one up to date; returns the rows of each table."""
    copied = [table for table in tables if table not in (DATA_DICTIONARY, PUBLICATION)]
    _refuse_undeclared_columns(connection, copied)
    with _attached(connection, file), ThreadPoolExecutor(1) as beside:
        stated = _stated_hashes(connection)
        kept = set(_tables(connection, _CATALOG))
        by_month = {table.full_name for table in copied if table.full_name in _MADE_BY_MONTH}
        brought = [table for table in copied if table.full_name in kept & by_month]
        months = _months_to_copy(connection, by_month, kept)
        # One transaction: else each of some 500 comments waits for the disk.
        with transaction(connection):
            hashes = _bring_up_to_date(connection, brought, months, stated)
            for name in kept - by_month:
                connection.execute(f"drop table {_CATALOG}.{name}")
            hashing = _make_anew(connection, [table for table in copied if table not in brought], months, beside)
            _describe(connection, [*copied, DATA_DICTIONARY, PUBLICATION])
            hashes |= _hashes_of_copies(connection, [table for table in copied if table.full_name not in by_month] + [DATA_DICTIONARY])
            # Of what is copied month by month the warehouse says how much it is: a month that was left out would be missing from the copy alone.
            row_counts = _row_counts(connection, _tables(connection, _CATALOG), _CATALOG) | _row_counts(connection, by_month)
        connection.execute("checkpoint published")
        hashes |= hashing.result()
        with transaction(connection):
            connection.execute(create_statement(PUBLICATION, _CATALOG, with_key=True))
            connection.execute(_PUBLICATION_ROW, _provenance(settings, published_at, run_id) | _stated(hashes))
        connection.execute("checkpoint published")
    return row_counts | {PUBLICATION.full_name: 1}


def _make_anew(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[Table], months: Mapping[str, Sequence[date]], beside: Executor
) -> Future[dict[str, str]]:
    """Copy tables whole. Returns the hashes of those made by month, when they are there: of the rows of the warehouse, whatever became of the copy.

    Copying lines keeps all cores busy, what follows hardly more than one, so that the hashes are computed beside it.
    """
    of_lines = [table for table in tables if _MADE_BY_MONTH.get(table.full_name, (None,))[0] in (RAW_TRANSACTIONS, TRANSACTIONS)]
    for table in of_lines:
        _copy(connection, table, months[table.full_name])
    by_month = [table for table in tables if table.full_name in _MADE_BY_MONTH]
    hashing = beside.submit(_hashes_of_months, another(connection), by_month, months)
    for table in tables:
        if table not in of_lines:
            _copy(connection, table, months.get(table.full_name))
    return hashing


def _hashes_of_months(reader: duckdb.DuckDBPyConnection, tables: Sequence[Table], months: Mapping[str, Sequence[date]]) -> dict[str, str]:
    """Hashes of some months of tables of the warehouse, through a connection of their own that is closed then."""
    rows = {table.full_name: _rows(table.full_name, _is_of(table, months[table.full_name])) for table in tables}
    with closing(reader):
        found = content_hash.hash_tables(reader, {rows[table.full_name]: content_hash.hashed_columns(table) for table in tables})
    return {name: found[relation] for name, relation in rows.items()}


def _hashes_of_copies(connection: duckdb.DuckDBPyConnection, tables: Sequence[Table]) -> dict[str, str]:
    """Hashes of tables of the file: small ones, or views that cost more to ask again."""
    found = content_hash.hash_tables(connection, {f"{_CATALOG}.{table.full_name}": content_hash.hashed_columns(table) for table in tables})
    return {table.full_name: found[f"{_CATALOG}.{table.full_name}"] for table in tables}


def _describe(connection: duckdb.DuckDBPyConnection, tables: Sequence[Table]) -> None:
    described = _dictionary(tables)  # noqa: F841 - DuckDB finds the frame by its name
    connection.execute(create_statement(DATA_DICTIONARY, _CATALOG))
    connection.execute(f"insert into {_CATALOG}.{DATA_DICTIONARY.full_name} by name select * from described")  # noqa: S608 - our contract


def _stated_hashes(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """What the copied file says of its tables; nothing where none was copied."""
    if not connection.execute("select 1 from duckdb_tables() where database_name = $catalog limit 1", {"catalog": _CATALOG}).fetchall():
        return {}
    ((hashes,),) = connection.execute(f"select content_hashes from {_CATALOG}.{PUBLICATION.full_name}").fetchall()  # noqa: S608 - our contract
    return dict(json.loads(hashes))


_TABLE_NAMES: Final = "select schema_name || '.' || table_name from duckdb_tables() where database_name = $catalog"


def _months_to_copy(connection: duckdb.DuckDBPyConnection, names: Collection[str], kept: Collection[str]) -> dict[str, list[date]]:
    """The months of each table made by month that the file does not hold as they are now: all of them where it does not hold the table.

    Rows of other months that change as well are noted (`_CHANGED_ROWS`).
    """
    changed = {table: _changed_months(connection, table, table.full_name in kept) for table in BUILT_TABLES}
    months = {name: set[date]().union(*(changed[source] for source in _MADE_BY_MONTH[name])) for name in names}
    for name in names:
        if name not in kept:
            months[name] = set[date]().union(*(_months_of(connection, source) for source in _MADE_BY_MONTH[name]))
        if name in _READ_THE_MONTH_BEFORE:
            months[name] |= {m.shift(month, 1) for month in months[name]}
    _note_changed_rows(connection, kept, changed[RETURNS])
    return {name: sorted(found) for name, found in months.items()}


def _note_changed_rows(connection: duckdb.DuckDBPyConnection, kept: Collection[str], months_of_returns: Collection[date]) -> None:
    """Note the sales that the returns of changed months reverse, or did reverse, and the products that have another name now."""
    if _FCT_SALES in kept:
        connection.execute(
            """
            create or replace temporary table changed_sales as
            select sale_id from core.returns where list_contains($months, invoice_month) and sale_id is not null
            union
            select sale_id from published.core.returns where list_contains($months, invoice_month) and sale_id is not null
            """,
            {"months": sorted(months_of_returns)},
        )
    if _PRODUCT_RECOMMENDATIONS in kept:
        connection.execute(
            """
            create or replace temporary table changed_names as
            select stock_code
            from core.products full join published.core.products as published_products using (stock_code)
            where products.description is distinct from published_products.description
            """
        )


def _changed_months(connection: duckdb.DuckDBPyConnection, table: Table, is_kept: bool) -> set[date]:
    """Months of a table that were written since, and those of which the file holds more or fewer rows."""
    noted = f"select invoice_month from {UNPUBLISHED_MONTHS.full_name} where table_name = $name"  # noqa: S608 - names are our contracts
    counts = "select {month}, count(*) from {table} group by {month}"
    here, there = (counts.format(month=table.month_column, table=name) for name in (table.full_name, f"{_CATALOG}.{table.full_name}"))
    found = connection.execute(noted, {"name": table.full_name}).fetchall()
    if is_kept:
        found += connection.execute(f"select {table.month_column} from (({here} except {there}) union all ({there} except {here}))").fetchall()  # noqa: S608
    return {row[0] for row in found}


def _months_of(connection: duckdb.DuckDBPyConnection, table: Table) -> set[date]:
    return {row[0] for row in connection.execute(f"select distinct {table.month_column} from {table.full_name}").fetchall()}  # noqa: S608


@contextmanager
def _attached(connection: duckdb.DuckDBPyConnection, file: Path) -> Iterator[None]:
    # Nobody recovers a file that is being built aside, so its log is never written.
    connection.execute(f"attach {sql_text(str(file))} as {_CATALOG} (recovery_mode 'no_wal_writes', storage_version '{STORAGE_VERSION}')")
    try:
        yield
    finally:
        connection.execute("detach published")


def _refuse_undeclared_columns(connection: duckdb.DuckDBPyConnection, tables: Sequence[Table]) -> None:
    """Refuse a warehouse whose tables and views are not those that are declared: a model that is not built yet, or was built by older code."""
    rows = connection.execute(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns() where database_name = current_database() "
        "and not internal order by all"
    ).fetchall()
    found: dict[str, set[tuple[str, str]]] = {}
    for table, column, data_type in rows:
        found.setdefault(table, set()).add((column, data_type))
    if missing := [table.full_name for table in tables if table.full_name not in found]:
        raise PublicationRefusedError(f"There are no marts yet, or not all: {', '.join(missing)}. Materialize the group `marts` first.")
    if old := [table.full_name for table in tables if found[table.full_name] != {(column.name, column.type) for column in table.columns}]:
        raise PublicationRefusedError(f"Not as declared: {', '.join(old)}. Materialize the groups `core` and `marts` again.")


def _bring_up_to_date(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[Table], months: Mapping[str, Sequence[date]], stated: Mapping[str, str]
) -> dict[str, str]:
    """Replace the rows of tables of the file that are others now, and return the hashes of these tables.

    What was written again is hashed in the file and in the warehouse, and a month in which nothing differs is left as it is. Hashes of rows add up,
    so those that stay need not be computed again.
    """
    compared = {table: condition for table in tables if (condition := _condition(table, months[table.full_name]))}
    month_hashes = content_hash.hash_months(
        connection,
        {
            _rows(name, condition): (str(table.month_column), content_hash.hashed_columns(table))
            for table, condition in compared.items()
            for name in (table.full_name, f"{_CATALOG}.{table.full_name}")
        },
    )
    hashes = {table.full_name: stated[table.full_name] for table in tables}
    for table, condition in compared.items():
        name = table.full_name
        here, there = month_hashes[_rows(name, condition)], month_hashes[_rows(f"{_CATALOG}.{name}", condition)]
        differing = sorted(month for month in here.keys() | there.keys() if here.get(month) != there.get(month))
        for month in differing:
            hashes[name] = content_hash.exchanged(hashes[name], there.get(month, content_hash.OF_NO_ROWS), here.get(month, content_hash.OF_NO_ROWS))
        for batch in _batches(connection, table, differing) if differing else []:
            replaced = f"{_is_of(table, batch)} and ({condition})"
            connection.execute(f"delete from {_CATALOG}.{name} where {replaced}")  # noqa: S608 - names are our contracts
            _insert(connection, table, replaced)
    return hashes


def _condition(table: Table, months: Sequence[date]) -> str:
    """What the rows fulfil that may be others than in the file; empty where there are none."""
    conditions = [_is_of(table, months)] if months else []
    if table.full_name in _CHANGED_ROWS:
        conditions.append(_CHANGED_ROWS[table.full_name])
    return " or ".join(conditions)


def _rows(name: str, condition: str) -> str:
    return f"(select * from {name} where {condition})"  # noqa: S608 - names are our contracts


def _copy(connection: duckdb.DuckDBPyConnection, table: Table, months: Sequence[date] | None) -> None:
    """A table or view of the warehouse, as it is declared; where it is made by month, so many months at once as memory holds."""
    connection.execute(create_statement(table, _CATALOG, with_key=has_primary_key(table), with_dictionaries=True))
    conditions = ["true"] if months is None else [_is_of(table, batch) for batch in _batches(connection, table, months)]
    for condition in conditions:
        _insert(connection, table, condition)


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, condition: str) -> None:
    """Rows of the warehouse by month, then by key."""
    order = [table.month_column, *table.key] if table.month_column else table.key
    rows = f"select * from {table.full_name} where {condition} order by {', '.join(dict.fromkeys(order))}"  # noqa: S608 - names are our contracts
    try:
        connection.execute(f"insert into {_CATALOG}.{table.full_name} by name {rows}")
    except duckdb.ConstraintException as error:
        raise PublicationRefusedError(f"{table.full_name} is not what it is declared to be: {error}. Materialize it again, then publish.") from error


def _is_of(table: Table, months: Sequence[date]) -> str:
    """The condition that a row is of one of some months."""
    listed = ", ".join(f"date '{month}'" for month in months)
    return f"{table.month_column} in ({listed})" if months else "false"


def _batches(connection: duckdb.DuckDBPyConnection, table: Table, months: Sequence[date]) -> list[list[date]]:
    """The months, as many together as have no more rows than are sorted at once in memory; a larger month comes alone."""
    source = _MADE_BY_MONTH[table.full_name][0]
    counts = dict(connection.execute(f"select {source.month_column}, count(*) from {source.full_name} group by all").fetchall())  # noqa: S608
    batches: list[list[date]] = []
    row_count = 0
    for month in months:
        row_count += counts.get(month, 0)
        if not batches or row_count > _ROWS_AT_ONCE:
            batches.append([])
            row_count = counts.get(month, 0)
        batches[-1].append(month)
    return batches


_PUBLICATION_ROW: Final = """
    insert into published.marts.publication by name
    select
        $published_at::timestamp as published_at,
        $code_version as code_version,
        $code_hash as code_hash,
        version() as duckdb_version,
        $settings_hash as settings_hash,
        $settings as settings,
        $seed as seed,
        $run_id as run_id,
        min(invoice_month) as first_month,
        max(invoice_month) as last_month,
        count(distinct invoice_month) as month_count,
        (select count(*) from raw.landed_files where status = 'landed') as file_count,
        (select sha256(coalesce(string_agg(file_id, '' order by file_id), '')) from raw.landed_files where status = 'landed') as files_hash,
        count(*) as raw_line_count,
        sum(amount) as raw_amount,
        $content_hash as content_hash,
        $content_hashes as content_hashes
    from raw.raw_transactions
"""


def _provenance(settings: Settings, published_at: datetime, run_id: str) -> dict[str, object]:
    return {
        "published_at": published_at,
        "code_version": version("retail_assets"),
        "code_hash": code_hash(),
        "settings_hash": settings.results_hash(),
        "settings": settings.results_json(),
        "seed": settings.seed,
        "run_id": run_id,
    }


def _stated(hashes: dict[str, str]) -> dict[str, object]:
    return {"content_hash": content_hash.combined(hashes), "content_hashes": content_hash.as_json(hashes)}


def code_hash(root: Path = REPOSITORY) -> str:
    """Twelve hexadecimal digits that change when a file changes that results are made by: Python, SQL, YAML, seeds."""
    folders = [root / "retail_assets", *(root / DBT_PROJECT_DIR.relative_to(REPOSITORY) / name for name in ("models", "macros", "seeds"))]
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in _CODE_SUFFIXES):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _dictionary(tables: Sequence[Table]) -> pl.DataFrame:
    """The rows of `marts.data_dictionary`."""
    rows = [
        (
            table.schema,
            table.name,
            table.grain,
            column.name,
            position,
            column.type,
            column.nullable,
            column.name in table.key,
            table != PUBLICATION and not column.is_volatile,
            f"marts.{column.references}" if column.references else None,
            column.comment,
        )
        for table in sorted(tables, key=lambda table: table.full_name)
        for position, column in enumerate(table.columns, start=1)
    ]
    return pl.DataFrame(rows, schema=DATA_DICTIONARY.polars_schema, orient="row")


def _tables(connection: duckdb.DuckDBPyConnection, catalog: str) -> list[str]:
    return [name for (name,) in connection.execute(_TABLE_NAMES, {"catalog": catalog}).fetchall()]


def _row_counts(connection: duckdb.DuckDBPyConnection, names: Iterable[str], catalog: str = "") -> dict[str, int]:
    """The rows of tables and views, of an attached file where one is named."""
    prefix = f"{catalog}." if catalog else ""
    counts = " union all ".join(f"select '{name}', count(*) from {prefix}{name}" for name in names)  # noqa: S608 - names are our contracts
    return dict(connection.execute(counts).fetchall())


def verify(file: Path, row_counts: dict[str, int], settings: Settings) -> None:
    """Open the copy as a reader would, and hold it against what was to be copied and against itself."""
    with closing(duckdb.connect(file, read_only=True, config=settings.duckdb_config)) as reader:
        if (found := _row_counts(reader, _tables(reader, file.stem))) != row_counts:
            raise PublicationRefusedError(f"The copy differs from the warehouse: {set(found.items()) ^ set(row_counts.items())}. Publish again.")
        unbalanced = reader.execute(
            """
            with raw_lines as (
                select invoice_month, count(*) as line_count, sum(amount) as amount from raw.raw_transactions group by invoice_month
            ),
            kept as (
                select invoice_month, amount from core.transactions union all select invoice_month, amount from core.quarantine
            ),
            kept_lines as (
                select invoice_month, count(*) as line_count, sum(amount) as amount from kept group by invoice_month
            )
            select coalesce(raw_lines.invoice_month, kept_lines.invoice_month) as invoice_month
            from raw_lines full join kept_lines on raw_lines.invoice_month = kept_lines.invoice_month
            where raw_lines.line_count is distinct from kept_lines.line_count or raw_lines.amount is distinct from kept_lines.amount
            order by invoice_month
            """
        ).fetchall()
    if unbalanced:
        listed = m.window_label([month for (month,) in unbalanced])
        raise PublicationRefusedError(f"Raw lines and cleaned lines differ in {listed}. Materialize core/transactions of these months, then publish.")
