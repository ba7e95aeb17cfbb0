"""From the bytes of a file of the Online Retail family to lines: text as it came, and what could be read from it.

Two steps. A reader (`read_csv`, `read_xlsx`, `read_parquet`, `read_zip`, `gunzipped`) turns one file into text lines with line numbers, or refuses
it; `SafeReader` picks the reader by the name of a file, and keeps what may break its library in a process apart. `parse_lines` reads numbers and
dates of many files at once; a Parquet file too large for that is read and parsed in slices (`SafeReader.slices`, `conventions`, `parse_slice`), with
the same outcome. What a line means (sale, return, fee) is decided in `cleaning`.
"""

from retail_assets.lib.parsing.archives import PLAIN_READERS, gunzipped, read_zip
from retail_assets.lib.parsing.csv_files import read_csv
from retail_assets.lib.parsing.fields import FIELDS, PARSED_SCHEMA, TEXT_SCHEMA, Part, Reader, RefusedFileError, TextFile
from retail_assets.lib.parsing.isolation import READERS, SafeReader, suffix_of
from retail_assets.lib.parsing.parquet_files import read_parquet
from retail_assets.lib.parsing.values import Conventions, DateOrder, ParsedFiles, conventions, parse_lines, parse_slice
from retail_assets.lib.parsing.xlsx_files import read_xlsx

__all__ = [
    "FIELDS",
    "PARSED_SCHEMA",
    "PLAIN_READERS",
    "READERS",
    "TEXT_SCHEMA",
    "Conventions",
    "DateOrder",
    "ParsedFiles",
    "Part",
    "Reader",
    "RefusedFileError",
    "SafeReader",
    "TextFile",
    "conventions",
    "gunzipped",
    "parse_lines",
    "parse_slice",
    "read_csv",
    "read_parquet",
    "read_xlsx",
    "read_zip",
    "suffix_of",
]
