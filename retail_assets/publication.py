"""The file that BI reads: built aside, verified, and put in place by one rename; earlier ones are kept, and one can be put back.

    serving/retail.duckdb -> versions/<time>/retail.duckdb      a symbolic link, replaced atomically
    serving/versions/<time>/retail.duckdb                       read-only; always this name, because DuckDB takes the catalog's name from it

Why a link to a directory per version and not a rename over the file: docs/decisions.md, 4.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import duckdb

from retail_assets import months as m
from retail_assets import provenance, published_file, quality
from retail_assets.contracts import BUILT_TABLES, LAST_PUBLICATION, UNPUBLISHED_MONTHS, Table
from retail_assets.published_file import PublicationRefusedError
from retail_assets.settings import Settings
from retail_assets.warehouse import transaction

FILE_NAME: Final = "retail.duckdb"
_COPIED_AT_ONCE: Final = 1 << 30
_BUILDING_SUFFIX: Final = ".building"
_TIME_FORMAT: Final = "%Y%m%dT%H%M%S.%fZ"


class NothingPublishedError(RuntimeError):
    """There is no published file to read; the message says what to do."""


@dataclass(frozen=True)
class Publication:
    """A published version: its directory, and the rows of each table in it."""

    directory: Path
    row_counts: dict[str, int]

    @property
    def path(self) -> Path:
        """The DuckDB file of this version."""
        return self.directory / FILE_NAME


def publish(
    connection: duckdb.DuckDBPyConnection, settings: Settings, published_at: datetime, run_id: str, tables: Sequence[Table] | None = None
) -> Publication:
    """Copy the warehouse into a new version, verify it and put it in place.

    Args:
        connection: Connection to the warehouse.
        settings: Where to publish, how many versions to keep, and what goes into the provenance.
        published_at: The time of the publication in UTC; names its version.
        run_id: The Dagster run that publishes.
        tables: What to publish; by default `published_file.published_tables()`.

    Raises:
        PublicationRefusedError: An ERROR check has failed, there is nothing to publish, or the copy is not what the warehouse holds.
    """
    _refuse_nothing_landed(connection)
    _refuse_failed_checks(connection)
    _refuse_emptied_tables(connection)
    versions = settings.serving_dir / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(versions)
    name = published_at.strftime(_TIME_FORMAT)
    building = versions / f"{name}{_BUILDING_SUFFIX}"
    building.mkdir()
    file = building / FILE_NAME
    base = _last_publication(connection, settings)
    if base:
        _clone(base, file)
    row_counts = published_file.build(connection, file, tables or published_file.published_tables(), settings, published_at, run_id)
    published_file.verify(file, row_counts, settings)
    file.chmod(0o444)
    _flush(file)
    with _alone(versions):
        directory = building.rename(versions / name)
        _flush(versions)
        _point_to(settings.serving_dir, directory)
        _note(connection, directory)
        _prune(settings)
    return Publication(directory, row_counts)


def is_current(connection: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Whether the last publication is what would be published now: of the months, files and refusals that landed, by this code, and still there.

    Whether readers see it is another matter: `rollback` may have put an earlier one in its place, on purpose.
    """
    made_of = connection.execute(f"select code_hash, landed_files_hash from {LAST_PUBLICATION.full_name}").fetchall()  # noqa: S608 - our contract
    wanted = [(published_file.code_hash(), _landed_files_hash(connection))]
    return current(settings) is not None and made_of == wanted and provenance.is_published(connection, settings)


def versions(settings: Settings) -> list[Path]:
    """The directories of the kept versions, newest first."""
    directory = settings.serving_dir / "versions"
    return sorted((path for path in directory.glob("*Z") if (path / FILE_NAME).exists()), reverse=True) if directory.exists() else []


def current(settings: Settings) -> Path | None:
    """The directory of the version that readers see now; None where nothing is published."""
    link = settings.serving_dir / FILE_NAME
    return link.resolve().parent if link.exists() else None


def rollback(settings: Settings, to: str | None = None) -> Path:
    """Put an earlier version back in place, and return its directory.

    Args:
        settings: Where the versions lie.
        to: Name of the version, newer ones than the current included; by default the one before the current.

    Raises:
        PublicationRefusedError: There is no such version, or it does not open.
    """
    with _alone(settings.serving_dir / "versions"):
        now, kept = current(settings), versions(settings)
        fitting = [path for path in kept if (path.name == to if to else now is None or path.name < now.name)]
        if not fitting:
            wanted = f"publication {to}" if to else "earlier publication"
            names = ", ".join(f"{path.name} (current)" if path == now else path.name for path in kept) or "none"
            raise PublicationRefusedError(f"There is no {wanted} to put back. Kept: {names}. `retail run` makes a new one.")
        _refuse_unreadable(fitting[0], settings)
        _point_to(settings.serving_dir, fitting[0])
        return fitting[0]


