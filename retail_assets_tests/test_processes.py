"""Slow: whole runs as operators and users start them, on the real data and with a process per step."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest

from retail_assets.contracts import BUILT_TABLES
from retail_assets.lib import sample
from retail_assets_tests.processes import BESIDE_PYTHON, environment, run

pytestmark = pytest.mark.slow

_BETWEEN_READS_SECONDS = 0.2


def published(home: Path, tables: list[str]) -> dict[str, pl.DataFrame]:
    with duckdb.connect(home / "serving" / "retail.duckdb", read_only=True) as reader:
        return {table: reader.sql(f"select * from {table}").pl() for table in tables}


def test_a_process_per_step_ends_in_the_same_tables_as_one_process(tmp_path: Path) -> None:
    sample.write(sample.generate(2_000, 5), tmp_path / "landing")
    tables = ["core.transactions", "core.returns", "features.rfm_features", "segments.customer_segments", "rules.product_recommendations"]
    first = run([BESIDE_PYTHON / "retail", "run", "--months", "2010-12:2011-01"], tmp_path)
    assert first.returncode == 0, first.stderr
    before = published(tmp_path, tables)
    launch = [BESIDE_PYTHON / "dg", "launch", "--assets", "*", "--partition-range", "2010-12-01...2011-01-01"]
    again = run(launch, tmp_path, RETAIL_EXECUTOR="multiprocess")
    assert again.returncode == 0, again.stderr[-2_000:]
    after = published(tmp_path, tables)
    assert [table for table in tables if not before[table].equals(after[table])] == []


def test_runs_of_one_month_each_at_once_in_any_order_end_in_the_tables_of_one_run_and_no_reader_waits(tmp_path: Path) -> None:
    straight, at_once = tmp_path / "straight", tmp_path / "at_once"
    for home in (straight, at_once):
        sample.write(sample.generate(2_000, 5), home / "landing")
        for later in [path for path in (home / "landing").iterdir() if path.stem > "2011-02"]:
            later.unlink()
    # An instance without our pool: the warehouse's own queue has to do.
    (at_once / "dagster").mkdir()
    (at_once / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    done = run([BESIDE_PYTHON / "retail", "run"], straight)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert run([BESIDE_PYTHON / "dg", "launch", "--job", "land"], at_once).returncode == 0

    command = [str(BESIDE_PYTHON / "dg"), "launch", "--job", "refresh", "--partition"]
    launched = [
        subprocess.Popen([*command, month], env=environment(at_once), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for month in ("2011-02-01", "2011-01-01", "2010-12-01")
    ]
    with ThreadPoolExecutor() as pool:
        outputs = [pool.submit(process.communicate) for process in launched]
        reads = 0
        while not all(output.done() for output in outputs):
            if (at_once / "serving" / "retail.duckdb").exists():
                assert published(at_once, ["marts.publication"])["marts.publication"].height == 1
                reads += 1
            time.sleep(_BETWEEN_READS_SECONDS)
    assert [process.returncode for process in launched] == [0, 0, 0], [output.result()[0][-2_000:] for output in outputs]
    assert reads > 0
    tables = [table.full_name for table in BUILT_TABLES if table.schema != "raw"]
    expected, found = published(straight, tables), published(at_once, tables)
    assert [table for table in tables if not expected[table].equals(found[table])] == []


@pytest.mark.real_data
def test_the_real_data_ends_in_13_months_with_every_line_and_penny(tmp_path: Path, real_data: Path) -> None:
    done = run([BESIDE_PYTHON / "retail", "run", "--landing", real_data, "--home", tmp_path], tmp_path)
    assert done.returncode == 0, done.stderr[-2_000:]
    with duckdb.connect(tmp_path / "serving" / "retail.duckdb", read_only=True) as reader:
        raw, kept = (
            reader.execute(f"select invoice_month, count(*), sum(amount) from ({source}) group by invoice_month order by invoice_month").fetchall()
            for source in (
                "select invoice_month, amount from raw.raw_transactions",
                "select invoice_month, amount from core.transactions union all select invoice_month, amount from core.quarantine",
            )
        )
        assert raw == kept
        assert [count for _, count, _ in raw] == [42481, 35147, 27707, 36748, 29916, 37030, 36874, 39518, 35284, 50226, 60742, 84711, 25525]
        assert sum(amount for *_, amount in raw) == Decimal("9747747.9340")
        for table in ("features.rfm_features", "segments.customer_segments", "rules.association_rules"):
            assert reader.execute(f"select count(distinct snapshot_month) from {table}").fetchall() == [(13,)]
        # Bought for 168,469.60 and cancelled twelve minutes later: net of returns, 2.90 is left.
        assert reader.execute("select monetary from marts.customer_360 where customer_id = '16446'").fetchall() == [(Decimal("2.90"),)]


LIMIT_GB = 2.5


def test_a_million_lines_stay_within_their_memory(tmp_path: Path) -> None:
    sample.write_history(tmp_path / "landing", 1_000_000)
    limited = environment(tmp_path, RETAIL_MEMORY_LIMIT="1GB")
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([BESIDE_PYTHON / "retail", "run"], env=limited, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    assert status == 0, (tmp_path / "log").read_text()[-2_000:]
    # Of the largest process, the landing included; 1.1 GB of it are DuckDB's and half a gigabyte is code.
    assert used.ru_maxrss / 1024**2 < LIMIT_GB


def test_a_month_that_follows_is_published_as_if_all_were_made_anew(tmp_path: Path) -> None:
    sample.write(sample.generate(20_000, 5), tmp_path / "landing")
    last = tmp_path / "landing" / "2011-12.csv"
    last.rename(tmp_path / "later.csv")
    assert run([BESIDE_PYTHON / "retail", "run"], tmp_path).returncode == 0
    (tmp_path / "later.csv").rename(last)
    followed = run([BESIDE_PYTHON / "retail", "run"], tmp_path)
    assert followed.returncode == 0, followed.stderr[-2_000:]
    with duckdb.connect(tmp_path / "serving" / "retail.duckdb", read_only=True) as reader:
        names = [name for (name,) in reader.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()]
    tables = [name for name in names if name != "marts.publication"]
    went_on = published(tmp_path, tables)
    with duckdb.connect(tmp_path / "warehouse" / "retail.duckdb") as warehouse:
        warehouse.execute("delete from quality.last_publication")
    assert run([BESIDE_PYTHON / "retail", "publish"], tmp_path).returncode == 0
    anew = published(tmp_path, tables)
    assert [table for table in tables if sorted(went_on[table].rows(), key=str) != sorted(anew[table].rows(), key=str)] == []
