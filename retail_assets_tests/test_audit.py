"""The audit of the dependencies: licences by list, vulnerabilities by the real `uv audit` against a service of our own on the loopback."""

import importlib.util
import json
import shutil
import tomllib
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any, ClassVar

import pytest

from retail_assets.settings import REPOSITORY
from retail_assets_tests.processes import free_port

pytestmark = pytest.mark.integration

ALLOWED = ["MIT", "Apache-2.0", "Mozilla Public License 2.0 (MPL 2.0)"]
FLAW = {"id": "GHSA-0000-0000-0000", "modified": "2026-01-01T00:00:00Z", "summary": "made up for a test", "affected": []}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """The script, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("audit", REPOSITORY / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("licence", "is_allowed"),
    [
        ("MIT", True),
        ("GPL-3.0", False),
        ("GPL-3.0 OR MIT", True),
        ("MIT AND GPL-3.0", False),
        ("MIT AND (Apache-2.0 OR GPL-3.0)", True),
        ("MIT AND (GPL-2.0 OR GPL-3.0)", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", True),
        ("none stated", False),
    ],
)
def test_a_licence_passes_where_each_part_offers_an_allowed_one(audit: ModuleType, licence: str, is_allowed: bool) -> None:
    assert audit.is_allowed(licence, ALLOWED) is is_allowed


@pytest.mark.parametrize(
    ("headers", "licence"),
    [
        ([("License-Expression", "MIT"), ("Classifier", "License :: OSI Approved :: BSD License")], "MIT"),
        ([("Classifier", "License :: OSI Approved :: BSD License"), ("License", "see file")], "BSD License"),
        ([("License", "MIT\nand a long text")], "MIT"),
        ([], "none stated"),
    ],
)
def test_the_licence_is_read_from_where_the_package_states_it(audit: ModuleType, headers: list[tuple[str, str]], licence: str) -> None:
    metadata = Message()
    for name, value in headers:
        metadata[name] = value.replace("\n", "\n ")
    assert audit.licence_of(metadata) == licence


def test_a_package_whose_licence_is_not_on_the_list_is_a_finding_and_so_is_an_exception_that_is_not_needed(audit: ModuleType) -> None:
    problems = audit.licence_problems(
        {"allowed_licences": ["MIT", "MIT License"], "excepted_packages": {"polars": "MIT already", "duckdb": "for a reason"}}
    )
    assert "polars is excepted and need not be" in problems
    assert any(problem.startswith("pyarrow: ") for problem in problems)


class Service(BaseHTTPRequestHandler):
    """What osv.dev answers, for one flaw of one package."""

    flawed: ClassVar[str | None] = None

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        found = {"vulns": [{"id": FLAW["id"], "modified": FLAW["modified"]}]}
        self._answer({"results": [found if query["package"]["name"] == self.flawed else {} for query in queries]})

    def do_GET(self) -> None:
        self._answer(FLAW)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> str:
    """The uv that set this environment up, which reaches nothing but the loopback."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    found = shutil.which("uv") or str(REPOSITORY / ".tools" / "bin" / "uv")
    if not Path(found).exists():
        pytest.skip("uv is neither on the PATH nor in .tools")
    return found


@pytest.fixture
def service() -> Iterator[str]:
    """URL of the service."""
    server = HTTPServer(("127.0.0.1", 0), Service)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("flawed", "status", "said"), [(None, 0, "no known vulnerabilities"), ("jinja2", 1, "made up for a test")])
def test_a_known_vulnerability_fails_the_audit(
    audit: ModuleType,
    uv: str,
    service: str,
    flawed: str | None,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Service, "flawed", flawed)
    assert audit.vulnerabilities(uv, "--service-url", service) == status
    assert said in capsys.readouterr().out


def test_a_service_that_cannot_be_reached_is_said_to_be_skipped_and_fails_nothing(
    audit: ModuleType, uv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.vulnerabilities(uv, "--service-url", f"http://127.0.0.1:{free_port()}") == 0
    assert "SKIPPED, the service did not answer" in capsys.readouterr().out


def test_the_licences_of_what_is_installed_here_are_allowed(audit: ModuleType) -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["audit"]
    assert audit.licence_problems(settings) == []
