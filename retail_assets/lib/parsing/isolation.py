"""Reading in a process of its own, for kinds of file whose libraries can end the process that they run in.

A workbook of 6 kB can make its library set aside any amount of memory, and a library written in Rust or C then aborts: no exception, no clean-up, the
run is gone. Apart, one file is refused, and the next one gets a new process. What the process does stands in `reader_process`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import IO, Any, Final, Self

import polars as pl

from retail_assets.lib.parsing.archives import PLAIN_READERS, gunzipped, read_zip
from retail_assets.lib.parsing.fields import FIELDS, Part, Reader, RefusedFileError, TextFile

READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {**PLAIN_READERS, **{f"{suffix}.gz": gunzipped(reader) for suffix, reader in PLAIN_READERS.items()}, ".zip": read_zip}
)
"""Kinds of file that are read, by suffix."""

MOST_MEMORY_BYTES: Final = 6 * 1024**3
"""Address space of the process that reads. The year 2010-2011 as a workbook, 25 MB and 541,909 lines, takes 1.3 GB of it, the libraries included."""

_LEAST_SECONDS: Final = 120
_SECONDS_PER_MEGABYTE: Final = 5
"""That workbook takes 4 s."""

_IN_THIS_PROCESS: Final = (".csv", ".tsv", ".txt")
"""Plain text takes memory in proportion to its size, so it needs no process, and should not pay for one: 305 files are read in a second."""


def suffix_of(name: str) -> str:
    """The suffix under which a file is read, such as `.csv.gz`.

    Raises:
        RefusedFileError: No such kind is read.
    """
    for suffix in READERS:
        if name.lower().endswith(suffix):
            return suffix
    kind = "." + name.rpartition(".")[2] if "." in name else "(no suffix)"
    raise RefusedFileError(f"Files of the kind {kind[:20]!r} are not read. Kinds that are: {', '.join(READERS)}.")


class SafeReader:
    """Reads files one after the other; those of doubtful kinds in a process that starts with the first of them and ends with the block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def read(self, name: str, content: bytes) -> TextFile:
        """The lines of a file, whose name says how it is read.

        Raises:
            RefusedFileError: It cannot be read, or not within the bounds of memory and time.
        """
        suffix = suffix_of(name)
        return READERS[suffix](content) if suffix in _IN_THIS_PROCESS else self._read_apart(suffix, content)

    @contextmanager
    def slices(self, content: bytes, size: int, fields: Sequence[str] = FIELDS) -> Iterator[tuple[int, Iterator[pl.DataFrame]]]:
        """How many lines a Parquet file says it holds, and some of its fields as text, at most `size` lines at a time.

        Raises:
            RefusedFileError: It cannot be read, or a slice not within the bounds of memory and time; also where a slice is asked for.
        """
        seconds = _seconds(content)
        is_taken = False
        try:
            requests, answers = self._start()
            request = {"suffix": ".parquet", "slice_lines": size, "fields": list(fields), "seconds": seconds, "size_bytes": len(content)}
            _send(requests, request, content)

            def pieces() -> Iterator[pl.DataFrame]:
                nonlocal is_taken
                while size_bytes := _answer_of(answers)["piece_bytes"]:
                    yield pl.read_ipc_stream(_read_exactly(answers, size_bytes))
                is_taken = True

            yield int(_answer_of(answers)["line_count"]), pieces()
        except EOFError as error:
            raise _not_survived(self._end(), seconds) from error
        finally:
            # What was not taken would be taken for the answer to the next request.
            if not is_taken:
                self._end()

    def _read_apart(self, suffix: str, content: bytes) -> TextFile:
        seconds = _seconds(content)
        try:
            requests, answers = self._start()
            _send(requests, {"suffix": suffix, "seconds": seconds, "size_bytes": len(content)}, content)
            answer = _answer_of(answers)
            parts = tuple(
                Part(pl.concat([pl.read_ipc_stream(_read_exactly(answers, size)) for size in part["piece_bytes"]]), part["name"])
                for part in answer["parts"]
            )
        except (OSError, EOFError) as error:
            raise _not_survived(self._end(), seconds) from error
        return TextFile(parts, answer["encoding"])

    def _start(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None:
            command = [sys.executable, "-P", "-m", "retail_assets.lib.parsing.reader_process"]
            # What a library says while it dies is of no use to anyone: the reason is told in words of ours.
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
        assert self._process.stdin is not None  # noqa: S101 - pipes, see above
        assert self._process.stdout is not None  # noqa: S101 - pipes, see above
        return self._process.stdin, self._process.stdout

    def _end(self) -> int:
        """End the process, if there is one; its exit status."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        # With its input closed it ends by itself, unless it is reading: what it reads then is of no use any more.
        try:
            process.communicate(timeout=1)
        except (subprocess.TimeoutExpired, OSError, ValueError):
            process.kill()
            process.wait()
        return process.returncode


def _seconds(content: bytes) -> int:
    return _LEAST_SECONDS + _SECONDS_PER_MEGABYTE * len(content) // 1_000_000


def _answer_of(answers: IO[bytes]) -> dict[str, Any]:
    answer = json.loads(answers.readline() or "null")
    if answer is None:
        raise EOFError
    if "refused" in answer:
        raise RefusedFileError(answer["refused"])
    return dict(answer)


def _send(stream: IO[bytes], head: Mapping[str, Any], content: bytes = b"") -> None:
    stream.write(json.dumps(head).encode() + b"\n" + content)
    stream.flush()


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _not_survived(status: int, seconds: int) -> RefusedFileError:
    if status == -signal.SIGALRM:
        cause = f"Reading the file was not done after {seconds} seconds"
    else:
        cause = f"Reading the file took more than {MOST_MEMORY_BYTES // 1024**3} GiB of memory, or broke the library that reads its kind"
    return RefusedFileError(f"{cause}, as a damaged file does, or one made to do harm. If it is genuine, save its lines as CSV and land that.")
