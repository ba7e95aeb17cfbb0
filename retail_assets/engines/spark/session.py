"""The Spark session of this process: local, on a cluster, or through Spark Connect. Whatever is not named here is Spark's own configuration.

Everything is written on the DataFrame API, which Spark Connect has too.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from retail_assets.engines import EngineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from retail_assets.settings import Settings

_CONNECT: Final = "sc://"
_CONNECT_PORT: Final = 15_002
"""Where a Spark Connect server listens by itself."""
_ANSWER_SECONDS: Final = 20
_LOOPBACK: Final = ("127.0.0.1", "localhost")
_QUIET: Final = Path(__file__).with_name("log4j2.properties")

_ALWAYS: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.compression.codec": "zstd",
}
"""What results depend on, or readers of the lake; set through Spark Connect too."""

_OWN_PROCESS: Final = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Arrow and polars share their buffers; each task has a core of its own, so polars must not take them all.
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
}
"""Where this process starts the driver."""


def session(settings: Settings) -> SparkSession:
    """The session that the settings name, started on first use.

    Raises:
        EngineError: Spark is not installed, does not find Java, or does not answer.
    """
    if find_spec("pyspark") is None:
        raise EngineError("The engine is spark, and Spark is not installed: `uv sync --extra spark`, or `pip install 'retail_assets[spark]'`.")
    from pyspark.errors import PySparkException  # noqa: PLC0415
    from pyspark.sql import SparkSession  # noqa: PLC0415

    url = settings.spark_url
    if url.startswith(_CONNECT):
        _refuse_silent_server(url)
    builder = SparkSession.builder.appName("retail_assets")
    builder = builder.remote(url) if url.startswith(_CONNECT) else builder.master(url)
    for name, value in configuration(settings).items():
        builder = builder.config(name, value)
    # The workers run this Python unless the operator names theirs.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        spark = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        raise EngineError(
            f"Spark does not start at {url} ({error}). Is Java 17 or 21 there, and RETAIL_SPARK_URL right? See docs/spark.md."
        ) from error
    if url.startswith(_CONNECT):
        # A model of MLlib that is collected when Python ends asks the server to forget it, and waits for ever: its threads are gone (Spark 4.3).
        atexit.register(spark.stop)
    return spark


def _refuse_silent_server(url: str) -> None:
    """A Connect session is made without a word to the server, and its first job tries again for minutes: ask beforehand whether one listens."""
    try:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or _CONNECT_PORT), _ANSWER_SECONDS):
            return
    except (OSError, ValueError) as error:
        raise EngineError(
            f"No Spark Connect server answers at {url} ({error}). Is it started, and RETAIL_SPARK_URL right? See docs/spark.md."
        ) from error


def configuration(settings: Settings) -> dict[str, str]:
    """The configuration of the session."""
    url = settings.spark_url
    if url.startswith(_CONNECT):
        return dict(_ALWAYS)
    chosen = _ALWAYS | _OWN_PROCESS
    folder = settings.home.absolute() / "spark"
    chosen |= {
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_QUIET} -Dderby.system.home={folder}",
    }
    is_local = url.startswith("local")
    if is_local or urlsplit(url).hostname in _LOOPBACK:
        chosen |= {"spark.driver.host": _LOOPBACK[0], "spark.driver.bindAddress": _LOOPBACK[0]}
    if is_local:
        chosen["spark.sql.shuffle.partitions"] = str(os.cpu_count() or 1)
    return chosen
