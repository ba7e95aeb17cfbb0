"""`retail fetch` writes the known file whole or nothing, and says what to do. Served from this machine: no network."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from retail_assets import cli, fetch
from retail_assets.fetch import FetchError, Source

CONTENT = b"lines of a shop" * 1000
MEMBER = "Online Retail.xlsx"


def zipped(member: str = MEMBER, content: bytes = CONTENT) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Answers every request with one body, and counts them."""

    body = zipped()
    status = 200
    location: str | None = None
    request_count = 0


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.request_count += 1
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answer) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def source(server: Server) -> Source:
    url = f"http://127.0.0.1:{server.server_address[1]}/online+retail.zip"
    return Source(url=url, member=MEMBER, size_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


def assert_refused(out: Path, source: Source, match: str) -> None:
    with pytest.raises(FetchError, match=match):
        fetch.fetch(out, source)
    assert list(out.iterdir()) == [], "nothing is left behind, not even half a file"


def test_the_file_of_the_archive_is_put_into_the_folder(tmp_path: Path, source: Source) -> None:
    fetched = fetch.fetch(tmp_path / "landing", source)
    assert fetched.is_new
    assert fetched.path.read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "landing").iterdir()] == [MEMBER]


def test_a_file_that_is_there_is_not_downloaded_again(tmp_path: Path, source: Source, server: Server) -> None:
    fetch.fetch(tmp_path, source)
    assert not fetch.fetch(tmp_path, source).is_new
    assert server.request_count == 1


def test_a_file_of_the_same_name_with_other_content_is_never_overwritten(tmp_path: Path, source: Source, server: Server) -> None:
    (tmp_path / MEMBER).write_bytes(b"somebody's own")
    with pytest.raises(FetchError, match="move it away"):
        fetch.fetch(tmp_path, source)
    assert (tmp_path / MEMBER).read_bytes() == b"somebody's own"
    assert server.request_count == 0


def test_another_content_of_the_same_size_is_refused_by_its_hash(tmp_path: Path, source: Source, server: Server) -> None:
    server.body = zipped(content=CONTENT[::-1])
    assert_refused(tmp_path, source, "SHA-256 .* in place of")


def test_a_file_of_another_size_is_refused_before_it_is_unpacked(tmp_path: Path, source: Source, server: Server) -> None:
    server.body = zipped(content=CONTENT + b"!")
    assert_refused(tmp_path, source, "15,001 bytes in place of 15,000")


@pytest.mark.parametrize("body", [b"", b"<html>maintenance</html>", zipped()[:-40], zipped(member="other.xlsx")])
def test_what_is_no_whole_archive_with_the_file_is_refused(tmp_path: Path, source: Source, server: Server, body: bytes) -> None:
    server.body = body
    assert_refused(tmp_path, source, "did not send the known 'Online Retail.xlsx': no whole zip archive")


def test_a_damaged_archive_is_refused(tmp_path: Path, source: Source, server: Server) -> None:
    damaged = bytearray(zipped())
    damaged[60] ^= 0xFF
    server.body = bytes(damaged)
    assert_refused(tmp_path, source, "did not send the known")


def test_an_endless_answer_is_cut_off(tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_LARGEST_ARCHIVE_BYTES", 10)
    assert_refused(tmp_path, source, "sent more than")


def test_an_error_of_the_server_is_told(tmp_path: Path, source: Source, server: Server) -> None:
    server.status = 503
    assert_refused(tmp_path, source, "127.0.0.1:.* answered 503 Service Unavailable")


def test_an_address_without_encryption_is_not_fetched(tmp_path: Path, source: Source) -> None:
    assert_refused(tmp_path, replace(source, url="http://archive.ics.uci.edu/x.zip"), "no https address")
    assert_refused(tmp_path, replace(source, url="file:///etc/passwd"), "no https address")


def test_a_redirect_to_an_address_without_encryption_is_not_followed(tmp_path: Path, source: Source, server: Server) -> None:
    server.status, server.location = 302, "http://archive.ics.uci.edu/x.zip"
    assert_refused(tmp_path, source, "no https address")


def test_the_real_source_is_encrypted() -> None:
    assert fetch.ONLINE_RETAIL.url.startswith("https://archive.ics.uci.edu/")


class TestCommand:
    def test_the_path_is_the_result_and_other_files_are_pointed_out(
        self, tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(fetch, "ONLINE_RETAIL", source)
        (tmp_path / "2010-12.csv").touch()
        assert cli.main(["fetch", "--out", str(tmp_path)]) == 0
        assert cli.main(["fetch", "--out", str(tmp_path)]) == 0
        captured = capsys.readouterr()
        assert captured.out == f"{tmp_path / MEMBER}\n" * 2
        assert "holds other files too" in captured.err
        assert captured.err.count("nothing was downloaded") == 1

    def test_without_network_the_host_and_the_way_out_are_named(
        self, tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        # A port that was free a moment ago: nobody listens there.
        with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as closed:
            port = closed.server_address[1]
        monkeypatch.setattr(fetch, "ONLINE_RETAIL", replace(source, url=f"http://127.0.0.1:{port}/x.zip"))
        assert cli.main(["fetch", "--out", str(tmp_path)]) == 1
        message = capsys.readouterr().err
        assert f"127.0.0.1:{port} could not be reached" in message
        assert "download http://127.0.0.1" in message
        assert "with a browser" in message
