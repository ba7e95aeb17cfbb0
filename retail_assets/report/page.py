"""The file: figures, sentences and charts put into the template with style and script, under a policy that forbids any network."""

from __future__ import annotations

import base64
import hashlib
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from retail_assets.files import write_whole
from retail_assets.publication import FILE_NAME
from retail_assets.reading import OtherVersionError, reading
from retail_assets.report import charts, sentences, texts
from retail_assets.report.figures import Figures, ReportError, UnknownMonthError, read_figures
from retail_assets.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

    from retail_assets.settings import Settings

__all__ = ["ReportError", "UnknownMonthError", "is_current", "render", "write"]

_FOLDER: Final = Path(__file__).parent


def render(published: Path, month: date | None = None, config: Mapping[str, Any] | None = None) -> tuple[date, str]:
    """The report of a month of a published file, of its last month where none is given, and which month that is. `config` is for DuckDB.

    Raises:
        ReportError: There is no such file, no month in it, or code of another version made it.
        UnknownMonthError: There is no such month in it.
    """
    if not published.exists():
        raise ReportError(f"There is no published file at {published}. `retail run` refreshes and publishes.")
    try:
        with reading(published, config or {}) as reader:
            figures = read_figures(reader, month)
    except OtherVersionError as error:
        raise ReportError(str(error)) from error
    return figures.month, _render(figures)


def write(settings: Settings, month: date | None = None, out: Path | None = None) -> Path:
    """Write the report on what readers see now, whole or not at all, and return its path: `out`, or `<month>.html` in the folder of reports.

    Raises:
        ReportError: Nothing is published, no month, or by code of another version.
        UnknownMonthError: There is no such month in it.
    """
    shown, text = render(settings.serving_dir / FILE_NAME, month, settings.duckdb_config)
    path = out or settings.report_path(shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path


def is_current(settings: Settings, month: date) -> bool:
    """There is a report on a month, and it was written after what readers see now."""
    path = settings.report_path(month)
    return path.exists() and path.stat().st_mtime >= (settings.serving_dir / FILE_NAME).stat().st_mtime


def _render(figures: Figures) -> str:
    from markupsafe import Markup  # noqa: PLC0415

    style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src 'sha256-{_digest(style)}'",
            f"script-src 'sha256-{_digest(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    listed = charts.charts(figures)
    # Markup: made in here from our own files, or escaped by Vega as it wrote the SVG.
    drawn = charts.draw([_harmless(chart.spec) for chart in listed])
    by_name = {chart.name: {"title": chart.title, "told": chart.told, "svg": Markup(svg)} for chart, svg in zip(listed, drawn, strict=True)}  # noqa: S704
    return _environment().get_template("template.html.j2").render(
        figures=figures,
        charts=by_name,
        policy=policy,
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        headlines=sentences.headlines(figures),
        in_short=sentences.in_short(figures),
        first_steps=sentences.first_steps(figures),
        completeness=sentences.completeness(figures),
        told_rules=sentences.told_rules(figures.rules),
        told_variants=sentences.told_rules(figures.rules, has_variants=True)[:3],
        persistence=sentences.persistence(figures),
        hits=sentences.hits(figures),
        losses=sentences.losses(figures)[:3],
        gains=sentences.gains(figures)[:3],
    )  # fmt: skip


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, finalize=_harmless, trim_blocks=True, lstrip_blocks=True
    )
    filters = (texts.money, texts.count, texts.number, texts.share, texts.times, texts.month_name, texts.day_name, texts.in_words, texts.plain)
    environment.filters |= {show.__name__: show for show in (*filters, texts.customers, charts.segment_class)}
    environment.globals |= {"plural": texts.plural}
    return environment


def _harmless(value: Any) -> Any:
    """A value, or all that is in it, without control characters: escaping leaves them as they are, and the engine of charts dies of them."""
    if type(value) is str:  # not Markup, which has been through this
        return printable(value)
    if isinstance(value, dict):
        return {key: _harmless(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [_harmless(inside) for inside in value]
    return value
