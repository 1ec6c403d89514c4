"""A server's life: not ready before its model is checked, gone at once when asked, its reason left behind."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from edgesmith_runtime.bundle import Bundle, read_bundle, write_bundle
from edgesmith_runtime.golden import Golden
from tests.patience import PATIENCE
from tests.runtime.drifting import drifting_bundle
from tests.runtime.held import HELD, Hold
from tests.runtime.judged import Client

if TYPE_CHECKING:
    from tests.runtime.conftest import Server, StartServer


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgesmith_runtime", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def other_answers(bundle: Bundle, model: Path, folder: Path) -> Bundle:
    """The same bundle with golden samples that its model does not give."""
    golden = Golden.read(*bundle.golden_paths)
    spoiled = Golden(
        golden.inputs, {name: replace(one, values=one.values[::-1].copy()) for name, one in golden.outputs.items()}
    )
    return write_bundle(
        folder,
        engine=bundle.engine,
        precision=bundle.precision,
        model_file=model,
        inputs=bundle.inputs,
        outputs=bundle.outputs,
        labels=None,
        golden=spoiled,
    )


def spoil(bundle: Bundle) -> None:
    data = bytearray(bundle.model_path.read_bytes())
    data[-1] ^= 1
    bundle.model_path.write_bytes(data)


def serve_and_fail(bundle: Path, log: Path, *options: str) -> dict[str, Any]:
    log.touch()
    ended = run(
        "serve",
        "--bundle",
        str(bundle),
        "--http-port",
        "0",
        "--grpc-port",
        "0",
        "--termination-log",
        str(log),
        *options,
    )
    assert ended.returncode == 1
    finding: dict[str, Any] = json.loads(log.read_text())
    assert finding["verdict"] == "Failed"
    assert json.loads(ended.stderr.splitlines()[-1])["reason"] == finding["reason"]
    assert '"ready"' not in ended.stderr
    return finding


def test_a_corrupt_bundle_never_becomes_ready(toy_copy: Bundle, tmp_path: Path) -> None:
    spoil(toy_copy)
    finding = serve_and_fail(toy_copy.folder, tmp_path / "log")
    assert finding["reason"] == "BundleCorrupt"
    assert finding["message"].startswith("model.onnx has digest sha256:")


def test_a_model_that_answers_otherwise_never_becomes_ready(toy: Bundle, toy_model: Path, tmp_path: Path) -> None:
    bundle = other_answers(toy, toy_model, tmp_path / "model")
    finding = serve_and_fail(bundle.folder, tmp_path / "log")
    assert finding["reason"] == "GoldenMismatch"
    assert finding["parity"] < 1
    assert "golden samples agree" in finding["message"]


def test_a_file_that_is_no_model_never_becomes_ready(toy: Bundle, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    bundle = write_bundle(
        tmp_path / "model",
        engine="onnxruntime",
        precision="fp32",
        model_file=tmp_path / "model.onnx",
        inputs=toy.inputs,
        outputs=toy.outputs,
        labels=None,
        golden=Golden.read(*toy.golden_paths),
    )
    finding = serve_and_fail(bundle.folder, tmp_path / "log")
    assert finding["reason"] == "EngineFailed"
    assert finding["message"].startswith("model.onnx cannot be loaded by ONNX Runtime")


def test_a_taken_port_is_told(toy: Bundle, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        finding = serve_and_fail(toy.folder, tmp_path / "log", "--host", "127.0.0.1", "--http-port", port)
        assert finding["reason"] == "ListenFailed"
        finding = serve_and_fail(toy.folder, tmp_path / "log", "--host", "127.0.0.1", "--grpc-port", port)
        assert finding["reason"] == "ListenFailed"


def test_no_termination_file_is_made_by_the_server(toy_copy: Bundle, tmp_path: Path) -> None:
    spoil(toy_copy)
    ended = run(
        "serve", "--bundle", str(toy_copy.folder), "--http-port", "0", "--grpc-port", "0", "--termination-log",
        str(tmp_path / "log"),
    )  # fmt: skip
    assert ended.returncode == 1
    assert not (tmp_path / "log").exists()


def test_an_idle_server_stops_at_once(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--drain-seconds", "3600")  # what it would wait for beyond the test's own limit
    with closing(socket.create_connection(("127.0.0.1", server.http))), closing(grpc_client(server)) as client:
        client.is_server_live()
        assert server.stop() == 0
    assert [entry["message"] for entry in server.lines][-2:] == ["draining", "stopped"]


HANGING = """
import sys, threading
from edgesmith_runtime import serve
place = sys.argv.pop()
def hang(*arguments, **options):
    sys.stderr.write('{"message": "hangs"}\\n')
    threading.Event().wait()
