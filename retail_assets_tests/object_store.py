"""An object store of tests: moto's S3 server as a process of its own on the loopback, with one bucket, empty at first."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from retail_assets_tests.processes import BESIDE_PYTHON, environment, free_port, started

_START_SECONDS = 60


@dataclass(frozen=True)
class ObjectStore:
    """Where it is."""

    bucket: str
    """Address of the bucket."""

    variables: dict[str, str]
    """What a process needs in its environment to use it, and no other."""


@contextmanager
def object_store(folder: Path) -> Iterator[ObjectStore]:
    """The server while the block lasts."""
    url = f"http://127.0.0.1:{free_port()}"
    log = folder / "s3.log"
    with started([BESIDE_PYTHON / "moto_server", "-H", "127.0.0.1", "-p", url.rsplit(":", 1)[1]], log, environment(folder), folder):
        deadline = time.monotonic() + _START_SECONDS
        while not _is_made(f"{url}/retail"):
            if time.monotonic() > deadline:
                raise AssertionError(f"The object store did not come:\n{log.read_text(encoding='utf-8', errors='replace')[-4_000:]}")
            time.sleep(0.1)
        variables = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "of-tests",
            "AWS_SECRET_ACCESS_KEY": "of-tests",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        yield ObjectStore("s3://retail", variables)


def _is_made(bucket: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(bucket, method="PUT"), timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False
