"""What rules and recommendations of one time did in baskets of another: scores on baskets they were not made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.baskets._bitmaps import set_bits, words
from retail_assets.lib.baskets._counts import rule_counts
from retail_assets.lib.baskets._lines import check_columns, code_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retail_assets.lib.baskets._lines import CodedLines

QUALITY_SCHEMA = pl.Schema(
    {
        "shown_count": pl.Int32(),
        "line_count": pl.Int64(),
        "hit_count": pl.Int64(),
        "hit_rate": pl.Float64(),
        "popular_hit_count": pl.Int64(),
        "popular_hit_rate": pl.Float64(),
    }
)


def rules_in_other_baskets(rules: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Support, confidence and lift of given rules in other baskets than those they were mined from.

    Args:
        rules: `antecedent` and `consequent`, lists of items; items need not occur in the lines.
        lines: Basket lines, `basket_id` (any type) and `item`.

    Returns:
        One row per rule, in the same order: `antecedent_count` (Int64, baskets that hold the antecedent), `support`, `confidence` (null where no
        basket holds the antecedent) and `lift` (null where none holds either side); all null where there are no baskets.

    Raises:
        ValueError: A column is missing or holds nulls.
    """
    check_columns(rules, ("antecedent", "consequent"), frame="rules")
    schema = {"antecedent_count": pl.Int64, "support": pl.Float64, "confidence": pl.Float64, "lift": pl.Float64}
    coded = code_lines(lines, asked=pl.concat([rules[side].explode() for side in ("antecedent", "consequent")]))
    if rules.is_empty() or not coded.basket_count:
        return pl.DataFrame({name: [None] * rules.height for name in schema}, schema=schema)
    joint, antecedent, consequent = rule_counts(rules, coded)
    counts = pl.DataFrame({"joint": joint, "antecedent_count": antecedent, "consequent_count": consequent})
    either = pl.col("antecedent_count") * pl.col("consequent_count")
    return counts.select(
        "antecedent_count",
        support=pl.col("joint") / coded.basket_count,
        confidence=pl.when(pl.col("antecedent_count") > 0).then(pl.col("joint") / pl.col("antecedent_count")),
        lift=pl.when(either > 0).then(pl.col("joint") * coded.basket_count / either),
    )


def with_next_month(rules: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """The rules with what they did in the baskets of the next month: the columns of `rules_in_other_baskets`, named `next_month_...`."""
    return rules.with_columns(rules_in_other_baskets(rules, lines).select(pl.all().name.prefix("next_month_")))


def recommendation_quality(recommendations: pl.DataFrame, popular: pl.Series, lines: pl.DataFrame) -> pl.DataFrame:
    """How often what is recommended beside a product is in the basket too, against the most popular products in its place.

    Every line of the baskets whose product has recommendations asks once. It is a hit where the basket also holds one of the first `shown_count`
    recommendations; `popular` hits where it holds one of as many of the most popular products, the product itself left out. Shown for one to all
    ranks: the hit rate at k of the literature on recommenders, with the rest of the basket as what is relevant.

    Args:
        recommendations: `stock_code`, `rank` and `recommended_stock_code`, as `recommendations` returns them.
        popular: Products from the most popular on, one more than the highest rank, known when the recommendations were made.
        lines: Lines of later baskets, `basket_id` (any type) and `item`.

    Returns:
        One row per `shown_count` (Int32, from 1 to the highest rank): `line_count` (Int64, lines that asked), `hit_count` (Int64), `hit_rate`
        (Float64, 0 to 1), `popular_hit_count` and `popular_hit_rate`. No rows where no line asks.

    Raises:
        ValueError: A column is missing or holds nulls.
    """
    check_columns(recommendations, ("stock_code", "rank", "recommended_stock_code"), frame="recommendations")
    asked = pl.concat([recommendations["stock_code"], recommendations["recommended_stock_code"], popular])
    coded = code_lines(lines, asked=asked)
    product = recommendations["stock_code"].unique().sort()
    bitmaps = _bitmaps(coded)
    of_product = _codes(product, coded)
    held = bitmaps[of_product]
    line_count = int(coded.baskets_per_item[of_product].sum())
    if not line_count:
        return QUALITY_SCHEMA.to_frame()
    ours = _shown(recommendations, product, coded)
    theirs = _popular_shown(popular, of_product, ours.shape[1], coded)
    hit_counts, popular_hit_counts = (_hits_by_rank(shown, held, bitmaps) for shown in (ours, theirs))
    return (
        pl.DataFrame(
            {
                "shown_count": np.arange(1, ours.shape[1] + 1),
                "line_count": line_count,
                "hit_count": hit_counts,
                "popular_hit_count": popular_hit_counts,
            },
        )
        .select(
            pl.col("shown_count", "line_count", "hit_count").cast(pl.Int64),
            hit_rate=pl.col("hit_count") / line_count,
            popular_hit_count=pl.col("popular_hit_count"),
            popular_hit_rate=pl.col("popular_hit_count") / line_count,
        )
        .cast(QUALITY_SCHEMA)
    )


def _hits_by_rank(shown: NDArray[np.int64], held: NDArray[np.uint64], bitmaps: NDArray[np.uint64]) -> list[int]:
    """Lines hit by the first, the first two, ... of what is shown beside each product; `held` are the baskets of the product."""
    reached = np.zeros_like(held)
    counts = []
    for code in shown.T:
        np.bitwise_or(reached, bitmaps[code], out=reached, where=(code >= 0)[:, None])
        counts.append(int(np.bitwise_count(reached & held).sum()))
    return counts


def _bitmaps(coded: CodedLines) -> NDArray[np.uint64]:
    """Baskets of every item as bits, one item per row."""
    by_word = np.zeros((words(coded.basket_count), coded.item_count), dtype=np.uint64)
    set_bits(by_word, coded.basket, coded.item)
    return np.ascontiguousarray(by_word.T)


def _codes(items: pl.Series, coded: CodedLines) -> NDArray[np.int64]:
    return items.cast(pl.Enum(coded.names)).to_physical().to_numpy().astype(np.int64)


def _shown(recommendations: pl.DataFrame, product: pl.Series, coded: CodedLines) -> NDArray[np.int64]:
    """Codes of what is recommended: one row per product, one column per rank, -1 for none."""
    shown = np.full((len(product), int(recommendations["rank"].max())), -1, dtype=np.int64)  # type: ignore[arg-type]
    row = recommendations["stock_code"].cast(pl.Enum(product)).to_physical().to_numpy()
    shown[row, recommendations["rank"].to_numpy() - 1] = _codes(recommendations["recommended_stock_code"], coded)
    return shown


def _popular_shown(popular: pl.Series, of_product: NDArray[np.int64], width: int, coded: CodedLines) -> NDArray[np.int64]:
    """The most popular products beside each product, without itself."""
    ranked = np.full(width + 1, -1, dtype=np.int64)
    ranked[: len(popular)] = _codes(popular.head(width + 1), coded)
    is_itself = ranked == of_product[:, None]
    # Where a product is among the popular ones, those after it move up.
    skipped = np.cumsum(is_itself, axis=1)[:, :width]
    return np.asarray(ranked[np.arange(width) + skipped])
