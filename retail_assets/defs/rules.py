"""rules: which products are bought together, over the baskets of a trailing window. Mining and measures stand in `lib/baskets/`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

import duckdb
import polars as pl

from retail_assets import months as m
from retail_assets import quality, worker
from retail_assets.catalogue import product_names
from retail_assets.contracts import (
    ASSOCIATION_RULES,
    CUSTOMER_SEGMENTS,
    FREQUENT_ITEMSETS,
    GROUP_RULES,
    PRODUCT_RECOMMENDATIONS,
    RECOMMENDATION_QUALITY,
    TRANSACTIONS,
)
from retail_assets.engines import engine_of
from retail_assets.lib import baskets
from retail_assets.lib.charts import rules as charts
from retail_assets.monthly import Frames, key_of, monthly_asset, with_snapshot_month
from retail_assets.partitions import until
from retail_assets.settings import Settings
from retail_assets.warehouse import read, read_months, replace_month

supports_are_exact = quality.Check(
    name="supports_are_exact",
    table=FREQUENT_ITEMSETS,
    description="Every itemset is in at least ceil(min_support * baskets) baskets and in at least min_basket_count (or all), by the settings of the "
    "run; its support is its count over the baskets.",
    query="""
        select count(*) as observed, 0 as expected
        from rules.frequent_itemsets
        where
            snapshot_month = $month
            and (
                count / total_basket_count < $min_support
                or count < least($min_basket_count, total_basket_count)
                or count > total_basket_count
                or abs(support - count / total_basket_count) > 1e-12
                or item_count <> len(itemset)
            )
    """,
    settings=("min_support", "min_basket_count"),
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


next_month_is_known_or_not = quality.Check(
    name="next_month_is_known_or_not",
    table=ASSOCIATION_RULES,
    description="Either every rule of the month has been looked up in the next month, or none; shares lie from 0 to 1.",
    query="""
        select
            count(*) filter (where next_month_support < 0 or next_month_support > 1 or next_month_confidence < 0 or next_month_confidence > 1)
            + case when count(next_month_support) in (0, count(*)) then 0 else 1 end as observed,
            0 as expected
        from rules.association_rules
        where snapshot_month = $month
    """,
    recovery="A fault of the pipeline: the month was not written. Report it with the month.",
)

every_sold_product_has_recommendations = quality.Check(
    name="every_sold_product_has_recommendations",
    table=PRODUCT_RECOMMENDATIONS,
    description="Every product sold up to the month has recommendations, unless no basket holds two products.",
    query="""
        with sold as (
            select distinct stock_code from core.transactions where invoice_month <= $month and not is_return
        ),
        recommended as (
            select distinct stock_code from rules.product_recommendations where snapshot_month = $month
        )
        select
            case when (select count(*) from recommended) = 0 then 0 else count(*) filter (where recommended.stock_code is null) end as observed,
            0 as expected
        from sold
        left join recommended on sold.stock_code = recommended.stock_code
    """,
    recovery="A fault of the pipeline: the month was not written. Report it with the month.",
)


def _pictures(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> dict[str, Callable[[], bytes]]:  # noqa: ARG001 - one signature for all
    rules = read_months(connection, ASSOCIATION_RULES, month, month)
    return {draw.__name__: worker.begin(draw, rules, m.label(month)) for draw in (charts.support_and_confidence, charts.network)}


@dataclass(frozen=True)
class _Mined:
    """What the baskets of a window tell, and the baskets of the next month, in which it is looked up."""

    snapshot: baskets.Snapshot
    next_lines: pl.DataFrame


def _mine(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> _Mined:
    lines = _window_lines(connection, month, settings)
    window, share = (_first_month(month, settings), month), _smallest_share(settings, lines["basket_id"].n_unique())
    next_lines = _lines_of(connection, m.shift(month, 1))
    snapshot = worker.call(
        baskets.snapshot,
        lines,
        engine_of(settings).frequent_itemsets(connection, lines, window, share, max_length=settings.max_itemset_length + 1),
        product_names(connection, month),
        next_lines,
        max_length=settings.max_itemset_length,
        min_confidence=settings.min_confidence,
        min_lift=settings.min_lift,
        recommendations_per_product=settings.recommendations_per_product,
    )
    return _Mined(snapshot, next_lines)


def _look_up_the_month_before(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    """Fill in what the rules and recommendations of the month before, where they are there, did in the baskets of this month."""
    previous = m.shift(month, -1)
    lines = _lines_of(connection, month)
    rules = read_months(connection, ASSOCIATION_RULES, previous, previous)
    if rules.height:
        replace_month(connection, ASSOCIATION_RULES, previous, baskets.with_next_month(rules, lines))
    recommendations = read_months(connection, PRODUCT_RECOMMENDATIONS, previous, previous)
    if recommendations.height:
        popular = _most_popular(read_months(connection, FREQUENT_ITEMSETS, previous, previous))
        quality_of_previous = baskets.recommendation_quality(recommendations, popular, lines)
        replace_month(connection, RECOMMENDATION_QUALITY, previous, with_snapshot_month(quality_of_previous, RECOMMENDATION_QUALITY, previous))


@monthly_asset(
    tables=[FREQUENT_ITEMSETS, ASSOCIATION_RULES, PRODUCT_RECOMMENDATIONS, RECOMMENDATION_QUALITY],
    deps=[until(key_of(TRANSACTIONS))],
    checks=[supports_are_exact, measures_are_consistent, next_month_is_known_or_not, every_sold_product_has_recommendations],
    kinds=frozenset({"numpy"}),
    prepare=_mine,
    catch_up=_look_up_the_month_before,
    pictures={ASSOCIATION_RULES: _pictures},
)
def association_rules(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings, mined: _Mined) -> Frames:  # noqa: ARG001 - one signature
    """Products bought together in the baskets of the trailing window that ends with the month.

    A basket is one sale invoice with at least two products; web-shop batches are no baskets. An itemset is frequent when its count is at least
    ceil(min_support * baskets), exactly, and at least `min_basket_count`. `expected_lift` is what basket sizes alone would give: judge a rule by
    its distance from that, not from 1.

    What rules and recommendations did in the next month is filled in from either side: a month looks itself up in the next one where that has
    landed, and looks up the month before it in itself. So the months may be refreshed in any order and end the same. Nothing else in a snapshot
    knows of later months.
    """
    found = mined.snapshot
    frames = {
        FREQUENT_ITEMSETS: found.itemsets,
        ASSOCIATION_RULES: found.rules,
        PRODUCT_RECOMMENDATIONS: found.recommendations,
        RECOMMENDATION_QUALITY: baskets.recommendation_quality(found.recommendations, _most_popular(found.itemsets), mined.next_lines),
    }
    return {table: with_snapshot_month(frame, table, month) for table, frame in frames.items()}


def _most_popular(itemsets: pl.DataFrame) -> pl.Series:
    """Products from the most popular on, as far as they are frequent."""
    singles = itemsets.filter(pl.col("itemset").list.len() == 1).sort("count", "itemset", descending=[True, False])
    return singles["itemset"].list.first()


groups_are_compared_with_everyone = quality.Check(
    name="groups_are_compared_with_everyone",
    table=GROUP_RULES,
    description="Lift and lift_ratio follow from the counts and the lift of everyone, and the interval holds the ratio.",
    query="""
        select count(*) as observed, 0 as expected
        from rules.group_rules
        where
            snapshot_month = $month
            and (
                abs(lift - basket_count * total_basket_count / (antecedent_count * consequent_count)) > 1e-6 * lift
                or abs(lift_ratio - lift / everyone_lift) > 1e-6 * lift_ratio
                or lift_ratio not between lift_ratio_low * (1 - 1e-9) and lift_ratio_high * (1 + 1e-9)
            )
    """,
    recovery="A fault of the pipeline: the month was not written. Report it with the month.",
)


@monthly_asset(
    tables=[GROUP_RULES],
    deps=[until(key_of(TRANSACTIONS)), CUSTOMER_SEGMENTS],
    checks=[groups_are_compared_with_everyone],
    kinds=frozenset({"numpy"}),
)
def group_rules(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> Frames:
    """Rules within the baskets of each segment and each country that has at least `min_group_baskets` of them in the trailing window.

    Thresholds are those of all rules, on the group's own baskets; at most three products, one of them the consequent. `lift_ratio` compares the lift
    to that of all baskets, with an interval for a rule named beforehand; among many rules a group differs where `difference_q_value` is small, which
    is known for rules that are frequent among everyone.
    """
    lines = _window_lines(connection, month, settings)
    names = product_names(connection, month)
    found = []
    for kind, groups in _groups(connection, month, settings).items():
        rules = worker.call(
            baskets.group_rules,
            lines,
            groups,
            settings.min_support,
            min_basket_count=settings.min_basket_count,
            min_group_baskets=settings.min_group_baskets,
            max_length=min(settings.max_itemset_length, 3),
            min_confidence=settings.min_confidence,
            min_lift=settings.min_lift,
        )
        found.append(rules.rename({"group": "group_name"}).with_columns(group_kind=pl.lit(kind)))
    return {GROUP_RULES: with_snapshot_month(baskets.named(pl.concat(found), names), GROUP_RULES, month)}


def _groups(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> dict[str, pl.DataFrame]:
    """Segment and country of every basket of the window."""
    query = f"""
        with {_BASKETS},
        invoices as (
            select
                invoice_month,
                invoice_no,
                max(customer_id) as customer_id,
                min(country) as country
            from core.transactions
            where invoice_month between $first and $month and not is_return
            group by invoice_month, invoice_no
        )
        select
            baskets.basket_id::integer as basket_id,
            customer_segments.segment_name as segment,
            invoices.country
        from invoices
        inner join baskets on invoices.invoice_month = baskets.invoice_month and invoices.invoice_no = baskets.invoice_no
        left join segments.customer_segments
            on invoices.customer_id = customer_segments.customer_id and customer_segments.snapshot_month = $month
        order by baskets.basket_id
    """  # noqa: S608 - queries of our own
    invoices = read(connection, query, {"first": _first_month(month, settings), "month": month})
    return {kind: invoices.select("basket_id", group=kind).drop_nulls() for kind in ("segment", "country")}


def _first_month(month: date, settings: Settings) -> date:
    return m.shift(month, 1 - settings.rules_window_months)


def _window_lines(connection: duckdb.DuckDBPyConnection, month: date, settings: Settings) -> pl.DataFrame:
    """The baskets of the trailing window."""
    return _lines_of(connection, month, _first_month(month, settings))


def _lines_of(connection: duckdb.DuckDBPyConnection, month: date, first: date | None = None) -> pl.DataFrame:
    """The baskets of a month, or from a first month on, as `lib.baskets.baskets` defines them; none where it has not landed.

    The warehouse numbers invoices and products, so that 46 million lines come as eight bytes each.
    """
    window = {"first": first or month, "month": month}
    names = read(connection, f"with {_BASKETS} select distinct stock_code from sold order by stock_code", window)["stock_code"]  # noqa: S608
    query = f"""
        with {_BASKETS},
        products as (
            select
                stock_code,
                row_number() over (order by stock_code) - 1 as item
            from (select distinct stock_code from sold)
        )
        select
            baskets.basket_id::integer as basket_id,
            products.item::integer as item
        from sold
        inner join baskets on sold.invoice_month = baskets.invoice_month and sold.invoice_no = baskets.invoice_no
        inner join products on sold.stock_code = products.stock_code
    """  # noqa: S608 - queries of our own
    lines = read(connection, query, window)
    return baskets.coded_baskets(lines["basket_id"].to_numpy(), lines["item"].to_numpy(), names)


_BASKETS = """
    sold as (
        select
            invoice_month,
            invoice_no,
            stock_code
        from core.transactions
        where invoice_month between $first and $month and not is_return and not is_batch_order
    ),
    baskets as (
        select
            invoice_month,
            invoice_no,
            row_number() over (order by invoice_month, invoice_no) - 1 as basket_id
        from sold
        group by invoice_month, invoice_no
        having min(stock_code) <> max(stock_code)
    )
"""
"""Sale lines and, of at least two products, the baskets, numbered in the order of their invoices."""


def _smallest_share(settings: Settings, basket_count: int) -> Fraction:
    """`min_support`, or what `min_basket_count` comes to in small windows, where a hundredth of the baskets is chance."""
    return Fraction(baskets.least_count(settings.min_support, basket_count, settings.min_basket_count), max(basket_count, 1))
