"""Fitting and choosing segments, keeping their ids, naming them, and counting who moved."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from retail_assets.contracts import MONEY, SEGMENT_CANDIDATES, SEGMENT_MIGRATION, SEGMENT_MODEL, SEGMENT_PROFILES, Column, Table
from retail_assets.lib import segments
from retail_assets.lib.segments import SegmentModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("error")

MONEY_TYPE = Column("monetary", MONEY, "").polars_type

GROUPS = {
    # name: recency_days, frequency, monetary at the middle of the group
    "champions": (5, 40, 20_000),
    "newcomers": (5, 1, 200),
    "lost": (300, 1, 150),
}
"""Three groups that nobody would split otherwise."""


def _snapshot(rows: list[tuple[str, int, int, float]]) -> pl.DataFrame:
    schema = {"customer_id": pl.String, "recency_days": pl.Int32, "frequency": pl.Int32, "monetary": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("monetary").cast(MONEY_TYPE))


def _three_groups(per_group: int = 30, spread: float = 0.1) -> pl.DataFrame:
    random = np.random.default_rng(7)
    rows = []
    for name, (recency, frequency, monetary) in GROUPS.items():
        for number in range(per_group):
            r, f, m = np.exp(random.normal(0, spread, 3))
            rows.append((f"{name}-{number:03}", round(recency * r), max(round(frequency * f), 1), round(monetary * m, 2)))
    return _snapshot(rows)


def _model(centroids: list[list[float]], segment_ids: tuple[int, ...] | None = None, mean: float = 0.0, scale: float = 1.0) -> SegmentModel:
    """A model of two features, so that distances can be worked out by hand."""
    return SegmentModel(
        features=("frequency", "monetary"),
        scaler_mean=np.full(2, mean),
        scaler_scale=np.full(2, scale),
        centroids=np.array(centroids),
        segment_ids=segment_ids or tuple(range(len(centroids))),
        seed=0,
        candidates=pl.DataFrame(),
    )


def _labels(ids: dict[str, int]) -> pl.DataFrame:
    return pl.DataFrame({"customer_id": list(ids), "segment_id": pl.Series(list(ids.values()), dtype=pl.Int32)})


def _schema(table: Table) -> pl.Schema:
    """Columns of the table as this module gives them: without the month."""
    return pl.Schema({name: dtype for name, dtype in table.polars_schema.items() if name != table.month_column})


def _group(customer_id: pl.Expr) -> pl.Expr:
    return customer_id.str.split("-").list.first()


# Fit


def test_groups_that_stand_apart_are_found_as_they_are() -> None:
    customers = _three_groups()
    model = segments.fit(customers)
    found = segments.assign(model, customers).group_by(_group(pl.col("customer_id"))).agg(pl.col("segment_id").unique())
    # By descending spend: champions 0, newcomers 1, lost 2.
    assert dict(found.iter_rows()) == {"champions": [0], "newcomers": [1], "lost": [2]}
    chosen = model.candidates.filter("is_chosen").row(0, named=True)
    assert (chosen["k"], chosen["stability"], chosen["smallest_share"]) == (3, 1.0, pytest.approx(1 / 3))


def test_figures_of_the_candidates_agree_with_scikit_learn() -> None:
    from sklearn.metrics import silhouette_score  # noqa: PLC0415

    customers = _three_groups(spread=0.8)
    model = segments.fit(customers, k_range=[4])
    labels = segments.assign(model, customers)["segment_id"].to_numpy()
    points = model.scale(customers.sort("customer_id"))
    figures = model.candidates.row(0, named=True)
    assert model.candidates.schema == _schema(SEGMENT_CANDIDATES)
    assert figures["silhouette"] == pytest.approx(silhouette_score(points, labels), abs=1e-9)
    assert figures["inertia"] == pytest.approx(((points - model.centroids[labels]) ** 2).sum())
    assert figures["smallest_share"] == pytest.approx(np.bincount(labels).min() / len(labels))


def test_the_silhouette_of_a_sample_is_near_that_of_all() -> None:
    customers = _three_groups(per_group=100, spread=0.5)
    everybody = segments.fit(customers, k_range=[3], bootstraps=2).candidates["silhouette"].item()
    sample = segments.fit(customers, k_range=[3], bootstraps=2, max_customers_silhouette=100).candidates["silhouette"].item()
    assert sample != everybody
    assert sample == pytest.approx(everybody, abs=0.1)


def test_neither_the_order_of_rows_nor_of_features_changes_the_model() -> None:
    customers = _three_groups(spread=0.6)
    model = segments.fit(customers, k_range=range(2, 6), bootstraps=3)
    shuffled, turned_round = customers.sample(fraction=1, shuffle=True, seed=1), segments.RFM[::-1]
    other = segments.fit(shuffled, features=turned_round, k_range=range(2, 6), bootstraps=3)
    assert_frame_equal(segments.model_frame(model), segments.model_frame(other), check_exact=True)
    assert_frame_equal(model.candidates, other.candidates, check_exact=True)


def test_net_spend_below_zero_counts_as_zero() -> None:
    customers = _three_groups()
    everything_returned = customers.with_columns(monetary=pl.when(pl.col("customer_id") == "lost-000").then(0).otherwise("monetary").cast(MONEY_TYPE))
    more_returned = customers.with_columns(monetary=pl.when(pl.col("customer_id") == "lost-000").then(-50).otherwise("monetary").cast(MONEY_TYPE))
    models = [segments.fit(frame, k_range=[3], bootstraps=2) for frame in (everything_returned, more_returned)]
    assert_frame_equal(*(segments.model_frame(model) for model in models), check_exact=True)


@pytest.mark.parametrize("count", [1, 2, segments.MIN_CUSTOMERS - 1])
def test_few_customers_are_one_segment(count: int) -> None:
    customers = _three_groups().head(count)
    model = segments.fit(customers)
    assert model.k == 1
    assert model.candidates.select("k", "is_chosen", "silhouette", "stability", "smallest_share").rows() == [(1, True, 0.0, 1.0, 1.0)]
    assert segments.assign(model, customers)["silhouette"].to_list() == [0.0] * count


def test_customers_who_are_all_alike_are_one_segment() -> None:
    alike = _snapshot([(f"{number:02}", 30, 1, 12.5) for number in range(40)])
    model = segments.fit(alike)
    assert model.k == 1
    assert segments.assign(model, alike)["distance"].max() == pytest.approx(0)


def test_no_more_segments_are_tried_than_there_are_different_customers() -> None:
    # 39 alike and one apart: many resamples miss the one, and have a single distinct customer.
    customers = _snapshot([(f"{number:02}", 30, 1, 12.5) for number in range(39)] + [("99", 1, 50, 9000)])
    assert segments.fit(customers).candidates["k"].to_list() == [2]


def test_a_segment_for_every_customer_is_not_tried() -> None:
    customers = _three_groups(spread=0.5).head(segments.MIN_CUSTOMERS)
    model = segments.fit(customers, k_range=range(18, 30), bootstraps=2)
    assert model.candidates["k"].to_list() == [18, 19]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(-5, 5)), min_size=segments.MIN_CUSTOMERS, max_size=45))
def test_any_customers_get_segments_without_error_or_warning(values: list[tuple[int, int, int]]) -> None:
    customers = _snapshot([(f"{number:02}", *value) for number, value in enumerate(values)])
    model = segments.fit(customers, k_range=range(2, 5), bootstraps=2)
    labels = segments.assign(model, customers)
    assert labels["customer_id"].to_list() == customers["customer_id"].to_list()
    assert set(labels["segment_id"]) <= set(range(model.k))
    assert labels["silhouette"].is_between(0, 1).all()
    assert model.candidates["is_chosen"].sum() == 1
    assert segments.profiles(customers, labels)["customer_count"].sum() == customers.height


def test_no_customer_is_refused() -> None:
    with pytest.raises(ValueError, match="no customer to segment"):
        segments.fit(_snapshot([]))


def test_a_customer_without_a_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="every customer must have a finite value in each of frequency, monetary, recency_days"):
        segments.fit(_three_groups().with_columns(recency_days=pl.lit(None, dtype=pl.Int32)))


def test_one_resample_is_refused() -> None:
    with pytest.raises(ValueError, match="bootstraps must be at least 2, but is 1"):
        segments.fit(_three_groups(), bootstraps=1)


# Rule for k: silhouette, stability, smallest share per k


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        pytest.param({2: (0.5, 0.9, 0.4), 3: (0.3, 0.9, 0.2), 4: (0.2, 0.9, 0.1)}, 3, id="k = 2 only splits the active off"),
        pytest.param({2: (0.5, 0.9, 0.4), 3: (0.3, 0.7, 0.2), 4: (0.2, 0.7, 0.1)}, 2, id="k = 2 where nothing larger is stable"),
        pytest.param({3: (0.35, 0.9, 0.2), 4: (0.34, 0.8, 0.1), 5: (0.3, 0.8, 0.1)}, 4, id="the larger k of a tie in silhouette"),
        pytest.param({3: (0.3, 0.9, 0.2), 4: (0.4, 0.9, 0.005)}, 3, id="a handful of outliers is no segment"),
        pytest.param({3: (0.3, 0.75, 0.01), 4: (0.4, 0.749, 0.2)}, 3, id="both limits may be reached"),
        pytest.param({2: (0.5, 0.5, 0.4), 3: (0.4, 0.6, 0.3), 4: (0.4, 0.6, 0.3)}, 3, id="the most stable, then the smallest, where none is stable"),
    ],
)  # fmt: skip
def test_the_rule_for_k(figures: dict[int, tuple[float, float, float]], expected: int) -> None:
    rows = [(k, *values) for k, values in figures.items()]
    frame = pl.DataFrame(rows, schema=["k", "silhouette", "stability", "smallest_share"], orient="row")
    assert segments._choose(frame) == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=2, max_size=40))
def test_the_adjusted_rand_index_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import adjusted_rand_score  # noqa: PLC0415

    labels, others = np.array(pairs).T
    assert segments._adjusted_rand(labels, others) == pytest.approx(adjusted_rand_score(labels, others))


# Assign


def test_distance_and_silhouette_by_hand() -> None:
    model = _model([[np.log1p(9), 0.0], [np.log1p(9), 4.0]])
    # At log spend 1 the own centroid is 1 away and the other 3: (3 - 1) / 3. At 2 both are 2 away, and the first wins.
    customers = _snapshot([("a", 0, 9, np.expm1(1)), ("b", 0, 9, np.expm1(2)), ("c", 0, 9, np.expm1(4))])
    labels = segments.assign(model, customers.with_columns(pl.col("monetary").cast(pl.Float64)))
    assert labels.schema == pl.Schema({"customer_id": pl.String, "segment_id": pl.Int32, "distance": pl.Float64, "silhouette": pl.Float64})
    assert labels["distance"].to_list() == pytest.approx([1, 2, 0], abs=1e-3)
    assert labels["silhouette"].to_list() == pytest.approx([2 / 3, 0, 1], abs=1e-3)


# Align

PREVIOUS = _model([[0.0, 0.0], [5.0, 5.0], [9.0, 0.0]], segment_ids=(0, 1, 3))
"""Id 2 is free: the month before that had more segments."""


def _align(centroids: list[list[float]]) -> tuple[int, ...]:
    """Aligned ids of the centroids, in their order."""
    labels = _labels({str(number): number for number in range(len(centroids))})
    _, aligned, _ = segments.align(_model(centroids), labels, PREVIOUS, _labels({"0": 0}))
    return tuple(aligned["segment_id"])


def test_a_segment_keeps_the_id_of_its_counterpart() -> None:
    assert _align([[9.1, 0.2], [0.1, 0.0], [5.0, 4.8]]) == (3, 0, 1)


def test_a_new_segment_gets_the_lowest_free_id() -> None:
    assert _align([[0.0, 0.0], [0.0, 40.0], [5.0, 5.0], [9.0, 0.0], [0.0, 50.0]]) == (0, 2, 1, 3, 4)


def test_a_segment_without_successor_gives_up_its_id() -> None:
    assert _align([[5.0, 5.0], [9.0, 0.0]]) == (1, 3)


def test_pairing_is_best_in_total_not_one_by_one() -> None:
    # The first is nearest to id 1 (2.0 away), but then the second, which lies at id 1, would be left with id 0 far away.
    assert _align([[3.6, 3.6], [5.0, 5.0], [9.0, 0.0]]) == (0, 1, 3)


def test_centroids_are_compared_in_logs_and_not_on_the_scale_of_each_month() -> None:
    # On its own scale the model looks like the previous one turned round; in logs (value * 2 + 10) it is the same.
    previous = _model([[12.0, 12.0], [8.0, 8.0]])
    model = _model([[-1.0, -1.0], [1.0, 1.0]], mean=10, scale=2)
    _, aligned, _ = segments.align(model, _labels({"a": 0, "b": 1}), previous, _labels({"a": 1, "b": 0}))
    assert aligned["segment_id"].to_list() == [1, 0]


def test_agreement_counts_customers_of_both_months() -> None:
    labels = _labels({"stays": 0, "moves": 0, "joined": 1})
    previous_labels = _labels({"stays": 1, "moves": 0, "left": 1})
    # As fitted, 0 and 1 are swapped against the month before.
    aligned_model, _, alignment = segments.align(_model([[5.0, 5.0], [0.0, 0.0]]), labels, _model([[0.0, 0.0], [5.0, 5.0]]), previous_labels)
    assert alignment == segments.Alignment(k=2, previous_k=2, customer_count=2, raw_agreement=0.5, aligned_agreement=0.5)
    assert aligned_model.centroids.tolist() == [[0.0, 0.0], [5.0, 5.0]]


def test_agreement_of_nobody_is_zero() -> None:
    _, _, alignment = segments.align(PREVIOUS, _labels({"a": 0}), PREVIOUS, _labels({"b": 0}))
    assert (alignment.customer_count, alignment.raw_agreement, alignment.aligned_agreement) == (0, 0.0, 0.0)


def test_the_aligned_model_assigns_the_aligned_labels() -> None:
    customers = _three_groups()
    model = segments.fit(customers, k_range=[3])
    turned = _renumbered(model, (2, 0, 1))
    aligned_model, aligned, alignment = segments.align(model, segments.assign(model, customers), turned, segments.assign(turned, customers))
    assert_frame_equal(segments.assign(aligned_model, customers), aligned)
    assert (alignment.raw_agreement, alignment.aligned_agreement) == (0.0, 1.0)


def test_models_of_other_features_cannot_be_aligned() -> None:
    other = segments.fit(_three_groups(), k_range=[3])
    with pytest.raises(ValueError, match="cannot align segments of frequency, monetary, recency_days to those of frequency, monetary"):
        segments.align(other, _labels({"a": 0}), PREVIOUS, _labels({"a": 0}))


def _renumbered(model: SegmentModel, ids: tuple[int, ...]) -> SegmentModel:
    order = np.argsort(ids)
    centroids: NDArray[np.float64] = model.centroids[order]
    return SegmentModel(model.features, model.scaler_mean, model.scaler_scale, centroids, tuple(sorted(ids)), model.seed, model.candidates)


# Stored model


def test_a_stored_model_reads_back_the_same_in_any_order_of_rows() -> None:
    customers = _three_groups()
    model = _renumbered(segments.fit(customers, k_range=[3]), (4, 0, 2))
    stored = segments.model_frame(model)
    assert stored.schema == _schema(SEGMENT_MODEL)
    back = segments.model_from_frame(stored.sample(fraction=1, shuffle=True, seed=5))
    assert_frame_equal(segments.model_frame(back), stored, check_exact=True)
    assert_frame_equal(segments.assign(back, customers), segments.assign(model, customers), check_exact=True)
    assert back.candidates.is_empty()


def test_centers_are_in_the_unit_of_the_feature() -> None:
    stored = segments.model_frame(_model([[0.0, 1.0]], mean=1.0, scale=2.0))
    assert dict(stored.select("feature", "center").iter_rows()) == pytest.approx({"frequency": np.expm1(1), "monetary": np.expm1(3)})


# Profiles


def _profiles(customers: pl.DataFrame, ids: list[int]) -> list[dict[str, Any]]:
    labels = pl.DataFrame({"customer_id": customers["customer_id"], "segment_id": ids, "silhouette": [0.5] * customers.height})
    frame = segments.profiles(customers, labels)
    assert frame.schema == _schema(SEGMENT_PROFILES)
    return frame.rows(named=True)


def test_a_profile_by_hand() -> None:
    customers = _snapshot([("a", 10, 9, 2000), ("b", 14, 11, 3000.5), ("c", 90, 2, 200), ("d", 100, 1, 150), ("e", 300, 1, -0.5), ("f", 400, 1, 100)])
    first, second, third = _profiles(customers, [0, 0, 1, 1, 2, 2])
    assert first == {
        "segment_id": 0,
        "segment_name": "Recent frequent big spenders",
        "explanation": "median 12 days since last purchase against 95 of all customers, 10 orders against 1.5, 2,500 pounds against 175",
        "customer_count": 2,
        "customer_share": pytest.approx(1 / 3),
        "monetary": Decimal("5000.5"),
        "monetary_share": pytest.approx(5000.5 / 5450),
        "median_recency_days": 12.0,
        "median_frequency": 10.0,
        "median_monetary": 2500.25,
        "mean_silhouette": 0.5,
    }
    assert second["segment_name"] == "Fading occasional medium spenders"
    assert third["segment_name"] == "Lapsed one-time small spenders"
    assert "1 order against" in third["explanation"]


def test_segments_that_sound_alike_are_told_apart_by_spend() -> None:
    customers = _snapshot([("a", 5, 9, 900), ("b", 5, 9, 800), *((f"z{number}", 200, 1, 1) for number in range(6))])
    names = [profile["segment_name"] for profile in _profiles(customers, [1, 0, 2, 2, 2, 2, 2, 2])]
    assert names[:2] == ["Recent frequent big spenders (2 of 2 by spend)", "Recent frequent big spenders (1 of 2 by spend)"]


def test_the_only_segment_is_all_customers() -> None:
    profile = _profiles(_three_groups(), [0] * 90)[0]
    assert (profile["segment_name"], profile["customer_share"], profile["monetary_share"]) == ("All customers", 1.0, 1.0)


def test_shares_of_no_spend_are_unknown() -> None:
    assert _profiles(_snapshot([("a", 1, 1, 5), ("b", 1, 1, -5)]), [0, 0])[0]["monetary_share"] is None


def test_profiles_of_other_customers_are_refused() -> None:
    labels = pl.DataFrame({"customer_id": ["a", "b"], "segment_id": [0, 0], "silhouette": [0.0, 0.0]})
    with pytest.raises(ValueError, match="1 customers with features and 2 with a segment, but 1 with both"):
        segments.profiles(_snapshot([("a", 1, 1, 5)]), labels)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4), st.integers(-2, 9), st.integers(0, 5)), min_size=1, max_size=30))
def test_names_are_unique(rows: list[tuple[int, int, int, int]]) -> None:
    customers = _snapshot([(f"{number:02}", *row[:3]) for number, row in enumerate(rows)])
    names = [profile["segment_name"] for profile in _profiles(customers, [row[3] for row in rows])]
    assert len(set(names)) == len(names)


# Migration


def _segmented(rows: dict[str, tuple[int, str]]) -> pl.DataFrame:
    """Customer -> segment id and spend."""
    return pl.DataFrame(
        {
            "customer_id": pl.Series(list(rows), dtype=pl.String),
            "segment_id": pl.Series([row[0] for row in rows.values()], dtype=pl.Int32),
            "segment_name": pl.Series([f"segment {row[0]}" for row in rows.values()], dtype=pl.String),
            "monetary": pl.Series([Decimal(row[1]) for row in rows.values()], dtype=MONEY_TYPE),
        }
    )


def test_moves_by_hand() -> None:
    previous = _segmented({"stays": (0, "10.10"), "moves": (0, "5"), "moves too": (0, "6"), "leaves": (1, "7")})
    current = _segmented({"stays": (0, "12.30"), "moves": (1, "5"), "moves too": (1, "8"), "joins": (1, "1")})
    moves = segments.migration(current, previous)
    assert moves.schema == _schema(SEGMENT_MIGRATION)
    assert moves.rows() == [
        ("joined>1", None, None, 1, "segment 1", 1, Decimal(0), Decimal(1)),
        ("0>0", 0, "segment 0", 0, "segment 0", 1, Decimal("10.1"), Decimal("12.3")),
        ("0>1", 0, "segment 0", 1, "segment 1", 2, Decimal(11), Decimal(13)),
        ("1>left", 1, "segment 1", None, None, 1, Decimal(7), Decimal(0)),
    ]


_SNAPSHOTS = st.dictionaries(
    st.sampled_from([f"c{number}" for number in range(12)]),
    st.tuples(st.integers(0, 3), st.decimals(-100, 10_000, places=4).map(str)),
)


@given(_SNAPSHOTS, _SNAPSHOTS)
def test_moves_reconcile_to_both_snapshots(now: dict[str, tuple[int, str]], before: dict[str, tuple[int, str]]) -> None:
    current, previous = _segmented(now), _segmented(before)
    moves = segments.migration(current, previous)
    assert moves["movement_id"].is_unique().all()
    for side, snapshot, money in (("to_segment_id", current, "monetary"), ("from_segment_id", previous, "monetary_before")):
        moved = moves.filter(pl.col(side).is_not_null()).group_by(pl.col(side).alias("segment_id"))
        held = snapshot.group_by("segment_id")
        assert_frame_equal(
            moved.agg(pl.col("customer_count").sum().cast(pl.Int64), pl.col(money).sum().alias("monetary")),
            held.agg(pl.len().cast(pl.Int64).alias("customer_count"), pl.col("monetary").sum()),
            check_row_order=False,
        )


# Import


def test_importing_the_module_does_not_import_scikit_learn_or_scipy() -> None:
    code = "import sys, retail_assets.lib.segments; print([name for name in ('sklearn', 'scipy', 'threadpoolctl') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
