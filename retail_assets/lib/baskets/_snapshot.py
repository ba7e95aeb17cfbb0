"""All that the baskets of a window tell, as the tables of a snapshot hold it. Each step stands in a module of its own; here is their order."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from retail_assets.lib.baskets._condensed import closed_and_maximal
from retail_assets.lib.baskets._holdout import with_next_month
from retail_assets.lib.baskets._marks import mark_mirrors, mark_variants
from retail_assets.lib.baskets._measures import rule_measures
from retail_assets.lib.baskets._null_model import expected_under_basket_sizes
from retail_assets.lib.baskets._recommendations import recommendations
from retail_assets.lib.baskets._rules import association_rules

SNAPSHOT_MEASURES = ("certainty", "cosine", "kulczynski", "imbalance_ratio", "odds_ratio", "phi", "chi_squared", "fisher_p_value")
"""Of the measures of `rule_measures`, those that a snapshot has."""


@dataclass(frozen=True)
class Snapshot:
    """Rows of `rules.frequent_itemsets`, `rules.association_rules` and `rules.product_recommendations`, without their month."""

    itemsets: pl.DataFrame
    rules: pl.DataFrame
    recommendations: pl.DataFrame


def snapshot(
    lines: pl.DataFrame,
    mined: pl.DataFrame,
    products: pl.DataFrame,
    next_lines: pl.DataFrame,
    *,
    max_length: int,
    min_confidence: float,
    min_lift: float,
    recommendations_per_product: int,
) -> Snapshot:
    """The snapshot of a window of baskets.

    Args:
        lines: Lines of the window's baskets, `basket_id` and `item`.
        mined: Their frequent itemsets as `frequent_itemsets` gives them, of up to `max_length` + 1 items: so it is known of the longest
            that are kept, too, whether they are closed and maximal.
        products: `stock_code` (unique) and `description` of every product sold so far.
        next_lines: Lines of the baskets of the month after the window, in which the rules are looked up; none where it has not landed.
        max_length: Most items of an itemset.
        min_confidence: Smallest confidence of a rule, inclusive.
        min_lift: Smallest lift of a rule, inclusive.
        recommendations_per_product: Most recommendations of a product.
    """
    basket_count = lines["basket_id"].n_unique()
    itemsets = closed_and_maximal(mined, basket_count).filter(pl.col("itemset").list.len() <= max_length)
    # Tested before any rule is left out: the false discovery rate is over all of them.
    tested = expected_under_basket_sizes(association_rules(itemsets, basket_count), lines).drop("p_value")
    kept = tested.filter(pl.col("confidence") >= min_confidence, pl.col("lift") >= min_lift)
    measured = rule_measures(mark_variants(mark_mirrors(kept), products), SNAPSHOT_MEASURES)
    return Snapshot(
        itemsets.with_columns(
            pl.col("itemset").list.len().cast(pl.Int32).alias("item_count"), pl.lit(basket_count, pl.Int64).alias("total_basket_count")
        ),
        with_next_month(named(measured, products), next_lines),
        recommendations(lines, recommendations_per_product, products=products["stock_code"]),
    )


def named(rules: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """The rules with `antecedent_names` and `consequent_names`, the product names of their sides in the same order.

    Args:
        rules: Rules with `antecedent` and `consequent`.
        products: `stock_code` (unique) and `description` of every product in them.
    """
    names = pl.element().replace_strict(products["stock_code"], products["description"], return_dtype=pl.String)
    return rules.with_columns(pl.col(side).list.eval(names).alias(f"{side}_names") for side in ("antecedent", "consequent"))
