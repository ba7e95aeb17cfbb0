"""Charts of the segments of one month: how k was chosen, where the segments lie, how well they are separated, who moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from retail_assets.lib.charts._style import COLOURS, GREY, label, new_figure, png, tidy
from retail_assets.lib.segments import MIN_STABILITY, OUTLIER_LIMIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_DOTS: Final = 5_000
"""Customers drawn on the map beside the outliers; more would only hide each other."""


def choice_of_k(candidates: pl.DataFrame, month: str) -> bytes:
    """The figures of every k that was tried, the chosen one marked: rows of segments.segment_candidates of one month."""
    figure = new_figure(5.2)
    figure.suptitle(f"Number of segments, {month}: figures of every k, the chosen one marked", x=0.01, ha="left", fontsize=12)
    panels = {
        "silhouette": "Silhouette (higher is better)",
        "stability": "Stability, adjusted Rand index (higher is better)",
        "calinski_harabasz": "Calinski-Harabasz (higher is better)",
        "davies_bouldin": "Davies-Bouldin (lower is better)",
    }
    by_k = candidates.sort("k")
    chosen = by_k.filter("is_chosen")
    for axes, (measure, title) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        axes.plot(by_k["k"], by_k[measure], color=COLOURS[0], marker="o", markersize=4)
        axes.plot(chosen["k"], chosen[measure], color=COLOURS[5], marker="o", markersize=9)
        if measure == "stability":
            axes.axhline(MIN_STABILITY, color=GREY, linewidth=1, linestyle="--")
            axes.annotate(f"least to be chosen: {MIN_STABILITY}", (by_k["k"].item(0), MIN_STABILITY), va="bottom", fontsize=8, color=GREY)
        axes.set_xticks(by_k["k"].to_list())
        axes.set_xlabel("k")
        tidy(axes, title, size=9)
    return png(figure)


def map_of_segments(customers: pl.DataFrame, axes_texts: tuple[str, str], month: str) -> bytes:
    """Customers on the plane of `segments.coordinates`, coloured by segment, with the name of each at its middle.

    Args:
        customers: `customer_id`, `segment_id`, `segment_name`, `is_outlier`, `x`, `y`.
        axes_texts: What the axes are.
        month: Month to name in the title.
    """
    figure = new_figure(6.2)
    axes = figure.subplots()
    every = -(-customers.height // _MOST_DOTS)
    shown = customers.sort("customer_id").filter((pl.int_range(pl.len()) % every == 0) | pl.col("is_outlier"))
    for (number, name), members in _by_segment(shown):
        axes.scatter(members["x"], members["y"], s=7, alpha=0.45, linewidths=0, color=_colour(number), label=f"{number}  {label(name, 60)}")
    outliers = customers.filter("is_outlier")
    caption = f"{outliers.height:,} outliers: a feature beyond {OUTLIER_LIMIT:g} standard deviations"
    axes.scatter(outliers["x"], outliers["y"], s=26, facecolors="none", edgecolors="black", linewidths=0.6, label=caption)
    for (number, _), members in _by_segment(customers):
        middle = (members["x"].median(), members["y"].median())
        axes.annotate(
            f"{number}", middle, ha="center", va="center", fontsize=11, fontweight="bold", color="white",
            bbox={"boxstyle": "circle", "facecolor": _colour(number), "edgecolor": "white"},
        )  # fmt: skip
    axes.set_xlabel(axes_texts[0], fontsize=9)
    axes.set_ylabel(axes_texts[1], fontsize=9)
    note = "" if shown.height == customers.height else f" ({shown.height:,} of {customers.height:,} drawn)"
    tidy(axes, f"Map of the segments, {month}: {customers.height:,} customers{note}")
    figure.legend(loc="outside lower left", fontsize=8, ncols=2, markerscale=2, frameon=False)
    return png(figure)


def silhouettes(customers: pl.DataFrame, month: str) -> bytes:
    """Every customer's silhouette, by segment from the best to the worst (Rousseeuw 1987): `segment_id`, `segment_name`, `silhouette`."""
    figure = new_figure(4.8)
    axes = figure.subplots()
    start = 0
    for (number, name), members in _by_segment(customers):
        values = members["silhouette"].sort(descending=True).to_numpy()
        rows = np.arange(start, start + len(values))
        axes.fill_betweenx(rows, 0, values, color=_colour(number), linewidth=0)
        axes.annotate(
            f"{number}  {label(name, 60)}: {len(values):,} customers, mean {values.mean():.2f}",
            (0.01, start + len(values) / 2), xycoords=("axes fraction", "data"), va="center", fontsize=8,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )  # fmt: skip
        start += len(values) + max(customers.height // 60, 1)
    axes.axvline(float(customers["silhouette"].mean() or 0), color="black", linewidth=1, linestyle="--")  # type: ignore[arg-type]
    axes.set_yticks([])
    axes.set_ylim(start, -1)
    axes.set_xlabel("Silhouette: 1 at the centre of the segment, 0 on the border to the next; dashed: mean of all")
    tidy(axes, f"How well the segments are separated, {month}")
    return png(figure)


def migration(moves: pl.DataFrame, month: str) -> bytes:
    """Customers by segment before (rows) and now (columns), with joiners and leavers: rows of segments.segment_migration of one month."""
    before = _side(moves, "from", "Joined")
    now = _side(moves, "to", "Left")
    counts = np.zeros((len(before), len(now)), dtype=np.int64)
    for row in moves.iter_rows(named=True):
        counts[list(before).index(row["from_segment_id"]), list(now).index(row["to_segment_id"])] += row["customer_count"]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    figure = new_figure(1.6 + 0.62 * len(before))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = "white" if shares[row, column] > 0.55 else "black"  # noqa: PLR2004 - where the blue turns dark
            axes.annotate(f"{counts[row, column]:,}\n{shares[row, column]:.0%}", (column, row), ha="center", va="center", fontsize=8, color=colour)
    _name_ticks(axes, list(before.values()), list(now.values()))
    axes.set_ylabel("in the month before", fontsize=9)
    axes.spines[:].set_visible(False)
    figure.suptitle(f"Customers by segment before and at the end of {month}, with their share of the row", x=0.01, ha="left", fontsize=11)
    return png(figure)


def _name_ticks(axes: Axes, rows: list[str], columns: list[str]) -> None:
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_xticks(range(len(columns)), [name.replace(" ", "\n") for name in columns], fontsize=7)
    axes.tick_params(length=0)


def _side(moves: pl.DataFrame, side: str, nobody: str) -> dict[int | None, str]:
    """Segments on one side of the moves, in the order of their ids; last those in none."""
    found = moves.select(f"{side}_segment_id", f"{side}_segment_name").unique().sort(f"{side}_segment_id", nulls_last=True)
    return {number: nobody if number is None else f"{number} {label(name)}" for number, name in found.iter_rows()}


def _by_segment(customers: pl.DataFrame) -> list[tuple[tuple[int, str], pl.DataFrame]]:
    parts = customers.sort("segment_id", maintain_order=True).partition_by("segment_id", "segment_name", as_dict=True)
    return [((int(number), str(name)), part) for (number, name), part in parts.items()]


def _colour(segment_id: int) -> str:
    return COLOURS[segment_id % len(COLOURS)]
