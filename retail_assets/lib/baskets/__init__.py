"""Market baskets: frequent itemsets, association rules, what basket sizes alone would give, and product recommendations.

Everything works on two columns, `basket_id` and `item`, with `baskets` making them from transactions. Exact, deterministic, independent of the
order of lines, and free of Dagster. Each step stands in a module of its own; here are only the public names.
"""

from retail_assets.lib.baskets._itemsets import ItemsetLimitError, frequent_itemsets
from retail_assets.lib.baskets._lines import baskets
from retail_assets.lib.baskets._null_model import expected_under_basket_sizes
from retail_assets.lib.baskets._recommendations import recommendations
from retail_assets.lib.baskets._rules import association_rules

__all__ = ["ItemsetLimitError", "association_rules", "baskets", "expected_under_basket_sizes", "frequent_itemsets", "recommendations"]
