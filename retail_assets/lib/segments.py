"""Segments of customers by k-means: fit and choice of k, assignment, ids that last from month to month, profiles with names, and migration.

Pure functions on polars frames. They know one snapshot, or two neighbours, but not its month: frames that end up in a table of
`retail_assets.contracts` come with all of its columns except the month, which the caller adds. Features and scores are made in `rfm`. No storage, no
Dagster and no clock in here, and every random number comes from the given seed.

scikit-learn and scipy are imported inside the functions that need them: their imports take seconds, and the Dagster code location loads this module.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from retail_assets.contracts import SEGMENT_CANDIDATES, SEGMENT_MIGRATION, SEGMENT_MODEL, SEGMENT_PROFILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from retail_assets.contracts import Table

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

RFM = ("recency_days", "frequency", "monetary")
"""The features that segments are made of unless told otherwise, and always described by."""

MIN_CUSTOMERS = 20
"""With fewer customers there is one segment: no split of so few survives a resample, and each would be a list of names rather than a segment."""

MIN_STABILITY = 0.75
"""Least mean adjusted Rand index of a k that may be chosen: between the moderate (0.65) and the good agreement (0.80) of Steinley (2004).

Measured on the 13 real snapshots, means of 8 seeds: k = 2 to 4 lie at 0.68 to 0.97, all but one above; k from 6 on at 0.58 to 0.79, all but two
below. At 0.8 the chance of the seed would decide on k = 4, which is at 0.80 in several months.
"""

MIN_SHARE = 0.01
"""Least share of the customers in every segment of a k that may be chosen; smaller ones are outliers, not segments."""

SILHOUETTE_TIE = 0.02
"""Silhouettes no further apart are as good as equal: on the real data k = 3 and 4 change places within it from month to month."""

_DOUBT = 0.05
"""A stability this near to its limit is judged on twice the resamples: the mean of ten has a standard error of about 0.04."""

_RESAMPLE_SIZE = 2_000
"""Most customers in one resample. Measured on the real data, 2,000 of 4,000 customers give a stability lower by 0.03 on average."""

_BLOCK = 256
"""Rows of the distance matrix held at a time: of 5,000 customers, 10 MB instead of 200."""

_NO_SPREAD = 1e-12
"""Standard deviation on the log scale below which a feature is constant and what remains is rounding."""


@dataclass(frozen=True, eq=False)
class SegmentModel:
    """A fitted segmentation: how features are scaled, and where the centroid of each segment lies on that scale."""

    features: tuple[str, ...]
    """Clustered features, sorted by name."""
    scaler_mean: Floats
    scaler_scale: Floats
    centroids: Floats
    """One row per segment, in the order of `segment_ids`; one column per feature; on the scaled log scale."""
    segment_ids: tuple[int, ...]
    seed: int
    candidates: pl.DataFrame
    """Rows of segments.segment_candidates without month; empty in a model that was read back."""

    @property
    def k(self) -> int:
        """Number of segments."""
        return len(self.segment_ids)

    def scale(self, customers: pl.DataFrame) -> Floats:
        """One row per customer on the scaled log scale."""
        return (_log_features(customers, self.features) - self.scaler_mean) / self.scaler_scale

    def log_centroids(self) -> Floats:
        """Centroids on the natural log scale, which models of different months share."""
        return self.centroids * self.scaler_scale + self.scaler_mean


@dataclass(frozen=True)
class Alignment:
    """How well segment ids carry over from the snapshot before: a row of segments.segment_alignment without its months."""

    k: int
    previous_k: int
    customer_count: int
    raw_agreement: float
    aligned_agreement: float


class _Resample(NamedTuple):
    rows: Ints
    distinct_count: int
    seed: int


class _Candidate(NamedTuple):
    centroids: Floats
    labels: Ints
    stability: float
    inertia: float


def fit(
    rfm: pl.DataFrame,
    features: Sequence[str] = RFM,
    k_range: Iterable[int] = range(2, 11),
    seed: int = 0,
    bootstraps: int = 10,
    max_customers_silhouette: int = 5_000,
) -> SegmentModel:
    """Fit k-means for every k and keep the k that the rule of `_choose` picks.

    Features are clustered as standardised log1p: spend and orders span four orders of magnitude, and unscaled k-means finds eight wholesalers against
    all others. Net spend at or below zero (everything returned) counts as zero. Segments are numbered from 0 by descending spend, so that the
    numbering does not depend on chance even before `align`.

    Stability of a k is the mean adjusted Rand index, over bootstrap resamples, between the labels of the fit and the labels that a fit on the
    resample predicts for all customers (Hennig 2007; Dolnicar and Leisch 2010). The fits on resamples start cold: started from the centroids of the
    fit they fall back to them, and every k of the real data looks stable (0.83 to 0.98, against 0.46 to 0.98 cold).

    Those fits serve twice: the fit of all customers starts from the best of their solutions (Bradley and Fayyad 1998), which saves starts of its own.
    On the real data its inertia is that of ten random starts to a thousandth up to k = 5, and within two hundredths up to k = 10. The resample it
    started from is left out of the stability.

    Args:
        rfm: Rows of features.rfm_features of one snapshot.
        features: Columns to cluster, numeric and not meant to be negative; their order does not matter.
        k_range: Numbers of segments to try, 2 or more. Those above the number of distinct customers are left out.
        seed: Random seed.
        bootstraps: Resamples per k, 2 or more, shared by all k; a k whose stability is near the limit gets twice as many.
        max_customers_silhouette: Silhouettes of more customers than this are computed on a sample of this size.

    Returns:
        The model. With fewer than `MIN_CUSTOMERS` customers, or with no k to try, it has a single segment.

    Raises:
        ValueError: There is no customer, a feature is missing for one, or there are too few resamples to judge stability.
    """
    from sklearn import config_context  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    if rfm.is_empty():
        raise ValueError("there is no customer to segment")
    if bootstraps < 2:  # noqa: PLR2004 - one resample starts the fit, another one judges it
        raise ValueError(f"bootstraps must be at least 2, but is {bootstraps}")
    columns = tuple(sorted(features))
    logs = _log_features(rfm.sort("customer_id"), columns)
    if not np.isfinite(logs).all():
        raise ValueError(f"every customer must have a finite value in each of {', '.join(columns)}")
    mean, spread = logs.mean(axis=0), logs.std(axis=0)
    scale = np.where(spread > _NO_SPREAD, spread, 1.0)
    points = np.ascontiguousarray((logs - mean) / scale)
    order_by = columns.index("monetary") if "monetary" in columns else 0

    # A few thousand rows are too few to share: on one thread k-means is five times as fast, and sums always in the same order.
    # Of a fit on 2,000 rows a sixth would go into checking arguments that are made right here.
    with threadpool_limits(limits=1), config_context(assume_finite=True, skip_parameter_validation=True):
        by_k = _fit_candidates(points, sorted(set(k_range)), bootstraps, seed, order_by)
        figures = _figures(points, by_k, max_customers_silhouette, seed) if by_k else _single_segment_figures(points)
    if by_k:
        chosen = _choose(figures)
        centroids = by_k[chosen].centroids
    else:
        chosen, centroids = 1, points.mean(axis=0, keepdims=True)
    candidates = _conform(figures.with_columns((pl.col("k") == chosen).alias("is_chosen")).sort("k"), SEGMENT_CANDIDATES)
    return SegmentModel(columns, mean, scale, centroids, tuple(range(chosen)), seed, candidates)


def assign(model: SegmentModel, rfm: pl.DataFrame) -> pl.DataFrame:
    """The segment of every customer: `customer_id`, `segment_id`, `distance`, `silhouette`, sorted by customer.

    `silhouette` is the simplified silhouette (Hruschka et al. 2004): (b - a) / max(a, b) with a the distance to the own centroid and b that to the
    next one. It needs no distances between customers, and since everybody is in the nearest segment, it runs from 0 (on the border) to 1 (on the
    centroid). A single segment has no next one: the silhouette is 0, as Rousseeuw (1987) sets it where it is undefined.
    """
    customers = rfm.sort("customer_id")
    distances = np.sqrt(_squared_distances(model.scale(customers), model.centroids))
    nearest = distances.argmin(axis=1)
    return pl.DataFrame(
        {
            "customer_id": customers["customer_id"],
            "segment_id": pl.Series(np.asarray(model.segment_ids)[nearest], dtype=pl.Int32),
            "distance": distances.min(axis=1),
            "silhouette": _simplified_silhouettes(distances),
        }
    )


def align(
    model: SegmentModel, labels: pl.DataFrame, previous_model: SegmentModel, previous_labels: pl.DataFrame
) -> tuple[SegmentModel, pl.DataFrame, Alignment]:
    """Give the segments the ids of their counterparts in the snapshot before.

    Counterparts are the pairing of centroids with the least total distance (Hungarian method, Kuhn 1955). The two models scale differently, so that
    the previous centroids are taken back to logs and put on the scale of this model. A segment without counterpart gets the lowest id that is free.

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
    previous_centroids = (previous_model.log_centroids() - model.scaler_mean) / model.scaler_scale
    rows, previous_rows = linear_sum_assignment(np.sqrt(_squared_distances(model.centroids, previous_centroids)))
    new_id = {model.segment_ids[row]: previous_model.segment_ids[previous] for row, previous in zip(rows, previous_rows, strict=True)}
    free = (number for number in range(model.k + previous_model.k) if number not in set(new_id.values()))
    new_id |= {old: next(free) for old in model.segment_ids if old not in new_id}

    aligned_labels = labels.with_columns(pl.col("segment_id").replace_strict(new_id, return_dtype=pl.Int32))
    ids = [new_id[old] for old in model.segment_ids]
    aligned_model = replace(model, centroids=model.centroids[np.argsort(ids)], segment_ids=tuple(sorted(ids)))
    customer_count, raw_agreement = _agreement(labels, previous_labels)
    _, aligned_agreement = _agreement(aligned_labels, previous_labels)
    return aligned_model, aligned_labels, Alignment(model.k, previous_model.k, customer_count, raw_agreement, aligned_agreement)


