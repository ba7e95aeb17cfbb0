"""Apache Superset on the published file, end to end: the web server runs, and everything goes through its REST API as the browser does.

    python3 -m venv superset && superset/bin/pip install apache-superset==6.1.0 Flask-Caching==2.3.1 cachetools rich duckdb duckdb-engine
    python benchmarks/superset.py superset/bin data

The second argument is a home with a warehouse; it is published twice. Superset's own database lies in a temporary folder and
goes afterwards. What was found is in docs/bi.md.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retail_assets import publication, published_file
from retail_assets.contracts import Table
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

CONFIG = """
SECRET_KEY = "only for this check, on this machine, for its duration"
SQLALCHEMY_DATABASE_URI = "sqlite:///{folder}/superset.db"
WTF_CSRF_ENABLED = False
"""
USER, PASSWORD = "admin", "admin"
STARTS_WITHIN_SECONDS = 180


class Superset:
    """A running server, and calls to its API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = ""

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """GET, or POST where there is a body; the answer read as JSON."""
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None, headers)  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{path}: {error.code} {error.read().decode()[:2_000]}") from error

    def sql(self, database: int, query: str) -> list[dict[str, Any]]:
        """The rows of a query in SQL Lab."""
        answer = self.call("/api/v1/sqllab/execute/", {"database_id": database, "sql": query, "runAsync": False, "client_id": os.urandom(5).hex()})
        return list(answer["data"])


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Until the server answers."""
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(1)
    raise SystemExit("Superset did not start; see its log.")


def check(superset: Superset, settings: Settings) -> None:
    """Connect, list, describe, chart, and see a new publication."""
    superset.token = superset.call("/api/v1/security/login", {"username": USER, "password": PASSWORD, "provider": "db"})["access_token"]
    database = superset.call(
        "/api/v1/database/",
        {
            "database_name": "retail",
            "sqlalchemy_uri": f"duckdb:///{settings.serving_dir / publication.FILE_NAME}",
            "extra": json.dumps({"engine_params": {"connect_args": {"read_only": True}}}),
            "expose_in_sqllab": True,
        },
    )["id"]
    print("connected as database", database)

    listed = {entry["value"] for entry in superset.call(f"/api/v1/database/{database}/tables/?q=(schema_name:marts)")["result"]}
    declared = {table.name: table for table in published_file.published_tables() if table.schema == "marts"}
    report("tables of marts listed", listed == set(declared), f"{len(listed)} of {len(declared)}")
    described = [table for table in declared.values() if is_described(superset, database, table)]
    report("tables shown with the comments of table and columns", len(described) == len(declared), f"{len(described)} of {len(declared)}")

    by_month = superset.sql(database, "select restated_net_amount::double as net_sales from marts.monthly_kpis order by invoice_month")
    from_kpis = chart(superset, database, "monthly_kpis", "invoice_month", "sum(restated_net_amount)")
    report("chart of net sales by month", same(from_kpis, by_month), f"{len(from_kpis)} months, first {from_kpis[0]}")
    # Superset truncates the day to its month, as it does in a chart over time.
    month = {"timeGrain": "P1M", "columnType": "BASE_AXIS", "expressionType": "SQL", "sqlExpression": "sale_date", "label": "month"}
    from_facts = chart(superset, database, "fct_sales", month, "sum(net_amount)")
    report("chart over time from the facts, with the same sales", same(from_facts, by_month), f"{len(from_facts)} months, first {from_facts[0]}")

    before = superset.sql(database, "select published_at::varchar as published_at from marts.publication")
    published = publish(settings, "superset check")
    after = superset.sql(database, "select published_at::varchar as published_at, run_id from marts.publication")
    report(
        "next query sees the new publication", after[0]["run_id"] == "superset check", f"{before[0]['published_at']} -> {published.directory.name}"
    )


def chart(superset: Superset, database: int, table: str, axis: str | dict[str, str], metric: str) -> list[dict[str, Any]]:
    """The data of a chart of a metric over an axis, on a new dataset."""
    dataset = superset.call("/api/v1/dataset/", {"database": database, "schema": "marts", "table_name": table})["id"]
    query = {
        "columns": [axis],
        "metrics": [{"expressionType": "SQL", "sqlExpression": metric, "label": "net_sales"}],
        "orderby": [[axis if isinstance(axis, str) else axis["label"], True]],
        "row_limit": 100,
    }
    body = {"datasource": {"id": dataset, "type": "table"}, "queries": [query], "result_format": "json", "result_type": "full"}
    return list(superset.call("/api/v1/chart/data", body)["result"][0]["data"])


def same(chart_rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> bool:
    """Whether the chart shows the expected sales, to the penny and in the same order."""
    return [round(float(row["net_sales"]), 2) for row in chart_rows] == [round(row["net_sales"], 2) for row in expected]


def publish(settings: Settings, run_id: str) -> publication.Publication:
    """What stands in the warehouse, as this code publishes it."""
    with Warehouse(database=str(settings.warehouse_path)).get_connection() as connection:
        return publication.publish(connection, settings, datetime.now(UTC).replace(tzinfo=None), run_id)


def is_described(superset: Superset, database: int, table: Table) -> bool:
    """Whether Superset shows the comments of the table and of each of its columns."""
    shown = superset.call(f"/api/v1/database/{database}/table_metadata/?name={table.name}&schema={table.schema}")
    comments = {column["name"]: column["comment"] for column in shown["columns"]}
    return shown["comment"] == table.grain and comments == {column.name: column.comment for column in table.columns}


def report(what: str, is_right: bool, found: str) -> None:
    """One line; a wrong answer ends the check."""
    print(f"{'ok' if is_right else 'WRONG'}: {what}: {found}")
    if not is_right:
        raise SystemExit(1)


def main(binaries: Path, home: Path) -> None:
    """Set Superset up, start it, check, and stop it."""
    with tempfile.TemporaryDirectory(prefix="superset-") as folder:
        config = Path(folder) / "superset_config.py"
        config.write_text(CONFIG.format(folder=folder), encoding="utf-8")
        environment = {**os.environ, "SUPERSET_CONFIG_PATH": str(config), "FLASK_APP": "superset", "SUPERSET_HOME": folder}
        admin = ["--username", USER, "--firstname", "A", "--lastname", "B", "--email", "a@example.com", "--password", PASSWORD]
        for arguments in (["db", "upgrade"], ["fab", "create-admin", *admin], ["init"]):
            done = subprocess.run([binaries / "superset", *arguments], env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"superset {arguments[0]} failed:\n{done.stderr[-3_000:]}")
        port = free_port()
        log = Path("superset.log") if "KEEP_LOG" in os.environ else Path(folder) / "log"
        with log.open("wb") as output:
            server = subprocess.Popen([binaries / "superset", "run", "-p", str(port)], env=environment, stdout=output, stderr=output)
            try:
                wait_until_ready(server, f"http://127.0.0.1:{port}")
                publish(Settings(home=home), "before the superset check")
                check(Superset(f"http://127.0.0.1:{port}"), Settings(home=home))
            finally:
                server.terminate()
                server.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
