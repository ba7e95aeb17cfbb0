"""quality: what the checks found. Written by every asset that has checks, month by month; so it is declared here and materialized by none."""

from retail_assets.contracts import CHECK_RESULTS
from retail_assets.monthly import table_spec

check_results = table_spec(CHECK_RESULTS, "Every asset with checks keeps their results here, in the transaction that writes the month.", [], set())
