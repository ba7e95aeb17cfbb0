"""Drift: how far the customers of a snapshot are from those that a model was fitted on. Whether that calls for a new fit is the checks' business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from retail_assets.contracts import SEGMENT_DRIFT
from retail_assets.lib.segments._model import RFM, conform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retail_assets.lib.segments._model import Floats, Ints

_BINS: Final = 10
_HALF_A_CUSTOMER: Final = 0.5
"""Added to every bin, so that an empty one gives a large index and not an infinite one."""


def drift(
    rfm: pl.DataFrame, labels: pl.DataFrame, reference_rfm: pl.DataFrame, reference_labels: pl.DataFrame, features: Sequence[str] = RFM
) -> pl.DataFrame:
    """Population stability index of every feature, and of the sizes of the segments, against a reference snapshot.

    PSI = sum over bins of (share - reference share) * ln(share / reference share), the symmetric Kullback-Leibler divergence (Jeffreys 1946) under
    the name it has in credit scoring (Siddiqi 2006), whose rule of thumb is: below 0.1 stable, from 0.25 on another population. Bins are tenths of
    the reference; values that tie share one.

    Args:
        rfm: Rows of features.rfm_features now; read are the features.
        labels: `segment_id` of the customers now.
        reference_rfm: The features of the reference.
        reference_labels: The segments of the reference, under the same ids.
        features: Features to compare.

    Returns:
        Rows of segments.segment_drift without months, sorted by measure; empty where either snapshot has no customer.
    """
    if rfm.is_empty() or reference_rfm.is_empty():
        return conform(pl.DataFrame(schema=SEGMENT_DRIFT.polars_schema), SEGMENT_DRIFT)
    counted = {feature: _in_tenths(_values(rfm, feature), _values(reference_rfm, feature)) for feature in features}
    counted["segment_id"] = _by_segment(labels["segment_id"], reference_labels["segment_id"])
    rows = [{"measure": measure, "psi": _psi(now, then), "bin_count": len(now)} for measure, (now, then) in sorted(counted.items())]
    return conform(pl.DataFrame(rows), SEGMENT_DRIFT)


def _values(rfm: pl.DataFrame, feature: str) -> Floats:
    return rfm[feature].cast(pl.Float64).to_numpy()


def _in_tenths(values: Floats, reference: Floats) -> tuple[Ints, Ints]:
    edges = np.unique(np.quantile(reference, np.arange(1, _BINS) / _BINS, method="inverted_cdf"))
    # A value on an edge belongs to the bin below it, so that a tie that makes several edges fall together is one bin.
    now, then = (np.bincount(np.searchsorted(edges, side), minlength=len(edges) + 1) for side in (values, reference))
    return now, then


def _by_segment(ids: pl.Series, reference: pl.Series) -> tuple[Ints, Ints]:
    width = int(max(ids.max(), reference.max())) + 1  # type: ignore[type-var, arg-type]
    now, then = (np.bincount(side.to_numpy(), minlength=width) for side in (ids, reference))
    used = (now + then) > 0
    return now[used], then[used]


def _psi(counts: Ints, reference_counts: Ints) -> float:
    now, then = ((side + _HALF_A_CUSTOMER) / (side.sum() + _HALF_A_CUSTOMER * len(side)) for side in (counts, reference_counts))
    return float(((now - then) * np.log(now / then)).sum())
