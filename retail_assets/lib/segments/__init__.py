"""Segments of customers: fit and choice of k, assignment, ids that last from month to month, profiles with names and rules, migration, drift.

Pure functions on polars frames. They know one snapshot, or two, but not their months: frames that end up in a table of `retail_assets.contracts` come
with all of its columns except the months, which the caller adds. Features and scores are made in `rfm`. No storage, no Dagster and no clock in here,
and every random number comes from the given seed. Each step stands in a module of its own; here are only the public names.

scikit-learn and scipy are imported inside the functions that need them: their imports take seconds, and the Dagster code location loads this package.
"""

from retail_assets.lib.segments._algorithms import FitCenters, fit_centers
from retail_assets.lib.segments._alignment import Alignment, agreement, align
from retail_assets.lib.segments._drift import drift
from retail_assets.lib.segments._fitting import MIN_CUSTOMERS, MIN_STABILITY, fit
from retail_assets.lib.segments._migration import migration
from retail_assets.lib.segments._model import (
    OUTLIER_LIMIT,
    RFM,
    Algorithm,
    Centers,
    Floats,
    SegmentModel,
    Transform,
    assign,
    coordinates,
    equal_centers,
    model_frame,
    model_from_frame,
)
from retail_assets.lib.segments._profiles import profiles, word
from retail_assets.lib.segments._rules import Units

__all__ = [
    "MIN_CUSTOMERS",
    "MIN_STABILITY",
    "OUTLIER_LIMIT",
    "RFM",
    "Algorithm",
    "Alignment",
    "Centers",
    "FitCenters",
    "Floats",
    "SegmentModel",
    "Transform",
    "Units",
    "agreement",
    "align",
    "assign",
    "coordinates",
    "drift",
    "equal_centers",
    "fit",
    "fit_centers",
    "migration",
    "model_frame",
    "model_from_frame",
    "profiles",
    "word",
]