def profiles(rfm: pl.DataFrame, segments: pl.DataFrame) -> pl.DataFrame:
    """What each segment is like, with a name and a line of explanation that come from its medians against those of all customers.

    The name says for recency, frequency and spend in which third of all customers the median of the segment lies. Segments that come out with the
    same words are told apart by their rank in spend.

    Args:
        rfm: Rows of features.rfm_features of one snapshot.
        segments: `customer_id`, `segment_id`, `silhouette` of the same customers.

    Returns:
        Rows of segments.segment_profiles without month, sorted by segment.

    Raises:
        ValueError: The two frames are not about the same customers.
    """
    customers = rfm.join(segments.select("customer_id", "segment_id", "silhouette"), on="customer_id", validate="1:1")
    if not customers.height == rfm.height == segments.height:
        raise ValueError(f"{rfm.height} customers with features and {segments.height} with a segment, but {customers.height} with both")
    total = customers["monetary"].sum()
    summary = (
        customers.group_by("segment_id")
        .agg(
            pl.len().alias("customer_count"),
            pl.col("monetary").sum(),
            *(pl.col(feature).cast(pl.Float64).median().alias(f"median_{feature}") for feature in RFM),
            pl.col("silhouette").mean().alias("mean_silhouette"),
        )
        .with_columns(
            (pl.col("customer_count") / customers.height).alias("customer_share"),
            (pl.col("monetary").cast(pl.Float64) / float(total) if total > 0 else pl.lit(None)).alias("monetary_share"),
        )
        .sort("segment_id")
    )
    population = {feature: customers[feature].cast(pl.Float64) for feature in RFM}
    rows = list(summary.iter_rows(named=True))
    medians = [{feature: row[f"median_{feature}"] for feature in RFM} for row in rows]
    return _conform(
        summary.with_columns(
            pl.Series("segment_name", _names(medians, population), dtype=pl.String),
            pl.Series("explanation", [_explanation(median, population) for median in medians], dtype=pl.String),
        ),
        SEGMENT_PROFILES,
    )


