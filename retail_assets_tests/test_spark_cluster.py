"""One machine and a Spark cluster of separate processes publish the same tables, row for row: after a first landing, and after corrections.

The cluster is asked in both ways: by a driver beside the run, with the lake in a folder; and through a Spark Connect server, with the lake in an
object store.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import duckdb
import numpy as np
import pytest
from pyarrow.fs import FileSelector

from retail_assets.engines import store
from retail_assets.lib import sample, segments
from retail_assets_tests.object_store import ObjectStore, object_store
from retail_assets_tests.processes import BESIDE_PYTHON, run
from retail_assets_tests.spark import cluster, connect_server, needs_spark

pytestmark = [pytest.mark.slow, needs_spark]

LINES, SEED = 4_000, 3
LAST_MONTH = "2011-03"
RETAIL = BESIDE_PYTHON / "retail"
ONLY_OF_THE_RUN = {"marts.publication": None, "raw.landed_files": "landed_at"}
"""What may differ between two homes: a table, or a column of it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def bucket(folder: Path) -> Iterator[ObjectStore]:
    (folder / "store").mkdir()
    with object_store(folder / "store") as made:
        yield made


@pytest.fixture(scope="module")
def spark_url(folder: Path, bucket: ObjectStore) -> Iterator[str]:
    with cluster(folder, **bucket.variables) as url:
        yield url


@pytest.fixture(scope="module")
def connect_url(folder: Path, spark_url: str) -> Iterator[str]:
    (folder / "server").mkdir()
    with connect_server(folder / "server", spark_url) as url:
        yield url


@pytest.fixture(scope="module")
def landing(folder: Path) -> Path:
    """Four months: each takes Spark seconds, whatever it holds."""
    sample.write(sample.generate(LINES, SEED), folder / "landing")
    for file in (folder / "landing").iterdir():
        if file.stem > LAST_MONTH:
            file.unlink()
    return folder / "landing"


def refresh(folder: Path, landing: Path, spark_url: str) -> dict[str, Path]:
    """Run both engines; the published files by engine."""
    for engine in ("duckdb", "spark"):
        ended = run([RETAIL, "run", "--engine", engine, "--home", folder / engine, "--landing", landing], folder / engine, RETAIL_SPARK_URL=spark_url)
        assert ended.returncode == 0, ended.stderr
    return {engine: folder / engine / "serving" / "retail.duckdb" for engine in ("duckdb", "spark")}


def differing_tables(one: Path, other: Path) -> dict[str, int]:
    """Rows that only one of two published files has, by table."""
    with duckdb.connect() as reader:
        reader.execute(f"attach '{one}' as one (read_only)")
        reader.execute(f"attach '{other}' as other (read_only)")
        names = [
            {
                name
                for (name,) in reader.execute(
                    "select schema_name || '.' || table_name from duckdb_tables() where database_name = ?", [side]
                ).fetchall()
            }
            for side in ("one", "other")
        ]
        assert names[0] == names[1]
        found = {}
        for name in sorted(names[0]):
            ignored = ONLY_OF_THE_RUN.get(name, "")
            if ignored is None:
                continue
            columns = f"* exclude ({ignored})" if ignored else "*"
            sides = [f"(select {columns} from {first}.{name} except all select {columns} from {second}.{name})" for first, second in _BOTH_WAYS]
            ((count,),) = reader.execute(f"select (select count(*) from {sides[0]}) + (select count(*) from {sides[1]})").fetchall()
            if count:
                found[name] = count
    return found


_BOTH_WAYS = (("one", "other"), ("other", "one"))


@pytest.fixture(scope="module")
def published(folder: Path, landing: Path, spark_url: str) -> dict[str, Path]:
    return refresh(folder, landing, spark_url)


def test_every_published_table_is_the_same_on_one_machine_and_on_the_cluster(published: dict[str, Path]) -> None:
    assert differing_tables(published["duckdb"], published["spark"]) == {}


def test_lines_are_in_the_lake_and_not_in_the_warehouse(published: dict[str, Path], folder: Path) -> None:
    with duckdb.connect(folder / "spark" / "warehouse" / "retail.duckdb", read_only=True) as reader:
        views = {name for (name,) in reader.execute("select schema_name || '.' || view_name from duckdb_views() where not internal").fetchall()}
    assert {"raw.landed_lines", "raw.raw_transactions", "core.transactions", "core.quarantine", "core.returns"} <= views
    months = {path.name for path in (folder / "spark" / "lake" / "core" / "transactions").glob("*/month=*")}
    assert (min(months), max(months), len(months)) == ("month=2010-12-01", "month=2011-03-01", 4)


