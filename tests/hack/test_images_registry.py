"""Pushing to a registry, over a real connection to a small one of the test's own."""

import base64
import hashlib
import json
import os
import tarfile
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from played import Answer, Played

from edgesmith_builder.oci import Backoff, Credentials, Login, Repository
from edgesmith_images import push, tars
from edgesmith_images.console import ImageError
from edgesmith_images.layout import Layout


class Pushed(Played):
    """What distribution-spec asks of a registry for a push, in memory."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.refusal: int | None = None

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answer(self, request: BaseHTTPRequestHandler) -> Answer:
        parts = urlsplit(request.path)
        name = parts.path.rpartition("/")[2]
        if request.command == "HEAD":
            return Answer(self.refusal or (200 if name in self.blobs else 404))
        if request.command == "POST":
            return Answer(202, headers={"Location": f"{request.path}session?_state=a%2Bb"})
        body = request.rfile.read(int(request.headers["Content-Length"]))
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if "/manifests/" in parts.path:
            self.manifests[name] = body
            return Answer(201)
        if parse_qs(parts.query) == {"_state": ["a+b"], "digest": [digest]}:
            self.blobs[digest] = body
            return Answer(201)
        return Answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')


@pytest.fixture
def server() -> Iterator[Pushed]:
    with Pushed() as running:
        yield running


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    with tarfile.open(tmp_path / "x.tar", "w"):
        pass
    layer = tars.compress(tmp_path / "x.tar", tmp_path / "x.tar.gz")
    made = Layout.create(tmp_path / "layout")
    manifests = [made.add_image({"architecture": name, "config": {}}, [layer]) for name in ("amd64", "arm64")]
    made.finish(made.add_index(manifests), "latest")
    return made


def test_a_push_sends_each_blob_once_and_the_index_last(server: Pushed, layout: Layout) -> None:
    digest = layout.root()["digest"]
    (reference,) = push.push_all(server.name, {"runtime": layout}, "0.1.0").values()
    assert reference == f"{server.name}/edgesmith/runtime@{digest}"
    # One layer shared by both platforms, and a config each.
    assert len(server.blobs) == 3
    assert len([line for line in server.asked if line.startswith("POST")]) == 3
    assert server.asked[-1].endswith("/manifests/0.1.0")
    assert server.manifests["0.1.0"] == server.manifests[digest] == layout.blob(digest).read_bytes()
    assert len(server.manifests) == 4


def test_pushing_again_sends_no_blob(server: Pushed, layout: Layout) -> None:
    push.push_all(server.name, {"runtime": layout}, "0.1.0")
    server.asked.clear()
    push.push_all(server.name, {"runtime": layout}, "0.1.0")
    assert not [line for line in server.asked if "uploads" in line]


def test_a_refusal_says_what_the_registry_said(server: Pushed, layout: Layout) -> None:
    server.refusal = 401
    with pytest.raises(ImageError, match=r"edgesmith/runtime answered 401 when looking for sha256:"):
        push.push_all(server.name, {"runtime": layout}, "0.1.0")


def test_a_blob_that_is_not_what_its_name_says_is_refused(server: Pushed, layout: Layout) -> None:
    manifest = layout.manifests()["linux/amd64"]["layers"][0]
    layout.blob(manifest["digest"]).write_bytes(b"x" * manifest["size"])
    with pytest.raises(ImageError, match="DIGEST_INVALID"):
        push.push_all(server.name, {"runtime": layout}, "0.1.0")


def test_a_registry_that_is_not_there_is_named(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "BACKOFF", Backoff(1))
    with pytest.raises(ImageError, match=r"127\.0\.0\.1:1/edgesmith/runtime gave no answer when looking for"):
        push.push_all("127.0.0.1:1", {"runtime": layout}, "0.1.0")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *(("localhost", True), ("127.0.0.1", True), ("10.99.0.1", True), ("172.31.0.2", True), ("192.168.1.1", True)),
        *(("172.32.0.1", False), ("8.8.8.8", False), ("registry.example", False), ("10.example", False)),
    ],
)
def test_plain_http_is_for_private_addresses(host: str, *, local: bool) -> None:
    assert push.is_local(host) is local


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
    found = push.Target.parse(text)
    assert (found.host, found.plain) == (registry_name, not secure)


@pytest.mark.parametrize("text", ["", "a/b", "ftp://host", "http://"])
def test_what_is_no_registry_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ImageError, match="expected HOST:PORT"):
        push.Target.parse(text)


def test_credentials_come_from_the_file_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = base64.b64encode(b"robot:s3:cret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"hub.example:5000": {"auth": auth}}}))
    monkeypatch.setenv("EDGESMITH_REGISTRY_CREDENTIALS", str(tmp_path / "config.json"))
    found = push.Target.parse("hub.example:5000").credentials
    assert found.login(Repository("hub.example:5000", "a")) == Login("robot", "s3:cret")
    assert found.login(Repository("other.example", "a")) is None


@pytest.mark.parametrize("value", ["robot:s3cret", "robot:s3cret\0", f"robot:{'s3cret' * 1000}"])
def test_a_login_in_the_place_of_the_file_is_not_repeated(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"EDGESMITH_REGISTRY_CREDENTIALS": value})
    with pytest.raises(ImageError, match="EDGESMITH_REGISTRY_CREDENTIALS names no file that can be read: ") as said:
        push.Target.parse("hub.example:5000")
    assert "s3cret" not in "".join(traceback.format_exception(said.value))


def test_without_a_file_nobody_logs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESMITH_REGISTRY_CREDENTIALS", "")
    assert push.Target.parse("hub.example:5000").credentials == Credentials()
