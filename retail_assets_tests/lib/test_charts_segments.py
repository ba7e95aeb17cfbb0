"""Charts of the segments: drawn from frames without a warning, the same bytes each time, and unharmed by what users call things."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from PIL import Image

from retail_assets.lib.charts import segments as charts
from retail_assets.lib.charts._style import label

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("error")

ODD_NAME = "Costs $5 to $10\n<b>&amp; more</b> 漢字 than anybody would ever want to read on one line of a chart"
"""What would be a formula to matplotlib, a second line, and too long. Its font has no Chinese letters, and warns."""
CUSTOMERS = pl.DataFrame(
    {
        "customer_id": [f"{number:05}" for number in range(9_000)],
        "segment_id": [number % 3 for number in range(9_000)],
        "segment_name": [("Regulars", "Once", "Lost $x$")[number % 3] for number in range(9_000)],
        "silhouette": np.linspace(-0.2, 1, 9_000),
        "is_outlier": [number % 900 == 0 for number in range(9_000)],
        "x": np.sin(np.arange(9_000)),
        "y": np.cos(np.arange(9_000) * 3.0),
    }
)
CANDIDATES = pl.DataFrame(
    {
        "k": [2, 3, 4],
        "is_chosen": [False, True, False],
        "silhouette": [0.4, 0.5, 0.3],
        "stability": [0.9, 0.8, 0.6],
        "calinski_harabasz": [900.0, 800.0, 700.0],
        "davies_bouldin": [1.0, 0.9, 1.1],
    }
)
MOVES = pl.DataFrame(
    {
        "from_segment_id": [None, 0, 0, 1],
        "from_segment_name": [None, "Regulars", "Regulars", "Once"],
        "to_segment_id": [0, 0, 1, None],
        "to_segment_name": ["Regulars", "Regulars", "Once", None],
        "customer_count": [3, 1200, 40, 7],
    }
)
CHARTS: dict[str, Callable[[], bytes]] = {
    "choice of k": lambda: charts.choice_of_k(CANDIDATES, "2011-11"),
    "map": lambda: charts.map_of_segments(CUSTOMERS, ("first", "second"), "2011-11"),
    "map of one": lambda: charts.map_of_segments(CUSTOMERS.head(1), ("first", "second"), "2011-11"),
    "silhouettes": lambda: charts.silhouettes(CUSTOMERS, "2011-11"),
    "silhouette of one": lambda: charts.silhouettes(CUSTOMERS.head(1), "2011-11"),
    "migration": lambda: charts.migration(MOVES, "2011-11"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_a_picture_of_readable_size_and_the_same_twice(name: str) -> None:
    picture = CHARTS[name]()
    assert picture == CHARTS[name]()
    with Image.open(BytesIO(picture)) as image:
        assert image.format == "PNG"
        assert image.width == 880
        assert image.height >= 200
        # More than a blank page.
        assert len(set(image.convert("L").resize((88, 40)).get_flattened_data())) > 5
    assert len(picture) < 400_000, "it stands in the event log of every run"


def test_labels_are_one_short_line_without_formulas() -> None:
    text = label(ODD_NAME)
    assert "\n" not in text
    assert text.startswith(r"Costs \$5 to \$10 <b>")
    assert len(text) <= 44
    assert text.endswith("…")
