"""Mining and clustering by Spark's MLlib behind the interfaces of `lib/baskets` and `lib/segments`: same frames, same thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from retail_assets.engines.spark.frames import from_arrow
from retail_assets.lib import segments
from retail_assets.lib.baskets import least_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from fractions import Fraction

    from pyspark.sql import DataFrame, SparkSession

    from retail_assets.lib.segments import Algorithm, Centers, FitCenters, Floats

MANY_CUSTOMERS: Final = 1_000_000
"""Customers from which on MLlib fits k-means: before, scikit-learn in one process is faster than the jobs of one iteration."""

_STARTS: Final = 3
"""Starts of k-means|| of which the best is kept. One start ends in a worse minimum now and then where k is large."""

FOUND: Final = pl.Schema({"items": pl.List(pl.String()), "freq": pl.Int64()})
"""Itemsets as MLlib gives them."""


def frequent_itemsets(baskets: DataFrame, basket_count: int, min_support: Fraction, max_length: int | None = None) -> pl.DataFrame:
    """`baskets.frequent_itemsets` by parallel FP-growth (Li et al. 2008, doi:10.1145/1454008.1454027).

    MLlib has no bound on the length: longer itemsets are found and left out.

    Args:
        baskets: One row per basket: `items`, its distinct items.
        basket_count: Rows of `baskets`.
        min_support: Smallest share of baskets, exact.
        max_length: Largest number of items in a set; no bound if None.

    Returns:
        As `baskets.frequent_itemsets`.
    """
    from pyspark.ml.fpm import FPGrowth  # noqa: PLC0415
    from pyspark.sql import functions as f  # noqa: PLC0415

    min_count = least_count(min_support, basket_count)
    # MLlib rounds up the product of share and baskets: half a basket less than the least count comes to that count, whatever the rounding.
    mined = FPGrowth(itemsCol="items", minSupport=(min_count - 0.5) / max(basket_count, 1)).fit(baskets).freqItemsets
    found = mined if max_length is None else mined.where(f.size("items") <= max_length)
    return itemsets(from_arrow(found.toArrow(), FOUND).filter(pl.col("freq") >= min_count), basket_count)


def itemsets(found: pl.DataFrame, basket_count: int) -> pl.DataFrame:
    """Itemsets as `baskets.frequent_itemsets` returns them, from those of MLlib."""
    ordered = found.select(itemset=pl.col("items").list.sort(), count="freq").sort(pl.col("itemset").list.len(), "itemset")
    # By numpy, as the other miners do: polars multiplies by the reciprocal, which differs in the last bit.
    return ordered.with_columns(support=ordered["count"].to_numpy() / max(basket_count, 1))


def fit_centers(of_many: Callable[[Floats, list[int], int], dict[int, Centers]]) -> FitCenters:
    """`segments.fit_centers` with k-means of many customers by `of_many`, which is `kmeans` in a session; Spark is started only for those."""

    def fit(points: Floats, starts: Mapping[int, Centers | None], algorithm: Algorithm, seed: int) -> dict[int, Centers]:
        if algorithm != "kmeans" or len(points) < MANY_CUSTOMERS:
            return segments.fit_centers(points, starts, algorithm, seed)
        return of_many(points, list(starts), seed)

    return fit


def kmeans(spark: SparkSession, points: Floats, ks: list[int], seed: int) -> dict[int, Centers]:
    """k-means for each k from starts of its own, k-means|| (Bahmani et al. 2012, arXiv:1203.6402).

    Args:
        spark: The session.
        points: Scaled features, outliers cut off.
        ks: Numbers of segments.
        seed: Random seed.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyspark.ml.clustering import KMeans  # noqa: PLC0415
    from pyspark.ml.functions import array_to_vector  # noqa: PLC0415
    from pyspark.sql import functions as f  # noqa: PLC0415

    features = pa.FixedSizeListArray.from_arrays(pa.array(points.ravel()), points.shape[1]).cast(pa.list_(pa.float64()))
    rows = spark.createDataFrame(pa.table({"features": features})).select(array_to_vector(f.col("features")).alias("features")).cache()
    found = {}
    for k in ks:
        fits = [KMeans(k=k, seed=seed + start, maxIter=100).fit(rows) for start in range(_STARTS)]
        best = min(fits, key=lambda fit: fit.summary.trainingCost)
        found[k] = segments.equal_centers(np.array(best.clusterCenters()))
    rows.unpersist()
    return found