def migration(current: pl.DataFrame, previous: pl.DataFrame) -> pl.DataFrame:
    """How customers and their spend moved between the segments of two snapshots; those who stayed, joined and left included.

    Summed by `to_segment_id` the rows give the current snapshot to the penny, and summed by `from_segment_id` the previous one.

    Args:
        current: `customer_id`, `segment_id`, `segment_name`, `monetary` now.
        previous: The same of the snapshot before.

    Returns:
        Rows of segments.segment_migration without month, sorted by segment before and now; joiners first, leavers last within their segment.
    """
    columns = ("segment_id", "segment_name", "monetary")
    before = previous.select("customer_id", *(pl.col(name).alias(f"from_{name}") for name in columns))
    now = current.select("customer_id", *(pl.col(name).alias(f"to_{name}") for name in columns))
    sides = ["from_segment_id", "from_segment_name", "to_segment_id", "to_segment_name"]
    moves = (
        before.join(now, on="customer_id", how="full", validate="1:1")
        .group_by(sides)
        .agg(
            pl.len().alias("customer_count"),
            pl.col("from_monetary").sum().alias("monetary_before"),
            pl.col("to_monetary").sum().alias("monetary"),
        )
    )
    movement = pl.concat_str(
        pl.col("from_segment_id").cast(pl.String).fill_null("joined"),
        pl.lit(">"),
        pl.col("to_segment_id").cast(pl.String).fill_null("left"),
    )
    ordered = moves.sort("from_segment_id", "to_segment_id", nulls_last=[False, True])
    return _conform(ordered.with_columns(movement.alias("movement_id")), SEGMENT_MIGRATION)


