"""Checks on tables: questions with one right answer, asked inside the transaction that writes a month, before it commits.

An ERROR check that fails rolls the month back, so bad rows never become visible; a WARN check reports. Every result is kept by month in
`quality.check_results`. The checks of each table stand beside its asset in `defs/`; the ones every table has stand here. No Dagster in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

import duckdb
import polars as pl

from retail_assets.contracts import CHECK_RESULTS, Table
from retail_assets.settings import Settings
from retail_assets.warehouse import append, read

Severity = Literal["ERROR", "WARN"]
Evaluate = Callable[[duckdb.DuckDBPyConnection, date], tuple[str, str]]

_SAMPLED_KEYS = 5
_KEY_LENGTH = 60


@dataclass(frozen=True)
class Check:
    """A check of a table. It finds `observed` and `expected`, and passes where both are the same text.

    Attributes:
        name: Name in the Dagster UI and in `quality.check_results`.
        table: The table it speaks of.
        description: What it asks.
        query: SQL that gives one row of the two, with the parameter `$month` (where `by_month`), those of `parameters` and those of `settings`; or,
            where SQL cannot know (a calendar), a function of the connection and the month that gives the two.
        recovery: What a person does when it fails.
        severity: `ERROR` blocks, `WARN` reports.
        by_month: It is asked of a month; else it speaks of the whole table.
        looks_ahead: What it says of a month depends on whether a later one has landed: it is asked of the month before again when a month is written.
        parameters: Values of the query's parameters.
        settings: Names of settings of the run that are parameters of the query as well.
    """

    name: str
    table: Table
    description: str
    query: str | Evaluate
    recovery: str
    severity: Severity = "ERROR"
    by_month: bool = True
    looks_ahead: bool = False
    parameters: Mapping[str, object] = field(default_factory=dict)
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if callable(self.query) and not self.by_month:
            raise ValueError(f"{self.name}: only a check by month can be asked by a function")
        if self.looks_ahead and self.severity == "ERROR":
            raise ValueError(f"{self.name}: what a later month changes cannot block the month before")


@dataclass(frozen=True)
class Result:
    """What a check found in a month (None: in the whole table)."""

    check: Check
    month: date | None
    observed: str
    expected: str

    @property
    def is_passed(self) -> bool:
        """Found what was expected."""
        return self.observed == self.expected

    @property
    def is_blocking(self) -> bool:
        """Failed, and an ERROR: nothing that depends on it may go on."""
        return not self.is_passed and self.check.severity == "ERROR"


def run(connection: duckdb.DuckDBPyConnection, check: Check, month: date | None = None, settings: Settings | None = None) -> Result:
    """Ask the check of a month, on the connection (and in the transaction) that is given; `settings` are for the checks that read some."""
    if check.by_month and month is None:
        raise ValueError(f"{check.name} is a check of a month")
    asked = month if check.by_month else None
    if isinstance(check.query, str):
        of_run = {name: getattr(settings, name) for name in check.settings}
        parameters = {**check.parameters, **of_run, **({"month": asked} if asked else {})}
        ((observed, expected),) = connection.execute(check.query, parameters).fetchall()
        return Result(check, asked, str(observed), str(expected))
    assert asked is not None  # noqa: S101 - a function is asked of a month, see Check
    return Result(check, asked, *check.query(connection, asked))


def rows_at_fault(faults: str) -> str:
    """The query of a check that every row must pass, from one that gives `fault` and `row_key` of each row that does not.

    Observed are the faults with their number of rows and the first keys, such as `quantity is 0: 2 (536365/85123A, 536366/22633)`. Keys hold texts of
    users: they are cut, and control characters are taken out.
    """
    return f"""
        with faults as ({faults}),
        keyed as (
            select
                fault,
                left(regexp_replace(coalesce(row_key, 'no key'), '[[:cntrl:]]', ' ', 'g'), {_KEY_LENGTH}) as row_key
            from faults
        ),
        counted as (
            select
                fault,
                row_key,
                count(*) as row_count,
                row_number() over (partition by fault order by row_key) as key_no
            from keyed
            group by fault, row_key
        ),
        told as (
            select
                fault || ': ' || sum(row_count) || ' ('
                || string_agg(row_key, ', ' order by row_key) filter (where key_no <= {_SAMPLED_KEYS})
                || case when max(key_no) > {_SAMPLED_KEYS} then ', ...' else '' end || ')' as text
            from counted
            group by fault
        )
        select coalesce(string_agg(text, '; ' order by text), 'none') as observed, 'none' as expected
        from told
    """  # noqa: S608 - our own queries and numbers


def store(connection: duckdb.DuckDBPyConnection, results: Iterable[Result], known: Iterable[Check] = ()) -> None:
    """Keep the results, replacing those of the same check and month. Call it inside `transaction`.

    `known` are all checks that some tables have: results of others on these tables go, or a failure of a check that has another name now would block
    every publication to come.
    """
    rows = [
        {
            "table_name": result.check.table.full_name,
            "check_name": result.check.name,
            "invoice_month": result.month,
            "severity": result.check.severity,
            "is_passed": result.is_passed,
            "observed": result.observed,
            "expected": result.expected,
            "recovery": result.check.recovery,
        }
        for result in results
    ]
    keys = [" ".join(str(row[name]) for name in CHECK_RESULTS.key if row[name]) for row in rows]
    of_tables: dict[str, list[str]] = {}
    for check in known:
        of_tables.setdefault(check.table.full_name, []).append(f"{check.table.full_name} {check.name}")
    connection.execute(
        """
        delete from quality.check_results
        where
            list_contains($keys, concat_ws(' ', table_name, check_name, invoice_month))
            or (list_contains($tables, table_name) and not list_contains($known, concat_ws(' ', table_name, check_name)))
        """,
        {"keys": keys, "tables": list(of_tables), "known": [name for names in of_tables.values() for name in names]},
    )
    append(connection, CHECK_RESULTS, pl.DataFrame(rows, schema=CHECK_RESULTS.polars_schema))


def blocking_failures(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """The ERROR checks whose last result is a failure: while there is one, nothing may be published."""
    query = "select * from quality.check_results where severity = 'ERROR' and not is_passed order by table_name, check_name, invoice_month"
    return read(connection, query)


def standard_checks(table: Table) -> tuple[Check, ...]:
    """The checks that every table written by month has: columns as declared, key unique."""
    return columns_as_declared(table), key_is_unique(table)


def columns_as_declared(table: Table) -> Check:
    """Columns and types of the stored table are those of its contract, in order."""
    return Check(
        name="columns_as_declared",
        table=table,
        description=f"Columns and types of {table.full_name} are those of its contract.",
        query="""
            select string_agg(column_name || ' ' || data_type, ', ' order by column_index) as observed, $declared as expected
            from duckdb_columns()
            where schema_name = $schema and table_name = $name
        """,
        parameters={
            "schema": table.schema,
            "name": table.name,
            "declared": ", ".join(f"{column.name} {column.type}" for column in table.columns),
        },
        by_month=False,
        recovery="Something else than this pipeline changed the table. `retail run` makes it anew and builds its months from the landed lines.",
    )


def key_is_unique(table: Table) -> Check:
    """No two rows of a month share the key."""
    key = ", ".join(table.key)
    return Check(
        name="key_is_unique",
        table=table,
        description=f"No two rows share {key}.",
        query=f"""
            select count(*) as observed, 0 as expected
            from (select 1 from {table.full_name} where {table.month_column} = $month group by {key} having count(*) > 1)
        """,  # noqa: S608 - names are our contracts
        recovery="This is a fault of the pipeline, not of the data: the month was not written. Report it with the month and the landed files.",
    )
