"""What a user can set: one model, read from the environment (`RETAIL_...`), with a default and a meaning for every field.

Places are derived from `home`. Nothing here touches the disk.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from retail_assets import months as m

PREFIX = "RETAIL_"
REPOSITORY = Path(__file__).resolve().parent.parent
DBT_PROJECT_DIR = REPOSITORY / "dbt_sql"

_PLACES = {
    "home",
    "landing",
    "engine",
    "spark_url",
    "lake",
    "executor",
    "lock_timeout_seconds",
    "memory_limit",
    "first_month",
    "last_month",
    "kept_publications",
    "automation",
    "sensor_seconds",
    "grace_days",
    "webserver_url",
    "alert_url",
    "postgres_url",
}
"""Fields that say where, how and for which months, and change no result of a month."""


_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/+")
"""What no folder begins with, also after `Path` has taken one of its slashes away."""

_STORES = {"s3": "s3", "s3a": "s3", "gs": "gs", "abfss": "abfss"}
"""Object stores as Spark calls them, and as Arrow does."""


_MONTH = r"^\d{4}-(0[1-9]|1[0-2])$"
"""A month as people write it, `2011-03`."""

_MEMORY = re.compile(r"(?=.*[1-9])(\d+(\.\d+)? ?[KMGT](i?B)?|(100|\d{1,2}(\.\d+)?) ?%)", re.IGNORECASE)
"""What DuckDB takes for an amount of memory: a number with a unit, or a percentage."""


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the message names the variable."""