@contextmanager
def _alone(versions: Path) -> Iterator[None]:
    """Put publications in place and delete them one at a time, in whichever process: none must be put back while another process deletes it."""
    versions.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(versions, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refuse_unreadable(directory: Path, settings: Settings) -> None:
    try:
        with closing(duckdb.connect(directory / FILE_NAME, read_only=True, config=settings.duckdb_config)) as reader:
            reader.execute("from marts.publication").fetchall()
    except duckdb.Error as error:
        raise PublicationRefusedError(f"Publication {directory.name} cannot be read, so the current one stays: {error}") from error


def _refuse_nothing_landed(connection: duckdb.DuckDBPyConnection) -> None:
    if connection.execute("select count(*) = 0 from raw.raw_transactions").fetchall() == [(True,)]:
        raise PublicationRefusedError("Nothing has landed, so there is nothing to publish. `retail run` lands, refreshes and publishes.")


def _refuse_failed_checks(connection: duckdb.DuckDBPyConnection) -> None:
    failed = quality.blocking_failures(connection)
    if failed.height:
        listed = "; ".join(
            f"{row['table_name']}.{row['check_name']} {m.label(row['invoice_month']) if row['invoice_month'] else ''}: {row['recovery']}"
            for row in failed.head(5).to_dicts()
        )
        counted = "1 blocking check has" if failed.height == 1 else f"{failed.height} blocking checks have"
        raise PublicationRefusedError(f"{counted} failed, so the last good publication stays: {listed}")


def _refuse_emptied_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """After an upgrade that changed a table, it is empty until its months are built again."""
    built = {table for table, _ in provenance.built(connection)}
    emptied = [table.full_name for table in BUILT_TABLES if table.full_name not in built]
    if built - {provenance.PUBLISHED} and emptied:
        raise PublicationRefusedError(f"No month of {', '.join(emptied)} is built yet, so the last good publication stays. Run `retail run` first.")


def _last_publication(connection: duckdb.DuckDBPyConnection, settings: Settings) -> Path | None:
    """The file from which only the unpublished months differ; None where there is none, it may hold anything else, or most of it would be replaced.

    A file that was written to since, by whichever client, is not taken, and neither is one that other code or another DuckDB made.
    """
    ((is_mostly_new,),) = connection.execute(_IS_MOSTLY_NEW).fetchall()
    query = f"select version, code_hash, size_bytes, modified_ns from {LAST_PUBLICATION.full_name} where duckdb_version = version()"  # noqa: S608 - ours
    found = [] if is_mostly_new else connection.execute(query).fetchall()
    for name, code, size, modified in found:
        file = settings.serving_dir / "versions" / str(name) / FILE_NAME
        if code == published_file.code_hash() and file.exists() and not file.with_name(f"{FILE_NAME}.wal").exists():
            status = file.stat()
            if (status.st_size, status.st_mtime_ns) == (size, modified):
                return file
    return None


_IS_MOSTLY_NEW: Final = """
    with unpublished as (
        select invoice_month from quality.unpublished_months where table_name = 'core.transactions'
    )
    select 2 * count(*) filter (where invoice_month in (from unpublished)) > count(*) as is_mostly_new
    from core.transactions
"""


def _note(connection: duckdb.DuckDBPyConnection, directory: Path) -> None:
    """From now on, unpublished months are those written after this publication."""
    status = (directory / FILE_NAME).stat()
    with transaction(connection):
        for table in (UNPUBLISHED_MONTHS, LAST_PUBLICATION):
            connection.execute(f"delete from {table.full_name}")  # noqa: S608 - names are our contracts
        connection.execute(
            f"insert into {LAST_PUBLICATION.full_name} by name select $version as version, $code_hash as code_hash, version() as duckdb_version, "
            "$size_bytes as size_bytes, $modified_ns as modified_ns, $landed_files_hash as landed_files_hash",
            {
                "version": directory.name,
                "code_hash": published_file.code_hash(),
                "size_bytes": status.st_size,
                "modified_ns": status.st_mtime_ns,
                "landed_files_hash": _landed_files_hash(connection),
            },
        )


def _landed_files_hash(connection: duckdb.DuckDBPyConnection) -> str:
    query = """
        select coalesce(sha256(string_agg(concat_ws(chr(31), file_name, file_id, status, reason), chr(30) order by file_name, file_id)), '')
        from raw.landed_files
    """
    ((found,),) = connection.execute(query).fetchall()
    return str(found)


def _clone(source: Path, target: Path) -> None:
    """Copy a file inside the kernel; file systems that can share blocks do."""
    with source.open("rb") as reader, target.open("wb") as writer:
        while os.copy_file_range(reader.fileno(), writer.fileno(), _COPIED_AT_ONCE):
            pass


def _flush(path: Path) -> None:
    """Make sure that what was written is on the disk before a name points to it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _point_to(serving_dir: Path, directory: Path) -> None:
    temporary = serving_dir / f".{FILE_NAME}.next"
    with suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(Path("versions") / directory.name / FILE_NAME)
    temporary.replace(serving_dir / FILE_NAME)
    _flush(serving_dir)


def _remove_leftovers(versions_dir: Path) -> None:
    """What a killed publication left: a version that was being built, or one that was being deleted."""
    for path in versions_dir.iterdir():
        if path.name.endswith(_BUILDING_SUFFIX) or not (path / FILE_NAME).exists():
            shutil.rmtree(path)


def _prune(settings: Settings) -> None:
    """Delete all but the newest versions; never the one that readers see."""
    for path in versions(settings)[settings.kept_publications :]:
        if path != current(settings):
            shutil.rmtree(path)
