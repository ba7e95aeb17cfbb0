"""Errors that tell a person all there is to know. No logic and no heavy imports in here: the command line loads it at once."""

from __future__ import annotations


class ToldError(RuntimeError):
    """Its message says what is wrong and what to do; nobody needs a traceback."""
