"""What `retail run` shows on stderr while it works: one line per step and month, with the time it took."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from retail_assets.terminal import printable

_OUR_LEVELS = (logging.INFO, logging.WARNING)
_CHATTY_STEPS = ("dbt_models",)
"""Steps whose own lines are for logs, not for people."""

_STARTED, _ENDED, _FAILED = "STEP_START", "STEP_SUCCESS", "STEP_FAILURE"


class ProgressHandler(logging.Handler):
    """Turns Dagster's events and the messages of our assets into lines for people."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.DEBUG)
        self._console = console
        self._started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Show the record, if it is of interest."""
        meta: Mapping[str, Any] = getattr(record, "dagster_meta", {})
        step = str(meta.get("step_key") or "")
        event = meta.get("dagster_event")
        kind = event.event_type_value if event is not None else None
        if kind == _STARTED:
            self._started[step] = time.monotonic()
            self._console.print(f"[bold]{escape(_readable(step))}[/bold]")
        elif kind in (_ENDED, _FAILED):
            seconds = time.monotonic() - self._started.get(step, time.monotonic())
            self._console.print(f"  [{'green' if kind == _ENDED else 'red'}]{'done' if kind == _ENDED else 'failed'}[/] in {seconds:.1f} s")
        elif kind is None and step and record.levelno in _OUR_LEVELS and step in self._started and step not in _CHATTY_STEPS:
            self._console.print(Text("  " + printable(str(meta.get("orig_message") or record.getMessage()))), soft_wrap=True)


def say(text: str) -> None:
    """A line for people beside the steps."""
    _console().print(Text(text), soft_wrap=True)


def _console() -> Console:
    return Console(stderr=True, highlight=False)


def _readable(step: str) -> str:
    return step.replace("__", "/")


def _make_logger(_: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("retail_assets.progress", logging.DEBUG)
    logger.addHandler(ProgressHandler(_console()))
    return logger


progress_logger = dg.LoggerDefinition(_make_logger, description="Lines for people on stderr: steps, months, seconds.")
"""The logger that `retail run` uses in place of Dagster's own."""
