"""rules: which products are bought together, over the baskets of a trailing window. Mining and measures stand in `lib/baskets/`."""

from datetime import date
from fractions import Fraction

import duckdb
import polars as pl

from retail_assets import months as m
from retail_assets import quality
from retail_assets.catalogue import product_names
from retail_assets.contracts import ASSOCIATION_RULES, FREQUENT_ITEMSETS, PRODUCT_RECOMMENDATIONS, TRANSACTIONS
from retail_assets.lib import baskets
from retail_assets.monthly import Frames, key_of, monthly_asset, with_snapshot_month
from retail_assets.partitions import until
from retail_assets.settings import Settings
from retail_assets.warehouse import read_months

supports_are_exact = quality.Check(
    name="supports_are_exact",
    table=FREQUENT_ITEMSETS,
    description="Every itemset is in at least ceil(min_support * baskets) baskets, and its support is its count over the baskets.",
    query="""
        select count(*) as observed, 0 as expected
        from rules.frequent_itemsets
        where
            snapshot_month = $month
            and (count > total_basket_count or count < 1 or abs(support - count / total_basket_count) > 1e-12 or item_count <> len(itemset))
    """,
    recovery="A fault of the pipeline: the month was not written. Report it with the month.",
)

measures_are_consistent = quality.Check(
    name="measures_are_consistent",
    table=ASSOCIATION_RULES,
    description="Support, confidence and lift of every rule follow from its counts, and no side shares a product with the other.",
    query="""
        select count(*) as observed, 0 as expected
        from rules.association_rules
        where
            snapshot_month = $month
            and (
                abs(support - basket_count / total_basket_count) > 1e-9
                or abs(confidence - basket_count / antecedent_count) > 1e-9
                or abs(lift - basket_count * total_basket_count / (antecedent_count * consequent_count)) > 1e-6 * lift
                or list_has_any(antecedent, consequent)
            )
    """,
    recovery="A fault of the pipeline: the month was not written. Report it with the month.",
)


@monthly_asset(
    tables=[FREQUENT_ITEMSETS, ASSOCIATION_RULES, PRODUCT_RECOMMENDATIONS],
    deps=[until(key_of(TRANSACTIONS))],
    checks=[supports_are_exact, measures_are_consistent],
    kinds=frozenset({"numpy"}),
)
def association_rules(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:
    """Products bought together in the baskets of the trailing window that ends with the month.

    A basket is one sale invoice with at least two products; web-shop batches are no baskets. An itemset is frequent when its count is at least
    ceil(min_support * baskets), exactly, and at least `min_basket_count`. `expected_lift` is what basket sizes alone would give: judge a rule by
    its distance from that, not from 1.
    """
    window = read_months(
        connection,
        TRANSACTIONS,
        m.shift(month, 1 - settings.rules_window_months),
        month,
        columns=("invoice_no", "stock_code", "is_return", "is_batch_order"),
    )
    lines = baskets.baskets(window)
    basket_count = lines["basket_id"].n_unique()
    itemsets = baskets.frequent_itemsets(lines, _smallest_share(settings, basket_count), max_length=settings.max_itemset_length)
    # Tested before any rule is left out: the false discovery rate is over all of them.
    tested = baskets.expected_under_basket_sizes(baskets.association_rules(itemsets, basket_count), lines).drop("p_value")
    rules = tested.filter(pl.col("confidence") >= settings.min_confidence, pl.col("lift") >= settings.min_lift)
    names = product_names(connection, month)
    return {
        FREQUENT_ITEMSETS: with_snapshot_month(
            itemsets.with_columns(
                pl.col("itemset").list.len().cast(pl.Int32).alias("item_count"), pl.lit(basket_count, pl.Int64).alias("total_basket_count")
            ),
            FREQUENT_ITEMSETS,
            month,
        ),
        ASSOCIATION_RULES: with_snapshot_month(
            rules.with_columns(_named(rules[side], names).alias(f"{side}_names") for side in ("antecedent", "consequent")), ASSOCIATION_RULES, month
        ),
        PRODUCT_RECOMMENDATIONS: with_snapshot_month(
            baskets.recommendations(lines, per_product=settings.recommendations_per_product), PRODUCT_RECOMMENDATIONS, month
        ),
    }


def _smallest_share(settings: Settings, basket_count: int) -> Fraction:
    """`min_support`, or what `min_basket_count` comes to in small windows, where a hundredth of the baskets is chance."""
    return min(Fraction(1), max(Fraction(str(settings.min_support)), Fraction(settings.min_basket_count, max(basket_count, 1))))


def _named(codes: pl.Series, names: pl.DataFrame) -> pl.Series:
    """Lists of codes as lists of product names, in the same order."""
    return codes.list.eval(pl.element().replace_strict(names["stock_code"], names["description"], return_dtype=pl.String))
