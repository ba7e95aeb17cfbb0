"""Charts of association rules: where they lie in support and confidence, and which products hang together. Rules are made in `lib/baskets/`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from retail_assets.lib.charts._style import COLOURS, GREY, label, new_figure, png, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

LABELLED_RULES: Final = 6
NETWORK_PAIRS: Final = 30
"""Pairs in the network: about as many products can be named legibly."""
PARTNERS: Final = 2
"""A pair is in the network where it is among so many of the strongest of one of its products: else a few bestsellers fill it."""
_LABEL_LINE: Final = 18
_STEPS: Final = 600
_BOX: Final = (0.178, 0.078)
"""Room of a product and its label, as shares of the width and height of the network."""


def support_and_confidence(rules: pl.DataFrame, month: str) -> bytes:
    """Every rule as a point: support across, confidence up, colour for how far its lift exceeds what basket sizes alone give.

    Args:
        rules: Rows of `rules.association_rules` of one month; read are `support`, `confidence`, `lift`, `expected_lift`, `is_redundant`, `is_mirror`,
            `antecedent_names` and `consequent_names`.
        month: The month, as the title says it.

    Returns:
        A PNG. The rules of the highest confidence times root of support, redundant and mirrored ones left out, are numbered and named.
    """
    from matplotlib.colors import LogNorm  # noqa: PLC0415

    figure = new_figure(6.2)
    axes, names = figure.subplots(2, 1, height_ratios=(4, 1))
    names.axis("off")
    tidy(axes, f"{month}: {rules.height:,} rules, how common, how sure, and how far above basket sizes alone")
    axes.set_xlabel("support (share of baskets with both sides, log scale)")
    axes.set_ylabel("confidence")
    if rules.is_empty():
        return png(figure)
    excess = (rules["lift"] / rules["expected_lift"]).to_numpy()
    order = np.argsort(excess, kind="stable")
    x, y = rules["support"].to_numpy(), rules["confidence"].to_numpy()
    lowest, highest = max(float(excess.min()), 0.5), max(float(excess.max()), 2.0)
    points = axes.scatter(
        x[order], y[order], c=excess[order], norm=LogNorm(vmin=lowest, vmax=highest), cmap="viridis_r", s=14, alpha=0.75, linewidths=0
    )
    bar = figure.colorbar(points, ax=axes, label="lift / lift by basket sizes", pad=0.01)
    bar.minorticks_off()
    steps = [step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if lowest <= step <= highest]
    bar.set_ticks(steps, labels=[f"{step} times" for step in steps])
    axes.set_xscale("log")
    ticks = [tick for tick in (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5) if x.min() * 0.95 <= tick <= x.max() * 1.05]
    axes.set_xticks(ticks, [f"{tick:.1%}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(min(0.2, float(y.min())) - 0.02, 1.02)
    lines = []
    for number, row in enumerate(_outstanding(rules).to_dicts(), start=1):
        axes.annotate(
            str(number), (row["support"], row["confidence"]), xytext=(6, 4), textcoords="offset points", fontsize=9, fontweight="bold", color="black"
        )
        sides = (label(" + ".join(row[f"{side}_names"]), 56) for side in ("antecedent", "consequent"))
        lines.append(f"{number}  {' → '.join(sides)}   {row['confidence']:.0%}")
    names.text(0, 1, "\n".join(lines), fontsize=8, va="top", linespacing=1.5, transform=names.transAxes)
    return png(figure)


def _outstanding(rules: pl.DataFrame) -> pl.DataFrame:
    """The rules to name: common and sure, and of each set of products the one that says most."""
    ranked = rules.filter(~pl.col("is_redundant") & ~pl.col("is_mirror")).with_columns(
        weight=pl.col("confidence") * pl.col("support").sqrt(), consequent_name=pl.col("consequent_names").list.join(" + ")
    )
    first = ranked.sort("weight", "antecedent_names", "consequent_names", descending=[True, False, False])
    return first.unique("consequent_name", keep="first", maintain_order=True).head(LABELLED_RULES)


def network(rules: pl.DataFrame, month: str) -> bytes:
    """The products of the strongest rules between two single products, joined where they are bought together.

    Strong is a pair by its leverage, the share of baskets with both products beyond chance; of each product, the strongest pairs. Lines are the
    thicker the stronger, and orange where the two are the same goods in another colour or pattern.

    Args:
        rules: Rows of `rules.association_rules` of one month; read are `antecedent_names`, `consequent_names`, `leverage`, `is_mirror` and
            `has_variants`.
        month: The month, as the title says it.

    Returns:
        A PNG, the same for the same rules.
    """
    figure = new_figure(8.2)
    axes = figure.subplots()
    pairs = strongest_pairs(rules)
    tidy(axes, f"{month}: the {pairs.height} strongest pairs of products (orange: the same goods in another colour or pattern)")
    axes.axis("off")
    if pairs.is_empty():
        return png(figure)
    products = pl.concat([pairs["one"], pairs["other"]]).unique().sort()
    ends = np.stack([pairs[side].cast(pl.Enum(products)).to_physical().to_numpy() for side in ("one", "other")])
    places = _spread_out(_forces(ends, len(products)))
    _draw_network(axes, pairs, products, ends.astype(np.int64), places)
    return png(figure)


def strongest_pairs(rules: pl.DataFrame) -> pl.DataFrame:
    """The pairs of the network, the strongest first: `one`, `other` (names), `leverage` and `has_variants`."""
    pairs = (
        rules.filter(pl.col("antecedent_names").list.len() == 1, pl.col("consequent_names").list.len() == 1, ~pl.col("is_mirror"))
        .select(
            pl.col("antecedent_names").list.first().alias("one"), pl.col("consequent_names").list.first().alias("other"), "leverage", "has_variants"
        )
        .sort("leverage", "one", "other", descending=[True, False, False])
    )
    ranks = pl.concat([pairs.select(pl.col(side).alias("product")).with_row_index("pair") for side in ("one", "other")])
    chosen = ranks.sort("pair").group_by("product", maintain_order=True).head(PARTNERS)["pair"].unique().sort().head(NETWORK_PAIRS)
    return pairs[chosen]


def _draw_network(axes: Axes, pairs: pl.DataFrame, products: pl.Series, ends: NDArray[np.int64], places: Points) -> None:
    strength = (pairs["leverage"] / pairs["leverage"].max()).to_numpy()
    for (one, other), weight, is_variant in zip(ends.T, strength, pairs["has_variants"], strict=True):
        axes.plot(*places[[one, other]].T, color=COLOURS[1] if is_variant else COLOURS[0], linewidth=0.8 + 4 * weight, alpha=0.55, zorder=1)
    degree = np.bincount(ends.ravel(), minlength=len(products))
    axes.scatter(places[:, 0], places[:, 1], s=36 + 16 * degree, color=GREY, edgecolors="white", zorder=2)
    for name, (x, y) in zip(products, places, strict=True):
        text = "\n".join(textwrap.wrap(label(name, 48), _LABEL_LINE))
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
        axes.annotate(
            text, (x, y), xytext=(0, -6), textcoords="offset points", ha="center", va="top", fontsize=7, linespacing=0.95, bbox=box, zorder=3
        )
    axes.set_xlim(-0.07, 1.07)
    axes.set_ylim(-0.08, 1.03)


def _forces(ends: NDArray[np.integer], count: int) -> Points:
    """Places in the unit square by attraction along the lines and repulsion of all (Fruchterman and Reingold 1991), from a fixed start."""
    places = np.random.default_rng(1).random((count, 2))
    distance = 1 / np.sqrt(count)
    for step in range(_STEPS):
        apart = places[:, None] - places
        length = np.maximum(np.hypot(apart[..., 0], apart[..., 1]), 1e-6)
        move = (apart * (distance**2 / length**2)[..., None]).sum(axis=1) - (places - 0.5) * 0.6 * distance
        along = places[ends[0]] - places[ends[1]]
        pull = along * (np.hypot(along[:, 0], along[:, 1]) / distance)[:, None]
        np.add.at(move, ends[0], -pull)
        np.add.at(move, ends[1], pull)
        size = np.maximum(np.hypot(move[:, 0], move[:, 1]), 1e-9)[:, None]
        places += move / size * np.minimum(size, 0.1 * (1 - step / _STEPS))
    low, high = places.min(axis=0), places.max(axis=0)
    return np.asarray((places - low) / np.maximum(high - low, 1e-9))


def _spread_out(places: Points) -> Points:
    """Move products apart until their labels have room, the square left only where there is none."""
    room = np.array(_BOX)
    places = places.copy()
    for _ in range(_STEPS):
        apart = places[:, None] - places
        overlap = room - np.abs(apart)
        hit = (overlap > 0).all(axis=2) & ~np.eye(len(places), dtype=bool)
        if not hit.any():
            break
        # Along the axis on which less is missing.
        axis = np.argmin(overlap / room, axis=2)
        for one, other in np.argwhere(np.triu(hit)):
            shift = overlap[one, other, axis[one, other]] * 0.3
            sign = 1.0 if apart[one, other, axis[one, other]] >= 0 else -1.0
            places[one, axis[one, other]] += sign * shift
            places[other, axis[one, other]] -= sign * shift
        places = np.clip(places, 0, 1)
    return places
