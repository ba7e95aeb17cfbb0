"""segments: customers grouped by how they buy, with ids that keep their meaning from month to month. The method stands in `lib/segments/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import dagster as dg
import duckdb
import polars as pl

from retail_assets import months as m
from retail_assets import quality, worker
from retail_assets.calendar_checks import ends_early
from retail_assets.catalogue import product_names
from retail_assets.contracts import (
    CUSTOMER_MONTHS,
    CUSTOMER_SEGMENTS,
    RFM_FEATURES,
    SEGMENT_ALIGNMENT,
    SEGMENT_CANDIDATES,
    SEGMENT_DRIFT,
    SEGMENT_MIGRATION,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    TRANSACTIONS,
    Table,
)
from retail_assets.engines import engine_of
from retail_assets.lib import segments
from retail_assets.lib.charts import segments as charts
from retail_assets.monthly import Frames, key_of, monthly_asset, with_snapshot_month
from retail_assets.partitions import before, until
from retail_assets.settings import Settings
from retail_assets.warehouse import read, read_months

every_customer_has_one_segment = quality.Check(
    name="every_customer_has_one_segment",
    table=CUSTOMER_SEGMENTS,
    description="The customers of the segments are those of the RFM snapshot, and every segment has a profile.",
    query="""
        with labelled as (
            select
                customer_segments.customer_id,
                segment_profiles.segment_id
            from segments.customer_segments
            left join segments.segment_profiles
                on customer_segments.snapshot_month = segment_profiles.snapshot_month
                and customer_segments.segment_id = segment_profiles.segment_id
            where customer_segments.snapshot_month = $month
        ),
        snapshot as (
            select customer_id from features.rfm_features where snapshot_month = $month
        )
        select count(*) as observed, 0 as expected
        from labelled
        full join snapshot on labelled.customer_id = snapshot.customer_id
        where labelled.segment_id is null or snapshot.customer_id is null
    """,
    recovery="Materialize features/rfm_features and the group segments of the month again.",
)

ids_keep_their_meaning = quality.Check(
    name="ids_keep_their_meaning",
    table=SEGMENT_ALIGNMENT,
    description="At least half of the customers of both months keep their segment id; fewer means that the segments were redrawn.",
    query="""
        select
            case when min(aligned_agreement) < 0.5 then 'agreement ' || round(min(aligned_agreement), 2) else 'at least 0.5' end as observed,
            'at least 0.5' as expected
        from segments.segment_alignment
        where snapshot_month = $month
    """,
    recovery="Tell the readers of dashboards that segments changed this month; segments.segment_candidates shows which k was chosen, and why.",
    severity="WARN",
)


customers_are_those_of_the_fit = quality.Check(
    name="customers_are_those_of_the_fit",
    table=SEGMENT_DRIFT,
    description=(
        "Where a model has been kept for longer than a month, no population stability index against the month of its fit reaches 0.25. A month that "
        "ends early keeps the model of the month before, and is not asked: its recency always drifts."
    ),
    query="""
        with kept as (
            select distinct fitted_month
            from segments.segment_model
            where snapshot_month = $month and fitted_month < snapshot_month - interval 1 month
        ),
        drifted as (
            select segment_drift.measure || ' ' || round(segment_drift.psi, 2) as text
            from segments.segment_drift
            inner join kept on segment_drift.reference_month = kept.fitted_month
            where segment_drift.snapshot_month = $month and segment_drift.psi >= 0.25
        )
        select coalesce(string_agg(text, ', ' order by text), 'below 0.25') as observed, 'below 0.25' as expected
        from drifted
    """,
    recovery="Set RETAIL_SEGMENT_FROZEN_MONTH to a later month, or unset it, and refresh from that month on: `retail run` does so by itself.",
    severity="WARN",
)


def _draw_model(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> dict[str, Callable[[], bytes]]:  # noqa: ARG001 - one signature for all
    fitted_months = read_months(connection, SEGMENT_MODEL, month, month)["fitted_month"]
    if fitted_months.is_empty():
        return {}
    candidates = read_months(connection, SEGMENT_CANDIDATES, fitted_months[0], fitted_months[0])
    return {"choice_of_k": worker.begin(charts.choice_of_k, candidates, m.label(fitted_months[0]))}


def _draw_segments(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> dict[str, Callable[[], bytes]]:  # noqa: ARG001 - one signature for all
    labels = read_months(connection, CUSTOMER_SEGMENTS, month, month)
    if labels.is_empty():
        return {}
    model = segments.model_from_frame(read_months(connection, SEGMENT_MODEL, month, month))
    places, axes = worker.call(segments.coordinates, model, read_months(connection, RFM_FEATURES, month, month))
    return {
        "map_of_segments": worker.begin(charts.map_of_segments, labels.join(places, on="customer_id"), axes, m.label(month)),
        "silhouettes": worker.begin(charts.silhouettes, labels, m.label(month)),
    }


@dataclass(frozen=True)
class _Fitted:
    """A model and the segments it gives to the customers it was fitted to."""

    model: segments.SegmentModel
    labels: pl.DataFrame

    @classmethod
    def to(cls, rfm: pl.DataFrame, settings: Settings) -> _Fitted:
        model = worker.call(
            segments.fit,
            rfm,
            seed=settings.seed,
            algorithm=settings.segment_algorithm,
            transform=settings.segment_transform,
            fit_all=engine_of(settings).fit_centers,
        )
        return cls(model, worker.call(segments.assign, model, rfm))


def _fit(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> _Fitted | None:
    """The model of the month's own customers; none where there are no customers or the model of an earlier month is to be kept."""
    rfm = read_months(connection, RFM_FEATURES, month, month)
    return None if rfm.is_empty() or _is_to_keep(connection, month, settings) else _Fitted.to(rfm, settings)