def model_frame(model: SegmentModel) -> pl.DataFrame:
    """The model as rows of segments.segment_model without month, sorted by segment and feature."""
    centers = np.expm1(model.log_centroids())
    return _conform(
        pl.DataFrame(
            [
                {
                    "segment_id": segment_id,
                    "feature": feature,
                    "k": model.k,
                    "scaled_center": model.centroids[row, column],
                    "center": centers[row, column],
                    "scaler_mean": model.scaler_mean[column],
                    "scaler_scale": model.scaler_scale[column],
                    "seed": model.seed,
                }
                for row, segment_id in enumerate(model.segment_ids)
                for column, feature in enumerate(model.features)
            ]
        ),
        SEGMENT_MODEL,
    )


def model_from_frame(frame: pl.DataFrame) -> SegmentModel:
    """The model that `model_frame` stored, rows in any order; its candidates are empty."""
    by_key = frame.sort("segment_id", "feature")
    features = tuple(by_key["feature"].unique().sort())
    scaler = by_key.head(len(features))
    return SegmentModel(
        features=features,
        scaler_mean=scaler["scaler_mean"].to_numpy(),
        scaler_scale=scaler["scaler_scale"].to_numpy(),
        centroids=by_key["scaled_center"].to_numpy().reshape(-1, len(features)),
        segment_ids=tuple(by_key["segment_id"].unique().sort()),
        seed=by_key["seed"].item(0),
        candidates=_conform(pl.DataFrame(schema=SEGMENT_CANDIDATES.polars_schema), SEGMENT_CANDIDATES),
    )


# Fitting


def _log_features(customers: pl.DataFrame, features: Sequence[str]) -> Floats:
    return customers.select(pl.col(feature).cast(pl.Float64).clip(lower_bound=0).log1p() for feature in features).to_numpy()


def _fit_candidates(points: Floats, ks: list[int], bootstraps: int, seed: int, order_by: int) -> dict[int, _Candidate]:
    """A fit for every k that the customers allow; empty where they allow none."""
    if len(points) < MIN_CUSTOMERS:
        return {}
    # Rounded, because k-means cannot tell apart what differs in the last bits only.
    distinct, place = np.unique(points.round(9), axis=0, return_inverse=True)
    resamples = _draw_resamples(place, 2 * bootstraps, seed)
    # Figures that compare segments need one of two customers at least.
    most = min(len(distinct), len(points) - 1)
    return {k: _fit_one(points, k, resamples[:bootstraps], resamples[bootstraps:], seed, order_by) for k in ks if 1 < k <= most}


def _draw_resamples(place: Ints, count: int, seed: int) -> list[_Resample]:
    """Bootstrap samples of the customers. All k share them, so that k is compared with k on the same draws."""
    random = np.random.default_rng(seed)
    size = min(len(place), _RESAMPLE_SIZE)
    draws = (random.integers(len(place), size=size) for _ in range(count))
    return [_Resample(rows, len(np.unique(place[rows])), int(random.integers(2**31))) for rows in draws]


