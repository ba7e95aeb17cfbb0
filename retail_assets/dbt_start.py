"""The command `retail-dbt`: dbt as Dagster starts it, with its start taken out of the run's way.

Two things cost more than the models. dagster-dbt asks `dbt --version` before each start, a process of its own that loads all of dbt and looks up the
newest release on the network: the answer is known from what is installed. And dbt takes seconds to load and to read the project, on one core, while
the first steps of a run use another: `warm` starts a dbt that does this ahead and waits, and `retail-dbt` hands its command and its output on to it.
Where none waits, `retail-dbt` is dbt itself. What dbt does is dbt's own business.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
from contextlib import chdir, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from retail_assets.processes import collect_seldom, loaded_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from retail_assets.settings import Settings

WARM_DBT: Final = "RETAIL_WARM_DBT"
"""The environment variable that names the socket at which a warm dbt waits."""

_TAKEN: Final = b"taken\n"
_FAILED: Final = 1


def target_path(settings: Settings) -> Path:
    """Where dbt keeps what it has read and compiled."""
    return settings.dagster_home / "dbt"


def socket_path(settings: Settings) -> Path:
    """The socket of a warm dbt: one per home, as a home has one run from the command line at a time (`run_lock.py`)."""
    return settings.home.absolute() / "dbt.socket"


def main() -> None:
    """Run dbt with the arguments of this process."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print(f"Core:\n  - installed: {version('dbt-core')}")  # noqa: T201
        return
    try:
        code = _hand_on(os.environ[WARM_DBT], arguments) if WARM_DBT in os.environ and "build" in arguments else None
        sys.exit(_dbt(arguments) if code is None else code)
    except KeyboardInterrupt:
        # Whoever pressed Ctrl-C is told by the run; a traceback beside it says nothing more.
        sys.exit(_FAILED)


def _dbt(arguments: list[str], manifest: object = None) -> int:
    """The exit code of dbt, which reads the project itself where it is not given as read."""
    from dbt.cli.main import cli  # noqa: PLC0415

    try:
        cli(arguments, prog_name="dbt", obj={"manifest": manifest})
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else _FAILED
    return 0


@contextmanager
def warm(settings: Settings) -> Iterator[None]:
    """A dbt that loads itself and reads the project while the block goes on, for the first `retail-dbt build` inside it."""
    from retail_assets.dbt_project import PARTIAL_PARSE, current_manifest  # noqa: PLC0415 - `retail-dbt` itself needs none of it

    saved_project = current_manifest().with_name(PARTIAL_PARSE)
    address = socket_path(settings)
    listener = _listener(address)
    process = None if listener is None else _started(listener, saved_project, settings)
    if process is None:
        remove_socket(settings)
        yield
        return
    os.environ[WARM_DBT] = str(address)
    try:
        yield
    finally:
        del os.environ[WARM_DBT]
        process.kill()
        process.communicate()
        remove_socket(settings)


def _started(listener: socket.socket, saved_project: Path, settings: Settings) -> subprocess.Popen[bytes] | None:
    """A dbt that waits at a socket. None where the machine lets no further process start: the run does without."""
    from retail_assets.settings import DBT_PROJECT_DIR  # noqa: PLC0415

    project = {name: str(DBT_PROJECT_DIR) for name in ("DBT_PROJECT_DIR", "DBT_PROFILES_DIR")}
    places = {name: str(target_path(settings)) for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH")}
    with listener, suppress(OSError):
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "retail_assets.dbt_start", str(listener.fileno()), saved_project],
            env={**os.environ, **project, **places, "RETAIL_WAREHOUSE": str(settings.warehouse_path), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
            pass_fds=[listener.fileno()],
            # Its end tells the one who waits that this process is gone, however it went.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return None


def remove_socket(settings: Settings) -> None:
    """Take away the socket of a run that has ended, or was killed."""
    with suppress(OSError):
        socket_path(settings).unlink()


def _listener(address: Path) -> socket.socket | None:
    """A socket that listens for this user alone. None on a disk that knows no sockets, or is full: what needs the disk will say so."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        address.unlink(missing_ok=True)
        _from_its_folder(listener.bind, address)
        address.chmod(0o600)
        listener.listen()
    except OSError:
        listener.close()
        return None
    return listener


def _from_its_folder(act: Callable[[str], None], path: Path) -> None:
    """Do something with a socket by its bare name: a socket's whole path must not have more than some 100 bytes."""
    with chdir(path.parent):
        act(path.name)


def _hand_on(address: str, arguments: list[str]) -> int | None:
    """The exit code of the warm dbt; None where it does not take the command."""
    command = {"arguments": arguments, "environment": dict(os.environ), "folder": str(Path.cwd())}
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            _from_its_folder(connection.connect, Path(address))
            socket.send_fds(connection, [b" "], [sys.stdout.fileno(), sys.stderr.fileno()])
            connection.sendall(json.dumps(command).encode() + b"\n")
            with connection.makefile("rb") as answers:
                return int(answers.readline() or _FAILED) if answers.readline() == _TAKEN else None
    except OSError:
        return None


def _wait(listener: socket.socket, saved_project: Path) -> int:
    """Load dbt and the project, then take one command."""
    collect_seldom()
    manifest = loaded_aside(lambda: _read_project(saved_project))
    ready, _, _ = select.select([listener, sys.stdin], [], [])
    if listener not in ready:
        return 0
    connection, _ = listener.accept()
    listener.close()
    with connection, connection.makefile("rb") as messages:
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 2)
        command = json.loads(messages.readline())
        for descriptor, stream in zip(descriptors, (sys.stdout, sys.stderr), strict=True):
            os.dup2(descriptor, stream.fileno())
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        os.environ.clear()
        os.environ.update(command["environment"])
        os.chdir(command["folder"])
        connection.sendall(_TAKEN)
        threading.Thread(target=_end_with_either, args=(connection,), daemon=True).start()
        code = _dbt(command["arguments"], manifest)
        connection.sendall(f"{code}\n".encode())
    return code


def _read_project(saved: Path) -> object:
    """The manifest that dbt saved when it last read the project, which was after the last change of a file. What a command asks of dbt is loaded.

    dbt itself would read all files again in a new home, whose warehouse the profile names, and look for changes in all of them in an old one.
    """
    from dbt.cli.main import dbtRunner  # noqa: PLC0415
    from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415

    try:
        manifest = Manifest.from_msgpack(saved.read_bytes())
        manifest.build_flat_graph()  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001 - another version of dbt may have saved it in another way
        manifest = None
    # Reads the files where there is no manifest. Whatever is wrong with them, the command that follows will say it: it reads them again.
    return dbtRunner(manifest=manifest).invoke(["--quiet", "parse"]).result


def _end_with_either(connection: socket.socket) -> None:
    """End this process, and with it its hold on the warehouse, when the one who asked or the run is gone."""
    select.select([connection, sys.stdin], [], [])
    os._exit(_FAILED)


if __name__ == "__main__":
    sys.exit(_wait(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])))
