"""Servers that take samples: into their spool, redacted, and nowhere else; and servers that are not to."""

from __future__ import annotations

import io
import json
import signal
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.spool import Spool
from tests.patience import PATIENCE
from tests.runtime.gone_disks import Fault, ReadOnly, held
from tests.runtime.judged import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

SECRET = 54321.125
"""A number in the inputs that must not be seen anywhere else."""
PLENTY = ("--sample-bytes-per-day", "2000000000", "--spool-bytes", "50000000")


def ask(server: Server, name: str, rows: int = 2, count: int = 20) -> None:
    chance = np.random.default_rng(3)
    for _ in range(count):
        data = chance.normal(size=(rows, 4))
        data[0, 0] = SECRET
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [rows, 4], "data": data.tolist()}]}
        with closing(HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)) as connection:
            connection.request("POST", f"/v2/models/{name}/infer", json.dumps(body))
            assert connection.getresponse().status == 200


def kept(spool: Path) -> list[dict[str, Any]]:
    """The samples in a spool: arrays by name, and `sample` as it was said."""
    waiting = Spool(RealDisk(), spool / "objects", 1 << 30)
    found = []
    for one in waiting.kept():
        data = waiting.read(one)
        assert data is not None
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found.append({name: arrays[name] for name in arrays.files})
        found[-1]["sample"] = json.loads(bytes(found[-1]["sample"]))
    return found


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def metrics(server: Server) -> dict[str, float]:
    status, text = Client(server.http, "").get("/metrics")
    assert status == 200
    lines = (line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_samples_are_kept_with_what_was_answered_and_why(
    toy: Bundle, start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESMITH_NODE", "edge-1")
    server = start_server(toy.folder, "--privacy", "Samples", "--spool", str(tmp_path), *PLENTY)
    ask(server, "toy")
    until(lambda: {one["sample"]["reason"] for one in kept(tmp_path)} == {"Uncertain", "Random"})
    ask(server, "toy")
    until(lambda: metrics(server)["edgesmith_spool_objects"] >= 2)
    found = metrics(server)
    assert found["edgesmith_spool_bytes"] >= 4096 * found["edgesmith_spool_objects"]
    assert found['edgesmith_samples_total{outcome="random"}'] >= 1
    assert server.stop() == 0
    for one in kept(tmp_path):
        said = one["sample"]
        assert one["inputs/x"].shape == (1, 4)
        assert np.allclose(one["outputs/relu"], np.maximum(one["inputs/x"], 0))
        best = np.sort(one["outputs/softmax"][0].astype(float))
        assert said["uncertainty"] == pytest.approx(1 - (best[-1] - best[-2]), abs=1e-5)
        assert (said["model"], said["node"], said["digest"], said["batch"]) == ("toy", "edge-1", toy.model_digest, True)
        assert (said["probability"] is None) == (said["reason"] == "Uncertain")
    assert str(SECRET) not in json.dumps(server.lines)


def test_a_killed_server_goes_on_with_what_was_kept(toy: Bundle, start_server: StartServer, tmp_path: Path) -> None:
    options = ("--privacy", "Samples", "--spool", str(tmp_path), *PLENTY)
    server = start_server(toy.folder, *options)
    ask(server, "toy")
    until(lambda: len(kept(tmp_path)) >= 2)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    before = len(kept(tmp_path))  # it may have kept more until then
    again = start_server(toy.folder, *options)
    assert metrics(again)["edgesmith_spool_objects"] == before
    taken = json.loads((tmp_path / "budget.json").read_text())
    assert sum(taken["bins"].values()) >= sum(path.stat().st_size for path in (tmp_path / "objects").iterdir())
    assert again.stop() == 0


def test_what_is_to_be_redacted_never_reaches_the_disk(toy: Bundle, start_server: StartServer, tmp_path: Path) -> None:
    rules = '[{"tensor": "x", "action": "Drop"}, {"tensor": "relu", "action": "Drop"}]'
    server = start_server(toy.folder, "--privacy", "Samples", "--spool", str(tmp_path), "--redact", rules, *PLENTY)
    ask(server, "toy")
    until(lambda: len(kept(tmp_path)) >= 2)
    assert server.stop() == 0
    assert {name for one in kept(tmp_path) for name in one} == {"outputs/softmax", "sample"}
    wanted = np.float32(SECRET).tobytes()
    assert not any(wanted in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="by default"),
        pytest.param(("--privacy", "None"), id="None"),
        pytest.param(("--privacy", "Statistics"), id="Statistics"),
        pytest.param(("--privacy", "Samples", "--redact", '[{"tensor": "z", "action": "Drop"}]'), id="no such tensor"),
        pytest.param(("--privacy", "Samples", "--redact-command", '["/nowhere/redact"]'), id="no such program"),
    ],
)
def test_nothing_is_kept(toy: Bundle, start_server: StartServer, tmp_path: Path, options: tuple[str, ...]) -> None:
    server = start_server(toy.folder, "--spool", str(tmp_path), *PLENTY, *options)
    ask(server, "toy")
    if "--redact-command" in options:
        until(lambda: metrics(server).get('edgesmith_samples_total{outcome="not_redacted"}', 0) >= 1)
    assert server.stop() == 0
    assert [path for path in tmp_path.rglob("*.npz") if path.is_file()] == []
    if "--redact" in options:
        assert any(line["message"].startswith("no samples are taken") for line in server.lines)
    if "Samples" not in options:
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fault]:
    yield from held(ReadOnly, tmp_path / "spool", monkeypatch)


def test_a_disk_that_fails_costs_no_answer(
    toy: Bundle, start_server: StartServer, tmp_path: Path, read_only: Fault
) -> None:
    spool = tmp_path / "spool"
    server = start_server(toy.folder, "--privacy", "Samples", "--spool", str(spool), *PLENTY)
    ask(server, "toy")
    until(lambda: len(kept(spool)) >= 1)
    read_only.begin()
    ask(server, "toy", count=60)
    until(lambda: metrics(server)['edgesmith_samples_total{outcome="disk_failed"}'] >= 2)
    assert metrics(server)['edgesmith_folder_usable{folder="spool"}'] == 0
    before = len(kept(spool))
    read_only.end()
    ask(server, "toy")
    until(lambda: len(kept(spool)) > before)
    until(lambda: metrics(server)['edgesmith_folder_usable{folder="spool"}'] == 1)
    assert server.stop() == 0
    said = [line["message"] for line in server.lines if line.get("folder") == "spool"]
    assert 1 <= len(said) <= 2
    assert all("Read-only file system" in words for words in said)


def test_a_spool_that_cannot_be_used_leaves_the_server_as_it_is(
    toy: Bundle, start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "spool").write_text("a file in its place")
    server = start_server(toy.folder, "--privacy", "Samples", "--spool", str(tmp_path / "spool"), *PLENTY)
    ask(server, "toy")
    assert server.stop() == 0
    assert any(line["message"].startswith("no samples are taken") for line in server.lines)
