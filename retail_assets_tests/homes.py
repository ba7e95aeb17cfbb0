"""What several files of tests begin with, made by one process of the session and used by all: an empty warehouse, and a home after a run of a sample.

What only one file needs stands in that file. Whoever changes a home or a warehouse does so to a copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from retail_assets.cli import main
from retail_assets.lib import sample
from retail_assets.warehouse import Warehouse

LINES, SEED = 4_000, 5
NewWarehouse = Callable[[Path], Warehouse]
"""Makes an empty warehouse: the fixture `new_warehouse`."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Home:
    """A home in which somebody tried to publish before anything had landed, and then ran the pipeline on a sample of `LINES` and `SEED`."""

    path: Path
    too_early: Done
    run: Done

    @property
    def published(self) -> Path:
        """The published file."""
        return self.path / "serving" / "retail.duckdb"

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """The rows of a query of the published file."""
        return query(self.path, sql)


def query(home: Path, sql: str) -> list[tuple[object, ...]]:
    """The rows of a query of the published file of a home."""
    with duckdb.connect(home / "serving" / "retail.duckdb", read_only=True) as reader:
        return reader.execute(sql).fetchall()


def retail(*arguments: str | Path) -> Done:
    """Run the command `retail` as a process of its own, as a user does."""
    command = [sys.executable, "-m", "retail_assets.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def retail_here(*arguments: str | Path) -> Done:
    """Run the command `retail` in this process, in which its libraries are loaded: a second less for a command that needs no process of its own."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            code: object = main([*map(str, arguments)])
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return Done(code, out.getvalue(), err.getvalue())


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the session that the first process that asks for it makes, while the others wait."""
    base = factory.getbasetemp()
    # A worker of pytest-xdist has a folder of its own in that of the session.
    session = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, mark = session / name, session / f"{name}.made"
    with (session / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            mark.touch()
    return folder


def sample_home(factory: pytest.TempPathFactory) -> Home:
    """The home after a run of a sample."""
    folder = made_once(factory, "sample", _run_a_sample)
    said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    return Home(folder / "home", **{name: Done(*done) for name, done in said.items()})


def _run_a_sample(folder: Path) -> None:
    home = folder / "home"
    too_early = retail("publish", "--home", home)
    sample.write(sample.generate(LINES, SEED), home / "landing")
    run = retail("run", "--home", home)
    said = {name: (done.returncode, done.stdout, done.stderr) for name, done in {"too_early": too_early, "run": run}.items()}
    (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")
