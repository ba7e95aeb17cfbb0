"""What segments are like: figures, a name of their own, the rule and the features that set them apart, what they buy and where they live."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from retail_assets.contracts import SEGMENT_PROFILES
from retail_assets.lib.segments._model import RFM, conform
from retail_assets.lib.segments._rules import Rule, Units, describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retail_assets.lib.segments._model import SegmentModel

    Medians = dict[str, float]

_CONTRIBUTIONS: Final = {"recency_days": "recency", "frequency": "frequency", "monetary": "spend"}
"""Feature -> what it is called in an explanation."""

_NO_BUYERS: Final = pl.DataFrame(schema={"segment_id": pl.Int32, "stock_code": pl.String, "customer_count": pl.Int64})


def profiles(
    rfm: pl.DataFrame,
    segments: pl.DataFrame,
    model: SegmentModel,
    buyers: pl.DataFrame | None = None,
    product_names: Mapping[str, str] | None = None,
    kept_names: Mapping[int, str] | None = None,
    top: int = 5,
    units: Units = Units(),  # noqa: B008 - frozen
) -> pl.DataFrame:
    """What each segment is like, with a name, a rule and an explanation that come from its customers against all customers.

    The name says for recency, frequency and spend where among all customers the median of the segment lies. Segments that come out with the same
    words are told apart by a median that differs. The contribution of a feature is its share in the squared distance between the segment's mean and
    that of all customers, on the scaled features.

    Args:
        rfm: Rows of features.rfm_features of one snapshot; `net_amount` and `country` may be missing, then `monetary` stands for the one.
        segments: What `assign` gives for the same customers.
        model: The model that assigned them.
        buyers: `segment_id`, `stock_code`, `customer_count`: how many customers of a segment have bought a product to date. None: no top products.
        product_names: Stock code -> name.
        kept_names: Names to use as they are, by segment: those of the month a kept model was fitted on.
        top: Length of the lists of products and countries.
        units: What frequency and spend count, in words.

    Returns:
        Rows of segments.segment_profiles without month, sorted by segment.

    Raises:
        ValueError: The two frames are not about the same customers.
    """
    customers = rfm.join(segments.select("customer_id", "segment_id", "silhouette", "is_outlier"), on="customer_id", validate="1:1")
    if not customers.height == rfm.height == segments.height:
        raise ValueError(f"{rfm.height} customers with features and {segments.height} with a segment, but {customers.height} with both")
    summary = _summary(customers if "net_amount" in customers.columns else customers.with_columns(net_amount="monetary"))
    population = {feature: customers[feature].cast(pl.Float64) for feature in RFM}
    rules = describe(customers, units)
    contributions = _contributions(customers, model)
    stock_codes = _top(_NO_BUYERS if buyers is None else buyers, "stock_code", top)
    countries = (
        _top(customers.group_by("segment_id", "country").agg(customer_count=pl.len()), "country", top) if "country" in customers.columns else {}
    )
    ids = summary["segment_id"].to_list()
    medians = {row["segment_id"]: {feature: row[f"median_{feature}"] for feature in RFM} for row in summary.iter_rows(named=True)}
    names = _names(medians, population, units) | {number: name for number, name in (kept_names or {}).items() if number in medians}
    told = {number: _explanation(rules[number], contributions[number], medians[number], population, units) for number in ids}
    return conform(
        summary.with_columns(
            pl.Series("segment_name", [names[number] for number in ids], dtype=pl.String),
            pl.Series("explanation", [told[number] for number in ids], dtype=pl.String),
            pl.Series("rule", [rules[number].text for number in ids], dtype=pl.String),
            pl.Series("rule_precision", [rules[number].precision for number in ids], dtype=pl.Float64),
            pl.Series("rule_recall", [rules[number].recall for number in ids], dtype=pl.Float64),
            *(
                pl.Series(f"{feature.removesuffix('_days')}_contribution", [contributions[number][feature] for number in ids], dtype=pl.Float64)
                for feature in RFM
            ),
            _lists("top_stock_codes", ids, stock_codes),
            _lists("top_products", ids, {number: [(product_names or {}).get(code, code) for code in codes] for number, codes in stock_codes.items()}),
            _lists("top_countries", ids, countries),
        ),
        SEGMENT_PROFILES,
    )


def _summary(customers: pl.DataFrame) -> pl.DataFrame:
    total = customers["net_amount"].sum()
    return (
        customers.group_by("segment_id")
        .agg(
            pl.len().alias("customer_count"),
            pl.col("is_outlier").sum().alias("outlier_count"),
            pl.col("net_amount").sum(),
            *(pl.col(feature).cast(pl.Float64).median().alias(f"median_{feature}") for feature in RFM),
            # Sums of floats depend on their order; customers come sorted.
            pl.col("silhouette").mean().alias("mean_silhouette"),
        )
        .with_columns(
            (pl.col("customer_count") / customers.height).alias("customer_share"),
            (pl.col("net_amount").cast(pl.Float64) / float(total) if total > 0 else pl.lit(None)).alias("revenue_share"),
        )
        .sort("segment_id")
    )


def _lists(name: str, ids: list[int], values: Mapping[int, list[str]]) -> pl.Series:
    return pl.Series(name, [values.get(number, []) for number in ids], dtype=pl.List(pl.String))


def _top(counted: pl.DataFrame, column: str, top: int) -> dict[int, list[str]]:
    """The commonest values of a column in every segment, by `customer_count`; ties in the order of the values."""
    ranked = counted.sort("segment_id", "customer_count", column, descending=[False, True, False])
    firsts = ranked.group_by("segment_id", maintain_order=True).head(top).group_by("segment_id", maintain_order=True).agg(column)
    return dict(firsts.iter_rows())


def _contributions(customers: pl.DataFrame, model: SegmentModel) -> dict[int, Medians]:
    """For every segment, the share of each feature of RFM in what sets its mean apart."""
    points = model.points(customers)
    overall = points.mean(axis=0)
    ids = customers["segment_id"].to_numpy()
    shares = {}
    for number in np.unique(ids):
        squares = dict(zip(model.features, (points[ids == number].mean(axis=0) - overall) ** 2, strict=True))
        apart = [float(squares.get(feature, 0.0)) for feature in RFM]
        total = sum(apart)
        shares[int(number)] = {feature: value / total if total > 0 else 0.0 for feature, value in zip(RFM, apart, strict=True)}
    return shares


# Names

_WORDS: Final = {
    "recency_days": ((1 / 3, "recent"), (2 / 3, "fading"), (1, "lapsed")),
    "frequency": ((1 / 3, "infrequent"), (2 / 3, "occasional"), (0.9, "frequent"), (1, "very frequent")),
    "monetary": ((1 / 3, "small spenders"), (2 / 3, "medium spenders"), (0.9, "big spenders"), (1, "top spenders")),
}
"""Feature -> words for where a median lies among all customers: up to which share of them, and the word."""


def _names(medians: dict[int, Medians], population: dict[str, pl.Series], units: Units) -> dict[int, str]:
    """A name for every segment, no two alike."""
    if len(medians) == 1:
        return dict.fromkeys(medians, "All customers")
    names = {
        number: " ".join(word(feature, median[feature], population[feature]) for feature in RFM).capitalize() for number, median in medians.items()
    }
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for number, name in names.items():
        alike[name].append(number)
    for numbers in alike.values():
        if len(numbers) > 1:
            names |= {
                number: f"{names[number]}, {note}" for number, note in _distinctions({number: medians[number] for number in numbers}, units).items()
            }
    return names


def word(feature: str, median: float, population: pl.Series) -> str:
    """Where a median of a feature of RFM lies among all customers, as names of segments say it: `fading`, `very frequent`, `top spenders`."""
    if feature == "frequency" and median == 1:
        return "one-time"
    # The middle of a tie, so that a value shared by most customers is called typical and not extreme.
    below = (int((population < median).sum()) + int((population <= median).sum())) / 2 / len(population)
    return next(word for share, word in _WORDS[feature] if below < share or share == 1)


def _distinctions(medians: dict[int, Medians], units: Units) -> dict[int, str]:
    """A note for each of the segments that sound alike: the first median that differs between all of them as written, else their number."""
    notes = [
        {number: f"about {median['monetary']:,.0f} {units.spend}" for number, median in medians.items()},
        {number: f"about {units.count_orders(round(median['frequency'], 1))}" for number, median in medians.items()},
        {number: f"about {_days(median['recency_days'])} ago" for number, median in medians.items()},
    ]
    by_number = {number: f"segment {number}" for number in medians}
    return next((note for note in notes if len(set(note.values())) == len(medians)), by_number)


# Explanations


def _explanation(rule: Rule, contributions: Medians, median: Medians, population: dict[str, pl.Series], units: Units) -> str:
    overall = {feature: float(values.median() or 0) for feature, values in population.items()}  # type: ignore[arg-type]
    days, orders, spend = (median[feature] for feature in RFM)
    holds = f"true of {rule.recall:.0%} of them, and {rule.precision:.0%} of whom it is true of are in the segment"
    figures = (
        f"{_days(days)} since the last purchase (all customers: {overall['recency_days']:,g}), "
        f"{units.count_orders(orders)} ({overall['frequency']:,g}), {spend:,.0f} {units.spend} ({overall['monetary']:,.0f})"
    )
    return " ".join([f"{rule.text[0].upper()}{rule.text[1:]}: {holds}.", *_set_apart(contributions), f"Medians: {figures}."])


def _set_apart(contributions: Medians) -> list[str]:
    if not any(contributions.values()):
        return []
    ordered = sorted(RFM, key=lambda feature: -contributions[feature])
    return [f"Set apart by {', '.join(f'{_CONTRIBUTIONS[feature]} ({contributions[feature]:.0%})' for feature in ordered)}."]


def _days(number: float) -> str:
    return f"{number:,g} day" if number == 1 else f"{number:,g} days"
