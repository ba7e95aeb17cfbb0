"""A month of a table in parts that can be worked on one after the other, for months that do not fit in memory as a whole.

Here is only how a month is read in parts. Why the parts may be judged one by one is said where they are: in `lib/cleaning.py` and `lib/rfm.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from typing import Final

import duckdb
import polars as pl

from retail_assets.contracts import Table
from retail_assets.lib.cleaning import invoice_days, part_starts
from retail_assets.warehouse import read

LINES_PER_PART: Final = 250_000
"""Some 0.5 GB while a part is cleaned. Every month of the real data is one part."""


def whole_invoices(connection: duckdb.DuckDBPyConnection, lines: Table, month: date, size: int = LINES_PER_PART) -> Iterator[pl.DataFrame]:
    """The raw lines of a month in parts of whole days and whole invoices, each in the order of the key; one part, maybe empty, where they are few.

    Lines without a readable date come with every part: see `cleaning.part_starts`.

    Args:
        connection: A connection to the warehouse.
        lines: Raw lines as in RAW_TRANSACTIONS or LANDED_LINES.
        month: Which month.
        size: Lines that a part should not exceed; one day, or days that an invoice spans, may.
    """
    ordered = f"order by {', '.join(lines.key)}"
    everything = f"select {', '.join(lines.polars_schema.names())} from {lines.full_name} where invoice_month = $month"  # noqa: S608
    if _count(connection, lines, month) <= size:
        yield read(connection, f"{everything} {ordered}", {"month": month})
        return
    invoices = read(
        connection,
        f"""
        select
            invoice_no,
            min(parsed_invoiced_at)::date as first_day,
            max(parsed_invoiced_at)::date as last_day,
            count(*) as line_count
        from {lines.full_name}
        where invoice_month = $month and parsed_invoiced_at is not null
        group by invoice_no
        order by invoice_no
        """,  # noqa: S608 - names are our contracts
        {"month": month},
    )
    starts = part_starts(invoice_days(invoices), size)
    for first, end in pairwise([date.min, *starts, date.max]):
        yield read(
            connection,
            f"{everything} and (parsed_invoiced_at is null or parsed_invoiced_at >= $first and parsed_invoiced_at < $end) {ordered}",
            {"month": month, "first": first, "end": end},
        )


def by_customer(connection: duckdb.DuckDBPyConnection, table: Table, month: date, columns: tuple[str, ...], part: int, parts: int) -> pl.DataFrame:
    """The rows of some of the customers of a month, all rows of each; the parts from 0 on together are the rows with a customer."""
    query = f"""
        select {", ".join(columns)}
        from {table.full_name}
        where {table.month_column} = $month and customer_id is not null and hash(customer_id) % $parts = $part
        order by {", ".join(table.key)}
    """  # noqa: S608 - names are our contracts
    return read(connection, query, {"month": month, "part": part, "parts": parts})


def part_count(connection: duckdb.DuckDBPyConnection, table: Table, month: date, size: int = LINES_PER_PART) -> int:
    """How many parts keep the rows of a month within the size; at least one."""
    return max(1, -(-_count(connection, table, month) // size))


def _count(connection: duckdb.DuckDBPyConnection, table: Table, month: date) -> int:
    query = f"select count(*) as row_count from {table.full_name} where {table.month_column} = $month"  # noqa: S608 - names are our contracts
    return int(read(connection, query, {"month": month}).item())
