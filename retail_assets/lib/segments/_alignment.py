"""Ids that last: the segments of a snapshot get the ids of their counterparts in the snapshot before, and how far that holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.segments._model import equal_centers

if TYPE_CHECKING:
    from retail_assets.lib.segments._model import SegmentModel


@dataclass(frozen=True)
class Alignment:
    """How well segment ids carry over from the snapshot before: a row of segments.segment_alignment without its months."""

    k: int
    previous_k: int
    customer_count: int
    raw_agreement: float
    aligned_agreement: float


def align(
    model: SegmentModel, labels: pl.DataFrame, previous_model: SegmentModel, previous_labels: pl.DataFrame
) -> tuple[SegmentModel, pl.DataFrame, Alignment]:
    """Give the segments the ids of their counterparts in the snapshot before.

    Counterparts are the pairing of centroids with the least total distance (Hungarian method, Kuhn 1955). The two models scale differently, so that
    the previous centroids are taken back to the units of the features and put on the scale of this model. A segment without counterpart gets the
    lowest id that is free.

    Args:
        model: The model of this snapshot.
        labels: What `assign` gives for it.
        previous_model: The model of the snapshot before, aligned itself.
        previous_labels: `customer_id`, `segment_id` of the snapshot before.

    Returns:
        The model and the labels with aligned ids, and how many customers of both snapshots have the same id before and after aligning.

    Raises:
        ValueError: The models cluster different features.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

    if model.features != previous_model.features:
        raise ValueError(
            f"cannot align segments of {', '.join(model.features)} to those of {', '.join(previous_model.features)}: "
            "after a change of features, fit again from the first month on"
        )
    previous_means = model.scaler.from_units(previous_model.centers_in_units())
    distances = np.sqrt(equal_centers(previous_means).squared_distances(model.centers.means))
    rows, previous_rows = linear_sum_assignment(distances)
    new_id = {model.segment_ids[row]: previous_model.segment_ids[previous] for row, previous in zip(rows, previous_rows, strict=True)}
    free = (number for number in range(model.k + previous_model.k) if number not in set(new_id.values()))
    new_id |= {old: next(free) for old in model.segment_ids if old not in new_id}

    aligned_labels = labels.with_columns(pl.col("segment_id").replace_strict(new_id, return_dtype=pl.Int32))
    ids = [new_id[old] for old in model.segment_ids]
    aligned_model = replace(model, centers=model.centers.take(np.argsort(ids)), segment_ids=tuple(sorted(ids)))
    customer_count, raw_agreement = agreement(labels, previous_labels)
    _, aligned_agreement = agreement(aligned_labels, previous_labels)
    return aligned_model, aligned_labels, Alignment(model.k, previous_model.k, customer_count, raw_agreement, aligned_agreement)


def agreement(labels: pl.DataFrame, previous_labels: pl.DataFrame) -> tuple[int, float]:
    """Customers in both frames (`customer_id`, `segment_id`), and the share of them with the same segment id; 0 where no customer is in both."""
    both = labels.join(previous_labels.select("customer_id", "segment_id"), on="customer_id", suffix="_before", validate="1:1")
    same = int((both["segment_id"] == both["segment_id_before"]).sum())
    return both.height, same / max(both.height, 1)