_MODEL_TABLES = (SEGMENT_MODEL, SEGMENT_CANDIDATES, SEGMENT_ALIGNMENT, SEGMENT_DRIFT, CUSTOMER_SEGMENTS, SEGMENT_PROFILES)


@monthly_asset(
    tables=_MODEL_TABLES,
    deps=[until(key_of(RFM_FEATURES)), until(key_of(CUSTOMER_MONTHS)), until(key_of(TRANSACTIONS)), before(key_of(SEGMENT_MODEL), 1)],
    checks=[every_customer_has_one_segment, ids_keep_their_meaning, customers_are_those_of_the_fit],
    kinds=frozenset({"polars", "scikitlearn"}),
    prepare=_fit,
    pictures={SEGMENT_MODEL: _draw_model, CUSTOMER_SEGMENTS: _draw_segments},
)
def segment_model(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings, fitted: _Fitted | None) -> Frames:
    """Segments on scaled features; k from 2 to 10 chosen by silhouette and bootstrap stability, every candidate's figures kept.

    Ids are aligned to the month before. Names, rules and explanations come from the profile of a segment against all customers of the month. A month
    that ends early keeps the model of the month before and only assigns its customers; so does every month after RETAIL_SEGMENT_FROZEN_MONTH.
    """
    rfm = read_months(connection, RFM_FEATURES, month, month)
    if rfm.is_empty():
        return {table: _empty(table) for table in _MODEL_TABLES}
    before_it = _Snapshot.read(connection, m.shift(month, -1))
    kept = before_it if _is_kept(connection, month, settings, before_it) else None
    alignment = None
    if kept:
        model, fitted_month = kept.model, kept.fitted_month
        labels = worker.call(segments.assign, model, rfm)
        customer_count, share = segments.agreement(labels, kept.labels)
        alignment = segments.Alignment(model.k, model.k, customer_count, share, share)
    else:
        fitted_month = month
        own = fitted or _Fitted.to(rfm, settings)
        model, labels = own.model, own.labels
        if before_it:
            model, labels, alignment = worker.call(segments.align, model, labels, before_it.model, before_it.labels)
    profiles = worker.call(
        segments.profiles,
        rfm,
        labels,
        model,
        buyers=_buyers(connection, month, labels),
        product_names=dict(product_names(connection, month).iter_rows()),
        kept_names=_names_of(connection, fitted_month) if kept else None,
        units=_units(settings),
    )
    candidates = _empty(SEGMENT_CANDIDATES) if kept else with_snapshot_month(model.candidates, SEGMENT_CANDIDATES, month)
    stored_model = worker.call(segments.model_frame, model).with_columns(pl.lit(fitted_month).alias("fitted_month"))
    return {
        SEGMENT_MODEL: with_snapshot_month(stored_model, SEGMENT_MODEL, month),
        SEGMENT_CANDIDATES: candidates,
        SEGMENT_ALIGNMENT: _alignment_row(alignment, month),
        SEGMENT_DRIFT: _drift(connection, month, fitted_month, rfm, labels),
        CUSTOMER_SEGMENTS: with_snapshot_month(
            labels.join(profiles.select("segment_id", "segment_name"), on="segment_id", validate="m:1"), CUSTOMER_SEGMENTS, month
        ),
        SEGMENT_PROFILES: with_snapshot_month(profiles, SEGMENT_PROFILES, month),
    }


