"""Small text files that are written whole or not at all, whatever happens to the process or the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 text with the line ends it has; what stood there stays until the new text is complete."""
    unfinished = path.with_name(f".{path.name}.next")
    try:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
