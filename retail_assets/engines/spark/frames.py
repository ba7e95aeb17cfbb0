"""Tables between polars, Arrow and Spark: one schema in three notations. Nothing of Spark is imported here, because workers import it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

_ARROW = {
    pl.Boolean: pa.bool_(),
    pl.Date: pa.date32(),
    pl.Float64: pa.float64(),
    pl.Int32: pa.int32(),
    pl.Int64: pa.int64(),
    pl.String: pa.string(),
    pl.Datetime: pa.timestamp("us"),
}
_SPARK = {
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Float64: "double",
    pl.Int32: "int",
    pl.Int64: "bigint",
    pl.String: "string",
    # Local shop time has no zone.
    pl.Datetime: "timestamp_ntz",
}


def arrow_type(dtype: pl.DataType) -> pa.DataType:
    """The Arrow type in which Spark and polars exchange a column."""
    if isinstance(dtype, pl.List):
        return pa.list_(arrow_type(dtype.inner))  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return pa.struct([(field.name, arrow_type(field.dtype)) for field in dtype.fields])  # type: ignore[arg-type]
    if isinstance(dtype, pl.Decimal):
        return pa.decimal128(dtype.precision, dtype.scale)
    return _ARROW[type(dtype)]


def spark_type(dtype: pl.DataType) -> str:
    """The Spark SQL type of a column."""
    if isinstance(dtype, pl.List):
        return f"array<{spark_type(dtype.inner)}>"  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return f"struct<{', '.join(f'{field.name}: {spark_type(field.dtype)}' for field in dtype.fields)}>"  # type: ignore[arg-type]
    if isinstance(dtype, pl.Decimal):
        return f"decimal({dtype.precision}, {dtype.scale})"
    return _SPARK[type(dtype)]


def spark_schema(schema: Mapping[str, pl.DataType]) -> str:
    """A schema as Spark's DDL."""
    return ", ".join(f"`{name}` {spark_type(dtype)}" for name, dtype in schema.items())


def arrow_schema(schema: Mapping[str, pl.DataType]) -> pa.Schema:
    """A schema as Arrow's."""
    return pa.schema([(name, arrow_type(dtype)) for name, dtype in schema.items()])


def to_arrow(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pa.Table:
    """The columns of a schema as an Arrow table that Spark takes."""
    return frame.select(list(schema)).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(arrow_schema(schema))


def from_arrow(table: pa.Table | pa.RecordBatch, schema: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
    """The columns of a schema, from an Arrow table that Spark gives; all columns as they are where none is given."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table, not an array
    return frame if schema is None else frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
