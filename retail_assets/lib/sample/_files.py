"""Landing files of a sample."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import polars as pl

from retail_assets.lib.sample._generate import Sample

if TYPE_CHECKING:
    from pathlib import Path


def write(sample: Sample, directory: Path, files: Literal["day", "month"] = "month") -> list[Path]:
    """Write a sample as landing files, one a day or one a month, and return their paths in the order of time.

    The files are UTF-8 CSV with a header, `YYYY-MM-DD.csv` or `YYYY-MM.csv`, quoted where needed; the same sample gives the same bytes. Each appears
    whole or not at all. A line with a broken date goes where the line before it goes. A file that is there already with the same content
    is left alone.

    Args:
        sample: What to write.
        directory: Where to; made when missing.
        files: What one file holds.

    Raises:
        FileExistsError: A file of that name has other content; nothing has been written then.
    """
    name_length = len("YYYY-MM-DD") if files == "day" else len("YYYY-MM")
    period = pl.col("InvoiceDate").str.extract(r"^(\d{4}-\d{2}-\d{2}) ").str.slice(0, name_length).forward_fill()
    contents = {
        directory / f"{name}.csv": part.write_csv().encode()
        for (name,), part in sample.lines.with_columns(period=period).partition_by("period", as_dict=True, include_key=False).items()
    }
    directory.mkdir(parents=True, exist_ok=True)
    missing = {path: content for path, content in contents.items() if not _is_written(path, content)}
    for path, content in missing.items():
        _write_whole(path, content)
    return list(contents)


def _is_written(path: Path, content: bytes) -> bool:
    if not path.exists():
        return False
    if path.read_bytes() != content:
        raise FileExistsError(f"{path} exists with other content: move it away or write the sample elsewhere")
    return True


def _write_whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
