"""What a file is by its first bytes, whatever its name says. How a kind is read stands in the module of that kind."""

from __future__ import annotations

import io
import zipfile
from typing import Final

from retail_assets.lib.parsing.fields import RefusedFileError

_MAGIC: Final = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"PAR1": "parquet",
    b"\x1f\x8b": "gzip",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "ole",
    b"%PDF": "pdf",
}
_NAMES: Final = {
    "zip": "a zip archive",
    "xlsx": "an xlsx workbook",
    "damaged zip": "a damaged zip archive or workbook",
    "parquet": "a Parquet file",
    "gzip": "gzip data",
    "ole": "an .xls workbook or one with a password",
    "pdf": "a PDF document",
    "text": "text",
}
_REMEDIES: Final = {
    "zip": "Rename it to .zip.",
    "xlsx": "Rename it to .xlsx.",
    "damaged zip": "Land it again.",
    "parquet": "Rename it to .parquet.",
    "gzip": "Rename it to end in .gz after the suffix of what it holds, such as .csv.gz.",
    "ole": "Save it as .xlsx without a password.",
    "pdf": "Export the lines as CSV.",
    "text": "Rename it to .csv if it is CSV, or land it again.",
}


def kind_of(content: bytes) -> str:
    """One of the kinds above; `unknown` for binary content that is none of them."""
    for magic, kind in _MAGIC.items():
        if content.startswith(magic):
            return _kind_of_zip(content) if kind == "zip" else kind
    is_text = b"\x00" not in content or content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return "text" if is_text else "unknown"


def _kind_of_zip(content: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "damaged zip"
    return "xlsx" if any(name.startswith("xl/workbook") for name in names) else "zip"


def require_kind(content: bytes, wanted: str) -> None:
    """Raise RefusedFileError unless the content is of the kind, saying what it is instead."""
    if not content.strip():
        raise RefusedFileError("The file is empty. Land the complete file.")
    found = kind_of(content)
    # What is damaged is refused by its reader, which knows how.
    if found == wanted or (found == "damaged zip" and wanted in ("zip", "xlsx")):
        return
    if found == "unknown":
        cause = "not text (it holds null bytes)" if wanted == "text" else f"not {_NAMES[wanted]}, and of no kind that is read"
        raise RefusedFileError(f"The file is {cause}. It may be damaged: land it again.")
    raise RefusedFileError(f"The file is not {_NAMES[wanted]} as its name says: it is {_NAMES[found]}. {_REMEDIES[found]}")