setattr(serve, place, hang)
from edgesmith_runtime.cli import main
sys.exit(main())
"""
"""The server's program. Its last argument is what of its start never ends."""


@pytest.mark.parametrize("place", ["load", "together", "judge_of"])
def test_a_model_that_never_loads_does_not_hold_up_the_end(toy: Bundle, start_server: StartServer, place: str) -> None:
    server = start_server(toy.folder, "--accept-seconds", "3600", place, ready=False, program=HANGING)
    server.wait_for("hangs")
    assert server.stop() == 0
    assert [entry["message"] for entry in server.lines][-2:] == ["draining", "stopped"]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_request_in_flight_is_answered_before_the_end(
    toy: Bundle, start_server: StartServer, tmp_path: Path, protocol: str
) -> None:
    hold, answers = Hold(tmp_path), list[str]()
    server = start_server(toy.folder, "--drain-seconds", "3600", hold.option, program=HELD)

    def ask() -> None:
        with closing(http_client(server) if protocol == "http" else grpc_client(server)) as client:
            ask_toy(client, tritonclient.http if protocol == "http" else tritonclient.grpc)
            answers.append("came")

    hold.begin()
    with closing(http_client(server)) as probe:
        thread = threading.Thread(target=ask)
        thread.start()
        _until_in_flight(server)
        assert probe.is_server_ready()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        assert server.lines[-1]["in_flight"] == 1
        _until_refused(server)
        assert not answers
        hold.end()
        thread.join(PATIENCE)
        assert server.stop() == 0
    assert answers == ["came"]


def test_a_drain_ends_even_when_requests_do_not(toy: Bundle, start_server: StartServer, tmp_path: Path) -> None:
    hold = Hold(tmp_path)
    server = start_server(toy.folder, "--drain-seconds", "0.2", hold.option, program=HELD)
    hold.begin()
    with closing(socket.create_connection(("127.0.0.1", server.http))) as client:
        client.sendall(_request())
        _until_in_flight(server)
        assert server.stop() == 1
    assert server.lines[-2]["message"] == "drain ended with requests in flight"


def test_a_full_queue_refuses_and_probes_get_through(toy: Bundle, start_server: StartServer, tmp_path: Path) -> None:
    hold = Hold(tmp_path)
    server = start_server(toy.folder, "--queue", "1", "--drain-seconds", "0", hold.option, program=HELD)
    hold.begin()
    with closing(socket.create_connection(("127.0.0.1", server.http))) as client, closing(http_client(server)) as probe:
        client.sendall(_request())
        _until_in_flight(server)
        with closing(socket.create_connection(("127.0.0.1", server.http))) as other:
            other.sendall(_request())
            answer = other.recv(4096)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert probe.is_server_ready()
        assert "edgesmith_queue_refusals_total 1" in _metrics(server)
    server.stop()


def test_bodies_share_one_budget(slow: Bundle, start_server: StartServer) -> None:
    server = start_server(slow.folder, "--max-pending-mib", "1", "--drain-seconds", "0")
    with (
        closing(socket.create_connection(("127.0.0.1", server.http))) as first,
        closing(socket.create_connection(("127.0.0.1", server.http))) as second,
    ):
        head = b"POST /v2/models/slow/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 700000\r\n\r\n"
        for client in (first, second):
            client.sendall(head + bytes(600_000))
        (refused,), _, _ = select.select([first, second], [], [], PATIENCE)
        assert refused.recv(100).startswith(b"HTTP/1.1 503")
        other = second if refused is first else first
        other.sendall(bytes(100_000))
        assert other.recv(100).startswith(b"HTTP/1.1 400")
    with closing(socket.create_connection(("127.0.0.1", server.http))) as third:
        third.sendall(head + bytes(700_000))
        assert third.recv(100).startswith(b"HTTP/1.1 400"), "the budget must be given back"
    server.stop()


