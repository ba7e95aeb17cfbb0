"""Who moved between the segments of two snapshots, and what they are worth."""

from __future__ import annotations

import polars as pl

from retail_assets.contracts import SEGMENT_MIGRATION
from retail_assets.lib.segments._model import conform


def migration(current: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """How customers and their spend moved between the segments of two snapshots; those who stayed, joined and left included.

    Summed by `to_segment_id` the rows give the current snapshot to the penny, and summed by `from_segment_id` the previous one.

    Args:
        current: `customer_id`, `segment_id`, `segment_name`, `net_amount` now.
        previous: The same of the snapshot before.

    Returns:
        Rows of segments.segment_migration without month, sorted by segment before and now; joiners first, leavers last within their segment.
    """
    columns = ("segment_id", "segment_name", "net_amount")
    before = previous.select("customer_id", *(pl.col(name).alias(f"from_{name}") for name in columns))
    now = current.select("customer_id", *(pl.col(name).alias(f"to_{name}") for name in columns))
    sides = ["from_segment_id", "from_segment_name", "to_segment_id", "to_segment_name"]
    moves = (
        before.join(now, on="customer_id", how="full", validate="1:1")
        .group_by(sides)
        .agg(
            pl.len().alias("customer_count"),
            pl.col("from_net_amount").sum().alias("net_amount_before"),
            pl.col("to_net_amount").sum().alias("net_amount"),
        )
    )
    movement = pl.concat_str(
        pl.col("from_segment_id").cast(pl.String).fill_null("joined"),
        pl.lit(">"),
        pl.col("to_segment_id").cast(pl.String).fill_null("left"),
    )
    ordered = moves.sort("from_segment_id", "to_segment_id", nulls_last=[False, True])
    return conform(ordered.with_columns(movement.alias("movement_id")), SEGMENT_MIGRATION)
