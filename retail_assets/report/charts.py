"""What the report draws: Vega-Lite specifications on figures, drawn as SVG by vl-convert, which brings its own engine and needs no network.

Every mark carries its figures as `aria-label`; the script of the page shows them as tooltips. Colours are CSS variables of the page, so that light,
dark and print are its business. Nothing is clipped or filled with a gradient: these get running numbers as ids, and the bytes would differ.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from retail_assets import months as m
from retail_assets.report.texts import count, customers, in_words, money, month_name, number, plural, share, short_money

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retail_assets.report.figures import Figures, Row

Spec = dict[str, Any]

SEGMENT_COLOURS: Final = 10
"""Colours that the page has for segments; more segments share them."""
_HEAT_STEPS: Final = 7
_WIDTH: Final = 400
"""Pixels of a chart: read as it is on a phone, and half a page on a desktop."""
_MOST_MONTHS: Final = 25
_FEW_MONTHS: Final = 8
_MOST_DOTS: Final = 900
"""Customers drawn on the map; more would only hide each other."""
_NEW_OPENING_TAG: Final = r'<svg class="chart" role="graphics-document document" \1 \2 \3>'
_OPENING_TAG: Final = re.compile(r"<svg[^>]*?(width=\"[\d.]+\") (height=\"[\d.]+\") (viewBox=\"[^\"]+\")[^>]*>")

_MOVEMENTS: Final = {"new": "New", "reactivated": "Reactivated", "retained": "Retained", "lapsing": "Lapsing", "lost": "Lost"}

_CONFIG: Final[Spec] = {
    "background": None,
    "padding": 2,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--ink)", "titleColor": "var(--soft)", "gridColor": "var(--line)", "domainColor": "var(--line)", "tickColor": "var(--line)",
        "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "labelLimit": 0, "titleLimit": 0,
    },
    "legend": {
        "labelColor": "var(--ink)", "titleColor": "var(--soft)", "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal",
        "labelLimit": 0, "orient": "bottom", "direction": "vertical", "symbolType": "square", "offset": 6, "rowPadding": 3,
    },
    "text": {"color": "var(--ink)", "fontSize": 11},
}  # fmt: skip


class ChartError(RuntimeError):
    """The engine of charts failed; the message holds what it said."""


@dataclass(frozen=True)
class Chart:
    """A chart: `name` within the page, `title`, what it shows in a sentence for who cannot see it, and its specification."""

    name: str
    title: str
    told: str
    spec: Spec


def charts(figures: Figures) -> list[Chart]:
    """Every chart for which there are figures."""
    listed = [_revenue(figures)]
    if figures.now["customer_count"]:
        listed += [_customers(figures), *_rfm(figures)]
    if figures.segments:
        listed += [_segments(figures), _map(figures)]
    if figures.has_segments_before:
        listed.append(_migration(figures))
    return listed


_ready: list[subprocess.Popen[str]] = []


@contextmanager
def ready() -> Iterator[None]:
    """Inside the block, the engine of the first drawing has started before it is needed: it takes longer to load than to draw."""
    with suppress(OSError):  # whoever draws starts an engine, or says why that cannot be done
        _ready.append(_engine("ahead"))
    try:
        yield
    finally:
        while _ready:
            engine = _ready.pop()
            engine.kill()
            engine.communicate()


def draw(specs: list[Spec]) -> list[str]:
    """The SVG of each specification. All are drawn by one process, `engine.py`, because the engine aborts the process it fails in.

    Raises:
        ChartError: The engine failed.
    """
    whole = [{"width": _WIDTH, "autosize": {"type": "fit", "contains": "padding"}, "config": _CONFIG, **spec} for spec in specs]
    engine = _ready_engine() or _engine()
    drawn, said = engine.communicate(json.dumps(whole))
    if engine.returncode:
        raise ChartError(f"The engine of charts ended with {engine.returncode}: {said.strip()[-500:]}")
    return [_OPENING_TAG.sub(_NEW_OPENING_TAG, svg, count=1) for svg in json.loads(drawn)]


def _ready_engine() -> subprocess.Popen[str] | None:
    """The engine that has started ahead, unless something killed it since."""
    while _ready:
        engine = _ready.pop()
        if engine.poll() is None:
            return engine
        engine.communicate()
    return None


def _engine(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", str(Path(__file__).with_name("engine.py")), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8")  # noqa: S603 - our own file


def _told(*lines: str) -> str:
    return " · ".join(lines)


def _description(field: str = "told") -> Spec:
    """The channel that Vega writes as `aria-label` on each mark."""
    return {"field": field, "type": "nominal"}


# Months


def _month_axis(figures: Figures) -> tuple[list[Row], Spec]:
    """The rows to draw and their axis: every month of the calendar, those without figures as gaps; the year where it begins."""
    shown = figures.months[-_MOST_MONTHS:]
    calendar = m.window(max(shown[0]["invoice_month"], m.shift(figures.month, 1 - _MOST_MONTHS)), figures.month)
    rows = [row | {"label": _month_label(row["invoice_month"])} for row in shown if row["invoice_month"] >= calendar[0]]
    # The year below January, and below the first month unless January comes next and the two would touch.
    with_year = "split(datum.label, ' ')[0] === 'Jan' || (datum.index === 0 && split(datum.label, ' ')[0] !== 'Dec')"
    axis = {
        "title": None,
        "labelAngle": 0,
        "labelOverlap": "greedy",
        "labelExpr": f"{with_year} ? split(datum.label, ' ') : split(datum.label, ' ')[0]",
    }
    # Few bars stay as narrow as many.
    padding = 0.25 + max(0, _FEW_MONTHS - len(calendar)) * 0.08
    return rows, {
        "field": "label",
        "type": "ordinal",
        "scale": {"domain": [_month_label(month) for month in calendar], "padding": padding},
        "axis": axis,
    }


def _month_label(month: object) -> str:
    return f"{month:%b %Y}"


def _revenue(figures: Figures) -> Chart:
    rows, x = _month_axis(figures)
    values = [
        {
            "label": row["label"],
            "net": float(row["net_amount"]),
            "gross": float(row["gross_amount"]),
            "fill": "var(--bar-soft)" if row is rows[-1] and figures.ends_early else "var(--bar)",
            "told": _told(
                month_name(row["invoice_month"]),
                f"net {money(row['net_amount'])}",
                f"gross {money(row['gross_amount'])}",
                plural(row["order_count"], "order", "orders"),
                plural(row["sale_day_count"], "trading day", "trading days"),
            ),
        }
        for row in rows
    ]
    y = {"type": "quantitative", "axis": {"title": None, "labelExpr": "'£' + format(datum.value, '~s')", "tickCount": 5, "domain": False}}
    spec = {
        "height": 220,
        "data": {"values": values},
        "encoding": {"x": x, "description": _description()},
        "layer": [
            {"mark": {"type": "bar"}, "encoding": {"y": {"field": "net", **y}, "color": _as_it_is("fill")}},
            {"mark": {"type": "tick", "thickness": 2, "color": "var(--ink)", "aria": False}, "encoding": {"y": {"field": "gross", **y}}},
        ],
    }
    last = figures.now
    told = f"{month_name(figures.month)}: net {money(last['net_amount'])}, gross {money(last['gross_amount'])}."
    return Chart("revenue", "Revenue by month", told, spec)


def _customers(figures: Figures) -> Chart:
    rows, x = _month_axis(figures)
    values = [
        {
            "label": row["label"],
            "movement": name,
            "order": position,
            "customers": row[f"{movement}_count"],
            "told": _told(
                month_name(row["invoice_month"]),
                f"{name} {count(row[f'{movement}_count'])}",
                f"{share(row[f'{movement}_count'] / row['customer_count'])} of {count(row['customer_count'])} known customers",
            ),
        }
        for row in rows
        for position, (movement, name) in enumerate(_MOVEMENTS.items())
        if row[f"{movement}_count"]
    ]
    most = max(row["customer_count"] for row in rows)
    axis = {"title": None, "tickCount": min(5, most), "format": ",d", "domain": False}
    spec = {
        "height": 220,
        "data": {"values": values},
        "mark": {"type": "bar", "stroke": "var(--card)", "strokeWidth": 0.5},
        "encoding": {
            "x": x,
            "y": {"field": "customers", "type": "quantitative", "axis": axis},
            "order": {"field": "order"},
            "description": _description(),
            "color": {
                "field": "movement",
                "type": "nominal",
                "scale": {"domain": list(_MOVEMENTS.values()), "range": [f"var(--{movement})" for movement in _MOVEMENTS]},
                "legend": {"title": None, "direction": "horizontal", "columns": 5, "columnPadding": 10},
            },
        },
    }
    now = figures.now
    told = (
        f"{month_name(figures.month)}: "
        + ", ".join(f"{name.lower()} {count(now[f'{movement}_count'])}" for movement, name in _MOVEMENTS.items())
        + "."
    )
    return Chart("customers", "Customers at the end of each month", told, spec)


# Segments


def _wrapped(text: str, width: int, most_lines: int) -> str:
    lines = textwrap.wrap(text, width) or [text]
    return "\n".join(lines[:most_lines]) + ("…" if len(lines) > most_lines else "")


def segment_class(position: int) -> str:
    """Name of the colour of a segment by its id, as the style of the page calls it."""
    return f"s{position % SEGMENT_COLOURS}"


def _segments(figures: Figures) -> Chart:
    measures = {"customer_share": "Share of customers", "revenue_share": "Share of sales to date"}
    values = [
        {
            "segment": row["segment_id"],
            "name": _wrapped(row["segment_name"], 18, 3),
            "measure": title,
            "value": row[measure] or 0,
            "text": share(row[measure]),
            "told": _told(
                row["segment_name"],
                f"{share(row[measure])} of {'customers' if measure == 'customer_share' else 'sales to date'}",
                customers(row["customer_count"]),
                money(row["net_amount"]),
            ),
        }
        for row in figures.segments
        for measure, title in measures.items()
    ]
    names = [_wrapped(row["segment_name"], 18, 3) for row in figures.segments]
    y = {
        "field": "name",
        "type": "nominal",
        "scale": {"domain": names, "paddingInner": 0.25},
        "axis": {"title": None, "labelExpr": "split(datum.label, '\\n')", "ticks": False, "domain": False, "labelPadding": 8, "minExtent": 122},
    }
    base = {"y": y, "yOffset": {"field": "measure", "scale": {"domain": list(measures.values())}}}
    # Room for the text behind the longest bar.
    widest = max(0.05, *(float(str(value["value"])) for value in values)) * 1.2
    axis = {"title": None, "format": "%", "domain": False, "values": [step / 5 for step in range(6) if step / 5 < widest * 0.95]}
    x = {"field": "value", "type": "quantitative", "axis": axis, "scale": {"domain": [min(0.0, *(value["value"] for value in values)), widest]}}
    colour = {
        "field": "measure",
        "type": "nominal",
        "scale": {"domain": list(measures.values()), "range": ["var(--bar-soft)", "var(--bar)"]},
        "legend": {"title": None, "direction": "horizontal", "columnPadding": 12},
    }
    spec = {
        "height": 62 * len(names) + 40,
        "data": {"values": values},
        "encoding": base,
        "layer": [
            {"mark": "bar", "encoding": {"x": x, "color": colour, "description": _description()}},
            {
                "mark": {"type": "text", "align": "left", "dx": 4, "aria": False},
                "encoding": {"x": x, "text": {"field": "text"}},
            },
        ],
    }
    first = figures.segments[0]
    told = f"“{first['segment_name']}” bring most: {share(first['revenue_share'])} of sales from {share(first['customer_share'])} of customers."
    return Chart("segments", "Segments: how many they are, what they bring", told, spec)


def _map(figures: Figures) -> Chart:
    every = -(-figures.customers.height // _MOST_DOTS)
    dots = figures.customers.filter(pl.int_range(pl.len()) % every == 0).select(
        "segment_name", pl.col("recency_days").alias("days"), pl.col("net_amount").clip(0).round(2).alias("amount")
    )
    middles = [
        {
            "segment_id": row["segment_id"],
            "segment_name": row["segment_name"],
            "days": row["days"],
            "amount": max(row["amount"], 0),
            "told": _told(
                row["segment_name"],
                customers(row["customers"]),
                f"median: {number(row['days'])} days since the last purchase, {money(row['amount'])}",
            ),
        }
        for row in figures.customers.group_by("segment_id", "segment_name")
        .agg(pl.len().alias("customers"), pl.col("recency_days").median().alias("days"), pl.col("net_amount").median().alias("amount"))
        .sort("segment_id")
        .to_dicts()
    ]
    colours = {
        "field": "segment_name",
        "type": "nominal",
        "scale": {
            "domain": [row["segment_name"] for row in middles],
            "range": [f"var(--{segment_class(row['segment_id'])})" for row in middles],
        },
        "legend": {"title": None, "columns": 1, "symbolOpacity": 1, "symbolType": "circle"},
    }
    x = {"field": "days", "type": "quantitative", "axis": {"title": "days since the last purchase", "tickCount": 6, "grid": False}}
    y = {
        "field": "amount",
        "type": "quantitative",
        "scale": {"type": "symlog", "constant": 20},
        "axis": {
            "title": "net sales to date, pounds (logarithmic)",
            "values": [0, 10, 100, 1_000, 10_000, 100_000, 1_000_000],
            "labelExpr": "format(datum.value, '~s')",
            "domain": False,
        },
    }
    spec = {
        "height": 320,
        "layer": [
            {
                "data": {"values": dots.to_dicts()},
                "mark": {"type": "point", "filled": True, "size": 10, "opacity": 0.5, "aria": False},
                "encoding": {"x": x, "y": y, "color": colours},
            },
            {
                "data": {"values": middles},
                "mark": {"type": "point", "filled": True, "size": 190, "stroke": "var(--card)", "strokeWidth": 2, "opacity": 1},
                "encoding": {"x": x, "y": y, "color": colours, "description": _description()},
            },
        ],
    }
    shown = f"{count(dots.height)} of {customers(figures.customers.height)}"
    told = f"Each dot a customer ({shown}), by days since the last purchase and net sales to date; large dots are the medians of segments."
    return Chart("map", "Map of the segments", told, spec)


# Heat maps


def _step(part: float) -> int:
    """A step of the scale of colours for a part of the largest value: 0 for nothing, then in equal parts."""
    return 0 if part <= 0 else min(1 + int(part * (_HEAT_STEPS - 1)), _HEAT_STEPS - 1)


def _heat_map(values: list[Row], x: Spec, y: Spec, font_size: float, height: int) -> Spec:
    """Cells with `step`, lines of `text` in their middle and `told`."""
    band = {"paddingInner": 0.04, "paddingOuter": 0}
    line_height = font_size + 2
    coloured = [
        value | {"fill": f"var(--h{value['step']})", "ink": f"var(--t{value['step']})", "lines": value["text"].count("\n")} for value in values
    ]
    cells = {"mark": {"type": "rect", "cornerRadius": 2}, "encoding": {"color": _as_it_is("fill"), "description": _description()}}
    # Vega sets several lines from their first one on: those of as many lines are moved up together.
    texts = [
        {
            "transform": [{"filter": f"datum.lines === {lines}"}],
            "mark": {
                "type": "text", "lineBreak": "\n", "fontSize": font_size, "lineHeight": line_height, "baseline": "middle", "aria": False,
                "dy": -lines * line_height / 2,
            },
            "encoding": {"text": {"field": "text"}, "color": _as_it_is("ink")},
        }
        for lines in sorted({value["lines"] for value in coloured})
    ]  # fmt: skip
    return {
        "height": height,
        "data": {"values": coloured},
        "encoding": {"x": {**x, "scale": {**x["scale"], **band}}, "y": {**y, "scale": {**y["scale"], **band}}},
        "layer": [cells, *texts],
    }


def _as_it_is(field: str) -> Spec:
    """A channel whose field holds the colour itself."""
    return {"field": field, "type": "nominal", "scale": None}


def _migration(figures: Figures) -> Chart:
    before = _side(figures.moves, "from", "Joined")
    now = _side(figures.moves, "to", "Left")
    counts = {(move["from_segment_id"], move["to_segment_id"]): move for move in figures.moves}
    totals = {source: sum(move["customer_count"] for move in figures.moves if move["from_segment_id"] == source) for source in before}
    values = []
    for source, target in ((source, target) for source in before for target in now):
        move = counts.get((source, target))
        moved = move["customer_count"] if move else 0
        part = moved / totals[source]
        values.append(
            {
                "from": _wrapped(before[source], 16, 3),
                "to": _wrapped(now[target], 11, 4),
                "step": _step(part),
                "text": f"{count(moved)}\n{share(part)}" if moved else "",
                "told": _told(
                    f"{before[source]} → {now[target]}",
                    customers(moved),
                    f"{share(part)} of the row",
                    f"worth {money(move['net_amount']) if move else '£0'}",
                ),
            }
        )
    label = {"labelExpr": "split(datum.label, '\\n')", "ticks": False, "domain": False}
    spec = _heat_map(
        values,
        {
            "field": "to", "type": "nominal", "scale": {"domain": [_wrapped(name, 11, 4) for name in now.values()]},
            "axis": {
                **label, "title": f"at the end of {month_name(figures.month)}", "labelAngle": 0, "labelPadding": 6, "labelFontSize": 10,
                "minExtent": 54,
            },
        },
        {
            "field": "from", "type": "nominal", "scale": {"domain": [_wrapped(name, 16, 3) for name in before.values()]},
            "axis": {**label, "title": "the month before", "labelPadding": 6, "labelFontSize": 10, "minExtent": 100},
        },
        10.5,
        100 + 48 * len(before),
    )  # fmt: skip
    earlier = sum(total for source, total in totals.items() if source is not None)
    stayed = sum(move["customer_count"] for move in figures.moves if move["from_segment_id"] == move["to_segment_id"])
    told = f"{count(stayed)} of {customers(earlier)} of the month before stayed in their segment."
    return Chart("migration", "Customers by segment: the month before and now", told, spec)


def _side(moves: list[Row], side: str, nobody: str) -> dict[int | None, str]:
    """Segments on one side of the moves in the order of their ids; last those in none."""
    found: dict[int | None, str] = {move[f"{side}_segment_id"]: move[f"{side}_segment_name"] or nobody for move in moves}
    return dict(sorted(found.items(), key=lambda item: (item[0] is None, item[0] or 0)))


def _rfm(figures: Figures) -> list[Chart]:
    return [
        _rfm_grid(figures, "rfm_customers", "RFM grid: customers", "customer_count", count),
        _rfm_grid(figures, "rfm_revenue", "RFM grid: sales to date", "net_amount", short_money),
    ]


def _rfm_grid(figures: Figures, name: str, title: str, measure: str, show: Any) -> Chart:
    largest = max(cell[measure] for cell in figures.cells)
    values = [
        {
            # Roots: one cell of champions would leave all others pale.
            "step": _step((cell[measure] / largest) ** 0.5 if largest > 0 and cell[measure] > 0 else 0),
            "r": cell["r_score"],
            "f": cell["f_score"],
            "text": "\n".join([*textwrap.wrap(in_words(cell["rfm_segment"]), 11), show(cell[measure])]),
            "told": _told(
                in_words(cell["rfm_segment"]),
                f"recency {cell['r_score']}, frequency {cell['f_score']}",
                customers(cell["customer_count"]),
                money(cell["net_amount"]),
            ),
        }
        for cell in figures.cells
    ]
    axis = {"ticks": False, "domain": False, "labelAngle": 0}
    spec = _heat_map(
        values,
        {"field": "f", "type": "ordinal", "scale": {"domain": [1, 2, 3, 4, 5]}, "axis": {**axis, "title": "frequency score: rare 1 to 5 often"}},
        {"field": "r", "type": "ordinal", "scale": {"domain": [5, 4, 3, 2, 1]}, "axis": {**axis, "title": "recency score: long ago 1 to 5 lately"}},
        9.5,
        310,
    )
    best = max(figures.cells, key=lambda cell: cell[measure])
    told = f"Largest cell: {in_words(best['rfm_segment'])}, recency {best['r_score']} and frequency {best['f_score']}, with {show(best[measure])}."
    return Chart(name, title, told, spec)
