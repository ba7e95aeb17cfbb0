"""Parquet files as text lines: native types are written as a CSV export of the same values would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from retail_assets.lib.parsing.fields import FIELDS, Part, RefusedFileError, TextFile, refuse_too_many_lines, require_fields
from retail_assets.lib.parsing.kinds import require_kind
from retail_assets.lib.parsing.unpacking import Allowance

_LINES_PER_PIECE: Final = 100_000
_CELL_BYTES: Final = 16
"""What a cell takes beside its text."""

_SHOWN_DECIMALS: Final = 9
_LARGEST_ROUNDED: Final = 1e6
"""Sums such as 0.1 + 0.2 are written as people see them, `0.3`; beyond, floats have no decimals to spare."""

_LARGEST_WHOLE: Final = 2.0**53
_READ_ERRORS: Final = (pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, MemoryError)


def read_parquet(content: bytes) -> TextFile:
    """Read a Parquet file; its first row is line 2, as if the column names were line 1.

    Times with a zone are taken as the clock in that zone shows them: shop time has no zone.

    Raises:
        RefusedFileError: Damaged, without the eight columns, with a column that is no text, number or date, or with too many lines.
    """
    allowance = Allowance(len(content))
    lines = pl.concat(_read_pieces(content, _LINES_PER_PIECE, FIELDS, lambda: allowance))
    return TextFile((Part(lines.select(pl.int_range(2, pl.len() + 2, dtype=pl.Int32).alias("line_no"), *FIELDS)),))


def read_parquet_slices(content: bytes, size: int, fields: Sequence[str] = FIELDS) -> Iterator[pl.DataFrame]:
    """Some fields of a Parquet file as text, at most `size` lines at a time, so that memory does not depend on how many lines there are.

    Raises:
        RefusedFileError: As `read_parquet`, and only when the slice is reached that is damaged.
    """
    return _read_pieces(content, size, fields, lambda: Allowance(len(content)))


def count_parquet_lines(content: bytes) -> int:
    """How many lines the file says it holds.

    Raises:
        RefusedFileError: It is no Parquet file, or its end, which says so, is damaged.
    """
    require_kind(content, "parquet")
    with _refusing_damage():
        return int(parquet.read_metadata(pa.BufferReader(content)).num_rows)


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except RefusedFileError:
        raise
    except _READ_ERRORS as error:
        raise RefusedFileError(f"The Parquet file is damaged or cannot be read ({str(error)[:200]}). Land it again.") from error


def _read_pieces(content: bytes, size: int, wanted: Sequence[str], allowance: Callable[[], Allowance]) -> Iterator[pl.DataFrame]:
    """Fields as text, some lines at a time: equal texts are stored once in the file, and once per line in memory."""
    require_kind(content, "parquet")
    with _refusing_damage():
        source = pa.BufferReader(content)
        metadata = parquet.read_metadata(source)
        refuse_too_many_lines(metadata.num_rows)
        schema = metadata.schema.to_arrow_schema()
        fields = dict(zip(schema.names, require_fields(schema.names), strict=True))
        columns = [name for name, field in fields.items() if field in wanted]
        texts = [name for name in columns if pa.types.is_string(schema.field(name).type) or pa.types.is_binary(schema.field(name).type)]
        _as_lines(schema.empty_table().select(columns), fields, wanted)
        if not metadata.num_rows:
            raise RefusedFileError("The file holds columns and no line. Land the complete file.")
        with parquet.ParquetFile(source, read_dictionary=texts) as file:
            for piece in file.iter_batches(size, columns=columns):
                # Text that is no UTF-8 would otherwise surface far from here.
                piece.validate(full=True)
                allowance().spend(sum(map(_unpacked_bytes, piece.columns)))
                yield _as_lines(pa.Table.from_batches([piece]), fields, wanted)


def _unpacked_bytes(column: pa.Array) -> int:
    """What the text of a column takes once it is written out for every line."""
    cells = _CELL_BYTES * len(column)
    if not pa.types.is_dictionary(column.type):
        return cells
    return cells + int(pc.sum(pc.take(pc.binary_length(column.dictionary), column.indices)).as_py() or 0)


def _as_lines(table: pa.Table, fields: dict[str, str], wanted: Sequence[str]) -> pl.DataFrame:
    values = pl.DataFrame(table.rename_columns([fields[name] for name in table.column_names]))
    return values.select(_as_text(field, dtype) for field, dtype in values.schema.items()).select(wanted)


def _as_text(field: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(field)
    if dtype.is_float():
        text = _float_text(value, dtype)
    elif dtype.is_decimal():
        text = value.cast(pl.String)
        text = pl.when(text.str.contains(".", literal=True)).then(text.str.strip_chars_end("0").str.strip_chars_end(".")).otherwise(text)
    elif isinstance(dtype, pl.Datetime):
        local = value.dt.replace_time_zone(None)
        has_fraction = local.dt.truncate("1s") != local
        text = pl.when(has_fraction).then(local.dt.to_string("%Y-%m-%d %H:%M:%S%.6f")).otherwise(local.dt.to_string("%Y-%m-%d %H:%M:%S"))
    elif dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Date, pl.Boolean, pl.Null, pl.Binary):
        text = value.cast(pl.String)
    else:
        raise RefusedFileError(f"The column of {field} holds values of type {dtype}, which is no text, number or date. Write it as text.")
    return text.replace("", None).alias(field)


def _float_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    number = value.fill_nan(None)
    is_whole = (number == number.round()) & (number.abs() < _LARGEST_WHOLE)
    # A 32-bit float is written with the digits that it has; rounding would show those that it has not.
    rounded = pl.when(number.abs() < _LARGEST_ROUNDED).then(number.round(_SHOWN_DECIMALS)).otherwise(number) if dtype == pl.Float64 else number
    return pl.when(is_whole).then(number.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(rounded.cast(pl.String))
