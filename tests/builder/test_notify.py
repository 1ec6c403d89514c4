"""An event is sent until it is taken, signed so that whoever gets it can tell, and never to another place."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from addresses import ADDRESSES, NO_ADDRESSES
from authority import Authority

from edgesmith_builder.notify import Event, NotSent, deliver, notify

KEY = b"0123456789abcdef01234567"
EVENT = json.dumps({"specversion": "1.0", "id": "e1", "type": "dev.edgesmith.drift.began", "data": {"name": "grüße"}})


class Hook:
    """A receiver that answers with one status after the other, and the last one from then on."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = [(204, {})]
        self.got: list[tuple[dict[str, str], bytes]] = []
        hook = self

        class Page(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
                status, headers = hook.answers[min(len(hook.got), len(hook.answers)) - 1]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Page)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        self.uri = f"{scheme}://127.0.0.1:{self.server.server_port}/hooks/drift?a=b"


@contextmanager
def serving(found: Hook) -> Iterator[Hook]:
    """A receiver that answers until the block ends."""
    Thread(target=found.server.serve_forever, args=(0.05,), daemon=True).start()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with serving(Hook()) as found:
        yield found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


def run_notify(uri: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    return subprocess.run(
        [sys.executable, "-m", "edgesmith_builder", "notify", *words],
        env=os.environ | environment(uri),
        capture_output=True,
        text=True,
        check=False,
    )


def environment(uri: str, secret: str | None = f"whsec_{base64.b64encode(KEY).decode()}") -> dict[str, str]:
    found = {"EDGESMITH_EVENT_URI": uri, "EDGESMITH_EVENT": EVENT}
    return found | ({"EDGESMITH_EVENT_SECRET": secret} if secret else {})


class Clock:
    """Time that passes while somebody waits."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0
        self.pauses: list[float] = []

    def time(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_it_is_signed_as_standard_webhooks_say(hook: Hook) -> None:
    clock = Clock()
    assert deliver(Event.read(environment(hook.uri)), clock=clock.time, pause=clock.pause) == 1
    ((headers, body),) = hook.got
    assert body.decode() == EVENT
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    version, signature = headers["webhook-signature"].split(",")
    assert (version, headers["webhook-id"], headers["webhook-timestamp"]) == ("v1", "e1", "1900000000")
    assert base64.b64decode(signature) == hmac.new(KEY, signed, hashlib.sha256).digest()


def test_without_a_secret_it_is_not_signed_and_another_text_is_the_key_itself(hook: Hook) -> None:
    deliver(Event.read(environment(hook.uri, None)))
    deliver(Event.read(environment(hook.uri, "plain text\n")))
    (bare, _), (signed, body) = hook.got
    assert "webhook-signature" not in bare
    whole = f"e1.{signed['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"plain text", whole, hashlib.sha256).digest()).decode()
    assert signed["webhook-signature"] == f"v1,{expected}"


def test_it_is_sent_again_with_the_same_id_until_it_is_taken(hook: Hook) -> None:
    hook.answers = [(503, {}), (429, {"Retry-After": "77"}), (500, {}), (200, {})]
    clock = Clock()
    assert deliver(Event.read(environment(hook.uri)), clock=clock.time, pause=clock.pause) == 4
    assert {headers["webhook-id"] for headers, _ in hook.got} == {"e1"}
    assert len({headers["webhook-timestamp"] for headers, _ in hook.got}) == 4, "each try is signed anew"
    assert clock.pauses[1] == 77
    assert clock.pauses[0] <= 2


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410])
def test_what_is_refused_for_good_is_not_sent_again_nor_anywhere_else(hook: Hook, status: int) -> None:
    hook.answers = [(status, {"Location": hook.uri})]
    assert notify(environment(hook.uri)) == 1
    assert len(hook.got) == 1


def test_patience_ends(hook: Hook) -> None:
    hook.answers = [(503, {})]
    clock = Clock()
    with pytest.raises(NotSent, match="answers 503"):
        deliver(Event.read(environment(hook.uri)), patience=3600, clock=clock.time, pause=clock.pause)
    assert 10 < len(hook.got) < 40
    assert max(clock.pauses) <= 300


def test_nobody_there_is_tried_again() -> None:
    clock = Clock()
    with pytest.raises(NotSent) as found:
        deliver(Event.read(environment("http://127.0.0.1:9/")), patience=5, clock=clock.time, pause=clock.pause)
    assert found.value.retry
    assert clock.pauses


@pytest.mark.parametrize(
    "wrong",
    [
        {"EDGESMITH_EVENT_URI": "ftp://x/"},
        {"EDGESMITH_EVENT_URI": ""},
        {"EDGESMITH_EVENT": "{"},
        {"EDGESMITH_EVENT": "[]"},
        {"EDGESMITH_EVENT": '{"specversion":"0.3","id":"a"}'},
        {"EDGESMITH_EVENT": '{"specversion":"1.0","id":"a\\nb"}'},
        {"EDGESMITH_EVENT": '{"specversion":"1.0","id":"grüße"}'},
        {"EDGESMITH_EVENT": '{"specversion":"1.0","id":"a","data":"\udcff"}'},
        *({"EDGESMITH_EVENT_URI": uri} for uri in NO_ADDRESSES),
        *({"EDGESMITH_EVENT_SECRET": secret} for secret in ("whsec_!!", "whsec_é", "whsec_", "", " \n", "\udcff")),
    ],
    ids=repr,
)
def test_what_cannot_be_sent_is_told(wrong: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert notify(environment("http://127.0.0.1:9/") | wrong) == 1
    (record,) = caplog.records
    assert "was expected" in record.message
    assert record.exc_info is None


@pytest.mark.parametrize("uri", ADDRESSES)
def test_what_the_resource_takes_can_be_sent_to(uri: str) -> None:
    assert Event.read(environment(uri)).uri == uri


def test_the_program_sends_it_and_logs_neither_secret_nor_event(hook: Hook) -> None:
    found = run_notify(hook.uri)
    assert found.returncode == 0, found.stderr
    assert "event e1 was taken at try 1 by 127.0.0.1" in found.stderr
    assert base64.b64encode(KEY).decode() not in found.stderr
    assert "grüße" not in found.stderr
    assert "a=b" not in found.stderr


def test_a_receiver_of_an_authority_of_ones_own_is_believed_where_it_is_given(authority: Authority) -> None:
    with serving(Hook(authority.sign("hook"))) as hook:
        found = run_notify(hook.uri, "--bucket-ca", str(authority.file))
        assert found.returncode == 0, found.stderr
        assert "event e1 was taken at try 1" in found.stderr
        clock = Clock()
        with pytest.raises(NotSent) as told:
            deliver(Event.read(environment(hook.uri)), patience=5, clock=clock.time, pause=clock.pause)
        assert len(hook.got) == 1
    assert told.value.retry, "a receiver may get another certificate within a day"
    assert str(told.value).startswith("127.0.0.1 has a certificate that is not trusted (")
    assert "was expected in bucket.caBundle of the chart" in str(told.value)


@pytest.mark.parametrize("content", [None, b"no certificate", b"\xff"])
def test_authorities_that_are_none_are_told(
    content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        assert notify(environment("http://127.0.0.1:9/"), file) == 1
    (record,) = caplog.records
    assert f"--bucket-ca {file} cannot be used" in record.message
