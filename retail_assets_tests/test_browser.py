"""Slow: the UI in a real browser. The graph is drawn, a backfill of three months ends green, and its checks and figures show."""

from pathlib import Path

import pytest

from retail_assets.lib import sample
from retail_assets.partitions import RANGE_END, RANGE_START
from retail_assets_tests.browser import IS_THERE, MISSING, browser, wait_for_text
from retail_assets_tests.processes import BESIDE_PYTHON, Dagster, dagster, run

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.skipif(not IS_THERE, reason=MISSING)]

MONTHS = ["2010-12-01", "2011-01-01", "2011-02-01"]


def backfill_status(server: Dagster, backfill: str) -> str:
    query = "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
    status = str(server.graphql(query, id=backfill)["partitionBackfillOrError"]["status"])
    assert "FAILED" not in status, server.runs("refresh")
    return status


def test_three_months_are_backfilled_in_one_run_and_the_ui_shows_graph_months_and_checks(tmp_path: Path) -> None:
    sample.write(sample.generate(2_000, 5), tmp_path / "landing")
    for file in (tmp_path / "landing").iterdir():
        if f"{file.stem}-01" not in MONTHS:
            file.unlink()
    landed = run([BESIDE_PYTHON / "dg", "launch", "--job", "land"], tmp_path)
    assert landed.returncode == 0, landed.stderr[-2_000:]
    with dagster(tmp_path) as server, browser() as driver:
        backfill = server.launch_backfill(MONTHS)
        server.wait_for("the end of the backfill", lambda: backfill_status(server, backfill) == "COMPLETED_SUCCESS")
        runs = server.runs("refresh")
        assert [(run["status"], run["tags"][RANGE_START], run["tags"][RANGE_END]) for run in runs] == [("SUCCESS", MONTHS[0], MONTHS[-1])]

        driver.get(f"{server.url}/assets/marts/customer_segments?view=lineage&lineageScope=upstream&lineageDepth=6")
        wait_for_text(driver, "landed_files", "raw_transactions", "transactions", "rfm_features", "segment_model", "customer_segments")
        driver.get(f"{server.url}/assets/core/transactions?view=partitions&partition={MONTHS[1]}")
        wait_for_text(driver, "Materialized (3)", "Missing (0)", "dagster/partition_row_count", "seconds")
        driver.get(f"{server.url}/assets/core/transactions?view=checks&checkDetail=lines_and_pennies_conserved")
        wait_for_text(driver, "This is a blocking asset check.", "3 of 3 months passed.", "months_failed")
        driver.get(f"{server.url}/assets/marts/customer_360")
        wait_for_text(driver, "One row per identified customer", "Customer number as text", "data-engineering")
