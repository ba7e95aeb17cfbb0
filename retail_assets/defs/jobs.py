"""jobs: the selections that people, schedules and sensors run. What starts them by itself stands in `automation.py`."""

import dagster as dg

from retail_assets.alerts import say_what_to_do
from retail_assets.defs.currency import months_are_current

_CURRENCY_CHECKS = months_are_current.check_keys

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.all(),
    description="The main job: landing, every layer for the months of the run, marts, publication. Takes one month or a range of months in one run.",
    hooks={say_what_to_do},
)

publish = dg.define_asset_job(
    "publish",
    selection=dg.AssetSelection.groups("marts", "published") | dg.AssetSelection.assets("core/products", "core/customers"),
    description="Marts and publication alone, from what stands in the warehouse.",
    hooks={say_what_to_do},
)

land = dg.define_asset_job(
    "land",
    selection=dg.AssetSelection.assets("raw/landed_files", "raw/landed_lines", "raw/product_names") | dg.AssetSelection.checks(*_CURRENCY_CHECKS),
    description="Landing alone: which files count, which months they touch, and which months of which tables are stale from then on.",
    hooks={say_what_to_do},
)