class Settings(BaseModel):
    """All settings. Each field is read from the environment variable `RETAIL_<FIELD>`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(Path("data"), description="Folder of everything the pipeline writes.")
    landing: Path | None = Field(None, description="Folder of the files to read; by default `landing` below the home.")
    date_order: Literal["auto", "year_first", "month_first", "day_first"] = Field(
        "auto", description="Order of dates in landed files; `auto` decides per file from the whole column."
    )
    duplicates: Literal["keep", "quarantine"] = Field("keep", description="What to do with lines that repeat another line of their invoice exactly.")
    rfm_window_months: int | None = Field(None, ge=1, description="Months of history behind RFM features; all history when unset.")
    rfm_frequency: Literal["invoices", "days"] = Field("invoices", description="What RFM frequency counts: distinct sale invoices, or days with one.")
    rfm_amount: Literal["net", "gross"] = Field("net", description="Which sales RFM monetary is made of: net of matched returns, or before returns.")
    rfm_monetary: Literal["sum", "mean"] = Field("sum", description="RFM monetary as the sum to date, or the mean per unit of frequency.")
    rfm_cut_points: Literal["quintiles", "fixed"] = Field(
        "quintiles",
        description="RFM scores by fifths of the customers of the month, or by the fixed cut points of the seed `rfm_fixed_cut_points`, with which a "
        "score means the same every month.",
    )
    first_month: str | None = Field(
        None,
        pattern=_MONTH,
        description="First month that is a partition, such as `2011-03`; the first landed one when unset. Earlier lines only land.",
    )
    last_month: str | None = Field(
        None, pattern=_MONTH, description="Last month that is a partition; the last landed one when unset. Later lines only land."
    )
    lapsing_after_days: int = Field(90, ge=1, description="Days without a purchase after which a customer is lapsing.")
    lost_after_days: int = Field(180, ge=2, description="Days without a purchase after which a customer is lost; more than those of lapsing.")
    segment_algorithm: Literal["kmeans", "gmm", "ward"] = Field(
        "kmeans", description="How segments are found: k-means, Gaussian mixture, or Ward's hierarchy."
    )
    segment_transform: Literal["log", "yeo_johnson"] = Field("log", description="How features are transformed before they are scaled and clustered.")
    segment_frozen_month: str | None = Field(
        None,
        pattern=_MONTH,
        description="Month such as `2011-06` whose segment model and names all later months keep: they only assign their customers, and drift is "
        "measured. A model for every month when unset.",
    )
    segment_incomplete_month: Literal["keep", "fit"] = Field(
        "keep", description="In a month whose last trading days have not landed: keep the model of the month before, or fit one to what there is."
    )
    seed: int = Field(20101201, ge=0, lt=2**31, description="Seed of everything random.")
    rules_window_months: int = Field(12, ge=1, description="Trailing months of baskets behind the rules of a month.")
    min_support: float = Field(0.01, gt=0, le=1, description="Smallest share of baskets of a frequent itemset.")
    min_basket_count: int = Field(10, ge=1, description="Smallest number of baskets of a frequent itemset, whatever the share.")
    max_itemset_length: int = Field(4, ge=2, description="Most products in a frequent itemset.")
    min_confidence: float = Field(0.2, ge=0, le=1, description="Smallest confidence of a rule.")
    min_lift: float = Field(1.0, ge=0, description="Smallest lift of a rule.")
    min_group_baskets: int = Field(200, ge=1, description="Fewest baskets of a segment or country in the window for rules of its own.")
    recommendations_per_product: int = Field(5, ge=1, description="Recommended products per product.")
    kept_publications: int = Field(3, ge=1, description="Publications that are kept, the current one included.")
    lock_timeout_seconds: float = Field(600, ge=0, description="How long to wait for another process that holds the warehouse.")
    engine: Literal["duckdb", "spark"] = Field(
        "duckdb",
        description="What works on the lines: DuckDB and polars on this machine, or Apache Spark, which needs the extra `spark` and Java "
        "(docs/spark.md). A home keeps the engine it began with.",
    )
    spark_url: str = Field(
        "local[*]",
        description="Where Spark runs: `local[*]` beside the run, `spark://host:7077` for a cluster, `sc://host:15002` for Spark Connect.",
    )
    lake: str | None = Field(
        None,
        description="Where Spark keeps the lines as Parquet by month: a folder under the same path on every machine, or an address in an object "
        "store such as `s3://bucket/prefix`; by default `lake` below the home.",
    )
    executor: Literal["in_process", "multiprocess"] = Field(
        "in_process", description="How Dagster runs the steps: all in the process of the run, or each in one of its own."
    )
    memory_limit: str | None = Field(
        None,
        description="Memory limit of DuckDB: a number with a unit from KB to TB or from KiB to TiB, or a percentage, such as `4GB` or `50%`; its own "
        "default when unset.",
    )
    automation: Literal["off", "on"] = Field("off", description="Whether sensors and schedules start switched on; the UI switches each of them.")
    sensor_seconds: int = Field(30, ge=1, description="Seconds between two looks of the sensors at the landing folder and at what has landed.")
    grace_days: int = Field(
        5, ge=1, le=14, description="Day of the month from which on the schedule refreshes the month before: the first working day then."
    )
    webserver_url: str = Field(
        "http://127.0.0.1:3000", description="The Dagster webserver, which is asked to reload the code location when new months have landed."
    )
    alert_url: str | None = Field(None, description='URL that gets a POST of `{"text": ...}` when a step of a job fails: what failed, what to do.')

    @field_validator("home", "landing")
    @classmethod
    def _is_a_folder(cls, path: Path | None) -> Path | None:
        if path and _ADDRESS.match(str(path)):
            raise ValueError("this must be a folder: mount the object store, or copy from it; only RETAIL_LAKE may be an address")
        return path

    @field_validator("memory_limit")
    @classmethod
    def _is_an_amount_of_memory(cls, limit: str | None) -> str | None:
        if limit and not _MEMORY.fullmatch(limit):
            raise ValueError("neither a number above 0 with a unit, such as 4GB or 1.5GiB, nor a percentage, such as 50%")
        return limit

    @field_validator("lake")
    @classmethod
    def _is_a_store_that_is_known(cls, lake: str | None) -> str | None:
        found = _ADDRESS.match(lake or "")
        if not lake or not found:
            return lake
        scheme = found["scheme"].lower()
        if scheme not in _STORES or not lake[found.end() :].strip("/"):
            raise ValueError(f"not a folder, nor a bucket of one of {', '.join(f'{store}://' for store in _STORES)}")
        return f"{_STORES[scheme]}://{lake[found.end() :].strip('/')}"

    @model_validator(mode="after")
    def _lapsing_comes_before_lost(self) -> Self:
        if self.lost_after_days <= self.lapsing_after_days:
            raise ValueError(
                f"RETAIL_LOST_AFTER_DAYS ({self.lost_after_days}) must be more than RETAIL_LAPSING_AFTER_DAYS ({self.lapsing_after_days})"
            )
        return self

    @model_validator(mode="after")
    def _first_month_comes_before_last(self) -> Self:
        if self.first_month and self.last_month and self.last_month < self.first_month:
            raise ValueError(f"RETAIL_LAST_MONTH ({self.last_month}) must not be before RETAIL_FIRST_MONTH ({self.first_month})")
        return self

    postgres_url: str | None = Field(
        None,
        description="Postgres database for Dagster's own storage, such as `postgresql+psycopg2://user:password@host/dagster`; files below the home "
        "when unset. Needs the extra `postgres`, and counts when `dagster.yaml` is first written.",
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from the environment.

        Raises:
            SettingsError: A variable has a value that cannot be used.
        """
        found = os.environ if environment is None else environment
        values = {name: found[PREFIX + name.upper()] for name in cls.model_fields if found.get(PREFIX + name.upper())}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(
                f"{PREFIX}{str(item['loc'][0]).upper()}={item['input']!r}: {item['msg']}" if item["loc"] else item["msg"] for item in error.errors()
            )
            raise SettingsError(f"{problems}. See the table of settings in README.md.") from error

    def overridden(self, first: date, last: date) -> tuple[date, date]:
        """The first and last month that are partitions where lines have landed from `first` to `last`."""
        return (
            m.parse_range(self.first_month)[0] if self.first_month else first,
            m.parse_range(self.last_month)[0] if self.last_month else last,
        )

    def existing_months(self, first: date, last: date) -> list[date]:
        """The months from `first` to `last`, without those that `first_month` and `last_month` leave out."""
        earliest, latest = self.overridden(first, last)
        return m.window(max(first, earliest), min(last, latest))

    @property
    def landing_dir(self) -> Path:
        """Where files to read lie."""
        return (self.landing or self.home / "landing").absolute()

    @property
    def warehouse_path(self) -> Path:
        """The DuckDB file that only the pipeline opens."""
        return (self.home / "warehouse" / "retail.duckdb").absolute()

    @property
    def duckdb_config(self) -> dict[str, Any]:
        """What every connection to a DuckDB file is opened with."""
        return {"memory_limit": self.memory_limit} if self.memory_limit else {}

    @property
    def is_lake_remote(self) -> bool:
        """Whether the lake is in an object store."""
        return bool(self.lake and _ADDRESS.match(self.lake))

    @property
    def lake_dir(self) -> Path:
        """Where DuckDB reads the lines that Spark keeps as Parquet: the lake, or the copy of it where it is in an object store."""
        return Path(self.lake if self.lake and not self.is_lake_remote else self.home / "lake").absolute()

    @property
    def lake_address(self) -> str:
        """Where Spark keeps the lines: a folder, or an address in an object store."""
        return self.lake if self.lake and self.is_lake_remote else str(self.lake_dir)

    @property
    def months_path(self) -> Path:
        """The note that says which months have landed, read when the code location loads (see `partitions.py`)."""
        return (self.home / "warehouse" / "months.json").absolute()

    @property
    def serving_dir(self) -> Path:
        """Where the published file and its earlier versions lie."""
        return (self.home / "serving").absolute()

    @property
    def reports_dir(self) -> Path:
        """Where reports lie."""
        return (self.home / "reports").absolute()

    def report_path(self, month: date) -> Path:
        """The report of a month."""
        return self.reports_dir / f"{month:%Y-%m}.html"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own home: runs, events, logs."""
        return (self.home / "dagster").absolute()

    def results_hash(self) -> str:
        """Twelve hexadecimal digits that change when a setting changes that can change a result."""
        return hashlib.sha256(self.results_json().encode()).hexdigest()[:12]

    def results_json(self) -> str:
        """The settings that can change a result, as JSON."""
        return self.model_dump_json(exclude=_PLACES)
