"""Engines: who works on the lines. One class per engine behind one protocol; the assets, jobs, checks and marts are the same for all.

`local` keeps every table in the warehouse and works in this process. `spark` keeps the tables of one row per line in a lake of Parquet and works on
them with Apache Spark; everything smaller lands in the same warehouse. What the work is stands in `lib/`, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeAlias

from retail_assets.errors import ToldError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date, datetime
    from fractions import Fraction

    import duckdb
    import polars as pl

    from retail_assets.contracts import Table
    from retail_assets.engines.lake import Part
    from retail_assets.landing import LandingReport
    from retail_assets.lib.segments import FitCenters
    from retail_assets.settings import Settings
    from retail_assets.warehouse import Query


Rows: TypeAlias = "pl.DataFrame | Query | Part"
"""The rows of a month of a table: a frame in memory, the query that gives them inside the warehouse, or what Spark has written aside."""

Frames = Mapping["Table", "Rows"]


class Engine(Protocol):
    """What an engine does for the assets. Connections are to the warehouse."""

    def land(self, connection: duckdb.DuckDBPyConnection, settings: Settings, seen_at: datetime) -> LandingReport:
        """Bring the tables of the landing up to date with the landing folder: see `landing.land`."""

    def months(
        self, tables: Sequence[Table], connection: duckdb.DuckDBPyConnection, months: Sequence[date], settings: Settings
    ) -> Callable[[date], Frames] | None:
        """A function that gives the frames of each of `months`, made by the engine; None where the asset's own function builds them."""

    def replace_month(self, connection: duckdb.DuckDBPyConnection, table: Table, month: date, rows: Rows) -> int:
        """Replace a month of a table, and return how many rows it has. Call it inside `transaction`."""

    def frequent_itemsets(
        self,
        connection: duckdb.DuckDBPyConnection,
        lines: pl.DataFrame,
        window: tuple[date, date],
        min_support: Fraction,
        max_length: int,
    ) -> pl.DataFrame:
        """Frequent itemsets of `lines`, the baskets of a window of months given by its first and last: see `baskets.frequent_itemsets`."""

    @property
    def fit_centers(self) -> FitCenters:
        """How segments are fitted to all customers: see `segments.fit`."""


class EngineError(ToldError):
    """The engine cannot be used as it is set; the message says what to do."""


@cache
def engine_of(settings: Settings) -> Engine:
    """The engine that the settings name, one per process. Nothing of Spark is imported unless it is that.

    Raises:
        EngineError: Spark is asked for and not installed.
    """
    if settings.engine == "duckdb":
        from retail_assets.engines.local import LocalEngine  # noqa: PLC0415

        return LocalEngine()
    from retail_assets.engines.spark.engine import SparkEngine  # noqa: PLC0415

    return SparkEngine.of(settings)
