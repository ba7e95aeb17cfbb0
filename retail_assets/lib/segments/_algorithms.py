"""Three ways to find segments among points, behind one function: k-means, Gaussian mixture, Ward's hierarchy.

Which k is taken, and how it is judged, is the business of `_fitting`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from retail_assets.lib.segments._model import Algorithm, Centers, Floats, equal_centers

FitCenters = Callable[[Floats, Mapping[int, Centers | None], Algorithm, int], dict[int, Centers]]
"""What `fit_centers` is called with and returns: another may stand in for it where all customers are fitted."""

MOST_TREE_POINTS: Final = 5_000
"""Most points that Ward's tree is built of: it holds all their distances, 100 MB of 5,000. More are sampled."""

_LEAST_VARIANCE: Final = 0.05
"""Added to the variances of a mixture, on standardised features. A third of the customers bought exactly once: without it a component of no width
sits on them and takes in nobody else."""


def fit_centers(points: Floats, starts: Mapping[int, Centers | None], algorithm: Algorithm, seed: int) -> dict[int, Centers]:
    """Segments for each k of `starts`, from the given start or from one of the algorithm's own. Hierarchies have none, and cut one tree for all k.

    Args:
        points: Scaled features, outliers cut off.
        starts: k, at most the number of distinct points, and where to start from.
        algorithm: Which one.
        seed: Random seed.
    """
    if algorithm == "ward":
        return _ward(points, list(starts), seed)
    fit_one = _kmeans if algorithm == "kmeans" else _mixture
    return {k: fit_one(points, k, start, seed) for k, start in starts.items()}


def _kmeans(points: Floats, k: int, start: Centers | None, seed: int) -> Centers:
    from sklearn.cluster import KMeans  # noqa: PLC0415

    means: Floats = KMeans(k, init="k-means++" if start is None else start.means, n_init=1, random_state=seed).fit(points).cluster_centers_
    return equal_centers(means)


def _mixture(points: Floats, k: int, start: Centers | None, seed: int) -> Centers:
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415

    given = {} if start is None else {"means_init": start.means, "weights_init": start.weights, "precisions_init": 1 / start.variances}
    model = GaussianMixture(k, covariance_type="diag", reg_covar=_LEAST_VARIANCE, init_params="k-means++", max_iter=500, random_state=seed, **given)
    model.fit(points)
    return Centers(model.means_, model.covariances_, model.weights_)


def _ward(points: Floats, ks: list[int], seed: int) -> dict[int, Centers]:
    from scipy.cluster.hierarchy import cut_tree, ward  # noqa: PLC0415

    if len(points) > MOST_TREE_POINTS:
        points = points[np.random.default_rng(seed).choice(len(points), size=MOST_TREE_POINTS, replace=False)]
    if len(points) == 1:
        return {k: equal_centers(points) for k in ks}
    cuts = cut_tree(ward(points), ks)
    return {k: equal_centers(_means(points, labels, k)) for k, labels in zip(ks, cuts.T, strict=True)}


def _means(points: Floats, labels: np.ndarray, k: int) -> Floats:
    sums = np.column_stack([np.bincount(labels, weights=feature, minlength=k) for feature in points.T])
    return sums / np.bincount(labels, minlength=k)[:, None]
