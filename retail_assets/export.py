"""`retail export`: tables of the published file as Parquet or CSV, for tools that read no DuckDB.

    OUT/export.json                                               what was exported, from which publication
    OUT/marts/fct_sales/invoice_month=2011-01-01/data_0.parquet   Parquet: one folder per month, Hive style, where a table has months
    OUT/marts/dim_product.parquet                                 and one file where it has none
    OUT/marts/fct_sales.csv                                       CSV: one file per table, UTF-8, RFC 4180

DuckDB writes the files; no row passes through Python. The same publication gives the same bytes. A folder is replaced whole, if it holds an export.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from retail_assets import publication, published_file
from retail_assets.contracts import Column, Table
from retail_assets.reading import reading
from retail_assets.settings import Settings
from retail_assets.warehouse import sql_text

if TYPE_CHECKING:
    import duckdb

Format = Literal["parquet", "csv"]

_NOTE: Final = "export.json"
_BUILDING_SUFFIX: Final = ".building"

FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A text cell that begins so may be run as a formula by a spreadsheet, and gets an apostrophe in front.

OWASP, CSV Injection (https://owasp.org/www-community/attacks/CSV_Injection), and OWASP ASVS 5.0, 1.2.10, which adds the null character. Full-width
forms are read as the ASCII ones by spreadsheets in some languages.
"""

TERMINAL_CONTROLS: Final = r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}]"
"""What a terminal acts on when the file is shown in one; tabs and line breaks stay."""


class ExportError(ValueError):
    """What was asked for cannot be exported; the message says what can."""


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, and the rows of each table."""

    folder: Path
    row_counts: dict[str, int]


def export(settings: Settings, out: Path, file_format: Format, names: Sequence[str] | None = None) -> Exported:
    """Write tables of the current publication to a folder.

    Args:
        settings: Where the published file lies.
        out: The folder; made, or replaced if it holds an earlier export.
        file_format: `parquet` or `csv`.
        names: Tables such as `marts.fct_sales`; a name without schema is one of marts. By default every table of marts.

    Raises:
        publication.NothingPublishedError: Nothing is published yet.
        ExportError: A table is unknown, or the folder holds something else.
        OtherVersionError: Code of another version made what is published.
    """
    out = out.absolute()
    version = publication.current(settings)
    if version is None:
        raise publication.NothingPublishedError("Nothing is published yet. `retail run` publishes.")
    if out.exists() and not out.is_dir():
        raise ExportError(f"{out} is a file. Name a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / _NOTE).exists():
        raise ExportError(f"{out} holds other files, and an export replaces its folder. Name an empty or a new one.")
    # The version and not the link: a publication in the meantime must not be mixed in. One thread, because several share the rows out by chance.
    with reading(version / publication.FILE_NAME, {"threads": 1, **settings.duckdb_config}) as reader:
        known = _tables(reader)
        chosen = _chosen(known, names)
        building = out.with_name(f".{out.name}{_BUILDING_SUFFIX}")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        try:
            row_counts = {table.full_name: _write(reader, table, building, file_format) for table in chosen}
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    note = {"publication": version.name, "format": file_format, "row_counts": row_counts}
    (building / _NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    if out.exists():
        shutil.rmtree(out)
    building.rename(out)
    return Exported(out, row_counts)


def _tables(reader: duckdb.DuckDBPyConnection) -> dict[str, Table]:
    """The published tables that the file has, by name: a file published by older code may lack some."""
    present = {f"{schema}.{name}" for schema, name in reader.execute("select schema_name, table_name from duckdb_tables()").fetchall()}
    return {table.full_name: table for table in published_file.published_tables() if table.full_name in present}


def _chosen(known: dict[str, Table], names: Sequence[str] | None) -> list[Table]:
    if not names:
        return [table for table in known.values() if table.schema == "marts"]
    full_names = dict.fromkeys(name if "." in name else f"marts.{name}" for name in names)
    if unknown := [name for name in full_names if name not in known]:
        raise ExportError(f"There is no table {', '.join(unknown)}. Published: {', '.join(sorted(known))}.")
    return [known[name] for name in full_names]


def _write(reader: duckdb.DuckDBPyConnection, table: Table, folder: Path, file_format: Format) -> int:
    target = folder / table.schema / table.name
    target.parent.mkdir(exist_ok=True)
    columns = ", ".join(f'"{column.name}"' if file_format == "parquet" else _csv_column(column) for column in table.columns)
    rows = f"select {columns} from {table.full_name} order by {', '.join(table.key)}"  # noqa: S608 - names are our contracts
    if file_format == "csv":
        texts = ", ".join(f'"{column.name}"' for column in table.columns if _is_text(column.type))
        return _copy(reader, rows, target.with_suffix(".csv"), f"format csv, header, force_quote ({texts})" if texts else "format csv, header")
    parquet = "format parquet, compression zstd"
    month = table.month_column
    if month and not table[month].nullable and (row_count := _copy(reader, rows, target, f"{parquet}, partition_by ({month})")):
        return row_count
    return _copy(reader, rows, target.with_suffix(".parquet"), parquet)


def _copy(reader: duckdb.DuckDBPyConnection, rows: str, destination: Path, options: str) -> int:
    ((row_count,),) = reader.execute(f"copy ({rows}) to {sql_text(str(destination))} ({options})").fetchall()
    return int(row_count)


def _csv_column(column: Column) -> str:
    """A text made safe; a list as JSON; numbers, dates and booleans as they are, so that -1.50 stays a number."""
    name = f'"{column.name}"'
    if not _is_text(column.type):
        return name
    return f"{_safe(f'to_json({name})::varchar' if column.type.endswith('[]') else name)} as {name}"


def _is_text(column_type: str) -> bool:
    return column_type == "VARCHAR" or column_type.endswith("[]")


def _safe(text: str) -> str:
    """SQL that puts an apostrophe before a text that a spreadsheet might run, and takes out what a terminal might."""
    starts = ", ".join(f"chr({ord(start)})" for start in FORMULA_STARTS)
    shown = f"regexp_replace({text}, '{TERMINAL_CONTROLS}', '\N{REPLACEMENT CHARACTER}', 'g')"
    return f"case when left({text}, 1) in ({starts}) then chr(39) || {shown} else {shown} end"