def _fit_one(points: Floats, k: int, resamples: list[_Resample], reserve: list[_Resample], seed: int, order_by: int) -> _Candidate:
    from sklearn.cluster import KMeans  # noqa: PLC0415

    starts = [_fit_resample(points, k, resample) for resample in resamples]
    resample_labels, inertias = zip(*(_nearest(points, start) for start in starts), strict=True)
    # A resample may have drawn fewer than k distinct customers; it is no start then, and seldom all of them are none.
    best = min((number for number, start in enumerate(starts) if len(start) == k), key=inertias.__getitem__, default=None)
    init = "k-means++" if best is None else starts[best]
    centroids = KMeans(k, init=init, n_init=1, random_state=seed).fit(points).cluster_centers_
    centroids = centroids[np.lexsort([*centroids.T, -centroids[:, order_by]])]
    labels, inertia = _nearest(points, centroids)
    agreements = [_adjusted_rand(labels, other) for number, other in enumerate(resample_labels) if number != best]
    if abs(np.mean(agreements) - MIN_STABILITY) < _DOUBT:
        agreements += [_adjusted_rand(labels, _nearest(points, _fit_resample(points, k, resample))[0]) for resample in reserve]
    return _Candidate(centroids, labels, float(np.mean(agreements)), inertia)


def _fit_resample(points: Floats, k: int, resample: _Resample) -> Floats:
    from sklearn.cluster import KMeans  # noqa: PLC0415

    model = KMeans(min(k, resample.distinct_count), n_init=1, random_state=resample.seed)
    centroids: Floats = model.fit(points[resample.rows]).cluster_centers_
    return centroids


def _choose(figures: pl.DataFrame) -> int:
    """The k of the model.

    1. Only a k that is stable (`MIN_STABILITY`) and whose segments all hold `MIN_SHARE` of the customers may be chosen.
    2. k = 2 only splits active from inactive customers, and nearly always has the highest silhouette: it is chosen only where no larger k may be.
    3. Among the rest, the highest silhouette; of those within `SILHOUETTE_TIE` of it, the largest k, which says more at no loss.

    Where no k may be chosen, the most stable one is: a segmentation that will not last is better known by its published stability than missing.
    """
    allowed = figures.filter((pl.col("stability") >= MIN_STABILITY) & (pl.col("smallest_share") >= MIN_SHARE))
    if allowed.is_empty():
        return int(figures.sort("stability", "k", descending=[True, False])["k"].item(0))
    detailed = allowed.filter(pl.col("k") > 2)  # noqa: PLR2004 - point 2 of the rule
    if detailed.is_empty():
        return int(allowed["k"].item(0))
    return int(detailed.filter(pl.col("silhouette") >= pl.col("silhouette").max() - SILHOUETTE_TIE)["k"].max())  # type: ignore[arg-type]


# Figures of the candidates


def _figures(points: Floats, by_k: dict[int, _Candidate], max_customers_silhouette: int, seed: int) -> pl.DataFrame:
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score  # noqa: PLC0415

    silhouettes = _mean_silhouettes(points, [candidate.labels for candidate in by_k.values()], max_customers_silhouette, seed)
    return pl.DataFrame(
        [
            {
                "k": k,
                "silhouette": silhouette,
                "stability": candidate.stability,
                "calinski_harabasz": calinski_harabasz_score(points, candidate.labels),
                "davies_bouldin": davies_bouldin_score(points, candidate.labels),
                "inertia": candidate.inertia,
                "smallest_share": np.bincount(candidate.labels, minlength=k).min() / len(points),
            }
            for (k, candidate), silhouette in zip(by_k.items(), silhouettes, strict=True)
        ]
    )


def _single_segment_figures(points: Floats) -> pl.DataFrame:
    """One segment agrees with itself; what compares segments with each other is undefined, and 0."""
    inertia = float(((points - points.mean(axis=0)) ** 2).sum())
    return pl.DataFrame(
        {
            "k": 1,
            "silhouette": 0.0,
            "stability": 1.0,
            "calinski_harabasz": 0.0,
            "davies_bouldin": 0.0,
            "inertia": inertia,
            "smallest_share": 1.0,
        }
    )


def _mean_silhouettes(points: Floats, labelings: list[Ints], max_customers: int, seed: int) -> list[float]:
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
    values = _contrast(own, others.min(axis=1))
    return np.where(sizes[labels] > 1, values, 0.0)


