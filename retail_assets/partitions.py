"""The months that exist as partitions: from the first landed month to the last, or as the settings say.

Read once, when the code location loads: partitions of a run are fixed when it starts. A landing that brings new months notes them in
`warehouse/months.json`; reload the code location to see them.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from functools import cache

import dagster as dg

from retail_assets import months as m
from retail_assets.settings import Settings

PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
"""Tags of a run that say its months."""

_NOTHING_LANDED = (date(2010, 12, 1), date(2010, 11, 1))


@cache
def monthly_partitions() -> dg.MonthlyPartitionsDefinition:
    """The partitions of every layer from raw to rules. Empty until something has landed."""
    first, last = loaded_range()
    # end_offset lets the running month in; end_date (exclusive) keeps everything after the last landed month out.
    return dg.MonthlyPartitionsDefinition(start_date=first.isoformat(), end_date=m.shift(last, 1).isoformat(), end_offset=1)


@cache
def loaded_range() -> tuple[date, date]:
    """First and last month as of when the code location loaded."""
    return landed_range(Settings.from_environment())


def landed_range(settings: Settings) -> tuple[date, date]:
    """First and last month that landed, or as the settings override them."""
    first, last = _NOTHING_LANDED
    if settings.months_path.exists():
        noted = json.loads(settings.months_path.read_text(encoding="utf-8"))
        first, last = (m.parse_range(noted[name])[0] for name in ("first_month", "last_month"))
    first, last = settings.overridden(first, last)
    return first, max(last, first - timedelta(days=1)).replace(day=1)


def month_of(partition_key: str) -> date:
    """The month of a partition key."""
    return date.fromisoformat(partition_key)


def until(key: dg.AssetKey, months_back: int | None = None) -> dg.AssetDep:
    """A dependency on the same month and the ones before it: all of them, or `months_back` earlier ones."""
    return dg.AssetDep(key, partition_mapping=_look_back(-(months_back or _ALL_MONTHS), 0))


def before(key: dg.AssetKey, months_back: int | None = None) -> dg.AssetDep:
    """A dependency on months before, but not on the same month: all of them, or the last `months_back`."""
    return dg.AssetDep(key, partition_mapping=_look_back(-(months_back or _ALL_MONTHS), -1))


_ALL_MONTHS = 1200


def _look_back(start_offset: int, end_offset: int) -> dg.TimeWindowPartitionMapping:
    return dg.TimeWindowPartitionMapping(start_offset=start_offset, end_offset=end_offset, allow_nonexistent_upstream_partitions=True)
