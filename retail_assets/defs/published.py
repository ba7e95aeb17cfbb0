"""published: the read-only DuckDB file that BI tools query. How it is built and put in place stands in `publication.py`."""

from datetime import UTC, datetime

import dagster as dg

from retail_assets import publication
from retail_assets.contracts import (
    ASSOCIATION_RULES,
    PRODUCT_RECOMMENDATIONS,
    QUARANTINE,
    RFM_CUT_POINTS,
)
from retail_assets.defs.marts import dbt_models
from retail_assets.monthly import OWNERS, POOL, SINGLE_RUN, key_of
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

_TABLES = (QUARANTINE, RFM_CUT_POINTS, ASSOCIATION_RULES, PRODUCT_RECOMMENDATIONS)
"""Published tables that no dbt model reads, so that the publication waits for them too."""


_DESCRIPTION = """`serving/retail.duckdb`: every layer and the marts in one read-only file, replaced whole and atomically.

Refused while a blocking check has failed: readers keep the last good publication. Earlier publications are kept; `retail rollback` puts one back.
"""


@dg.multi_asset(
    name="published__retail",
    specs=[
        dg.AssetSpec(
            ["published", "retail"],
            deps=[*dbt_models.keys, *(key_of(table) for table in _TABLES)],
            description=_DESCRIPTION,
            group_name="published",
            owners=OWNERS,
            kinds={"duckdb"},
        )
    ],
    backfill_policy=SINGLE_RUN,
    pool=POOL,
)
def published_file(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Publish what stands in the warehouse."""
    with warehouse.get_connection() as connection:
        published = publication.publish(connection, settings, datetime.now(UTC).replace(tzinfo=None), context.run.run_id)
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(settings.serving_dir / publication.FILE_NAME)),
            "version": published.directory.name,
            "size_bytes": published.path.stat().st_size,
            "rows": dg.TableMetadataValue(
                [dg.TableRecord({"table": name, "rows": count}) for name, count in published.row_counts.items()],
                schema=dg.TableSchema([dg.TableColumn("table", "string"), dg.TableColumn("rows", "int")]),
            ),
        }
    )
