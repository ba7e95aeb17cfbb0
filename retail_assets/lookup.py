"""Looks up what to recommend beside a basket, in the published file: what `retail recommend` prints. The ranking stands in `lib/baskets/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from retail_assets import months as m
from retail_assets.lib import baskets
from retail_assets.publication import FILE_NAME, NothingPublishedError
from retail_assets.reading import reading
from retail_assets.settings import Settings
from retail_assets.warehouse import read

_EXAMPLES: Final = """
    select stock_code
    from marts.product_recommendations
    where snapshot_month = $month and rank = 1
    order by basis = 'together' desc, basket_count desc nulls last, stock_code
    limit 2
"""
"""Two codes to try: those of the products with the most baskets together with another."""


class LookupRefusedError(ValueError):
    """There is nothing to look up, and the message says what to do."""


@dataclass(frozen=True)
class Lookup:
    """What was found.

    Attributes:
        month: The snapshot that was read.
        products: `stock_code` and `description` of the products of the basket that are known there.
        unknown: The codes that are not.
        recommended: What to show, best first: `recommended_stock_code`, `description`, `basis`, `score` and `because_of`.
    """

    month: date
    products: pl.DataFrame
    unknown: list[str]
    recommended: pl.DataFrame


def recommend(settings: Settings, codes: Sequence[str], month: date | None = None, shown: int = 5) -> Lookup:
    """What to recommend beside the products with these codes, from the last published month or the one given.

    Raises:
        NothingPublishedError: Nothing is published yet.
        LookupRefusedError: The month is not published, or it knows none of the codes.
        OtherVersionError: Code of another version made what is published.
    """
    file = settings.serving_dir / FILE_NAME
    if not file.exists():
        raise NothingPublishedError(f"Nothing is published in {settings.serving_dir} yet: `retail run` does it.")
    basket = list(dict.fromkeys(code.strip().upper() for code in codes))
    with reading(file, settings.duckdb_config) as reader:
        published = read(reader, "select distinct snapshot_month from marts.product_recommendations order by snapshot_month")[
            "snapshot_month"
        ].to_list()
        if not published or (month and month not in published):
            raise LookupRefusedError(f"No recommendations are published for {m.label(month) if month else 'any month'}; {_published(published)}.")
        asked = month or published[-1]
        query = "select * from marts.product_recommendations where snapshot_month = $month and stock_code in (select unnest($codes)) order by all"
        rows = read(reader, query, {"month": asked, "codes": basket})
        best = " and ".join(read(reader, _EXAMPLES, {"month": asked})["stock_code"])
    products = rows.select("stock_code", "description").unique(maintain_order=True)
    unknown = [code for code in basket if code not in products["stock_code"]]
    if products.is_empty():
        raise LookupRefusedError(
            f"No product sold up to {m.label(asked)} has the code {' or '.join(unknown)}: codes stand in marts.dim_product, such as {best}."
        )
    names = rows.select("recommended_stock_code", description="recommended_description").unique("recommended_stock_code", maintain_order=True)
    recommended = baskets.recommend(rows, basket, shown).join(names, on="recommended_stock_code", how="left", maintain_order="left")
    return Lookup(asked, products, unknown, recommended)


def _published(months: list[date]) -> str:
    return f"published are {m.window_label(months)}" if months else "`retail run` makes them"