def test_what_is_only_announced_takes_no_memory_from_others(toy_server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", toy_server.http)) for _ in range(600)]
    for client in silent:
        client.sendall(b"POST /v2/models/toy/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n")
    with closing(http_client(toy_server)) as client:
        given_input = tritonclient.http.InferInput("x", [100, 4], "FP32")
        given_input.set_data_from_numpy(np.zeros((100, 4), np.float32))
        assert client.infer("toy", [given_input]).as_numpy("relu").shape == (100, 4)
    for client in silent:
        client.close()


def test_new_requests_are_answered_for_a_while_after_the_signal(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--accept-seconds", "3600")  # so long that no client comes too late
    with closing(socket.create_connection(("127.0.0.1", server.http))) as kept, closing(grpc_client(server)) as grpc:
        kept.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: a\r\n\r\n")
        assert kept.recv(4096).startswith(b"HTTP/1.1 200 ")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        kept.sendall(b"GET /v2/models/toy HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = kept.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert "edgesmith_ready 0" in _metrics(server)
        with closing(http_client(server)) as client:
            assert not client.is_server_ready()
        assert grpc.is_server_live()
        assert not grpc.is_server_ready()


def test_the_while_ends(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--accept-seconds", "0.5")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began >= 0.5
    assert [entry["message"] for entry in server.lines][-2:] == ["draining", "stopped"]


def ask_toy(client: Any, library: Any) -> None:
    given_input = library.InferInput("x", [1, 4], "FP32")
    given_input.set_data_from_numpy(np.zeros((1, 4), np.float32))
    assert client.infer("toy", [given_input]).as_numpy("relu").shape == (1, 4)


IMPATIENT = """
import sys
from functools import partial

from edgesmith_runtime import arguments, cli

arguments.Limits = partial(arguments.Limits, unread=1.0)
sys.exit(cli.main())
"""


def test_an_answer_that_is_cut_off_while_draining_is_told(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--max-batch", "1000000", program=IMPATIENT)
    tensor = bytes(16_000_000)
    with closing(socket.create_connection(("127.0.0.1", server.http))) as client:
        client.sendall(
            b"POST /v2/models/toy/infer HTTP/1.1\r\nHost: a\r\nInference-Header-Content-Length: 0\r\n"
            b"Content-Length: %d\r\n\r\n" % len(tensor) + tensor[1:]
        )
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        client.sendall(tensor[:1])  # it is answered while the server drains, however late this comes
        assert server.stop() == 1
    assert [entry["message"] for entry in server.lines][-2:] == ["answers were cut off", "stopped"]


def test_reading_a_bundle_leaves_nothing_behind(toy_copy: Bundle) -> None:
    before = sorted(toy_copy.folder.iterdir())
    read_bundle(toy_copy.folder)
    run("selftest", "--bundle", str(toy_copy.folder), "--termination-log", "/dev/null")
    assert sorted(toy_copy.folder.iterdir()) == before


def http_client(server: Server) -> Any:
    return tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http}", network_timeout=60)


def grpc_client(server: Server) -> Any:
    return tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")


def _request() -> bytes:
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]})
    return f"POST /v2/models/toy/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize("privacy", ["None", "Statistics", "Samples"])
def test_a_server_that_nobody_asks_is_woken_rarely(
    privacy: str, toy_model: Path, tmp_path: Path, start_server: StartServer
) -> None:
    samples = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
    (tmp_path / "notes").mkdir()
    server = start_server(
        drifting_bundle(tmp_path / "toy", toy_model, samples),
        *("--privacy", privacy, "--spool", str(tmp_path / "spool"), "--notes", str(tmp_path / "notes")),
    )
    assert Client(server.http, "toy").ask(samples[:4], 2) == [200] * 2
    rates = []
    for _ in range(10):  # what loading leaves behind may take its time, and one that never rests never has a few
        before, began = _switches(server.process.pid), time.monotonic()
        time.sleep(3)
        rates.append((_switches(server.process.pid) - before) / (time.monotonic() - began))
        if rates[-1] <= 9:
            break
    assert min(rates) <= 9, rates
    server.stop()


def _switches(pid: int) -> int:
    """How often all threads of a process have gone to sleep (proc(5))."""
    found = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        found += int(status.read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return found


def _metrics(server: Server) -> str:
    with closing(socket.create_connection(("127.0.0.1", server.http))) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


def _until_in_flight(server: Server) -> None:
    end = time.monotonic() + PATIENCE
    while "\nedgesmith_requests_in_flight 1\n" not in _metrics(server):
        assert time.monotonic() < end


def _until_refused(server: Server) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", server.http)).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # it was closed with this connection in its queue
    raise AssertionError("the server still accepts connections")
