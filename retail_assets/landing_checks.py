"""The checks of a landing. `retail run` asks them before it decides what there is to do, so no Dagster in here; the asset is in `defs/raw.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from retail_assets import quality
from retail_assets.contracts import LANDED_FILES, LANDED_LINES
from retail_assets.quality import Check
from retail_assets.warehouse import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

no_file_refused = Check(
    name="no_file_refused",
    table=LANDED_FILES,
    description="Every file of the landing folder could be read.",
    query="""
        select
            coalesce(string_agg(file_name || ': ' || reason, ' | ' order by file_name), 'none refused') as observed,
            'none refused' as expected
        from raw.landed_files
        where status = 'refused'
    """,
    recovery="Mend each file as its reason says and land it again, or take it out of the landing folder.",
    severity="WARN",
    by_month=False,
)


lines_of_landed_files_kept = Check(
    name="lines_of_landed_files_kept",
    table=LANDED_LINES,
    description="raw.landed_lines holds the lines of every file that landed, as many as the file has, and no others.",
    query="""
        with files as (
            select file_id, file_name, line_count
            from raw.landed_files
            where status = 'landed'
        ),
        kept as (
            select file_id, count(*) as line_count
            from raw.landed_lines
            group by file_id
        )
        select
            coalesce(
                string_agg(
                    coalesce(files.file_name, kept.file_id) || ': ' || coalesce(kept.line_count, 0) || ' of ' || coalesce(files.line_count, 0),
                    ' | '
                    order by files.file_name, kept.file_id
                ),
                'all lines'
            ) as observed,
            'all lines' as expected
        from files
        full join kept on files.file_id = kept.file_id
        where files.line_count is distinct from kept.line_count
    """,
    recovery=(
        "The warehouse has lost lines of files that it says have landed. Move `warehouse/` out of the home, see that all files are in the landing "
        "folder, and run again: everything is built from them. Report it with the list of files."
    ),
    by_month=False,
)

LANDING_CHECKS: Final = (no_file_refused, lines_of_landed_files_kept)


def ask(connection: duckdb.DuckDBPyConnection, checks: Sequence[Check] = LANDING_CHECKS) -> list[quality.Result]:
    """Ask checks of a landing, and keep what is new of their results: a landing that finds nothing new writes nothing."""
    results = [quality.run(connection, check) for check in checks]
    kept = connection.execute("select table_name, check_name, observed, recovery from quality.check_results").fetchall()
    if new := [one for one in results if (one.check.table.full_name, one.check.name, one.observed, one.check.recovery) not in kept]:
        with transaction(connection):
            quality.store(connection, new, LANDING_CHECKS)
    return results
