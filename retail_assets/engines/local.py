"""The engine for one machine: every table in the warehouse, all work in this process and its worker. The asset's own function builds each month."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retail_assets import landing, worker
from retail_assets.engines.lake import Part, refuse_lake
from retail_assets.lib import baskets, segments
from retail_assets.warehouse import replace_month

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from fractions import Fraction

    import duckdb
    import polars as pl

    from retail_assets.contracts import Table
    from retail_assets.engines import Rows
    from retail_assets.landing import LandingReport
    from retail_assets.settings import Settings


class LocalEngine:
    """DuckDB and polars in the process of the run, mining and fitting in its worker, where it has one."""

    fit_centers = staticmethod(segments.fit_centers)

    def land(self, connection: duckdb.DuckDBPyConnection, settings: Settings, seen_at: datetime) -> LandingReport:
        """Read files into the warehouse."""
        refuse_lake(connection)
        return landing.land(connection, settings.landing_dir, seen_at, settings.date_order)

    def months(
        self,
        tables: Sequence[Table],
        connection: duckdb.DuckDBPyConnection,
        months: Sequence[date],
        settings: Settings,
    ) -> None:
        """Every month is built by the function of its asset."""

    def replace_month(self, connection: duckdb.DuckDBPyConnection, table: Table, month: date, rows: Rows) -> int:
        """Write the rows."""
        assert not isinstance(rows, Part)  # noqa: S101 - this engine writes nothing aside
        return replace_month(connection, table, month, rows)

    def frequent_itemsets(
        self,
        connection: duckdb.DuckDBPyConnection,  # noqa: ARG002
        lines: pl.DataFrame,
        window: tuple[date, date],  # noqa: ARG002
        min_support: Fraction,
        max_length: int,
    ) -> pl.DataFrame:
        """Mine the lines in memory."""
        return worker.call(baskets.frequent_itemsets, lines, min_support, max_length)
