"""The seeds of `dbt_sql/seeds/`, which people edit and both dbt and Python read."""

from __future__ import annotations

from functools import cache

import polars as pl

from retail_assets.settings import DBT_PROJECT_DIR

_TEXT_COLUMNS = {"code": pl.String()}
"""Columns that are text even where every value looks like a number."""


@cache
def read_seed(name: str) -> pl.DataFrame:
    """A seed by its name, such as `rfm_segments`; columns as in its CSV, described in `dbt_sql/seeds/seeds.yml`."""
    return pl.read_csv(DBT_PROJECT_DIR / "seeds" / f"{name}.csv", infer_schema_length=None, schema_overrides=_TEXT_COLUMNS)
