"""Lands a folder in a process of its own that may use so much memory and time and no more: what it says, or how it ended.

`python -m retail_assets_tests.fuzz.bounded FOLDER GIGABYTES` is that process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from retail_assets.contracts import LANDED_LINES, RAW_TRANSACTIONS
from retail_assets.lib import cleaning
from retail_assets.warehouse import Warehouse, read

MOST_GIGABYTES: Final = 6
MOST_SECONDS: Final = 120


class Outcome(NamedTuple):
    """What became of a file."""

    status: str
    reason: str | None
    line_count: int


@dataclass(frozen=True)
class Landed:
    """What a landing did with a folder: each file, lines and value before and after cleaning, and the most memory that it took."""

    files: dict[str, Outcome]
    raw: tuple[int, str]
    cleaned: tuple[int, str]
    stored: dict[str, int]
    peak_bytes: int


class CrashedError(RuntimeError):
    """The process did not end by itself as it should; the message is the end of what it said."""


def land(folder: Path, gigabytes: float = MOST_GIGABYTES, seconds: float = MOST_SECONDS) -> Landed:
    """Land a folder within bounds.

    Raises:
        CrashedError: It raised, was killed, or took too long.
    """
    command = [sys.executable, "-m", "retail_assets_tests.fuzz.bounded", str(folder), str(gigabytes)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise CrashedError(f"not done after {seconds:g} s") from error
    if done.returncode:
        raise CrashedError(f"exit {done.returncode}: {done.stderr.strip()[-1_000:]}")
    said = json.loads(done.stdout)
    files = {name: Outcome(*outcome) for name, outcome in said["files"].items()}
    return Landed(files, tuple(said["raw"]), tuple(said["cleaned"]), said["stored"], said["peak_bytes"])


def _main(folder: Path, gigabytes: float) -> None:
    from retail_assets import landing  # noqa: PLC0415
    from retail_assets.seeds import read_seed  # noqa: PLC0415

    most = int(gigabytes * 1024**3)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with tempfile.TemporaryDirectory() as home, Warehouse(database=f"{home}/retail.duckdb").get_connection() as connection:
        report = landing.land(connection, folder, datetime(2026, 1, 1))
        lines = read(connection, f"select * from {LANDED_LINES.full_name} order by file_id, line_no")
        file_names = read(connection, "select file_id, file_name from raw.landed_files where status = 'landed'")
        names = read(connection, "select * from raw.product_names order by all")
        stored = dict(connection.execute("select file_id, count(*) from raw.landed_lines group by file_id").fetchall())
    raw = lines.join(file_names, on="file_id", maintain_order="left").select(RAW_TRANSACTIONS.polars_schema.names())
    cleaned = cleaning.clean(raw, names, read_seed("non_product_codes"), read_seed("country_names"))
    kept = [cleaned.transactions["amount"], cleaned.quarantine["amount"]]
    said = {
        "files": {file.file_name: Outcome(file.status, file.reason, file.line_count) for file in report.files},
        "stored": {file.file_name: stored.get(file.file_id, 0) for file in report.landed},
        "raw": (lines.height, str(_sum(lines["amount"].drop_nulls().to_list()))),
        "cleaned": (sum(map(len, kept)), str(_sum([amount for amounts in kept for amount in amounts.drop_nulls().to_list()]))),
        "peak_bytes": _peak_bytes(),
    }
    sys.stdout.write(json.dumps(said))


def _peak_bytes() -> int:
    """The most memory that this process had; not `ru_maxrss`, which is handed down from the process before."""
    status = Path("/proc/self/status")
    peak = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")] if status.exists() else []
    return int(peak[0]) * 1024 if peak else 0


def _sum(amounts: list[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), float(sys.argv[2]))
