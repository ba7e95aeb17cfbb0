"""currency: which tables hold months that are stale. Asked of every table at once, after a landing and after a refresh."""

from collections.abc import Iterator

import dagster as dg

from retail_assets import months as m
from retail_assets import provenance
from retail_assets.contracts import BUILT_TABLES, LANDED_FILES
from retail_assets.monthly import POOL, key_of
from retail_assets.order import open_warehouse
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

RECOVERY = "Refresh the months named, in order: `retail run` does exactly that. With the sensors on, it happens by itself after a landing."

_CHECK = "months_are_current"
_SPECS = [
    dg.AssetCheckSpec(
        _CHECK,
        asset=key_of(table),
        description="Every landed month was built from the files that count now, with the settings and code of now, and so was every month before.",
        metadata={"recovery": RECOVERY},
        additional_deps=[key_of(LANDED_FILES)],
    )
    for table in BUILT_TABLES
]


@dg.multi_asset_check(name="months_are_current", specs=_SPECS, can_subset=True, pool=POOL)
def months_are_current(
    context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """Say for every table which months are stale."""
    with open_warehouse(warehouse) as connection:
        stale = provenance.stale_months(connection, settings)
    for table in BUILT_TABLES:
        if dg.AssetCheckKey(key_of(table), _CHECK) not in context.selected_asset_check_keys:
            continue
        behind = [m.label(month) for month, names in stale.items() if table.full_name in names]
        yield dg.AssetCheckResult(
            passed=not behind,
            asset_key=key_of(table),
            check_name=_CHECK,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Stale: {', '.join(behind)}. {RECOVERY}" if behind else "Every landed month is current.",
            metadata={"stale_months": len(behind), **({"recovery": RECOVERY} if behind else {})},
        )
