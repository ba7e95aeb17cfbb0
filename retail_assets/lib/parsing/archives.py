"""Packed files: gzip around one file, and zip around several. Bounds on what they unpack to are kept in `unpacking`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final
from zipfile import ZipFile, ZipInfo

from retail_assets.lib.parsing.csv_files import read_csv
from retail_assets.lib.parsing.fields import Part, Reader, RefusedFileError, TextFile, numbered_on
from retail_assets.lib.parsing.kinds import require_kind
from retail_assets.lib.parsing.parquet_files import read_parquet
from retail_assets.lib.parsing.unpacking import Allowance, gunzip, open_zip, stream_member
from retail_assets.lib.parsing.xlsx_files import read_xlsx

PLAIN_READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {".csv": read_csv, ".tsv": read_csv, ".txt": read_csv, ".xlsx": read_xlsx, ".parquet": read_parquet}
)
"""Kinds of file that are not packed, by suffix."""

_ARCHIVE_SUFFIXES: Final = (".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tgz")


def gunzipped(reader: Reader) -> Reader:
    """A reader of gzip files that hold what the given reader reads."""

    def read(content: bytes) -> TextFile:
        require_kind(content, "gzip")
        return reader(gunzip(content))

    return read


def read_zip(content: bytes) -> TextFile:
    """Read a zip archive of plain files, numbering the lines on from member to member in the order of the archive.

    Folders and hidden members (such as those below `__MACOSX`) do not count.

    Raises:
        RefusedFileError: Damaged, encrypted, too large when unpacked, or with a member that cannot be read.
    """
    require_kind(content, "zip")
    allowance = Allowance(len(content))
    parts: list[Part] = []
    encodings: dict[str, None] = {}
    with open_zip(content) as archive:
        members = [member for member in archive.infolist() if not member.is_dir() and not _is_hidden(member.filename)]
        if not members:
            raise RefusedFileError("The archive holds no file. Land the complete archive.")
        for member in members:
            text = _read_member(archive, member, allowance)
            parts += [Part(part.lines, f"{member.filename}, {part.name}" if part.name else member.filename) for part in text.parts]
            encodings |= {text.encoding: None} if text.encoding else {}
    return TextFile(numbered_on(parts), ", ".join(encodings) or None)


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in PurePosixPath(name).parts)


def _read_member(archive: ZipFile, member: ZipInfo, allowance: Allowance) -> TextFile:
    suffix = PurePosixPath(member.filename).suffix.lower()
    try:
        if suffix in _ARCHIVE_SUFFIXES:
            raise RefusedFileError("Archives within archives are not read. Land it by itself.")
        if suffix not in PLAIN_READERS:
            raise RefusedFileError(f"Files of this kind are not read within an archive. Kinds that are: {', '.join(PLAIN_READERS)}. Take it out.")
        return PLAIN_READERS[suffix](b"".join(stream_member(archive, member, allowance)))
    except RefusedFileError as error:
        raise RefusedFileError(f"Member {member.filename[:100]!r} of the archive: {error}") from error
