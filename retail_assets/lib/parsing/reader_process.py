"""The process that reads files of doubtful kinds for `isolation.SafeReader`: requests on stdin, answers on stdout, bounded memory and time.

A request is a line of JSON and the content of a file; an answer a line of JSON, and for each part its lines as Arrow streams. Of slices, each is an
answer of its own, worked out when the one before has been taken. It ends with its input.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import polars as pl

from retail_assets.lib.parsing.fields import RefusedFileError
from retail_assets.lib.parsing.isolation import MOST_MEMORY_BYTES, READERS
from retail_assets.lib.parsing.parquet_files import count_parquet_lines, read_parquet_slices

_LINES_PER_PIECE: Final = 100_000
"""So that no more than a piece is there twice while it is handed over."""


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while head := requests.readline():
        request = json.loads(head)
        content = requests.read(request["size_bytes"])
        pieces = _slices(request, content) if "slice_lines" in request else iter([_answer(request["suffix"], content)])
        while answer := _in_time(pieces, request["seconds"]):
            for piece in answer:
                answers.write(piece)
            answers.flush()


def _in_time(answers: Iterator[list[bytes]], seconds: int) -> list[bytes]:
    # The alarm ends the process wherever it is, in a library too; but not while it waits for a slice to be taken.
    signal.alarm(seconds)
    answer = next(answers, [])
    signal.alarm(0)
    return answer


def _slices(request: dict[str, Any], content: bytes) -> Iterator[list[bytes]]:
    try:
        yield [_line({"line_count": count_parquet_lines(content)})]
        for lines in read_parquet_slices(content, request["slice_lines"], request["fields"]):
            piece = _arrow_stream(lines)
            yield [_line({"piece_bytes": len(piece)}), piece]
        yield [_line({"piece_bytes": 0})]
    except RefusedFileError as error:
        yield [_line({"refused": str(error)})]


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _answer(suffix: str, content: bytes) -> list[bytes]:
    try:
        text = READERS[suffix](content)
    except RefusedFileError as error:
        return [_line({"refused": str(error)})]
    streams = [[_arrow_stream(piece) for piece in part.lines.iter_slices(_LINES_PER_PIECE)] for part in text.parts]
    parts = [{"name": part.name, "piece_bytes": [len(piece) for piece in pieces]} for part, pieces in zip(text.parts, streams, strict=True)]
    return [_line({"encoding": text.encoding, "parts": parts}), *(piece for pieces in streams for piece in pieces)]


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
