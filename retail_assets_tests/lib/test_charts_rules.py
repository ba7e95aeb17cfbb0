"""Charts of rules: drawn from frames without a warning, the same bytes each time, and unharmed by what users call things."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import polars as pl
import pytest
from PIL import Image

from retail_assets.lib.charts import rules as charts

pytestmark = pytest.mark.filterwarnings("error")

NAMES = [f"PRODUCT {number} WITH $1 AND $2 AND A NAME LONGER THAN ANY LABEL" for number in range(40)]
RULES = pl.DataFrame(
    [
        {
            "antecedent_names": [NAMES[one]],
            "consequent_names": [NAMES[(one * 7 + step) % 40]],
            "support": 0.01 + 0.001 * one,
            "confidence": 0.2 + 0.02 * one,
            "lift": 2.0 + one,
            "expected_lift": 1.5,
            "leverage": 0.001 * (one + step),
            "is_redundant": one % 9 == 0,
            "is_mirror": one % 2 == 0,
            "has_variants": one % 3 == 0,
        }
        for one in range(40)
        for step in (1, 2, 3)
        if (one * 7 + step) % 40 != one
    ]
)


@pytest.mark.parametrize("draw", [charts.support_and_confidence, charts.network])
@pytest.mark.parametrize("rows", [RULES.height, 2, 0])
def test_a_chart_is_a_picture_of_readable_size_and_the_same_twice(draw: object, rows: int) -> None:
    assert callable(draw)
    picture = draw(RULES.head(rows), "2011-11")
    assert picture == draw(RULES.head(rows), "2011-11")
    with Image.open(BytesIO(picture)) as image:
        assert (image.format, image.width) == ("PNG", 880)
        assert image.height >= 600
    assert len(picture) < 400_000, "it stands in the event log of every run"


def test_labels_of_the_network_do_not_cover_each_other() -> None:
    generator = np.random.default_rng(1)
    ends = np.stack([generator.integers(0, 30, 40), generator.integers(0, 30, 40)])
    places = charts._spread_out(charts._forces(ends, 30))
    apart = np.abs(places[:, None] - places)
    # A hundredth of the room may be missing where it is tight.
    covered = (apart < 0.99 * np.array(charts._BOX)).all(axis=2) & ~np.eye(30, dtype=bool)
    assert not covered.any()
    assert ((places >= 0) & (places <= 1)).all()


def test_a_network_keeps_the_strongest_pairs_of_each_product_and_no_pair_twice() -> None:
    strong = pl.DataFrame({"antecedent_names": [["A"]] * 5, "consequent_names": [[name] for name in "BCDEF"], "leverage": [0.5, 0.4, 0.3, 0.2, 0.1]})
    chosen = charts.strongest_pairs(strong.with_columns(is_mirror=pl.lit(value=False), has_variants=pl.lit(value=False)))
    # All are among the two strongest of one side or the other.
    assert chosen["other"].to_list() == ["B", "C", "D", "E", "F"]
    assert charts.strongest_pairs(RULES.with_columns(is_mirror=pl.lit(value=True))).is_empty()


def test_a_bestseller_does_not_fill_the_network() -> None:
    # A is in every pair, and each of its partners has two stronger ones.
    partners = [("A", name, 0.5) for name in "BCDE"] + [(pair[0], pair[1], 0.9) for pair in ("BC", "BD", "CE", "DE")]
    frame = pl.DataFrame(
        [([one], [other], leverage) for one, other, leverage in partners], schema=["antecedent_names", "consequent_names", "leverage"], orient="row"
    )
    chosen = charts.strongest_pairs(frame.with_columns(is_mirror=pl.lit(value=False), has_variants=pl.lit(value=False)))
    assert chosen.filter(pl.col("one") == "A")["other"].to_list() == ["B", "C"]
