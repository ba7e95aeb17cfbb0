"""How an asset with months is made: `monthly_asset` turns a function that builds the frames of one month into a Dagster asset.

It loops over the months of the run (one, or a range in one run), writes each month whole in one transaction with its checks inside, and reports rows
and seconds by month. While a month is written, what the next one takes can be worked out on another core. What a month consists of is no business of
this file.
"""

import base64
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import Any

import dagster as dg
import duckdb
import polars as pl

from retail_assets import engines, order, provenance, quality, worker
from retail_assets import months as m
from retail_assets.contracts import Table
from retail_assets.engines import Engine, engine_of
from retail_assets.order import open_warehouse
from retail_assets.partitions import month_of, monthly_partitions
from retail_assets.settings import Settings
from retail_assets.warehouse import Query, Warehouse, another, append_month, first_rows, replace_month, transaction

OWNERS = ["team:data-engineering"]
POOL = "warehouse"
"""One writer at a time: every step that opens the warehouse is in this pool, whose limit is 1."""

SINGLE_RUN = dg.BackfillPolicy.single_run()
"""A range of months is one run. Assets without months say so too: Dagster takes a range only where every selected asset does."""

Frames = Mapping[Table, pl.DataFrame | Query]
"""The rows of a month by table, as a frame or as the query that gives them inside the warehouse."""
BuildMonth = Callable[..., Frames | Iterator[Frames]]
"""Called with connection, month and settings, and with what was prepared where the asset prepares its months. Gives the rows of a month at once, or
part after part: each part is stored before the next one is asked for."""
PrepareMonth = Callable[[duckdb.DuckDBPyConnection, date, Settings], Any]
"""The part of a month that reads tables of other assets only, and writes none."""
CatchUp = Callable[[duckdb.DuckDBPyConnection, date], None]
"""Called in the transaction of a month: what the month before it has to know of it."""
DrawMonth = Callable[[duckdb.DuckDBPyConnection, date, Settings], Mapping[str, Callable[[], bytes]]]
"""Begins the charts of a month as it stands in the warehouse: metadata name -> what gives the PNG, without the warehouse."""
Dependency = Table | dg.AssetDep
Lineage = Mapping[Table, Mapping[str, Sequence[tuple[Table, str]]]]
"""For columns of a table, the columns they are made of."""

COLUMN_LINEAGE = "dagster/column_lineage"

_GUIDES = {"raw": "docs/landing.md", "core": "docs/cleaning.md"}
"""What to read about a layer; of every layer, what its checks ask stands in docs/checks.md."""

_PREVIEW_ROWS = 5
_PREVIEW_TEXT = 60


def key_of(table: Table) -> dg.AssetKey:
    """Asset keys mirror storage: `core/transactions` is the table `core.transactions`."""
    return dg.AssetKey([table.schema, table.name])


def with_snapshot_month(frame: pl.DataFrame, table: Table, month: date) -> pl.DataFrame:
    """The frame of a snapshot with its month, columns in the order of the table."""
    return frame.with_columns(pl.lit(month, pl.Date).alias("snapshot_month")).select(table.polars_schema.names())


def table_spec(table: Table, description: str | None, deps: Sequence[Dependency], kinds: set[str]) -> dg.AssetSpec:
    """What the UI shows of a table: description, owner, kinds, group, column schema with comments."""
    return dg.AssetSpec(
        key_of(table),
        deps=[dep if isinstance(dep, dg.AssetDep) else key_of(dep) for dep in deps],
        description=f"{table.grain}\n\n{inspect.cleandoc(description or '')}",
        group_name=table.schema,
        owners=OWNERS,
        code_version=f"{provenance.code_version()} {provenance.settings_hash(Settings.from_environment())}",
        kinds={"duckdb", *kinds},
        metadata={
            "dagster/table_name": f"retail.{table.full_name}",
            "dagster/column_schema": dg.TableSchema(
                columns=[
                    dg.TableColumn(
                        column.name,
                        column.type,
                        description=column.comment,
                        constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=(column.name,) == table.key),
                    )
                    for column in table.columns
                ]
            ),
            "key": ", ".join(table.key),
            "checks": dg.MetadataValue.path("docs/checks.md"),
            **({"guide": dg.MetadataValue.path(_GUIDES[table.schema])} if table.schema in _GUIDES else {}),
        },
    )


def check_spec(check: quality.Check) -> dg.AssetCheckSpec:
    """A check as Dagster knows it."""
    return dg.AssetCheckSpec(
        check.name,
        asset=key_of(check.table),
        description=check.description,
        blocking=check.severity == "ERROR",
        metadata={"recovery": check.recovery},
    )


