"""published: the read-only DuckDB file that BI tools query, and the report on it.

How the file is made stands in `published_file.py`, how it is put in place in `publication.py`, what the report shows in `report/`.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from retail_assets import provenance, publication, report
from retail_assets.contracts import (
    ASSOCIATION_RULES,
    PRODUCT_RECOMMENDATIONS,
    QUARANTINE,
    RFM_CUT_POINTS,
)
from retail_assets.defs.marts import dbt_models
from retail_assets.monthly import OWNERS, POOL, SINGLE_RUN, key_of
from retail_assets.order import open_warehouse
from retail_assets.published_file import PublicationRefusedError
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

_TABLES = (QUARANTINE, RFM_CUT_POINTS, ASSOCIATION_RULES, PRODUCT_RECOMMENDATIONS)
"""Published tables that no dbt model reads, so that the publication waits for them too."""

LONGEST_BREAK_DAYS = 6
"""From any day on, a working day comes within so many days: a weekend between public holidays, such as Easter or the turn of the year."""

_GRACE_DAYS = Settings.from_environment().grace_days

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
            freshness_policy=dg.FreshnessPolicy.cron(
                deadline_cron=f"0 6 {_GRACE_DAYS + LONGEST_BREAK_DAYS + 1} * *", lower_bound_delta=timedelta(days=LONGEST_BREAK_DAYS + 1)
            ),
        )
    ],
    backfill_policy=SINGLE_RUN,
    pool=POOL,
)
def published_file(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    """Publish what stands in the warehouse."""
    with open_warehouse(warehouse) as connection:
        try:
            published = publication.publish(connection, settings, datetime.now(UTC).replace(tzinfo=None), context.run.run_id)
        except PublicationRefusedError as refused:
            raise dg.Failure(str(refused), allow_retries=False) from refused
        provenance.note_publication(connection, settings)
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


_REPORT = """`reports/<last month>.html`: the publication for people who decide on marketing, in one file that needs no network.

Made of the published file alone: the same file gives the same report. `retail report --month 2011-11` writes that of an earlier month.
"""


@dg.multi_asset(
    name="published__report",
    specs=[
        dg.AssetSpec(
            ["published", "report"],
            deps=[dg.AssetKey(["published", "retail"])],
            description=_REPORT,
            group_name="published",
            owners=OWNERS,
            kinds={"html"},
        )
    ],
    backfill_policy=SINGLE_RUN,
)
def report_file(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """Write the report on what readers see now."""
    path = report.write(settings)
    return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(path)), "size_bytes": path.stat().st_size})
