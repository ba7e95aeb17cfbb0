"""Turns: a step waits for the warehouse, and a month for the months before it that it builds on, whatever the order in which runs were launched.

What a month was built from is kept by `provenance.py`; how a month is written stands in `monthly.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple, NoReturn

import dagster as dg
import duckdb

from retail_assets import months as m
from retail_assets import provenance
from retail_assets.contracts import BUILT_TABLES, Table
from retail_assets.partitions import PARTITION, RANGE_END, RANGE_START, month_of, monthly_partitions
from retail_assets.warehouse import Warehouse, WarehouseBusyError

_BUSY_RETRIES, _BUSY_WAIT_SECONDS = 2, 10
_ORDER_RETRIES, _ORDER_WAIT_SECONDS = 120, 10
"""How long a month waits for a run that refreshes the months before it: 20 minutes."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@contextmanager
def open_warehouse(warehouse: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the warehouse. Where another process holds it for too long, the step is tried again: that can pass, unlike all else."""
    try:
        with warehouse.get_connection() as connection:
            yield connection
    except WarehouseBusyError as error:
        raise dg.RetryRequested(max_retries=_BUSY_RETRIES, seconds_to_wait=_BUSY_WAIT_SECONDS) from error


class Input(NamedTuple):
    """Months of a table that a month is built from, as offsets to it."""

    table: Table
    first: int
    last: int


def inputs(deps: Sequence[Table | dg.AssetDep]) -> list[Input]:
    """The months behind dependencies. Left out is what the landing brings up to date by itself, and what is no table built by month."""
    by_path = {(table.schema, table.name): table for table in BUILT_TABLES}
    found = []
    for dep in deps:
        table = by_path.get((dep.schema, dep.name) if isinstance(dep, Table) else tuple(dep.asset_key.path))  # type: ignore[arg-type]
        mapping = None if isinstance(dep, Table) else dep.partition_mapping
        if table:
            offsets = (mapping.start_offset, mapping.end_offset) if isinstance(mapping, dg.TimeWindowPartitionMapping) else (0, 0)
            found.append(Input(table, *offsets))
    return found


def stale_inputs(
    connection: duckdb.DuckDBPyConnection, month: date, needed: Sequence[Input], origins: Mapping[date, provenance.Origin]
) -> list[tuple[Table, date]]:
    """Months that a month is built from and that are partitions, but do not stand in the warehouse as they follow from the landed files."""
    built = provenance.built(connection) if needed else {}
    partitions = {month_of(key) for key in monthly_partitions().get_partition_keys()}
    return [
        (table, earlier)
        for table, first, last in needed
        for earlier, origin in origins.items()
        if m.shift(month, first) <= earlier <= m.shift(month, last) and earlier in partitions and built.get((table.full_name, earlier)) != origin
    ]


def let_other_runs_go_first(context: dg.AssetExecutionContext, month: date, stale: Sequence[date]) -> None:
    """Ask for another try later while an unfinished run refreshes earlier months that this one is built from.

    Where none does, the month is built from what there is, and counts as stale itself until it is refreshed after them.

    Raises:
        RetryRequested: An unfinished run covers one of the months.
    """
    covered = [earlier for earlier in stale if _in_other_runs(context, earlier)] if context.retry_number < _ORDER_RETRIES else []
    if covered:
        context.log.info("%s lets another run refresh %s first.", m.label(month), m.label(covered[0]))
        raise dg.RetryRequested(max_retries=_ORDER_RETRIES, seconds_to_wait=_ORDER_WAIT_SECONDS)


def wait_for_months_before(context: dg.AssetExecutionContext, month: date, table: Table, behind: Sequence[date]) -> NoReturn:
    """Ask for another try later where an unfinished run refreshes the months before; else say what to do.

    Raises:
        RetryRequested: An unfinished run covers the first of the months.
        Failure: No run does, or it has not ended after many tries (a killed run may look unfinished for ever).
    """
    if context.retry_number < _ORDER_RETRIES and _in_other_runs(context, behind[0]):
        context.log.info("%s waits for %s, which another run refreshes.", m.label(month), m.label(behind[0]))
        raise dg.RetryRequested(max_retries=_ORDER_RETRIES, seconds_to_wait=_ORDER_WAIT_SECONDS)
    raise dg.Failure(
        f"{table.full_name} {m.label(month)} builds on the months before it, and of these {', '.join(map(m.label, behind))} "
        f"{'is' if len(behind) == 1 else 'are'} missing or older than the landed files, the settings or the code. The month was not written. Refresh "
        f"{m.label(behind[0])} to {m.label(month)} in one run: `retail run --months {m.label(behind[0])}:{m.label(month)}`, or the job `refresh` "
        "over this range of partitions.",
        allow_retries=False,
    )


def _in_other_runs(context: dg.AssetExecutionContext, month: date) -> bool:
    """Another run that has not ended covers the month."""
    key = month.isoformat()
    spans = [
        (run.tags.get(RANGE_START) or run.tags.get(PARTITION), run.tags.get(RANGE_END) or run.tags.get(PARTITION))
        for run in context.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
        if run.run_id != context.run.run_id
    ]
    return any(first and last and first <= key <= last for first, last in spans)
