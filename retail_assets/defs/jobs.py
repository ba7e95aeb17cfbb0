"""jobs: the selections that people and schedules run."""

import dagster as dg

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.all(),
    description="The main job: landing, every layer for the months of the run, marts, publication. Takes one month or a range of months in one run.",
)

publish = dg.define_asset_job(
    "publish",
    selection=dg.AssetSelection.groups("marts", "published") | dg.AssetSelection.assets("core/products", "core/customers"),
    description="Marts and publication alone, from what stands in the warehouse.",
)

land = dg.define_asset_job(
    "land",
    selection=dg.AssetSelection.assets("raw/landed_files", "raw/landed_lines", "raw/product_names"),
    description="Landing alone: which files count, and which months they touch.",
)