@dataclass(frozen=True)
class _Snapshot:
    """The segments of an earlier month, as stored."""

    model: segments.SegmentModel
    fitted_month: date
    labels: pl.DataFrame

    @classmethod
    def read(cls, connection: duckdb.DuckDBPyConnection, month: date) -> _Snapshot | None:
        stored = read_months(connection, SEGMENT_MODEL, month, month)
        if stored.is_empty():
            return None
        return cls(segments.model_from_frame(stored), stored["fitted_month"].item(0), read_months(connection, CUSTOMER_SEGMENTS, month, month))


def _is_to_keep(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> bool:
    """Whether the month keeps the model of the month before, if that has one, instead of fitting its own."""
    frozen = _frozen_month(settings)
    return (frozen is not None and month > frozen) or (settings.segment_incomplete_month == "keep" and ends_early(connection, month))


def _is_kept(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings, before_it: _Snapshot | None) -> bool:
    frozen = _frozen_month(settings)
    if frozen and month > frozen and (before_it is None or before_it.fitted_month > frozen):
        raise dg.Failure(
            f"RETAIL_SEGMENT_FROZEN_MONTH is {m.label(frozen)}, but the segments of {m.label(m.shift(month, -1))} do not come from its model. "
            f"Refresh from {m.label(frozen)} on: `retail run --months {m.label(frozen)}:{m.label(month)}`.",
            allow_retries=False,
        )
    return before_it is not None and _is_to_keep(connection, month, settings)


def _frozen_month(settings: Settings) -> date | None:
    return m.parse_range(settings.segment_frozen_month)[0] if settings.segment_frozen_month else None


def _alignment_row(alignment: segments.Alignment | None, month: date) -> pl.DataFrame:
    if alignment is None:
        return _empty(SEGMENT_ALIGNMENT)
    row = pl.DataFrame([{**vars(alignment), "previous_month": m.shift(month, -1)}], schema_overrides=SEGMENT_ALIGNMENT.polars_schema)
    return with_snapshot_month(row, SEGMENT_ALIGNMENT, month)


def _drift(connection: duckdb.DuckDBPyConnection, month: date, fitted_month: date, rfm: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    reference_month = min(fitted_month, m.shift(month, -1))
    reference_rfm = read_months(connection, RFM_FEATURES, reference_month, reference_month)
    reference_labels = read_months(connection, CUSTOMER_SEGMENTS, reference_month, reference_month)
    rows = segments.drift(rfm, labels, reference_rfm, reference_labels)
    return with_snapshot_month(rows.with_columns(pl.lit(reference_month).alias("reference_month")), SEGMENT_DRIFT, month)


def _buyers(connection: duckdb.DuckDBPyConnection, month: date, labels: pl.DataFrame) -> pl.DataFrame:
    """How many customers of each segment have bought each product to date."""
    query = """
        with bought as (
            select distinct
                customer_id,
                unnest(stock_codes) as stock_code
            from features.customer_months
            where invoice_month <= $month
        )
        select
            labels.segment_id,
            bought.stock_code,
            count(*) as customer_count
        from bought
        inner join labels on bought.customer_id = labels.customer_id
        group by labels.segment_id, bought.stock_code
        order by labels.segment_id, bought.stock_code
    """
    connection.register("labels", labels.select("customer_id", "segment_id"))
    try:
        return read(connection, query, {"month": month})
    finally:
        connection.unregister("labels")


def _names_of(connection: duckdb.DuckDBPyConnection, month: date) -> dict[int, str]:
    return dict(read_months(connection, SEGMENT_PROFILES, month, month, columns=("segment_id", "segment_name")).iter_rows())


def _units(settings: Settings) -> segments.Units:
    order, orders = ("order", "orders") if settings.rfm_frequency == "invoices" else ("day with an order", "days with an order")
    return segments.Units(order, orders, "pounds" if settings.rfm_monetary == "sum" else f"pounds per {order}")


migration_reconciles = quality.Check(
    name="migration_reconciles",
    table=SEGMENT_MIGRATION,
    description="Moves into the segments add up to the snapshot, and moves out of them to the snapshot before: customers and pennies.",
    query="""
        with moved as (
            select
                coalesce(sum(customer_count) filter (where to_segment_id is not null), 0)::bigint as customer_count,
                coalesce(sum(net_amount), 0)::decimal(38, 4) as net_amount,
                coalesce(sum(customer_count) filter (where from_segment_id is not null), 0)::bigint as customer_count_before,
                coalesce(sum(net_amount_before), 0)::decimal(38, 4) as net_amount_before
            from segments.segment_migration
            where snapshot_month = $month
        ),
        labelled as (
            select rfm_features.snapshot_month, rfm_features.net_amount
            from segments.customer_segments
            inner join features.rfm_features
                on customer_segments.snapshot_month = rfm_features.snapshot_month and customer_segments.customer_id = rfm_features.customer_id
            where customer_segments.snapshot_month between $month - interval 1 month and $month
        ),
        snapshots as (
            select
                count(*) filter (where snapshot_month = $month) as customer_count,
                coalesce(sum(net_amount) filter (where snapshot_month = $month), 0)::decimal(38, 4) as net_amount,
                count(*) filter (where snapshot_month < $month) as customer_count_before,
                coalesce(sum(net_amount) filter (where snapshot_month < $month), 0)::decimal(38, 4) as net_amount_before
            from labelled
        )
        select
            format(
                '{} customers, {} GBP; before {}, {} GBP',
                moved.customer_count, moved.net_amount, moved.customer_count_before, moved.net_amount_before
            ) as observed,
            format(
                '{} customers, {} GBP; before {}, {} GBP',
                snapshots.customer_count, snapshots.net_amount, snapshots.customer_count_before, snapshots.net_amount_before
            ) as expected
        from moved cross join snapshots
    """,
    recovery="Materialize the group segments of the month again, after that of the month before.",
)


def _draw_migration(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> dict[str, Callable[[], bytes]]:  # noqa: ARG001 - one signature for all
    moves = read_months(connection, SEGMENT_MIGRATION, month, month)
    return {"migration": worker.begin(charts.migration, moves, m.label(month))} if moves["from_segment_id"].count() else {}


@monthly_asset(
    tables=[SEGMENT_MIGRATION],
    deps=[until(key_of(CUSTOMER_SEGMENTS), 1), until(key_of(RFM_FEATURES), 1)],
    checks=[migration_reconciles],
    pictures={SEGMENT_MIGRATION: _draw_migration},
)
def segment_migration(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:  # noqa: ARG001 - one signature for all
    """Customers and their spend that moved between segments since the month before; those who stayed, joined and left included."""
    now, previous = (_labelled_spend(connection, snapshot) for snapshot in (month, m.shift(month, -1)))
    return {SEGMENT_MIGRATION: with_snapshot_month(segments.migration(now, previous), SEGMENT_MIGRATION, month)}


def _labelled_spend(connection: duckdb.DuckDBPyConnection, month: date) -> pl.DataFrame:
    query = """
        select
            customer_segments.customer_id,
            customer_segments.segment_id,
            customer_segments.segment_name,
            rfm_features.net_amount
        from segments.customer_segments
        inner join features.rfm_features
            on customer_segments.snapshot_month = rfm_features.snapshot_month and customer_segments.customer_id = rfm_features.customer_id
        where customer_segments.snapshot_month = $month
        order by customer_segments.customer_id
    """
    return read(connection, query, {"month": month})


def _empty(table: Table) -> pl.DataFrame:
    return pl.DataFrame(schema=table.polars_schema)