def _simplified_silhouettes(distances: Floats) -> Floats:
    if distances.shape[1] == 1:
        return np.zeros(len(distances))
    own, other = np.partition(distances, 1, axis=1)[:, :2].T
    return _contrast(own, other)


def _contrast(own: Floats, other: Floats) -> Floats:
    """(other - own) / the larger of the two; 0 where both are 0, or where there is no other."""
    larger = np.maximum(own, other)
    return np.divide(other - own, larger, out=np.zeros_like(own), where=(larger > 0) & np.isfinite(larger))


def _adjusted_rand(labels: Ints, others: Ints) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985); scikit-learn's takes forty times as long for checking and sorting the labels."""
    width = others.max() + 1
    table = np.bincount(labels * width + others, minlength=(labels.max() + 1) * width).reshape(-1, width)
    together, in_rows, in_columns, all_pairs = (_pairs(counts) for counts in (table, table.sum(axis=1), table.sum(axis=0), table.sum()))
    by_chance = in_rows * in_columns / all_pairs
    most = (in_rows + in_columns) / 2
    return 1.0 if most == by_chance else (together - by_chance) / (most - by_chance)


def _pairs(counts: Ints) -> float:
    return float((counts * (counts - 1) / 2).sum())


def _squared_distances(points: Floats, centroids: Floats) -> Floats:
    from scipy.spatial.distance import cdist  # noqa: PLC0415

    distances: Floats = cdist(points, centroids, "sqeuclidean")
    return distances


def _nearest(points: Floats, centroids: Floats) -> tuple[Ints, float]:
    """Number of the nearest centroid for every point, and the sum of the squared distances to them."""
    distances = _squared_distances(points, centroids)
    return distances.argmin(axis=1), float(distances.min(axis=1).sum())


# Alignment


def _agreement(labels: pl.DataFrame, previous_labels: pl.DataFrame) -> tuple[int, float]:
    """Customers in both frames, and the share of them with the same segment id; 0 where no customer is in both."""
    both = labels.join(previous_labels.select("customer_id", "segment_id"), on="customer_id", suffix="_before", validate="1:1")
    same = int((both["segment_id"] == both["segment_id_before"]).sum())
    return both.height, same / max(both.height, 1)


# Names

_WORDS = {
    "recency_days": ("recent", "fading", "lapsed"),
    "frequency": ("infrequent", "occasional", "frequent"),
    "monetary": ("small spenders", "medium spenders", "big spenders"),
}
"""Feature -> words for a median in the lowest, middle and highest third of all customers."""


def _names(medians: list[dict[str, float]], population: dict[str, pl.Series]) -> list[str]:
    if len(medians) == 1:
        return ["All customers"]
    names = [" ".join(_word(feature, median[feature], population[feature]) for feature in RFM).capitalize() for median in medians]
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for number in sorted(range(len(names)), key=lambda number: (-medians[number]["monetary"], number)):
        alike[names[number]].append(number)
    return [_unique_name(name, alike[name].index(number) + 1, len(alike[name])) for number, name in enumerate(names)]


def _unique_name(name: str, rank: int, of: int) -> str:
    return name if of == 1 else f"{name} ({rank} of {of} by spend)"


def _word(feature: str, median: float, population: pl.Series) -> str:
    if feature == "frequency" and median == 1:
        return "one-time"
    # The middle of a tie, so that a value shared by most customers is called typical and not extreme.
    below = (int((population < median).sum()) + int((population <= median).sum())) / 2
    return _WORDS[feature][min(int(3 * below / len(population)), 2)]


def _explanation(median: dict[str, float], population: dict[str, pl.Series]) -> str:
    overall = {feature: float(values.median() or 0) for feature, values in population.items()}  # type: ignore[arg-type]
    days, orders, pounds = (median[feature] for feature in RFM)
    return (
        f"median {_count(days, 'day')} since last purchase against {overall['recency_days']:,g} of all customers, "
        f"{_count(orders, 'order')} against {overall['frequency']:,g}, {pounds:,.0f} pounds against {overall['monetary']:,.0f}"
    )


def _count(number: float, noun: str) -> str:
    return f"{number:,g} {noun}" if number == 1 else f"{number:,g} {noun}s"


def _conform(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The frame with the columns and types of its table, without the month."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in table.polars_schema.items() if name != table.month_column)
