"""Opening a published file as any reader does. What is asked of it stands where it is asked: `summary.py`, `lookup.py`, `export.py`, `report/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb

from retail_assets.errors import ToldError


class OtherVersionError(ToldError):
    """A published file lacks a table or column that is read here: code of another version made it, and it was put back."""


@contextmanager
def reading(file: Path, config: Mapping[str, Any]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads a published file. `config` is for DuckDB.

    Raises:
        OtherVersionError: What is asked inside the block does not fit the tables of the file.
    """
    try:
        with closing(duckdb.connect(file, read_only=True, config=dict(config))) as reader:
            yield reader
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        complaint = str(error).split("\n", 1)[0]
        raise OtherVersionError(
            f"The publication {file.resolve().parent.name} was made by another version of retail_assets, whose tables are not those that this one "
            f"reads. `retail publish` makes one anew. ({complaint})"
        ) from error
