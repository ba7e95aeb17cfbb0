"""Decompression with bounds: what is packed is measured while it streams, because the sizes that an archive states can lie.

Nothing is written to disk, so names of members are names only. Which members are read, and how, is decided elsewhere.
"""

from __future__ import annotations

import copy
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

from retail_assets.lib.parsing.fields import RefusedFileError

MOST_BYTES: Final = 2 * 1024**3
"""A file may unpack to this much at most; the year 2010-2011 is 47 MB as CSV and 194 MB as the XML of a workbook."""

MOST_RATIO: Final = 250
"""A file may unpack to this many times its size at most. CSV of sales shrinks to a tenth; a bomb of zeros to a thousandth."""

ALWAYS_ALLOWED_BYTES: Final = 16 * 1024**2
"""Up to this much the ratio is not asked: a few equal lines shrink as much as a bomb."""

_CHUNK_BYTES: Final = 1024**2
_ANY_SIZE: Final = 2**62
_IS_ENCRYPTED: Final = 0x1
_LIBRARY_ERRORS: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, OverflowError)
"""What zipfile and gzip raise on damaged or unusual archives."""


class Allowance:
    """How many bytes a packed file may still unpack to; shared by all members of an archive."""

    def __init__(self, packed_bytes: int) -> None:
        self.left = min(MOST_BYTES, max(ALWAYS_ALLOWED_BYTES, packed_bytes * MOST_RATIO))

    def spend(self, size: int) -> None:
        """Raise RefusedFileError when more than allowed was unpacked."""
        self.left -= size
        if self.left < 0:
            raise RefusedFileError(
                f"The file unpacks to more than {MOST_RATIO} times its size, or to more than {MOST_BYTES // 1024**3} GiB, as an archive made to fill "
                "the memory does. If it is genuine, land it unpacked or in pieces."
            )


def gunzip(content: bytes) -> bytes:
    """The content of a gzip file."""
    allowance = Allowance(len(content))
    unpacked = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                allowance.spend(len(chunk))
                unpacked += chunk
    except RefusedFileError:
        raise
    except _LIBRARY_ERRORS as error:
        raise _damaged(error) from error
    return bytes(unpacked)


def open_zip(content: bytes) -> zipfile.ZipFile:
    """Open a zip archive, or a workbook, which is one; refused when damaged or encrypted."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _LIBRARY_ERRORS as error:
        raise _damaged(error) from error
    if any(member.flag_bits & _IS_ENCRYPTED for member in archive.infolist()):
        raise RefusedFileError("The file is protected by a password. Land it without one.")
    return archive


def stream_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, allowance: Allowance) -> Iterator[bytes]:
    """The content of a member in chunks; its checksum is checked at its end."""
    # zipfile stops at the size that the archive states, and other libraries do not: ask for what is really there.
    unlimited = copy.copy(member)
    unlimited.file_size = _ANY_SIZE
    try:
        with archive.open(unlimited) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                allowance.spend(len(chunk))
                yield chunk
    except RefusedFileError:
        raise
    except _LIBRARY_ERRORS as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> RefusedFileError:
    return RefusedFileError(f"The file is damaged or truncated ({str(error)[:200] or type(error).__name__}). Land it again.")
