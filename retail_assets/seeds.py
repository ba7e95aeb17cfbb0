"""The seeds of `dbt_sql/seeds/`, which people edit and both dbt and Python read."""

from __future__ import annotations

import hashlib
from functools import cache

import polars as pl

from retail_assets.settings import DBT_PROJECT_DIR

_TEXT_COLUMNS = {"code": pl.String()}
"""Columns that are text even where every value looks like a number."""


DEFINITIONS = ("country_names", "non_product_codes", "rfm_fixed_cut_points", "rfm_segments")
"""Seeds that tables are built from; the others only word the report."""


@cache
def definitions_hash() -> str:
    """Changes when one of `DEFINITIONS` is edited, so that what was built from it is stale."""
    contents = [(DBT_PROJECT_DIR / "seeds" / f"{name}.csv").read_bytes() for name in DEFINITIONS]
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()


@cache
def read_seed(name: str) -> pl.DataFrame:
    """A seed by its name, such as `rfm_segments`; columns as in its CSV, described in `dbt_sql/seeds/seeds.yml`."""
    return pl.read_csv(DBT_PROJECT_DIR / "seeds" / f"{name}.csv", infer_schema_length=None, schema_overrides=_TEXT_COLUMNS)
