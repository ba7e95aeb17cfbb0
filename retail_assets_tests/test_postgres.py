"""Slow: Dagster's own storage in a real Postgres server from Debian's packages, run by an unprivileged user on the loopback."""

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy

from retail_assets.lib import sample
from retail_assets_tests.processes import BESIDE_PYTHON, environment, run

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
MISSING = "Postgres is not installed (Debian: apt-get install postgresql)"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PROGRAMS, reason=MISSING)]


def server_user() -> str:
    """Postgres refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else getpass.getuser()


def call(program: str, *arguments: str) -> None:
    command = [str(PROGRAMS[-1].with_name(program)), *arguments]
    subprocess.run(command, check=True, capture_output=True, user=server_user() if os.geteuid() == 0 else None, cwd="/")


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """An empty server in a temporary folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="retail-assets-postgres-"))
    user = pwd.getpwnam(server_user())
    os.chown(folder, user.pw_uid, user.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    try:
        call("initdb", "-D", str(folder / "data"), "--auth=trust", "--username=dagster")
        call("pg_ctl", "-D", str(folder / "data"), "-l", str(folder / "log"), "-o", options, "-w", "start")
        try:
            yield f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def test_runs_of_several_processes_are_kept_in_postgres_and_none_meets_a_lock(tmp_path: Path, postgres_url: str) -> None:
    sample.write(sample.generate(2_000, 5), tmp_path / "landing")
    first = run([BESIDE_PYTHON / "retail", "run", "--months", "2010-12"], tmp_path, RETAIL_POSTGRES_URL=postgres_url)
    assert first.returncode == 0, first.stderr[-2_000:]
    assert "RETAIL_POSTGRES_URL" in (tmp_path / "dagster" / "dagster.yaml").read_text()

    # The later month is launched first, and waits for the one before it.
    launches = [launch(tmp_path, postgres_url, month) for month in ("2011-02-01", "2011-01-01")]
    for process in launches:
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output[-4_000:]

    with sqlalchemy.create_engine(postgres_url).connect() as connection:
        statuses = connection.execute(sqlalchemy.text("select status, count(*) from runs group by status")).fetchall()
    assert [tuple(row) for row in statuses] == [("SUCCESS", 3)]
    assert not list((tmp_path / "dagster").rglob("runs.db"))


def launch(home: Path, postgres_url: str, month: str) -> "subprocess.Popen[str]":
    command: Sequence[str] = [str(BESIDE_PYTHON / "dg"), "launch", "--job", "refresh", "--partition", month]
    return subprocess.Popen(
        command,
        env=environment(home, RETAIL_POSTGRES_URL=postgres_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
