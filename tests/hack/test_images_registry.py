"""Pushing to a registry, over a real connection to a small one of the test's own."""

import hashlib
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from edgesmith_images import push, registry, tars
from edgesmith_images.console import ImageError
from edgesmith_images.layout import INDEX, Layout


class Registry(ThreadingHTTPServer):
    """What distribution-spec asks of a registry for a push, in memory."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refusal: int | None = None

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.server.asked.append(f"{self.command} {urlsplit(self.path).path}")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._answer(self.server.refusal or (200 if self.path.rpartition("/")[2] in self.server.blobs else 404))

    def do_POST(self) -> None:
        self._answer(202, Location=f"{self.path}session?_state=a%2Bb")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = urlsplit(self.path)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if "/manifests/" in parts.path:
            self.server.manifests[parts.path.rpartition("/")[2]] = body
            self._answer(201)
        elif parse_qs(parts.query) == {"_state": ["a+b"], "digest": [digest]}:
            self.server.blobs[digest] = body
            self._answer(201)
        else:
            self._answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')

    def log_message(self, *_: Any) -> None:
        """Keeps quiet."""


@pytest.fixture
def server() -> Iterator[Registry]:
    with Registry() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    with tarfile.open(tmp_path / "x.tar", "w"):
        pass
    layer = tars.compress(tmp_path / "x.tar", tmp_path / "x.tar.gz")
    made = Layout.create(tmp_path / "layout")
    manifests = [made.add_image({"architecture": name, "config": {}}, [layer]) for name in ("amd64", "arm64")]
    made.finish(made.add_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX), "latest")
    return made


def test_a_push_sends_each_blob_once_and_the_index_last(server: Registry, layout: Layout) -> None:
    digest = layout.root()["digest"]
    reference = push.push(server.name, "runtime", layout, "0.1.0")
    assert reference == f"{server.name}/edgesmith/runtime@{digest}"
    # One layer shared by both platforms, and a config each.
    assert len(server.blobs) == 3
    assert len([line for line in server.asked if line.startswith("POST")]) == 3
    assert server.asked[-1].endswith("/manifests/0.1.0")
    assert server.manifests["0.1.0"] == server.manifests[digest] == layout.blob(digest).read_bytes()
    assert len(server.manifests) == 4


def test_pushing_again_sends_no_blob(server: Registry, layout: Layout) -> None:
    push.push(server.name, "runtime", layout, "0.1.0")
    server.asked.clear()
    push.push(server.name, "runtime", layout, "0.1.0")
    assert not [line for line in server.asked if "uploads" in line]


def test_a_refusal_says_what_the_registry_said(server: Registry, layout: Layout) -> None:
    server.refusal = 401
    with pytest.raises(ImageError, match=r"refused to look for sha256:.* 401 Unauthorized"):
        push.push(server.name, "runtime", layout, "0.1.0")


def test_a_blob_that_is_not_what_its_name_says_is_refused(server: Registry, layout: Layout) -> None:
    manifest = layout.manifests()["linux/amd64"]["layers"][0]
    layout.blob(manifest["digest"]).write_bytes(b"x" * manifest["size"])
    with pytest.raises(ImageError, match="DIGEST_INVALID"):
        push.push(server.name, "runtime", layout, "0.1.0")


def test_a_registry_that_is_not_there_is_named(layout: Layout, server: Registry) -> None:
    server.server_close()
    with pytest.raises(ImageError, match=rf"http://{server.name} did not answer HEAD"):
        push.push(server.name, "runtime", layout, "0.1.0")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *(("localhost", True), ("127.0.0.1", True), ("10.99.0.1", True), ("172.31.0.2", True), ("192.168.1.1", True)),
        *(("172.32.0.1", False), ("8.8.8.8", False), ("registry.example", False), ("10.example", False)),
    ],
)
def test_plain_http_is_for_private_addresses(host: str, *, local: bool) -> None:
    assert registry.is_local(host) is local


@pytest.mark.parametrize(
    ("text", "registry_name", "secure"),
    [
        ("10.0.0.1:5000", "10.0.0.1:5000", False),
        ("https://10.0.0.1:5000", "10.0.0.1:5000", True),
        ("http://registry.example:5000", "registry.example:5000", False),
        ("registry.example", "registry.example", True),
    ],
)
def test_a_scheme_overrules_the_guess(text: str, registry_name: str, *, secure: bool) -> None:
    found = registry.repository(text, "edgesmith/runtime")
    assert (found.registry, found.secure) == (registry_name, secure)


@pytest.mark.parametrize("text", ["", "a/b", "ftp://host", "http://"])
def test_what_is_no_registry_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ImageError, match="expected HOST:PORT"):
        registry.repository(text, "edgesmith/runtime")


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/v2/a/blobs/uploads/1", "/v2/a/blobs/uploads/1?digest=sha256%3Aaa"),
        ("http://h:1/v2/a/blobs/uploads/1?_state=x%2B", "/v2/a/blobs/uploads/1?_state=x%2B&digest=sha256%3Aaa"),
    ],
)
def test_an_upload_ends_where_the_registry_said_with_its_query_kept(location: str, path: str) -> None:
    assert registry.upload_path(location, "sha256:aa") == path
