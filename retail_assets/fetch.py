"""`retail fetch`: the real data set from the UCI Machine Learning Repository into a landing folder, checked by hash, whole or not at all.

What its lines mean is no business of this file: it lands like any other.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from rich.progress import TaskID

_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 256 * 1024
_LARGEST_ARCHIVE_BYTES = 200 * 1024 * 1024
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True)
class Source:
    """A file inside a zip archive on a web server, and what is known of the file: size and SHA-256."""

    url: str
    member: str
    size_bytes: int
    sha256: str

    @property
    def host(self) -> str:
        """The server, as messages name it."""
        return urllib.parse.urlsplit(self.url).netloc


ONLINE_RETAIL = Source(
    url="https://archive.ics.uci.edu/static/public/352/online+retail.zip",
    member="Online Retail.xlsx",
    # UCI publishes no hash. Size and hash are those that several public repositories, independent of each other, recorded of their downloads.
    size_bytes=23_715_344,
    sha256="43465a06f2ccf7c8b5bd2892bc7defb52f97487934fe93b16ae4c3936424676d",
)


class FetchError(RuntimeError):
    """The file could not be had; the message says why and what to do. Nothing was written."""


@dataclass(frozen=True)
class Fetched:
    """Where the file is, and whether it had to be downloaded."""

    path: Path
    is_new: bool


def fetch(out: Path, source: Source) -> Fetched:
    """Put the file into a folder, unless it is there already.

    Raises:
        FetchError: The server cannot be reached, what it sent is not the known file, or a file of that name with other content is in the way.
    """
    target = out / source.member
    if target.exists():
        if _sha256(target) != source.sha256:
            raise FetchError(f"{target} exists and is not the file of {source.host}: move it away, or fetch into another folder with --out.")
        return Fetched(target, is_new=False)
    out.mkdir(parents=True, exist_ok=True)
    # Hidden, so that a landing beside us does not read half a file; in the same folder, so that the rename is atomic.
    with tempfile.TemporaryDirectory(dir=out, prefix=".fetch-") as temporary:
        archive, extracted = Path(temporary) / "archive.zip", Path(temporary) / "file"
        try:
            _download(source, archive)
        except (OSError, http.client.HTTPException) as error:
            raise FetchError(_unreachable(source, out, error)) from error
        _extract(source, archive, extracted)
        extracted.replace(target)
    return Fetched(target, is_new=True)


def _download(source: Source, archive: Path) -> None:
    _require_encryption(source.url)
    opener = urllib.request.build_opener(_EncryptedRedirects)
    with opener.open(source.url, timeout=_TIMEOUT_SECONDS) as response, archive.open("wb") as file, _progress() as progress:
        length = response.headers.get("Content-Length", "")
        task = progress.add_task(source.member, total=int(length) if length.isdigit() else None)
        _copy(source, response, file, progress, task)


def _copy(source: Source, response: IO[bytes], file: IO[bytes], progress: Progress, task: TaskID) -> None:
    received = 0
    while chunk := response.read(_CHUNK_BYTES):
        received += len(chunk)
        if received > _LARGEST_ARCHIVE_BYTES:
            raise FetchError(f"{source.host} sent more than {_LARGEST_ARCHIVE_BYTES // 1024**2} MB, which cannot be the archive of {source.member}.")
        file.write(chunk)
        progress.update(task, completed=received)


def _extract(source: Source, archive: Path, extracted: Path) -> None:
    """Take the one file out of the archive, and believe it only by its size and hash."""
    try:
        with zipfile.ZipFile(archive) as opened:
            member = opened.getinfo(source.member)
            # Before unpacking: a small archive can hold a file that fills the disk.
            if member.file_size != source.size_bytes:
                raise FetchError(_not_the_file(source, f"{member.file_size:,} bytes in place of {source.size_bytes:,}"))
            with opened.open(member) as packed, extracted.open("wb") as file:
                shutil.copyfileobj(packed, file, _CHUNK_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        raise FetchError(_not_the_file(source, f"no whole zip archive with it: {error}")) from error
    if (found := _sha256(extracted)) != source.sha256:
        raise FetchError(_not_the_file(source, f"SHA-256 {found} in place of {source.sha256}"))


def _unreachable(source: Source, out: Path, error: Exception) -> str:
    answer = f"answered {error.code} {error.reason}" if isinstance(error, urllib.error.HTTPError) else f"could not be reached or broke off ({error})"
    return (
        f"{source.host} {answer}. Try again later, check the network (behind a proxy set HTTPS_PROXY), or download {source.url} with a browser "
        f"and put the file {source.member!r} out of it into {out}."
    )


def _not_the_file(source: Source, found: str) -> str:
    return (
        f"{source.host} did not send the known {source.member!r}: {found}. Nothing was written. Try again; if it stays so, the file was changed "
        "there: download it with a browser, look at it, and put it into the landing folder yourself."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_encryption(url: str) -> None:
    """Only https, so that nobody on the way can change the file; on this machine itself (tests) there is no way."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise FetchError(f"{url} is no https address: only those are fetched.")


class _EncryptedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no server to an address without encryption."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _require_encryption(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