def test_corrected_overlapping_and_refused_files_are_the_same_too(published: dict[str, Path], folder: Path, landing: Path, spark_url: str) -> None:
    before = published["spark"].resolve()
    corrected = copytree(landing, folder / "corrected")
    header, *lines = (corrected / "2011-03.csv").read_text(encoding="utf-8").splitlines()
    # New content under the same name, half of another month once more, a file that is none.
    (corrected / "2011-03.csv").write_text("\n".join([header, *lines[:-20]]) + "\n", encoding="utf-8")
    header, *lines = (corrected / "2011-02.csv").read_text(encoding="utf-8").splitlines()
    (corrected / "2011-02 again.csv").write_text("\n".join([header, *lines[: len(lines) // 2]]) + "\n", encoding="utf-8")
    (corrected / "broken.csv").write_text("nothing,of,this\n1,2,3\n", encoding="utf-8")
    for engine in ("duckdb", "spark"):
        ended = run(
            [RETAIL, "run", "--engine", engine, "--home", folder / engine, "--landing", corrected], folder / engine, RETAIL_SPARK_URL=spark_url
        )
        assert (ended.returncode, "broken.csv" in ended.stderr) == (1, True), ended.stderr
    assert published["spark"].resolve() != before
    assert differing_tables(published["duckdb"], published["spark"]) == {}


def test_a_home_keeps_the_engine_it_began_with(published: dict[str, Path], folder: Path, landing: Path, spark_url: str) -> None:
    for began, other in (("duckdb", "spark"), ("spark", "duckdb")):
        ended = run([RETAIL, "run", "--engine", other, "--home", folder / began, "--landing", landing], folder / began, RETAIL_SPARK_URL=spark_url)
        assert ended.returncode == 1
        assert f"was begun with the engine {began}" in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.real_data
def test_the_real_data_is_published_the_same_by_both_engines(real_data: Path, folder: Path, spark_url: str) -> None:
    (folder / "real").mkdir()
    published = refresh(folder / "real", real_data, spark_url)
    assert differing_tables(published["duckdb"], published["spark"]) == {}
    with duckdb.connect(published["spark"], read_only=True) as reader:
        assert reader.execute("select count(*) from core.transactions").fetchall() == [(536_365,)]


@pytest.fixture(scope="module")
def connected(folder: Path, landing: Path, connect_url: str, bucket: ObjectStore) -> Path:
    """The home of a run through Spark Connect; from here on the server holds the cores of the cluster."""
    home = folder / "connected"
    command = [RETAIL, "run", "--engine", "spark", "--home", home, "--landing", landing]
    ended = run(command, home, RETAIL_SPARK_URL=connect_url, RETAIL_LAKE=f"{bucket.bucket.replace('s3:', 's3a:')}/lake", **bucket.variables)
    assert ended.returncode == 0, ended.stderr
    return home


def test_every_published_table_is_the_same_through_spark_connect_and_an_object_store(published: dict[str, Path], connected: Path) -> None:
    assert differing_tables(published["duckdb"], connected / "serving" / "retail.duckdb") == {}


def test_the_lake_in_the_object_store_is_what_is_copied(connected: Path, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bucket.variables.items():
        monkeypatch.setenv(name, value)
    filesystem, root = store.opened(f"{bucket.bucket}/lake")
    kept = {item.path.removeprefix(f"{root}/") for item in filesystem.get_file_info(FileSelector(root, recursive=True)) if item.is_file}
    with duckdb.connect(connected / "warehouse" / "retail.duckdb", read_only=True) as reader:
        named = {path for (path,) in reader.execute("select path from lake.parts").fetchall()}
    assert named <= kept
    assert named <= {path.relative_to(connected / "lake").as_posix() for path in (connected / "lake").rglob("*.parquet")}


_KMEANS = """
import json, sys
import numpy as np
from retail_assets.engines.spark import mllib
from retail_assets.engines.spark.session import session
from retail_assets.settings import Settings
found = mllib.kmeans(session(Settings(spark_url=sys.argv[1])), np.array(json.load(sys.stdin)), [4], seed=1)
print(json.dumps({k: centers.means.tolist() for k, centers in found.items()}))
"""


def test_kmeans_through_spark_connect_finds_what_scikit_learn_finds(connect_url: str) -> None:
    # Four groups far apart: the best centres are beyond doubt. The process must end by itself, with a model that Python did not collect yet.
    corners = np.array([[0.0, 0.0], [0.0, 2.0], [9.0, 0.0], [9.0, 2.0]])
    points = (corners[:, None] + np.random.default_rng(1).normal(scale=0.1, size=(4, 30, 2))).reshape(-1, 2)
    command = [sys.executable, "-c", _KMEANS, connect_url]
    ended = subprocess.run(command, input=json.dumps(points.tolist()), capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    ours = segments.fit_centers(points, {4: None}, "kmeans", 1)[4].means
    assert np.array(sorted(json.loads(ended.stdout)["4"])) == pytest.approx(np.array(sorted(ours.tolist())))
