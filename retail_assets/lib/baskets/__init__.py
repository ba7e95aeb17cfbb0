"""Market baskets: frequent itemsets, association rules, what basket sizes alone would give, what rules did later, and product recommendations.

Everything works on two columns, `basket_id` and `item`, with `baskets` making them from transactions. Exact, deterministic, independent of the
order of lines, and free of Dagster. Each step stands in a module of its own; here are only the public names.
"""

from retail_assets.lib.baskets._condensed import closed_and_maximal
from retail_assets.lib.baskets._groups import group_rules
from retail_assets.lib.baskets._guard import ItemsetLimitError
from retail_assets.lib.baskets._holdout import recommendation_quality, rules_in_other_baskets, with_next_month
from retail_assets.lib.baskets._itemsets import frequent_itemsets, least_count
from retail_assets.lib.baskets._lines import baskets, coded_baskets
from retail_assets.lib.baskets._marks import mark_mirrors, mark_variants
from retail_assets.lib.baskets._measures import MEASURES, rule_measures
from retail_assets.lib.baskets._null_model import expected_under_basket_sizes
from retail_assets.lib.baskets._recommendations import recommend, recommendations
from retail_assets.lib.baskets._rules import association_rules
from retail_assets.lib.baskets._shuffle import shuffled
from retail_assets.lib.baskets._snapshot import Snapshot, named, snapshot

__all__ = [
    "MEASURES",
    "ItemsetLimitError",
    "Snapshot",
    "association_rules",
    "baskets",
    "closed_and_maximal",
    "coded_baskets",
    "expected_under_basket_sizes",
    "frequent_itemsets",
    "group_rules",
    "least_count",
    "mark_mirrors",
    "mark_variants",
    "named",
    "recommend",
    "recommendation_quality",
    "recommendations",
    "rule_measures",
    "rules_in_other_baskets",
    "shuffled",
    "snapshot",
    "with_next_month",
]
