"""Rules of groups of baskets (segments, countries), and how far their lift differs from that of everyone.

Which basket is in which group is decided by the caller.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retail_assets.lib.baskets._counts import rule_counts
from retail_assets.lib.baskets._itemsets import frequent_itemsets, least_count
from retail_assets.lib.baskets._lines import check_columns, code_lines
from retail_assets.lib.baskets._null_model import false_discovery_rates
from retail_assets.lib.baskets._rules import association_rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retail_assets.lib.baskets._lines import CodedLines

    Floats = NDArray[np.float64]

GROUP_RULES_SCHEMA = pl.Schema(
    {
        "group": pl.String(),
        "antecedent": pl.List(pl.String()),
        "consequent": pl.List(pl.String()),
        "basket_count": pl.Int64(),
        "antecedent_count": pl.Int64(),
        "consequent_count": pl.Int64(),
        "total_basket_count": pl.Int64(),
        "support": pl.Float64(),
        "confidence": pl.Float64(),
        "lift": pl.Float64(),
        "everyone_lift": pl.Float64(),
        "lift_difference": pl.Float64(),
        "lift_ratio": pl.Float64(),
        "lift_ratio_low": pl.Float64(),
        "lift_ratio_high": pl.Float64(),
        "difference_q_value": pl.Float64(),
    }
)
QUANTILE = 1.959963984540054
"""Of the normal distribution, for intervals of 95%."""


def group_rules(
    lines: pl.DataFrame,
    groups: pl.DataFrame,
    min_support: float | Fraction,
    min_basket_count: int = 10,
    min_group_baskets: int = 200,
    max_length: int | None = 3,
    min_confidence: float = 0.0,
    min_lift: float = 0.0,
) -> pl.DataFrame:
    """The rules of every large enough group of baskets, with the lift of the same rule in all baskets.

    Each group is mined for itself, so that what only it buys together is found. A group's baskets are among everyone's, so the two lifts move
    together: the variance of the difference of their logarithms is that of the influence of every basket on it (delta method, Oehlert 1992,
    doi:10.2307/2684406), the baskets of the group and the others taken as two samples. The interval is of the ratio of the lifts, which is
    symmetric on the logarithmic scale; it contains 1 where the group need not differ. It holds for a rule that was named beforehand. Rules found
    in a group are there because they are frequent there, and theirs exclude 1 more often than 5% of the time, the rarer elsewhere the more.

    The rules that are frequent among everyone, by the same thresholds, are known without a look at the group: they are the hypotheses. All of them
    count as tested, with a p value of 1 where the group does not have them, so that it does not matter which ones its own baskets bring up. The p
    value is that of the logarithm or of the square root of the ratio (Bartlett 1936, doi:10.2307/2983678), whichever is higher.

    Args:
        lines: Lines of all baskets, `basket_id` and `item`.
        groups: `basket_id` (as in `lines`, unique) and `group`; baskets without a row belong to none.
        min_support: Smallest share of a group's baskets of a rule, above 0 and up to 1.
        min_basket_count: Fewest baskets of a group that hold both sides, whatever the share.
        min_group_baskets: Fewest baskets of a group.
        max_length: Most items in a rule; the consequent is always one item.
        min_confidence: Smallest confidence within the group, inclusive.
        min_lift: Smallest lift within the group, inclusive.

    Returns:
        One row per group and rule, by group and then as `association_rules` orders them, with counts and measures within the group, and
        `everyone_lift`, `lift_difference` (lift - everyone_lift), `lift_ratio` (lift / everyone_lift) with its 95% interval `lift_ratio_low` to
        `lift_ratio_high`, and `difference_q_value`: false discovery rate (Benjamini and Hochberg 1995), over all rules that are frequent among
        everyone, of a ratio other than 1 (two-sided); null for rules that are not. A group that is everyone has no interval: ratio 1, from 1 to 1.

    Raises:
        ValueError: An argument is out of range, or a column is missing or holds nulls.
    """
    check_columns(groups, ("basket_id", "group"), frame="groups")
    sizes = lines.select(pl.col("basket_id").unique()).join(groups, on="basket_id", validate="1:1")["group"].value_counts()
    large = sizes.filter(pl.col("count") >= min_group_baskets).sort("group")
    found = [GROUP_RULES_SCHEMA.to_frame().select(*GROUP_RULES_SCHEMA.names()[: GROUP_RULES_SCHEMA.names().index("everyone_lift")])]
    for name, basket_count in large.select("group", "count").iter_rows():
        members = lines.join(groups.filter(pl.col("group") == name), on="basket_id", how="semi")
        share = Fraction(least_count(min_support, basket_count, min_basket_count), basket_count)
        itemsets = frequent_itemsets(members, share, max_length)
        rules = association_rules(itemsets, basket_count, min_confidence, min_lift, max_consequent=1)
        found.append(rules.select(pl.lit(name).alias("group"), *found[0].columns[1:]))
    every_rule = pl.concat(found)
    if every_rule.is_empty():
        return GROUP_RULES_SCHEMA.to_frame()
    coded = code_lines(lines)
    common_from = least_count(min_support, coded.basket_count, min_basket_count)
    lengths = frequent_itemsets(lines, Fraction(common_from, coded.basket_count), max_length)["itemset"].list.len()
    # Each item of a set is the consequent of one rule.
    return _compared(every_rule, coded, common_from, int(lengths.filter(lengths > 1).sum()))


def _compared(rules: pl.DataFrame, coded: CodedLines, common_from: int, common_rule_count: int) -> pl.DataFrame:
    """The rules of groups with the columns that compare them to everyone, of whom `common_from` baskets make a rule common."""
    from scipy.special import ndtr  # noqa: PLC0415 - scipy takes a while to import

    names = ("basket_count", "antecedent_count", "consequent_count", "total_basket_count")
    group = [rules[name].to_numpy().astype(np.float64) for name in names]
    everyone = [*(side.astype(np.float64) for side in rule_counts(rules, coded)), np.full(len(rules), float(coded.basket_count))]
    everyone_lift = _lift(everyone)
    ratio = _lift(group) / everyone_lift
    deviation = np.sqrt(_variance_of_log_ratio(group, everyone))
    # A count that is high by chance makes the deviation of the logarithm too small; that of the square root of a count does not depend on it.
    distance = np.minimum(np.abs(np.log(ratio)), np.abs(2 - 2 / np.sqrt(ratio)))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(deviation > 0, distance / deviation, 0.0)
    compared = rules.with_columns(
        pl.Series("everyone_lift", everyone_lift),
        pl.Series("lift_difference", _lift(group) - everyone_lift),
        pl.Series("lift_ratio", ratio),
        pl.Series("lift_ratio_low", ratio * np.exp(-QUANTILE * deviation)),
        pl.Series("lift_ratio_high", ratio * np.exp(QUANTILE * deviation)),
    )
    is_common, p_value, name = everyone[0] >= common_from, 2 * ndtr(-z), rules["group"].to_numpy()
    q_value = np.full(len(rules), np.nan)
    for of_group in (is_common & (name == one) for one in rules["group"].unique()):
        q_value[of_group] = false_discovery_rates(p_value[of_group], common_rule_count)
    return compared.with_columns(pl.Series("difference_q_value", q_value).fill_nan(None))


def _lift(counts: list[Floats]) -> Floats:
    joint, antecedent, consequent, total = counts
    return joint * total / (antecedent * consequent)


def _variance_of_log_ratio(group: list[Floats], everyone: list[Floats]) -> Floats:
    """Of the logarithm of the ratio of the group's lift to everyone's.

    A basket of the group moves both lifts, one of the others only everyone's.
    """
    others = [count - of_group for count, of_group in zip(everyone, group, strict=True)]
    weights_of_everyone = [1 / count for count in everyone[:3]]
    weights_of_group = [1 / count - weight for count, weight in zip(group[:3], weights_of_everyone, strict=True)]
    return _variance_of_sum(group, weights_of_group) + _variance_of_sum(others, weights_of_everyone)


def _variance_of_sum(counts: list[Floats], weights: list[Floats]) -> Floats:
    """Of the sum, over a sample of baskets, of (both sides) * w0 - (antecedent) * w1 - (consequent) * w2."""
    joint, antecedent, consequent, total = counts
    both, one, other = weights[0] - weights[1] - weights[2], -weights[1], -weights[2]
    squares = joint * both**2 + (antecedent - joint) * one**2 + (consequent - joint) * other**2
    total_influence = joint * both + (antecedent - joint) * one + (consequent - joint) * other
    return np.asarray(np.maximum(squares - total_influence**2 / np.maximum(total, 1), 0.0))
