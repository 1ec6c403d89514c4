"""``grpc.health.v1``'s ``Watch``: what watchers are told, how many there may be, and what they cost the others."""

from __future__ import annotations

import json
import queue
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc

from tests.patience import PATIENCE
from tests.runtime.held import HELD, Hold
from tests.runtime.http2 import DATA, RST_STREAM, call, frame, frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
WATCH = "/grpc.health.v1.Health/Watch"
INFERENCE = b"\x0a\x1e" + b"inference.GRPCInferenceService"


class Watcher:
    """A client with a connection of its own."""

    def __init__(self, server: Server) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc}", options)

    def watch(self, request: bytes = b"") -> Any:
        method: grpc.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(WATCH)
        return method(request, timeout=PATIENCE)

    def check(self) -> bytes:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        return method(b"", timeout=PATIENCE)

    def close(self) -> None:
        self.channel.close()


def run_of(server: Server) -> tuple[Any, queue.SimpleQueue[Any]]:
    """Ask for a run; its answer comes into the queue."""
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")
    given = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    given.set_data_from_numpy(np.zeros((1, 4), np.float32))
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.async_infer("toy", [given], lambda result, error: answers.put(error or result))
    return client, answers


def test_a_watcher_is_told_at_once_and_of_every_change_until_the_server_stops(
    toy: Bundle, start_server: StartServer, tmp_path: Path
) -> None:
    hold = Hold(tmp_path)
    server = start_server(toy.folder, "--run-unready-seconds", "0.05", hold.option, program=HELD)
    hold.begin()
    with closing(Watcher(server)) as client:
        whole, one = client.watch(), client.watch(INFERENCE)
        assert (next(whole), next(one)) == (SERVING, SERVING)
        asking, answers = run_of(server)
        with closing(asking):
            assert (next(whole), next(one)) == (NOT_SERVING, NOT_SERVING)
            assert client.check() == NOT_SERVING
            hold.end()
            assert (next(whole), next(one)) == (SERVING, SERVING)
            assert answers.get(timeout=PATIENCE).as_numpy("relu").shape == (1, 4)
        assert client.check() == SERVING
        server.process.send_signal(signal.SIGTERM)
        for call in (whole, one):
            assert next(call) == NOT_SERVING
            with pytest.raises(grpc.RpcError, match="the server is stopping") as caught:
                next(call)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert server.stop() == 0, "watchers are no requests that were cut off"


def test_a_watcher_that_stays_learns_that_the_server_takes_no_more_before_it_is_gone(
    toy: Bundle, start_server: StartServer
) -> None:
    server = start_server(toy.folder, "--accept-seconds", "3600")
    with closing(Watcher(server)) as client, closing(Watcher(server)) as other:
        watching = client.watch()
        assert next(watching) == SERVING
        server.process.send_signal(signal.SIGTERM)
        assert next(watching) == NOT_SERVING
        assert other.check() == NOT_SERVING, "it answers still"
        assert next(other.watch()) == NOT_SERVING


def test_a_service_that_is_not_known_is_a_status_and_no_error(toy_server: Server) -> None:
    with closing(Watcher(toy_server)) as client:
        watching = client.watch(b"\x0a\x05other")
        assert next(watching) == SERVICE_UNKNOWN
        assert watching.is_active()
        watching.cancel()


@pytest.mark.parametrize("message", [b"\x0a\x01\xff", b"\x0a\x80\x08" + bytes(1024)], ids=["no request", "too long"])
def test_what_is_no_request_is_refused(toy_server: Server, message: bytes) -> None:
    with closing(Watcher(toy_server)) as client, pytest.raises(grpc.RpcError, match="HealthCheckRequest") as caught:
        next(client.watch(message))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_grpcs_own_balancer_sends_nothing_while_the_server_is_not_ready(
    toy: Bundle, start_server: StartServer, tmp_path: Path
) -> None:
    hold = Hold(tmp_path)
    server = start_server(toy.folder, "--run-unready-seconds", "0.05", hold.option, program=HELD)
    hold.begin()
    balancing = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
    options = [("grpc.service_config", json.dumps(balancing)), ("grpc.use_local_subchannel_pool", 1)]
    states: queue.SimpleQueue[grpc.ChannelConnectivity] = queue.SimpleQueue()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}", options) as channel:
        channel.subscribe(states.put, try_to_connect=True)
        until(states, grpc.ChannelConnectivity.READY)
        asking, answers = run_of(server)
        with closing(asking):
            until(states, grpc.ChannelConnectivity.TRANSIENT_FAILURE)
            hold.end()
            until(states, grpc.ChannelConnectivity.READY)
            answers.get(timeout=PATIENCE)
    server.stop()


