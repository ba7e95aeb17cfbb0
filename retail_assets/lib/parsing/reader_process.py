"""The process that reads files of doubtful kinds for `isolation.SafeReader`: requests on stdin, answers on stdout, bounded memory and time.

A request is a line of JSON and the content of a file; an answer a line of JSON, and for each part its lines as Arrow streams. It ends with its input.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import sys
from typing import BinaryIO, Final

import polars as pl

from retail_assets.lib.parsing.fields import RefusedFileError
from retail_assets.lib.parsing.isolation import MOST_MEMORY_BYTES, READERS

_LINES_PER_PIECE: Final = 100_000
"""So that no more than a piece is there twice while it is handed over."""


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while head := requests.readline():
        request = json.loads(head)
        content = requests.read(request["size_bytes"])
        # The alarm ends the process wherever it is, in a library too.
        signal.alarm(request["seconds"])
        for piece in _answer(request["suffix"], content):
            answers.write(piece)
        answers.flush()
        signal.alarm(0)


def _answer(suffix: str, content: bytes) -> list[bytes]:
    try:
        text = READERS[suffix](content)
    except RefusedFileError as error:
        return [json.dumps({"refused": str(error)}).encode() + b"\n"]
    streams = [[_arrow_stream(piece) for piece in part.lines.iter_slices(_LINES_PER_PIECE)] for part in text.parts]
    parts = [{"name": part.name, "piece_bytes": [len(piece) for piece in pieces]} for part, pieces in zip(text.parts, streams, strict=True)]
    return [json.dumps({"encoding": text.encoding, "parts": parts}).encode() + b"\n", *(piece for pieces in streams for piece in pieces)]


def _arrow_stream(lines: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    lines.write_ipc_stream(stream)
    return stream.getvalue()


if __name__ == "__main__":
    # Not every system bounds the address space; time is bounded on all.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as to_parent:
        # Whatever a library prints must not get between the answers.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin.buffer, to_parent)