def monthly_asset(
    *,
    tables: Sequence[Table],
    deps: Sequence[Dependency],
    checks: Sequence[quality.Check] = (),
    kinds: frozenset[str] = frozenset({"polars"}),
    prepare: PrepareMonth | None = None,
    catch_up: CatchUp | None = None,
    pictures: Mapping[Table, DrawMonth] | None = None,
    lineage: Lineage | None = None,
) -> Callable[[BuildMonth], dg.AssetsDefinition]:
    """Decorate a function that builds the frames of one month; its docstring becomes the description of the asset.

    `prepare` works out ahead of its turn what the function is given of a month; an asset that reads none of its own tables needs none, all of it is
    worked out ahead. `catch_up` is for months that were not written in the same run: within one, each knows already which ones have landed
    after it. `pictures` are drawn once per run, of its last month, and shown with the materialization of their table. `lineage` says what
    columns are made of, for the tables that declare it.
    """
    all_checks = [*(check for table in tables for check in quality.standard_checks(table)), *checks]
    inputs = order.inputs(deps)
    reads_itself = any(needed.table in tables for needed in inputs)
    column_lineage = {table: _column_lineage(columns) for table, columns in (lineage or {}).items()}

    def decorate(build: BuildMonth) -> dg.AssetsDefinition:
        steps = (build, prepare) if prepare or reads_itself else (_as_prepared, build)

        @dg.multi_asset(
            name=f"{tables[0].schema}__{tables[0].name}",
            specs=[table_spec(table, build.__doc__, deps, set(kinds)) for table in tables],
            check_specs=[check_spec(check) for check in all_checks],
            partitions_def=monthly_partitions(),
            backfill_policy=SINGLE_RUN,
            pool=POOL,
        )
        def refresh(
            context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
        ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
            months = [month_of(key) for key in context.partition_keys]
            with open_warehouse(warehouse) as connection:
                origins = provenance.origins(connection, settings)
                outcomes: list[_Outcome] = []
                engine = engine_of(settings)
                made = engine.months(tables, connection, months, settings)
                with nullcontext(made) if made else _prepared_ahead(connection, months, settings, *steps) as build_month:
                    step = _Step(context, connection, settings, engine, build_month, catch_up, tables, all_checks, inputs, origins)
                    written: date | None = None
                    for month in months:
                        refused = [outcome.month for outcome in outcomes if outcome.is_blocked]
                        before = None if (earlier := m.shift(month, -1)) == written else earlier
                        is_first = not any(outcome.results for outcome in outcomes)
                        asked = [check for check in all_checks if check.by_month or is_first]
                        outcome = _refresh_month(step, month, asked, refused, before)
                        written = written if outcome.is_blocked else month
                        outcomes.append(outcome)
                is_shown = not outcomes[-1].is_blocked
                previews = {table: first_rows(connection, table, months[-1], _PREVIEW_ROWS) for table in tables if is_shown}
                drawn = {table: draw(connection, months[-1], settings) for table, draw in (pictures or {}).items() if is_shown}
            yield from (_check_result(check, outcomes) for check in all_checks)
            _stop_if_blocked(context, tables, outcomes)
            yield from (
                dg.MaterializeResult(
                    asset_key=key_of(table),
                    metadata={**_metadata(table, outcomes, previews), **column_lineage.get(table, {}), **_images(drawn.get(table, {}))},
                )
                for table in tables
            )

        return refresh

    return decorate


def _as_prepared(
    _connection: duckdb.DuckDBPyConnection, _month: date, _settings: Settings, frames: Frames | Iterator[Frames]
) -> Frames | Iterator[Frames]:
    return frames


def _begun(parts: Iterator[Frames], connection: duckdb.DuckDBPyConnection) -> Iterator[Frames]:
    """The parts, of which the first is worked out now, and the others when they are asked for; then the connection they read from is closed."""
    first = list(islice(parts, 1))

    def all_parts() -> Iterator[Frames]:
        with closing(connection):
            yield from first
            yield from parts

    return all_parts()


@contextmanager
def _prepared_ahead(
    connection: duckdb.DuckDBPyConnection, months: Sequence[date], settings: Settings, build: BuildMonth, prepare: PrepareMonth | None
) -> Iterator[Callable[[date], Frames | Iterator[Frames]]]:
    """The function that builds a month. While its caller writes the month, the next ones are prepared, each through a connection of its own.

    As many are prepared at once as there are workers, and one where there are none.
    """
    if prepare is None:
        yield lambda month: build(connection, month, settings)
        return

    def work(month: date) -> Any:
        with ExitStack() as stack:
            own = stack.enter_context(closing(another(connection)))
            prepared = prepare(own, month, settings)
            if isinstance(prepared, Iterator):
                prepared = _begun(prepared, own)
                stack.pop_all()
            return prepared

    ((line_count,),) = connection.execute("select count(*) from raw.raw_transactions").fetchall()
    ahead = max(1, worker.count()) if line_count <= worker.MOST_LINES else 0
    under_way: dict[date, Future[Any]] = {}
    with ThreadPoolExecutor(max_workers=max(1, ahead)) as threads:

        def build_month(month: date) -> Frames | Iterator[Frames]:
            for near in [other for other in months if other >= month][: 1 + ahead]:
                if near not in under_way:
                    under_way[near] = threads.submit(work, near)
            return build(connection, month, settings, under_way.pop(month).result())

        yield build_month


@dataclass(frozen=True)
class _Outcome:
    month: date
    results: list[quality.Result]
    seconds: float
    row_counts: dict[Table, int] = field(default_factory=dict)
    waits_for: date | None = None
    """A month before it that it builds on and that was refused."""

    @property
    def is_blocked(self) -> bool:
        return self.waits_for is not None or any(result.is_blocking for result in self.results)


class _MonthBlockedError(Exception):
    """Leaves the transaction of a month whose ERROR check failed."""


@dataclass(frozen=True)
class _Step:
    """What is the same for every month of a step."""

    context: dg.AssetExecutionContext
    connection: duckdb.DuckDBPyConnection
    settings: Settings
    engine: Engine
    build: Callable[[date], engines.Frames | Iterator[Frames]]
    catch_up: CatchUp | None
    tables: Sequence[Table]
    checks: Sequence[quality.Check]
    inputs: Sequence[order.Input]
    origins: Mapping[date, provenance.Origin]


def _refresh_month(step: _Step, month: date, checks: Sequence[quality.Check], refused: Sequence[date], before: date | None) -> _Outcome:
    """Build, write and check a month in one transaction; an ERROR check that fails leaves the month as it was.

    `before` is the month before, where it was not written just now: it catches up, and its checks that look ahead are asked as well.
    """
    started = time.perf_counter()
    context, connection = step.context, step.connection
    stale = order.stale_inputs(connection, month, step.inputs, step.origins)
    behind = sorted({needed for table, needed in stale if table in step.tables})
    if waits_for := [needed for needed in behind if needed in refused]:
        return _Outcome(month, [], 0, waits_for=waits_for[0])
    if behind:
        order.wait_for_months_before(context, month, step.tables[0], behind)
    order.let_other_runs_go_first(context, month, sorted({needed for _, needed in stale if needed < month}))
    results: list[quality.Result] = []
    row_counts: dict[Table, int] = {}
    try:
        with transaction(connection):
            if step.catch_up and before:
                step.catch_up(connection, month)
            built = step.build(month)
            if isinstance(built, Mapping):
                row_counts = {table: step.engine.replace_month(connection, table, month, rows) for table, rows in built.items()}
            else:
                row_counts = _store_parts(connection, month, built)
            again = [before] if before in step.origins else []
            results += [
                quality.run(connection, check, asked, step.settings) for check in checks for asked in [*(again if check.looks_ahead else []), month]
            ]
            if any(result.is_blocking for result in results):
                raise _MonthBlockedError
            quality.store(connection, results, step.checks)
            provenance.note(connection, [table.full_name for table in step.tables], month, None if stale else step.origins.get(month))
    except _MonthBlockedError:
        with transaction(connection):
            quality.store(connection, results, step.checks)
    outcome = _Outcome(
        month=month,
        results=results,
        seconds=time.perf_counter() - started,
        row_counts=row_counts,
    )
    state = "refused by a check" if outcome.is_blocked else ", ".join(f"{count:,} {table.name}" for table, count in outcome.row_counts.items())
    context.log.info("%s: %s in %.2f s", m.label(month), state, outcome.seconds)
    if not outcome.is_blocked:
        for table, count in outcome.row_counts.items():
            context.add_asset_metadata({"dagster/partition_row_count": count, "seconds": round(outcome.seconds, 3)}, key_of(table), month.isoformat())
    return outcome


def _store_parts(connection: duckdb.DuckDBPyConnection, month: date, parts: Iterator[Frames]) -> dict[Table, int]:
    """Store a month part after part, and count its rows: the first part takes the place of the month, the others come to it."""
    row_counts: dict[Table, int] = {}
    for part in parts:
        for table, rows in part.items():
            store = append_month if table in row_counts else replace_month
            row_counts[table] = row_counts.get(table, 0) + store(connection, table, month, rows)
    return row_counts


def _check_result(check: quality.Check, outcomes: list[_Outcome]) -> dg.AssetCheckResult:
    results = [result for outcome in outcomes for result in outcome.results if result.check is check]
    failed = [result for result in results if not result.is_passed]
    return dg.AssetCheckResult(
        passed=not failed,
        asset_key=key_of(check.table),
        check_name=check.name,
        severity=dg.AssetCheckSeverity(check.severity),
        description=_describe_failures(check, failed) if failed else f"{len(results)} of {len(results)} months passed.",
        metadata={
            "months": dg.TableMetadataValue(
                [
                    dg.TableRecord(
                        {"month": m.label(result.month) if result.month else "all", "observed": result.observed, "expected": result.expected}
                    )
                    for result in failed or results
                ],
                schema=dg.TableSchema([dg.TableColumn("month"), dg.TableColumn("observed"), dg.TableColumn("expected")]),
            ),
            "months_checked": len(results),
            "months_failed": len(failed),
            **_figure(results),
            **({"recovery": check.recovery} if failed else {}),
        },
    )


def _figure(results: Sequence[quality.Result]) -> dict[str, str | float]:
    """Of the last month that was checked: its name, and what was observed where that is a number, which the UI plots over time."""
    if not results or results[-1].month is None:
        return {}
    try:
        return {"month": m.label(results[-1].month), "observed": float(results[-1].observed)}
    except ValueError:
        return {"month": m.label(results[-1].month)}


def _describe_failures(check: quality.Check, failed: list[quality.Result]) -> str:
    first = failed[0]
    where = ", ".join(m.label(result.month) if result.month else "the whole table" for result in failed)
    return f"Failed for {where}: observed {first.observed}, expected {first.expected}. {check.recovery}"


def _stop_if_blocked(context: dg.AssetExecutionContext, tables: Sequence[Table], outcomes: list[_Outcome]) -> None:
    """Fail the step where a month was refused. The months that were written count as materialized all the same."""
    blocked = [outcome for outcome in outcomes if outcome.is_blocked]
    if not blocked:
        return
    for outcome in outcomes:
        if not outcome.is_blocked:
            for table in tables:
                context.log_event(dg.AssetMaterialization(key_of(table), partition=outcome.month.isoformat()))
    refused = [
        f"{result.check.table.full_name} {m.label(outcome.month)} not written: {result.check.name} observed {result.observed}, "
        f"expected {result.expected}. {result.check.recovery}"
        for outcome in blocked
        for result in outcome.results
        if result.is_blocking
    ]
    waiting = [m.label(outcome.month) for outcome in blocked if outcome.waits_for]
    after = [f"{', '.join(waiting)} not written either: built on the months before."] if waiting else []
    raise dg.Failure(" ".join([*refused, *after]), allow_retries=False)


def _column_lineage(columns: Mapping[str, Sequence[tuple[Table, str]]]) -> dict[str, dg.TableColumnLineage]:
    deps = {name: [dg.TableColumnDep(key_of(source), column) for source, column in sources] for name, sources in columns.items()}
    return {COLUMN_LINEAGE: dg.TableColumnLineage(deps)}


def _metadata(table: Table, outcomes: list[_Outcome], previews: Mapping[Table, pl.DataFrame]) -> dict[str, dg.MetadataValue]:
    return {
        "months": dg.MetadataValue.text(m.window_label([outcome.month for outcome in outcomes])),
        "rows": dg.MetadataValue.int(sum(outcome.row_counts.get(table, 0) for outcome in outcomes)),
        "preview": dg.MetadataValue.md(preview(previews[table])),
    }


def _images(pictures: Mapping[str, Callable[[], bytes]]) -> dict[str, dg.MetadataValue]:
    """PNG pictures as the UI shows them: inside Markdown, with no file to serve."""
    drawn = {name: base64.b64encode(picture()).decode() for name, picture in pictures.items()}
    return {name: dg.MetadataValue.md(f"![{name}](data:image/png;base64,{text})") for name, text in drawn.items()}


def preview(frame: pl.DataFrame) -> str:
    """The first rows as a Markdown table. Texts come from users: what Markdown or HTML would act on is taken out of force."""

    def show(value: object) -> str:
        text = " ".join(str("" if value is None else value).split())[:_PREVIEW_TEXT]
        return "".join(f"&#{ord(letter)};" if letter in "|<>&`*_[]\\" else letter for letter in text)

    rows = [frame.columns, ["---"] * frame.width, *([show(value) for value in row] for row in frame.head(_PREVIEW_ROWS).rows())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
