"""What all charts share: size, colours, fonts, and the way to PNG bytes. No data and no chart of its own.

matplotlib takes a second to import and is needed once per run: it is imported inside the functions.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A5195", "#8C8C00", "#444444", "#A6761D")
"""Distinct for colour-blind readers (Okabe and Ito 2008), three more behind; in the order of segment ids."""

GREY: Final = "#777777"
_WIDTH_INCHES: Final = 8.0
_DPI: Final = 110
_LABEL_LENGTH: Final = 42


def new_figure(height_inches: float = 4.5) -> Figure:
    """An empty figure of the common width, on white, so that it reads in a dark user interface too."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    return Figure(figsize=(_WIDTH_INCHES, height_inches), dpi=_DPI, facecolor="white", layout="constrained")


def tidy(axes: Axes, title: str, size: float = 11) -> None:
    """Title at the left, no frame but the two axes."""
    axes.set_title(title, loc="left", fontsize=size)
    axes.spines[["top", "right"]].set_visible(False)


def png(figure: Figure) -> bytes:
    """The figure as a PNG. The same figure gives the same bytes: no time and no version is written into it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def label(text: str, length: int = _LABEL_LENGTH) -> str:
    """A text of users as a label: one line, cut, and without the dollar signs that matplotlib would take for formulas."""
    line = " ".join(text.split()).replace("$", r"\$")
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"
