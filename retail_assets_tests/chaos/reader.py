"""A BI client as a process of its own: opens the published file, reads every table, closes, and again, until told to stop or left alone.

Usage: `python -m retail_assets_tests.chaos.reader HOME STOP_FILE`. Reads at once when the file changes, and every second besides. At the end one
line of JSON: how often it read, the states it saw in their order, and what went wrong.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Final

import duckdb

from retail_assets_tests.chaos import state

_LOOK_SECONDS: Final = 0.02
_READ_SECONDS: Final = 1.0


def _version(link: Path) -> str:
    return str(link.readlink()) if link.is_symlink() else ""


def main(home: str, stop_file: str) -> None:
    """Read until the stop file exists or whoever started this is gone."""
    link, parent = Path(home) / "serving" / "retail.duckdb", os.getppid()
    seen: list[str] = []
    errors: list[str] = []
    reads, version, last_read = 0, "", 0.0
    while os.getppid() == parent:
        is_last = Path(stop_file).exists()
        now = _version(link)
        # Before the first publication there is nothing to read.
        if now and (is_last or now != version or time.monotonic() - last_read > _READ_SECONDS):
            try:
                found = state.digest(state.published(Path(home)))
            except duckdb.Error as error:
                errors.append(f"{type(error).__name__}: {error}")
            else:
                reads += 1
                if not seen or seen[-1] != found:
                    seen.append(found)
            version, last_read = now, time.monotonic()
        if is_last:
            break
        time.sleep(_LOOK_SECONDS)
    sys.stdout.write(json.dumps({"reads": reads, "seen": seen, "errors": errors}))


if __name__ == "__main__":
    main(*sys.argv[1:])
