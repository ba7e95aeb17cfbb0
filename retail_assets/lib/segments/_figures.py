"""Figures by which segmentations are compared: silhouette, adjusted Rand index, and those of scikit-learn, over many labellings at once.

Points are scaled features with outliers cut off. What follows from the figures is decided in `_fitting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from polars import selectors

from retail_assets.lib.segments._model import contrast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retail_assets.lib.segments._model import Centers, Floats, Ints

_SIGNIFICANT_DIGITS: Final = 9

_BLOCK: Final = 256
"""Rows of the distance matrix held at a time: of 5,000 customers, 10 MB instead of 200."""


def figures(points: Floats, centers: Mapping[int, Centers], stability: Mapping[int, float], max_customers_silhouette: int, seed: int) -> pl.DataFrame:
    """Rows of segments.segment_candidates, but for what was chosen: one per k, in the order given, to nine significant digits.

    The last of sixteen depend on the processor.
    """
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score  # noqa: PLC0415

    labelings = {k: found.nearest(points)[0] for k, found in centers.items()}
    silhouettes = mean_silhouettes(points, list(labelings.values()), max_customers_silhouette, seed)
    return pl.DataFrame(
        [
            {
                "k": k,
                "silhouette": silhouette,
                "stability": stability[k],
                # Undefined, and as good as nothing, where everybody is nearest to one of several centres.
                "calinski_harabasz": calinski_harabasz_score(points, labels) if np.ptp(labels) else 0.0,
                "davies_bouldin": davies_bouldin_score(points, labels) if np.ptp(labels) else 0.0,
                "inertia": float(((points - centers[k].means[labels]) ** 2).sum()),
                "smallest_share": np.bincount(labels, minlength=k).min() / len(points),
            }
            for (k, labels), silhouette in zip(labelings.items(), silhouettes, strict=True)
        ]
    ).with_columns(selectors.float().round_sig_figs(_SIGNIFICANT_DIGITS))


def single_segment_figures(points: Floats) -> pl.DataFrame:
    """One segment agrees with itself; what compares segments with each other is undefined, and 0."""
    undefined = dict.fromkeys(("silhouette", "calinski_harabasz", "davies_bouldin"), 0.0)
    inertia = float(((points - points.mean(axis=0)) ** 2).sum())
    return pl.DataFrame([{"k": 1, "stability": 1.0, "inertia": inertia, "smallest_share": 1.0, **undefined}])


def mean_silhouettes(points: Floats, labelings: list[Ints], max_customers: int, seed: int) -> list[float]:
    """Mean silhouette (Rousseeuw 1987) of every labelling, from one pass over the distances that all of them share."""
    from scipy.spatial.distance import cdist  # noqa: PLC0415

    if len(points) > max_customers:
        rows = np.random.default_rng(seed).choice(len(points), size=max_customers, replace=False)
        points, labelings = points[rows], [labels[rows] for labels in labelings]
    members = [np.eye(labels.max() + 1)[labels] for labels in labelings]
    stacked = np.hstack(members)
    sums = np.vstack([cdist(points[start : start + _BLOCK], points) @ stacked for start in range(0, len(points), _BLOCK)])
    edges = np.cumsum([member.shape[1] for member in members])[:-1]
    return [float(_silhouettes(part, labels).mean()) for part, labels in zip(np.hsplit(sums, edges), labelings, strict=True)]


def _silhouettes(sums: Floats, labels: Ints) -> Floats:
    """Silhouette of every point, from its summed distances to the points of each cluster."""
    rows, sizes = np.arange(len(labels)), np.bincount(labels, minlength=sums.shape[1])
    own = sums[rows, labels] / np.maximum(sizes[labels] - 1, 1)
    # A cluster that a sample missed is nobody's neighbour.
    others = np.divide(sums, sizes, out=np.full_like(sums, np.inf), where=sizes > 0)
    others[rows, labels] = np.inf
    values = contrast(own, others.min(axis=1))
    return np.where(sizes[labels] > 1, values, 0.0)


def adjusted_rand(labels: Ints, others: Ints) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985); scikit-learn's takes forty times as long for checking and sorting the labels."""
    width = others.max() + 1
    table = np.bincount(labels * width + others, minlength=(labels.max() + 1) * width).reshape(-1, width)
    together, in_rows, in_columns, all_pairs = (_pairs(counts) for counts in (table, table.sum(axis=1), table.sum(axis=0), table.sum()))
    by_chance = in_rows * in_columns / all_pairs
    most = (in_rows + in_columns) / 2
    return 1.0 if most == by_chance else (together - by_chance) / (most - by_chance)


def _pairs(counts: Ints) -> float:
    return float((counts * (counts - 1) / 2).sum())
