"""segments: customers grouped by how they buy, with ids that keep their meaning from month to month. The method stands in `lib/segments.py`."""

from datetime import date

import duckdb
import polars as pl

from retail_assets import months as m
from retail_assets import quality
from retail_assets.contracts import (
    CUSTOMER_SEGMENTS,
    RFM_FEATURES,
    SEGMENT_ALIGNMENT,
    SEGMENT_CANDIDATES,
    SEGMENT_MIGRATION,
    SEGMENT_MODEL,
    SEGMENT_PROFILES,
    Table,
)
from retail_assets.lib import segments
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


@monthly_asset(
    tables=[SEGMENT_MODEL, SEGMENT_CANDIDATES, SEGMENT_ALIGNMENT, CUSTOMER_SEGMENTS, SEGMENT_PROFILES],
    deps=[RFM_FEATURES, before(key_of(SEGMENT_MODEL), 1)],
    checks=[every_customer_has_one_segment, ids_keep_their_meaning],
    kinds=frozenset({"polars", "scikitlearn"}),
)
def segment_model(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:
    """k-means on scaled log features; k from 2 to 10 chosen by silhouette and bootstrap stability, every candidate's figures kept.

    Ids are aligned to the month before. Names and explanations come from the profile of a segment against all customers of the month.
    """
    rfm = read_months(connection, RFM_FEATURES, month, month)
    if rfm.is_empty():
        return {table: _empty(table) for table in (SEGMENT_MODEL, SEGMENT_CANDIDATES, SEGMENT_ALIGNMENT, CUSTOMER_SEGMENTS, SEGMENT_PROFILES)}
    model = segments.fit(rfm, seed=settings.seed)
    labels = segments.assign(model, rfm)
    previous_month = m.shift(month, -1)
    stored = read_months(connection, SEGMENT_MODEL, previous_month, previous_month)
    alignment = _empty(SEGMENT_ALIGNMENT)
    if stored.height:
        previous_labels = read_months(connection, CUSTOMER_SEGMENTS, previous_month, previous_month)
        model, labels, agreement = segments.align(model, labels, segments.model_from_frame(stored), previous_labels)
        row = pl.DataFrame([{**vars(agreement), "previous_month": previous_month}], schema_overrides=SEGMENT_ALIGNMENT.polars_schema)
        alignment = with_snapshot_month(row, SEGMENT_ALIGNMENT, month)
    profiles = segments.profiles(rfm, labels)
    named = labels.join(profiles.select("segment_id", "segment_name"), on="segment_id", validate="m:1")
    return {
        SEGMENT_MODEL: with_snapshot_month(segments.model_frame(model), SEGMENT_MODEL, month),
        SEGMENT_CANDIDATES: with_snapshot_month(model.candidates, SEGMENT_CANDIDATES, month),
        SEGMENT_ALIGNMENT: alignment,
        CUSTOMER_SEGMENTS: with_snapshot_month(named, CUSTOMER_SEGMENTS, month),
        SEGMENT_PROFILES: with_snapshot_month(profiles, SEGMENT_PROFILES, month),
    }


migration_reconciles = quality.Check(
    name="migration_reconciles",
    table=SEGMENT_MIGRATION,
    description="Moves into the segments add up to the snapshot, customers and pennies.",
    query="""
        with moved as (
            select coalesce(sum(customer_count), 0)::bigint || ' customers, ' || coalesce(sum(monetary), 0)::decimal(38, 4) || ' GBP' as total
            from segments.segment_migration
            where snapshot_month = $month and to_segment_id is not null
        ),
        snapshot as (
            select count(*) || ' customers, ' || coalesce(sum(monetary), 0)::decimal(38, 4) || ' GBP' as total
            from features.rfm_features
            where snapshot_month = $month
        )
        select moved.total as observed, snapshot.total as expected
        from moved cross join snapshot
    """,
    recovery="Materialize the group segments of the month again.",
)


@monthly_asset(
    tables=[SEGMENT_MIGRATION],
    deps=[until(key_of(CUSTOMER_SEGMENTS), 1), until(key_of(RFM_FEATURES), 1)],
    checks=[migration_reconciles],
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
            rfm_features.monetary
        from segments.customer_segments
        inner join features.rfm_features
            on customer_segments.snapshot_month = rfm_features.snapshot_month and customer_segments.customer_id = rfm_features.customer_id
        where customer_segments.snapshot_month = $month
        order by customer_segments.customer_id
    """
    return read(connection, query, {"month": month})


def _empty(table: Table) -> pl.DataFrame:
    return pl.DataFrame(schema=table.polars_schema)
