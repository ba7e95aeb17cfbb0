"""The files of a deployment: what compose.yaml says holds together, and (slow) its commands, started here without containers, do the work."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from retail_assets.lib import sample
from retail_assets.settings import PREFIX, REPOSITORY, Settings
from retail_assets_tests.processes import BESIDE_PYTHON, Dagster, environment, free_port, run, started

DEPLOY = REPOSITORY / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("code", "daemon", "webserver")


def test_every_variable_of_the_services_is_a_setting_or_named_in_the_workspace() -> None:
    workspace = (DEPLOY / "workspace.yaml").read_text()
    for service in OURS:
        for name in SERVICES[service]["environment"]:
            if name.startswith(PREFIX):
                assert name.removeprefix(PREFIX).lower() in Settings.model_fields or name in workspace, name


def test_the_image_holds_what_the_services_need() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert {"retail_assets", "dbt_sql", "pyproject.toml", "uv.lock"} <= set(sources)
    assert [source for source in sources if not (REPOSITORY / source).exists()] == []
    assert "--extra postgres" in (DEPLOY / "Dockerfile").read_text()


def test_the_ui_is_open_to_the_loopback_alone_and_no_password_is_written_down() -> None:
    assert SERVICES["webserver"]["ports"] == ["127.0.0.1:3000:3000"]
    assert "ports" not in SERVICES["postgres"]
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${")


@pytest.mark.slow
def test_the_commands_of_the_services_land_and_refresh_what_arrives(tmp_path: Path) -> None:
    code_port, web_port = free_port(), free_port()
    (tmp_path / "workspace.yaml").write_text((DEPLOY / "workspace.yaml").read_text().replace("4000", str(code_port)))
    url = f"http://127.0.0.1:{web_port}"
    variables = environment(tmp_path, RETAIL_CODE_HOST="127.0.0.1", RETAIL_WEBSERVER_URL=url, RETAIL_AUTOMATION="on", RETAIL_SENSOR_SECONDS="3")
    variables["PATH"] = f"{BESIDE_PYTHON}:{variables['PATH']}"

    def command(parts: list[str]) -> list[str]:
        return [part.replace("0.0.0.0", "127.0.0.1").replace("4000", str(code_port)).replace("3000", str(web_port)) for part in parts]  # noqa: S104

    with ExitStack() as stack:
        log = tmp_path / "code.log"
        code = stack.enter_context(started(command(SERVICES["code"]["command"]), log, variables, tmp_path))
        health = command(SERVICES["code"]["healthcheck"]["test"][1:])
        server = Dagster(url, tmp_path, code, log)
        server.wait_for("the code location", lambda: run([BESIDE_PYTHON / health[0], *health[1:]], tmp_path).returncode == 0)
        for service in ("daemon", "webserver"):
            stack.enter_context(started(command(SERVICES[service]["command"]), tmp_path / f"{service}.log", variables, tmp_path))
        server.wait_for("the webserver", server.is_loaded)
        files = tmp_path / "sample"
        sample.write(sample.generate(2_000, 5), files)
        (files / "2010-12.csv").rename(tmp_path / "landing" / "2010-12.csv")
        server.wait_for("the refresh", lambda: [run["status"] for run in server.runs("refresh")] == ["SUCCESS"])
    assert (tmp_path / "serving" / "retail.duckdb").exists()
