"""Texts on their way to a terminal or a log: names of products and files are whatever users bring, and some terminals act on what they print."""

from __future__ import annotations

_SHOWN_INSTEAD = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """The text with its line breaks, and without anything else that a terminal would act on: control characters, changes of direction."""
    return "".join(letter if letter.isprintable() or letter == "\n" else _SHOWN_INSTEAD for letter in text)


def one_line(text: str) -> str:
    """The same in one line: a name with a line break must not look like two lines of ours."""
    return printable(text).replace("\n", _SHOWN_INSTEAD)
