"""A fitted segmentation: how features are scaled, where segments lie, who belongs to which, and how all of it is stored.

How a model comes about is `_fitting`'s subject, how its ids carry over `_alignment`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from retail_assets.contracts import SEGMENT_CANDIDATES, SEGMENT_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retail_assets.contracts import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Algorithm = Literal["kmeans", "gmm", "ward"]
Transform = Literal["log", "yeo_johnson"]

RFM: Final = ("recency_days", "frequency", "monetary")
"""The features that segments are made of unless told otherwise, and always described by."""

OUTLIER_LIMIT: Final = 3.0
"""Standard deviations at which a scaled feature is cut off. A wholesaler stays the extreme of a segment, but cannot drag its centroid away."""

_NO_SPREAD: Final = 1e-12
"""Standard deviation of a transformed feature below which it is constant and what remains is rounding."""

_MONTHS: Final = ("snapshot_month", "fitted_month", "reference_month")
"""Columns that only the caller knows."""


class Centers(NamedTuple):
    """Where segments lie on the scaled features: one row per segment, one column per feature.

    Of k-means and Ward, variances are 1 and weights equal; of a mixture they are those of its components, so that one formula assigns for all.
    """

    means: Floats
    variances: Floats
    weights: Floats

    def take(self, rows: Sequence[int] | Ints) -> Centers:
        """The segments of some rows, in their order."""
        return Centers(self.means[rows], self.variances[rows], self.weights[rows])

    def squared_distances(self, points: Floats) -> Floats:
        """Squared distance of every point (row) to every segment (column), each feature over its variance."""
        from scipy.spatial.distance import cdist  # noqa: PLC0415

        if (self.variances == 1).all():
            plain: Floats = cdist(points, self.means, "sqeuclidean")
            return plain
        return np.column_stack([((points - mean) ** 2 / variance).sum(axis=1) for mean, variance, _ in zip(*self, strict=True)])

    def nearest(self, points: Floats) -> tuple[Ints, float]:
        """Number of the likeliest segment for every point, and the sum over all points of what it costs.

        The cost is minus twice the log likelihood of a diagonal Gaussian but for constants; with equal weights and variances of 1 it is the squared
        distance, the likeliest is the nearest, and the sum is the inertia of k-means.
        """
        costs = self.squared_distances(points)
        if (self.variances != 1).any() or np.ptp(self.weights) > 0:
            costs = costs + np.log(self.variances).sum(axis=1) - 2 * np.log(self.weights * len(self.weights))
        return costs.argmin(axis=1), float(costs.min(axis=1).sum())


def equal_centers(means: Floats) -> Centers:
    """Segments that differ by their means alone."""
    return Centers(means, np.ones_like(means), np.full(len(means), 1 / len(means)))


@dataclass(frozen=True, eq=False)
class Scaler:
    """Features as the segments see them: transformed, standardised. Fitted by scikit-learn, kept as plain numbers that a table can hold.

    The transform is that of Yeo and Johnson (2000), of which power 0 is log1p. Values below 0 (everything returned) count as 0, and there it equals
    that of Box and Cox (1964) on 1 + x, which scipy computes with its inverse.
    """

    features: tuple[str, ...]
    powers: Floats
    means: Floats
    scales: Floats

    def scaled(self, customers: pl.DataFrame) -> Floats:
        """One row per customer, one column per feature, nothing cut off."""
        return self.from_units(raw_features(customers, self.features))

    def from_units(self, values: Floats) -> Floats:
        """Values in the units of the features, scaled."""
        from scipy.special import boxcox1p  # noqa: PLC0415

        return np.asarray((boxcox1p(values, self.powers) - self.means) / self.scales, dtype=np.float64)

    def to_units(self, scaled: Floats) -> Floats:
        """Scaled values back in the units of the features."""
        from scipy.special import inv_boxcox1p  # noqa: PLC0415

        return np.asarray(inv_boxcox1p(scaled * self.scales + self.means, self.powers), dtype=np.float64)


def fit_scaler(customers: pl.DataFrame, features: Sequence[str], transform: Transform) -> Scaler:
    """The scaler of the customers: a scikit-learn pipeline of the transform and `StandardScaler`, in numbers.

    Raises:
        ValueError: A feature is missing for a customer.
    """
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import FunctionTransformer, PowerTransformer, StandardScaler  # noqa: PLC0415

    columns = tuple(sorted(features))
    values = raw_features(customers, columns)
    if not np.isfinite(values).all():
        raise ValueError(f"every customer must have a finite value in each of {', '.join(columns)}")
    power = PowerTransformer("yeo-johnson", standardize=False) if transform == "yeo_johnson" else FunctionTransformer(np.log1p)
    pipeline = make_pipeline(power, StandardScaler()).fit(values)
    powers = power.lambdas_ if transform == "yeo_johnson" else np.zeros(len(columns))
    standard = pipeline[-1]
    return Scaler(columns, powers, standard.mean_, np.where(standard.scale_ > _NO_SPREAD, standard.scale_, 1.0))


def raw_features(customers: pl.DataFrame, features: Sequence[str]) -> Floats:
    """The features in their units, values below 0 as 0: one row per customer."""
    return customers.select(pl.col(feature).cast(pl.Float64).clip(lower_bound=0) for feature in features).to_numpy()


def cut_off(scaled: Floats) -> Floats:
    """Scaled features without outliers, in memory as k-means reads it."""
    return np.ascontiguousarray(scaled.clip(-OUTLIER_LIMIT, OUTLIER_LIMIT))


@dataclass(frozen=True, eq=False)
class SegmentModel:
    """A fitted segmentation: how features are scaled, and where each segment lies on that scale."""

    scaler: Scaler
    centers: Centers
    """In the order of `segment_ids`."""
    segment_ids: tuple[int, ...]
    algorithm: Algorithm
    seed: int
    candidates: pl.DataFrame
    """Rows of segments.segment_candidates without month; empty in a model that was read back."""

    @property
    def k(self) -> int:
        """Number of segments."""
        return len(self.segment_ids)

    @property
    def features(self) -> tuple[str, ...]:
        """Clustered features, sorted by name."""
        return self.scaler.features

    def points(self, customers: pl.DataFrame) -> Floats:
        """One row per customer on the scaled features, outliers cut off: what distances are taken from."""
        return cut_off(self.scaler.scaled(customers))

    def centers_in_units(self) -> Floats:
        """Centroids in the units of the features, which models of different months share."""
        return self.scaler.to_units(self.centers.means)


def assign(model: SegmentModel, rfm: pl.DataFrame) -> pl.DataFrame:
    """The segment of every customer: `customer_id`, `segment_id`, `distance`, `silhouette`, `is_outlier`, sorted by customer.

    `silhouette` is the simplified silhouette (Hruschka et al. 2004): (b - a) / max(a, b) with a the distance to the own centroid and b that to the
    nearest other one. It needs no distances between customers. Where everybody is in the nearest segment, as with k-means, it runs from 0 (on the
    border) to 1 (on the centroid); a mixture may put a customer into a wider segment that lies farther away, and then it is below 0. A single segment
    has no other: the silhouette is 0, as Rousseeuw (1987) sets it where it is undefined.

    Customers need not be those the model was fitted on.
    """
    customers = rfm.sort("customer_id")
    scaled = model.scaler.scaled(customers)
    points = cut_off(scaled)
    nearest, _ = model.centers.nearest(points)
    distances = np.sqrt(model.centers.squared_distances(points))
    return pl.DataFrame(
        {
            "customer_id": customers["customer_id"],
            "segment_id": pl.Series(np.asarray(model.segment_ids)[nearest], dtype=pl.Int32),
            "distance": np.take_along_axis(distances, nearest[:, None], axis=1).ravel(),
            "silhouette": _simplified_silhouettes(distances, nearest),
            "is_outlier": (np.abs(scaled) > OUTLIER_LIMIT).any(axis=1),
        }
    )


def coordinates(model: SegmentModel, rfm: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, str]]:
    """A map of the customers: `customer_id`, `x`, `y`, sorted by customer, and what the two axes are.

    The axes are the first two principal components of the scaled features (Pearson 1901), turned so that the heaviest feature of each points up. The
    text of an axis gives its share of the variance and the weights of the features.
    """
    customers = rfm.sort("customer_id")
    centred = model.points(customers)
    centred = centred - centred.mean(axis=0)
    _, spreads, components = np.linalg.svd(centred, full_matrices=False)
    components = components * np.sign(np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1))
    shares = spreads**2 / max(float((spreads**2).sum()), _NO_SPREAD)
    places = centred @ components.T
    # A single feature, or a single customer, has one component.
    flat = np.zeros(len(places))
    x, y = (places[:, number] if number < places.shape[1] else flat for number in range(2))
    axes = [
        f"{shares[number]:.0%} of the variance: "
        + ", ".join(f"{weight:+.2f} {name}" for name, weight in zip(model.features, components[number], strict=True))
        if number < len(components)
        else "no second component"
        for number in range(2)
    ]
    return pl.DataFrame({"customer_id": customers["customer_id"], "x": x, "y": y}), (axes[0], axes[1])


def _simplified_silhouettes(distances: Floats, nearest: Ints) -> Floats:
    if distances.shape[1] == 1:
        return np.zeros(len(distances))
    rows = np.arange(len(distances))
    own = distances[rows, nearest]
    others = distances.copy()
    others[rows, nearest] = np.inf
    return contrast(own, others.min(axis=1))


def contrast(own: Floats, other: Floats) -> Floats:
    """(other - own) / the larger of the two; 0 where both are 0, or where there is no other."""
    larger = np.maximum(own, other)
    return np.divide(other - own, larger, out=np.zeros_like(own), where=(larger > 0) & np.isfinite(larger))


def model_frame(model: SegmentModel) -> pl.DataFrame:
    """The model as rows of segments.segment_model without its months, sorted by segment and feature."""
    units = model.centers_in_units()
    rows = [
        {
            "segment_id": segment_id,
            "feature": feature,
            "algorithm": model.algorithm,
            "k": model.k,
            "scaled_center": model.centers.means[row, column],
            "center": units[row, column],
            "variance": model.centers.variances[row, column],
            "weight": model.centers.weights[row],
            "power": model.scaler.powers[column],
            "scaler_mean": model.scaler.means[column],
            "scaler_scale": model.scaler.scales[column],
            "seed": model.seed,
        }
        for row, segment_id in enumerate(model.segment_ids)
        for column, feature in enumerate(model.features)
    ]
    return conform(pl.DataFrame(rows), SEGMENT_MODEL)


def model_from_frame(frame: pl.DataFrame) -> SegmentModel:
    """The model that `model_frame` stored, rows in any order; its candidates are empty."""
    by_key = frame.sort("segment_id", "feature")
    features = tuple(by_key["feature"].unique().sort())
    first = by_key.head(len(features))

    def matrix(column: str) -> Floats:
        return by_key[column].to_numpy().reshape(-1, len(features))

    return SegmentModel(
        scaler=Scaler(features, first["power"].to_numpy(), first["scaler_mean"].to_numpy(), first["scaler_scale"].to_numpy()),
        centers=Centers(matrix("scaled_center"), matrix("variance"), np.ascontiguousarray(matrix("weight")[:, 0])),
        segment_ids=tuple(by_key["segment_id"].unique().sort()),
        algorithm=by_key["algorithm"].item(0),
        seed=by_key["seed"].item(0),
        candidates=conform(pl.DataFrame(schema=SEGMENT_CANDIDATES.polars_schema), SEGMENT_CANDIDATES),
    )


def conform(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The frame with the columns and types of its table, without the months."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in table.polars_schema.items() if name not in _MONTHS)
