"""Runs that never end, clients that do not wait for theirs, and what the server says of itself meanwhile."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from edgesmith_runtime.health import Patience
from edgesmith_runtime.signature import InferRequest, RequestedOutput
from edgesmith_runtime.tensors import TensorSpec
from tests.patience import PATIENCE
from tests.runtime.engines import serving
from tests.runtime.held import HELD, Hold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

NEVER = 1e9


class Accelerator:
    """An engine that answers when it is let go."""

    inputs = outputs = (TensorSpec("x", "FP32", (-1,)),)

    def __init__(self) -> None:
        self.running, self.go_on = threading.Event(), threading.Event()

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, *, busy: bool = False
    ) -> dict[str, NDArray[Any]]:
        del outputs, busy
        self.running.set()
        assert self.go_on.wait(PATIENCE)
        return dict(inputs)

    @property
    def warning(self) -> None:
        return None

    def settle(self) -> None:
        pass

    def close(self) -> None:
        self.go_on.set()


REQUEST = InferRequest("", {"x": np.zeros(1, np.float32)}, (RequestedOutput("x", binary=True),))


@pytest.mark.parametrize(
    ("patience", "ready", "live"),
    [
        (Patience(run_unready=NEVER, run_dead=NEVER), True, True),
        (Patience(run_unready=0, run_dead=NEVER), False, True),
        (Patience(run_unready=0, run_dead=0), False, False),
    ],
    ids=["patient", "unready", "dead"],
)
def test_a_run_that_does_not_end_is_told(patience: Patience, *, ready: bool, live: bool) -> None:
    engine = Accelerator()
    service, dispatcher, model = serving(engine, patience)
    assert dispatcher.longest == 0
    run = service.queue(lambda busy: service.run(model, REQUEST, busy=busy))
    assert engine.running.wait(PATIENCE)
    assert dispatcher.longest > 0
    assert (service.ready, service.live) == (ready, live)
    assert f"\nedgesmith_ready {int(ready)}\n" in service.metrics_text()
    engine.go_on.set()
    assert run.result(PATIENCE)["x"].shape == (1,)
    assert dispatcher.longest == 0
    dispatcher.close()


async def test_a_place_is_held_until_its_thread_is_free() -> None:
    engine = Accelerator()
    service, dispatcher, model = serving(engine, Patience(), limit=2)
    runs = service.submit(lambda busy: service.run(model, REQUEST, busy=busy))
    await asyncio.to_thread(engine.running.wait, PATIENCE)
    waits = service.submit(lambda _: None)
    waits.cancel()
    await asyncio.sleep(0)
    assert dispatcher.pending == 1, "what only waited gives its place back"
    runs.cancel()
    await asyncio.sleep(0)
    assert dispatcher.pending == 1, "what runs does not"
    engine.go_on.set()
    await service.submit(lambda _: None)
    dispatcher.close()


def given() -> Any:
    made = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    made.set_data_from_numpy(np.zeros((1, 4), np.float32))
    return made


def metrics(server: Server) -> str:
    with closing(socket.create_connection(("127.0.0.1", server.http))) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


def until(condition: Callable[[], bool]) -> None:
    """Wait; the test's own time limit ends what never comes true."""
    while not condition():
        pass


def test_clients_that_leave_are_counted(toy: Bundle, start_server: StartServer, tmp_path: Path) -> None:
    hold = Hold(tmp_path)
    server = start_server(toy.folder, "--drain-seconds", "0", hold.option, program=HELD)
    hold.begin()
    with closing(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")) as client:
        call = client.async_infer("toy", [given()], lambda **_: None)
        until(lambda: "\nedgesmith_requests_in_flight 1\n" in metrics(server))
        call.cancel()
        until(lambda: 'protocol="grpc",operation="infer",code="CANCELLED"} 1\n' in metrics(server))
    hold.end()
    until(lambda: "\nedgesmith_requests_in_flight 0\n" in metrics(server))
    hold.begin()
    with closing(socket.create_connection(("127.0.0.1", server.http))) as connection:
        body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
        head = b"POST /v2/models/toy/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)
        until(lambda: "\nedgesmith_requests_in_flight 1\n" in metrics(server))
        # Reset, since a closed connection looks like one whose client still reads.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: 'protocol="http",operation="infer",code="499"} 1\n' in metrics(server))
    server.stop()


def test_a_server_whose_run_takes_too_long_says_so(toy: Bundle, start_server: StartServer, tmp_path: Path) -> None:
    hold = Hold(tmp_path)
    options = ("--run-unready-seconds", "0.05", "--run-dead-seconds", "0.1", "--drain-seconds", "0")
    server = start_server(toy.folder, *options, hold.option, program=HELD)
    hold.begin()
    with (
        closing(tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http}")) as http,
        closing(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")) as rpc,
    ):
        answers: list[Any] = []
        rpc.async_infer("toy", [given()], lambda result, error: answers.append(error or result))
        until(lambda: not http.is_server_live() and not rpc.is_server_live())
        assert not http.is_server_ready()
        assert not rpc.is_server_ready()
        assert not rpc.is_model_ready("toy")
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
            check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert check(b"") == b"\x08\x02"
        assert "\nedgesmith_ready 0\n" in metrics(server)
        server.wait_for("not ready: a run of the model has taken")
        hold.end()
        until(lambda: bool(answers))
        assert answers[0].as_numpy("relu").shape == (1, 4)
        assert http.is_server_live()
        assert rpc.is_server_ready()
    server.wait_for("works again")
    server.stop()


BROKEN = """
import sys

from edgesmith_runtime import cli, serve

serve._HealthLog.look = lambda _: 1 / 0
sys.exit(cli.main())
"""


def test_what_is_done_from_time_to_time_goes_on_where_some_of_it_fails(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, program=BROKEN)
    for _ in range(2):
        server.wait_for("what is done from time to time failed")
    assert server.stop() == 0
