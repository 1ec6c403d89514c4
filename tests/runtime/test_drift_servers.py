"""A server watches for drift where it may, and what it says reaches the kubelet."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgesmith_runtime.bundle import read_bundle
from tests.patience import PATIENCE
from tests.runtime.drifting import drifting_bundle
from tests.runtime.judged import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

WATCHING = ("--privacy", "Statistics", "--drift-cycle-seconds", "0")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Path:
    samples = np.random.default_rng(1).normal(size=(400, 4)).astype(np.float32)
    return drifting_bundle(tmp_path_factory.mktemp("drift") / "toy", toy_model, samples)


def page(server: Server) -> dict[str, Any]:
    status, text = Client(server.http, "toy").get("/drift")
    assert status == 200, text
    found: dict[str, Any] = json.loads(text)
    return found


def until(server: Server, state: str, samples: NDArray[np.float32]) -> dict[str, Any]:
    """Ask until the server says so."""
    client, deadline = Client(server.http, "toy"), time.monotonic() + PATIENCE
    while (found := page(server))["state"] != state:
        assert time.monotonic() < deadline, found
        assert client.ask(samples, 4) == [200] * 4
    return found


def ended(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(PATIENCE)
    finally:
        process.kill()


def reporter(bundle: Path, port: int, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    place = {"TOY_SERVICE_HOST": "127.0.0.1", "TOY_SERVICE_PORT_HTTP": str(port)}
    told = ["--notes", str(folder), "--termination-log", str(folder / "log"), "--every-seconds", "0.2"]
    command = [sys.executable, "-m", "edgesmith_runtime", "report", "--service", "toy", "--bundle", str(bundle)]
    return subprocess.Popen([*command, *told, *options], env=os.environ | place, stdout=subprocess.DEVNULL)


@contextmanager
def telling(*answers: dict[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """A server that gives one answer after the other, the last again and again: its port, and what it was asked."""
    asked: list[str] = []

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(answers[min(len(asked), len(answers)) - 1]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()


def test_drift_is_said_kept_over_a_restart_and_told_to_the_kubelet_once(
    bundle: Path, tmp_path: Path, start_server: StartServer
) -> None:
    assert read_bundle(bundle).baseline == "baseline.json"
    notes = tmp_path / "notes"
    notes.mkdir()
    server = start_server(bundle, *WATCHING, "--notes", str(notes))
    assert page(server)["state"] == "Learning"
    far = (np.random.default_rng(2).normal(size=(8, 4)) + 9).astype(np.float32)
    with reporter(bundle, server.http, tmp_path) as waiting:
        found = until(server, "Drifted", far)
        assert ended(waiting) == 0
    named = [one["name"] for one in found["features"]]
    assert "novel" in named
    assert named[0].startswith(("x[", "relu[", "softmax."))
    told = json.loads((tmp_path / "log").read_text())
    assert told == found | {"samples": told["samples"]}
    assert told["samples"] >= 300, "six spans of 50"
    text = Client(server.http, "toy").get("/metrics")[1].decode()
    assert "edgesmith_drifted 1\n" in text
    assert server.stop() == 0

    (tmp_path / "log").write_text("")
    again = start_server(bundle, *WATCHING, "--notes", str(notes))
    said = page(again)
    assert (said["state"], said["since"]) == ("Drifted", found["since"]), "kilobytes that outlive a restart"
    with telling(said) as (port, asked), reporter(bundle, port, tmp_path, "--least-seconds", "0") as second:
        try:
            deadline = time.monotonic() + PATIENCE
            while len(asked) < 3:
                assert second.poll() is None, "the same verdict is told once"
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert json.loads((tmp_path / "log").read_text())["since"] == found["since"]
            assert second.poll() is None
            second.send_signal(signal.SIGTERM)
            assert second.wait(PATIENCE) == 0
        finally:
            second.kill()


def test_nothing_is_watched_or_said_without_privacy_that_allows_it(bundle: Path, start_server: StartServer) -> None:
    server = start_server(bundle)
    client = Client(server.http, "toy")
    assert client.ask(np.ones((2, 4), np.float32)) == [200]
    assert client.get("/drift")[0] == 404
    text = client.get("/metrics")[1].decode()
    assert "edgesmith_observed_runs_total 0\n" in text
    assert "edgesmith_drift_samples_total 0\n" in text


def test_a_bundle_without_a_baseline_is_served_and_not_watched(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, *WATCHING)
    assert Client(server.http, "toy").get("/drift")[0] == 404
    assert any("no baseline" in line["message"] for line in server.lines)


@pytest.mark.parametrize(
    "said",
    [
        {"baseline": "0" * 12},
        {"state": "Learning"},
        {"version": 2},
        {"since": "now"},
        {"features": "x" * 9000},
    ],
)
def test_a_reporter_does_not_tell_what_is_not_for_it(said: dict[str, Any], bundle: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((bundle / "baseline.json").read_bytes()).hexdigest()[:12]
    whole = {"version": 1, "baseline": digest, "state": "Drifted", "since": 5, "samples": 9, "features": []}
    with telling(whole | said, whole | said, whole) as (port, asked), reporter(bundle, port, tmp_path) as process:
        assert ended(process) == 0
    assert set(asked) == {"/drift"}
    assert len(asked) >= 3, "an answer may have come too late"
    assert json.loads((tmp_path / "log").read_text()) == whole


def test_a_reporter_that_is_older_than_the_service_ends_to_be_started_again(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "edgesmith-told.json").write_text('{"version":1,"baseline":"a","state":"Steady","since":5}')
    told = ["--notes", str(tmp_path), "--termination-log", str(tmp_path / "log"), "--every-seconds", "0.1"]
    command = [sys.executable, "-m", "edgesmith_runtime", "report", "--service", "toy", "--bundle", str(bundle), *told]
    assert subprocess.run(command, check=False).returncode == 0
    assert json.loads((tmp_path / "log").read_text())["state"] == "Steady", "its last word is still there"


def test_a_reporter_is_small(bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = reporter(bundle, listening.getsockname()[1], tmp_path, "--every-seconds", "60")
        try:
            # It asks once everything is imported, and with the signals of its end kept.
            listening.settimeout(60)
            listening.accept()[0].close()
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            process.send_signal(signal.SIGTERM)
            assert ended(process) == 0
        finally:
            process.kill()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    assert int(peak.split()[1]) < 32 * 1024