def until(states: queue.SimpleQueue[grpc.ChannelConnectivity], wanted: grpc.ChannelConnectivity) -> None:
    while states.get(timeout=PATIENCE) is not wanted:
        pass


FEW_CALLS = """
import sys

from edgesmith_runtime import cli, serve

serve._SPARE_CALLS = 4
sys.exit(cli.main())
"""


def test_watchers_take_no_place_of_calls(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--queue", "4", program=FEW_CALLS)
    threads = len(tasks(server))
    with ExitStack() as ends, closing(Watcher(server)) as asking:
        for _ in range(5):
            client = ends.enter_context(closing(Watcher(server)))
            for _ in range(60):
                watching = client.watch()
                assert next(watching) == SERVING
        with ThreadPoolExecutor(4) as callers:
            answers = [callers.submit(asking.check) for _ in range(200)]
            assert {answer.result(PATIENCE) for answer in answers} == {SERVING}
        assert len(tasks(server)) <= threads + 8 + 4, "eight answer calls, four tell 300 watchers"
        server.process.send_signal(signal.SIGTERM)
        assert next(watching) == NOT_SERVING
        assert server.stop() == 0


def tasks(server: Server) -> list[str]:
    return [path.name for path in Path(f"/proc/{server.process.pid}/task").iterdir()]


FEW_WATCHERS = """
import sys
from functools import partial

from edgesmith_runtime import cli
from edgesmith_runtime.rpc import catalogue

catalogue.Watchers = partial(catalogue.Watchers, most=2, longest=0.5)
sys.exit(cli.main())
"""


def test_watchers_are_bounded_and_who_leaves_makes_room(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, program=FEW_WATCHERS)
    with closing(Watcher(server)) as client:
        staying, leaving = client.watch(), client.watch()
        assert (next(staying), next(leaving)) == (SERVING, SERVING)
        with pytest.raises(grpc.RpcError, match="2 callers watch, which is the limit") as caught:
            next(client.watch())
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert client.check() == SERVING
        leaving.cancel()
        assert first_status(client) == SERVING
    server.stop()


def first_status(client: Watcher) -> bytes:
    """Watch as soon as the server has seen that another left."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            status: bytes = next(client.watch())
        except grpc.RpcError:
            assert time.monotonic() < deadline
        else:
            return status


INITIAL_WINDOW_SIZE = 4
EMPTY_REQUEST = bytes(5)
HASTY = FEW_WATCHERS.replace("most=2", "most=16")


@contextmanager
def deaf(server: Server, window: int) -> Iterator[Iterator[int]]:
    """Watch over a connection that takes so many bytes of answers, and no more (RFC 9113 §6.9.2): the frames' kinds."""
    settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
    with closing(socket.create_connection(("127.0.0.1", server.grpc), PATIENCE)) as connection:
        connection.sendall(call(WATCH.encode(), ends=False, settings=settings) + frame(DATA, 1, 1, EMPTY_REQUEST))
        yield (kind for kind, _, _ in frames(connection))


def test_clients_that_take_nothing_are_cut_off_and_the_others_told(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, program=HASTY)
    with ExitStack() as ends, closing(Watcher(server)) as client:
        first = client.watch()
        assert next(first) == SERVING
        stuck = [ends.enter_context(deaf(server, 0)) for _ in range(9)]
        assert next(client.watch()) == SERVING
        assert all(RST_STREAM in received for received in stuck)
        server.process.send_signal(signal.SIGTERM)
        assert next(first) == NOT_SERVING, "who has received all is not cut off, however long nothing changes"
        assert server.stop() == 0


def test_a_client_that_takes_nothing_holds_no_stop_up(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, program=HASTY)
    with deaf(server, 7) as received:
        assert DATA in received
        assert server.stop() == 0
