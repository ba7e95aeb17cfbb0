"""Ranked next products for every product and for a basket: what goes with them, and where too few baskets say so, what sells anyway.

Pairs only, for every item however rare; itemsets of any size above a support threshold are `_itemsets`' subject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.baskets._lines import check_columns, code_lines, spans

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from retail_assets.lib.baskets._lines import CodedLines

RECOMMENDATIONS_SCHEMA = pl.Schema(
    {
        "stock_code": pl.String(),
        "rank": pl.Int32(),
        "recommended_stock_code": pl.String(),
        "basis": pl.String(),
        "basket_count": pl.Int64(),
        "score": pl.Float64(),
    }
)
SHRINKAGE = 20
"""Joint baskets at which a pair's similarity counts half. On the real data, the last 30% of baskets held out, 5 recommendations for an item
hit 1.10, 1.15, 1.16 and 1.16 others of its basket with 0, 10, 20 and 40."""
COUNTS_AT_ONCE = 1 << 22
"""Pair counts held at a time: 50 MB as a sparse matrix of which every cell is taken."""


def recommendations(lines: pl.DataFrame, per_product: int = 5, min_basket_count: int = 5, products: pl.Series | None = None) -> pl.DataFrame:
    """For every item, the other items to show beside it, best first.

    First come items bought `together` with it, in at least `min_basket_count` baskets, by their cosine similarity
    joint / sqrt(count * count) (Sarwar et al. 2001, doi:10.1145/371920.372071; it corrects for popularity) times joint / (joint + 20), which
    shrinks what few baskets say (Bell and Koren 2007, doi:10.1109/ICDM.2007.90). The most `popular` items fill up what is left.

    Args:
        lines: Basket lines, `basket_id` (any type) and `item`; repeated lines and their order do not matter.
        per_product: Recommendations for each item.
        min_basket_count: Fewest baskets that must hold both items for `together`.
        products: Items that get recommendations although no basket may hold them: for those without one, the most popular items.

    Returns:
        `per_product` rows per item (fewer where not as many other items are in baskets), sorted by `stock_code` and `rank` (Int32, from 1):
        `recommended_stock_code`, `basis` (`together` or `popular`), `basket_count` (Int64; of both items for `together`, of the recommended item
        for `popular`) and `score` (Float64, 0 to 1, comparable within a basis: the shrunken similarity, or the share of all baskets). Ties go by
        stock code.

    Raises:
        ValueError: An argument is below 1, or `lines` lacks a column or holds nulls.
    """
    if per_product < 1 or min_basket_count < 1:
        raise ValueError(f"per_product is {per_product} and min_basket_count {min_basket_count}; both must be at least 1.")
    coded = code_lines(lines, asked=products)
    if not coded.basket_count:
        return RECOMMENDATIONS_SCHEMA.to_frame()
    together = _bought_together(coded, per_product, min_basket_count)
    popular = _popular(coded, per_product).join(together, on=["item", "other"], how="anti")
    ranked = (
        pl.concat([together.with_columns(basis=pl.lit("together")), popular.with_columns(basis=pl.lit("popular"))])
        # Descending by basis puts `together` before `popular`.
        .sort("item", "basis", "score", "other", descending=[False, True, True, False])
        .group_by("item", maintain_order=True)
        .head(per_product)
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("item"))
    )
    return ranked.select(
        stock_code=coded.names.gather(ranked["item"]),
        rank=pl.col("rank").cast(pl.Int32),
        recommended_stock_code=coded.names.gather(ranked["other"]),
        basis="basis",
        basket_count="basket_count",
        score="score",
    )


def _bought_together(coded: CodedLines, per_product: int, min_basket_count: int) -> pl.DataFrame:
    """The best pairs of every item by shrunken similarity."""
    best = [
        pairs.sort("item", "score", "other", descending=[False, True, False]).group_by("item", maintain_order=True).head(per_product)
        for pairs in _pairs(coded, min_basket_count)
    ]
    return pl.concat(best)


def _pairs(coded: CodedLines, min_basket_count: int) -> Iterator[pl.DataFrame]:
    """All ordered pairs of items that share enough baskets, some items' at a time so that memory stays bounded."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - scipy takes a while to import, and miners do not need it

    ones = np.ones(len(coded.item), dtype=np.int32)
    by_basket = csr_array((ones, (coded.basket, coded.item)), shape=(coded.basket_count, coded.item_count))
    by_item = by_basket.T.tocsr()
    counts = coded.baskets_per_item
    for start, stop in spans(np.full(coded.item_count, coded.item_count), COUNTS_AT_ONCE):
        shared = (by_item[start:stop] @ by_basket).tocoo()
        item, other = shared.row + start, shared.col
        kept = (shared.data >= min_basket_count) & (item != other)
        item, other, joint = item[kept].astype(np.int64), other[kept].astype(np.int64), shared.data[kept].astype(np.int64)
        score = joint / np.sqrt(counts[item] * counts[other]) * joint / (joint + SHRINKAGE)
        yield pl.DataFrame({"item": item, "other": other, "basket_count": joint, "score": score})


def _popular(coded: CodedLines, per_product: int) -> pl.DataFrame:
    """The most popular items beside every item: enough of them even if the item itself and all its pairs are among them."""
    counts = coded.baskets_per_item
    other = np.argsort(-counts, kind="stable")[: min(per_product + 1, int(np.count_nonzero(counts)))]
    bestsellers = pl.DataFrame({"other": other, "basket_count": counts[other], "score": counts[other] / coded.basket_count})
    items = pl.DataFrame({"item": np.arange(coded.item_count)})
    return items.join(bestsellers, how="cross").filter(pl.col("item") != pl.col("other"))


def recommend(recommendations: pl.DataFrame, basket: Collection[str], shown: int = 5) -> pl.DataFrame:
    """What to show beside a whole basket, from the recommendations of its products.

    A product's score is the sum of its scores over the products of the basket that recommend it because they are bought `together`; where fewer than
    `shown` are, the `popular` ones follow by their share of baskets. Products of the basket are not shown.

    Args:
        recommendations: As `recommendations` returns them; further columns that depend on the recommended product are kept.
        basket: Stock codes; codes without recommendations add nothing.
        shown: Most rows to return.

    Returns:
        One row per product to show, best first: `recommended_stock_code`, `basis`, `score` and `because_of` (List(String), the products of the
        basket that recommend it, sorted). Ties go by stock code.

    Raises:
        ValueError: A column is missing or holds nulls, or `shown` is below 1.
        TypeError: `basket` is one text.
    """
    check_columns(recommendations, RECOMMENDATIONS_SCHEMA.names(), frame="recommendations")
    if isinstance(basket, str):
        raise TypeError(f"basket is the text {basket!r}; give a list of stock codes, such as [{basket!r}].")
    if shown < 1:
        raise ValueError(f"shown is {shown}; it must be at least 1.")
    is_popular = pl.col("basis") == "popular"
    return (
        recommendations.filter(pl.col("stock_code").is_in(basket), ~pl.col("recommended_stock_code").is_in(basket))
        .group_by("recommended_stock_code", "basis")
        .agg(
            score=pl.when(is_popular.first()).then(pl.col("score").max()).otherwise(pl.col("score").sum()),
            because_of=pl.col("stock_code").sort(),
        )
        # Descending by basis puts `together` before `popular`; a product that is both is the former.
        .sort("basis", "score", "recommended_stock_code", descending=[True, True, False])
        .unique("recommended_stock_code", keep="first", maintain_order=True)
        .head(shown)
        .select("recommended_stock_code", "basis", "score", "because_of")
    )
