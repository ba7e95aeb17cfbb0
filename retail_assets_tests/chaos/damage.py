"""Files that are cut off, overwritten, lost, or of another version: what is said, that nothing is deleted, and that what is advised helps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb

from retail_assets_tests.chaos import state
from retail_assets_tests.chaos.homes import Case, finish
from retail_assets_tests.chaos.outcome import Outcome, judge

_PAGE: Final = 4096

Harm = Callable[[Path], None]


def _warehouse(home: Path) -> Path:
    return home / "warehouse" / "retail.duckdb"


def _cut(home: Path, share: float) -> None:
    file = _warehouse(home)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


def _overwrite(home: Path) -> None:
    """Noise in every second page but the headers, as a failing disk leaves it."""
    content = bytearray(_warehouse(home).read_bytes())
    for page in range(4, len(content) // _PAGE, 2):
        content[page * _PAGE : (page + 1) * _PAGE] = b"\xa5" * _PAGE
    _warehouse(home).write_bytes(content)


def _newer_duckdb(home: Path) -> None:
    """The number of a storage version of the future, with the checksum that DuckDB wants to see."""
    content = bytearray(_warehouse(home).read_bytes())
    if _checksum(content[8:_PAGE]) != int.from_bytes(content[:8], "little"):
        raise RuntimeError("the header of a DuckDB file is not what this expects")
    content[12:20] = (4711).to_bytes(8, "little")
    content[:8] = _checksum(content[8:_PAGE]).to_bytes(8, "little")
    _warehouse(home).write_bytes(content)


def _checksum(block: bytes | bytearray) -> int:
    """As DuckDB's `Checksum`: products of the 64-bit words, combined by exclusive or."""
    words = (int.from_bytes(block[start : start + 8], "little") for start in range(0, len(block), 8))
    return functools.reduce(lambda result, word: result ^ (word * 0xBF58476D1CE4E5B9 % 2**64), words, 5381)


def _newer_format(home: Path) -> None:
    with duckdb.connect(_warehouse(home)) as connection:
        connection.execute("update quality.warehouse_format set format = 4711")


def _log_alone(home: Path) -> None:
    _warehouse(home).rename(home / "kept.duckdb")
    _warehouse(home).with_name("retail.duckdb.wal").write_bytes(b"log of another file")


def _noise(home: Path, path: str) -> None:
    with (home / path).open("r+b") as file:
        file.write(b"\xa5" * 100)
        file.truncate()


def _noisy_log(home: Path) -> None:
    _warehouse(home).with_name("retail.duckdb.wal").write_bytes(b"noise")


def _earlier_version(home: Path) -> None:
    """As the first version of the pipeline left it: no note of the format or of what months were built from, no names, returns with less to say."""
    with duckdb.connect(_warehouse(home)) as connection:
        for table in ("quality.warehouse_format", "quality.built_months", "raw.product_names", "core.returns"):
            connection.execute(f"drop table {table}")
        connection.execute("create table core.returns (return_id varchar not null, invoice_month date not null, quantity integer not null)")


def _move_away(home: Path) -> None:
    """As the message advises."""
    (home / "warehouse").rename(home / state.DAMAGED)


def _move_history_away(home: Path) -> None:
    (home / "dagster").rename(home / "dagster.damaged")


def _old_format(home: Path) -> None:
    with duckdb.connect(_warehouse(home)) as connection:
        connection.execute("update quality.warehouse_format set format = 1")


def _log_away(home: Path) -> None:
    _warehouse(home).with_name("retail.duckdb.wal").unlink()
    (home / "kept.duckdb").rename(_warehouse(home))


OPENS: Final = "a warehouse without its last quarter"
"""DuckDB opens it, and finds out when it comes to what is missing: until then the landing writes to it."""

REFUSED: Final[dict[str, tuple[Harm, tuple[str, ...], Harm]]] = {
    "a warehouse cut in half": (lambda home: _cut(home, 0.5), ("cannot be read", "mv "), _move_away),
    OPENS: (lambda home: _cut(home, 0.75), ("cannot be read", "mv "), _move_away),
    "a warehouse of no bytes": (lambda home: _cut(home, 0), ("cannot be read", "mv "), _move_away),
    "a warehouse with noise in it": (_overwrite, ("cannot be read", "mv "), _move_away),
    "a warehouse of a newer DuckDB": (_newer_duckdb, ("cannot be read", "newer DuckDB"), _move_away),
    "a warehouse of a newer retail_assets": (_newer_format, ("format 4711", "Install the newer version"), _old_format),
    "a log without its warehouse": (_log_alone, ("retail.duckdb.wal", "Put "), _log_away),
    "a history of runs with noise in it": (lambda home: _noise(home, "dagster/history/runs.db"), ("history of runs", "mv "), _move_history_away),
}
"""What was done to the home, what must be said, and what is advised."""

SURVIVED: Final[dict[str, Harm]] = {
    "a note of months with noise in it": lambda home: _noise(home, "warehouse/months.json"),
    "dbt's own files with noise in them": lambda home: _noise(home, "dagster/dbt/partial_parse.msgpack"),
    "a log with noise in it": _noisy_log,
    "a warehouse of an earlier retail_assets": _earlier_version,
}


def refuse(case: Case, name: str, home: Path) -> Outcome:
    """The next run says what is wrong and changes nothing; with what it advises, the run after that ends as if nothing had been."""
    harm, words, remedy = REFUSED[name]
    outcome = Outcome(f"{case.name}: {name}", "damaged file")
    case.copy(home)
    harm(home)
    damaged = _damaged(home, name)
    before = damaged.read_bytes()
    outcome.expect_run(finish(home, case.command), 1, *words)
    outcome.expect(damaged.exists() if name == OPENS else damaged.read_bytes() == before, "the damaged file was changed")
    outcome.expect(state.digest(state.published(home)) == case.before, "readers no longer see the last publication")
    remedy(home)
    outcome.expect_run(finish(home, case.command), 0)
    judge(outcome, case, home)
    return outcome


def _damaged(home: Path, name: str) -> Path:
    """The file that must be left as it is."""
    if "history" in name:
        return home / "dagster" / "history" / "runs.db"
    return _warehouse(home).with_name("retail.duckdb.wal") if "log" in name else _warehouse(home)


def survive(case: Case, name: str, home: Path) -> Outcome:
    """What can be made again is, without a word."""
    outcome = Outcome(f"{case.name}: {name}", "damaged file")
    case.copy(home)
    SURVIVED[name](home)
    outcome.expect_run(finish(home, case.command), 0)
    judge(outcome, case, home)
    return outcome
