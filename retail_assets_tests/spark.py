"""A Spark cluster of separate processes for tests: one master and two workers from the pyspark package, loopback only."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from retail_assets_tests.processes import environment, free_port, started

_WORKERS = 2
_START_SECONDS = 120


def missing() -> str | None:
    """What Spark lacks on this machine, and what to do; None where nothing is missing."""
    if find_spec("pyspark") is None:
        return "pyspark is not installed: `uv sync --extra spark`"
    return None if shutil.which("java") else "there is no Java: install 17 or 21"


needs_spark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@contextmanager
def cluster(folder: Path, **of_workers: str) -> Iterator[str]:
    """A standalone cluster while the block lasts, with variables for its workers; gives its `spark://` address."""
    url = f"spark://127.0.0.1:{free_port()}"
    variables = _environment(folder, of_workers)
    spark_class = _spark_home() / "bin" / "spark-class"
    log = folder / "master.log"
    with ExitStack() as processes:
        master = [spark_class, "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", url.rsplit(":", 1)[1], "--webui-port", "0"]
        processes.enter_context(started(master, log, variables, folder))
        _wait_for(log, "Starting Spark master", 1)
        for number in range(_WORKERS):
            work_dir = folder / f"worker_{number}"
            worker = [spark_class, "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g"]
            command = [*worker, "--webui-port", "0", "--work-dir", work_dir, url]
            processes.enter_context(started(command, folder / f"worker_{number}.log", variables, folder))
        _wait_for(log, "Registering worker", _WORKERS)
        yield url


def _wait_for(log: Path, text: str, times: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while log.read_text(encoding="utf-8", errors="replace").count(text) < times:
        if time.monotonic() > deadline:
            raise AssertionError(f"{text!r} did not come:\n{log.read_text(encoding='utf-8', errors='replace')[-4_000:]}")
        time.sleep(0.2)


@contextmanager
def connect_server(folder: Path, master: str) -> Iterator[str]:
    """A Spark Connect server while the block lasts, which works on `master`; gives its `sc://` address."""
    port = free_port()
    configuration = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    conf = [argument for name, value in configuration.items() for argument in ("--conf", f"{name}={value}")]
    submit = [_spark_home() / "bin" / "spark-submit", "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--master", master, *conf]
    log = folder / "connect.log"
    with started(submit, log, _environment(folder, {}), folder):
        _wait_for(log, "Spark Connect server started", 1)
        yield f"sc://127.0.0.1:{port}"


def _environment(folder: Path, more: dict[str, str]) -> dict[str, str]:
    return environment(folder, SPARK_HOME=str(_spark_home()), SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable, **more)


def _spark_home() -> Path:
    spec = find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
