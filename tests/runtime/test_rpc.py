"""The gRPC port: bytes that are no calls, calls that bring nothing, memory, pings, and its health."""

from __future__ import annotations

import json
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from edgesmith_runtime.http.limits import MEBIBYTE, Budget, peer_of
from edgesmith_runtime.rpc.intake import Intake, _host
from edgesmith_runtime.rpc.pulse import Pulse
from tests.runtime.http2 import GOAWAY, HEADERS, PREFACE, call, frames

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from tests.runtime.conftest import Server, StartServer

INFER = "/inference.GRPCInferenceService/ModelInfer"


BYTES = {
    "method": call(b"/a/\xff"),
    "metadata": call(b"/inference.GRPCInferenceService/ServerLive", (b"secret", b"\xff")),
    "binary metadata": call(b"/inference.GRPCInferenceService/ServerLive", (b"secret-bin", b"!!!")),
    "no HTTP": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.fixture(scope="module")
def server(toy: Bundle, start_server: StartServer) -> Server:
    """A server for those who do it harm."""
    return start_server(toy.folder)


@pytest.mark.parametrize("sent", BYTES.values(), ids=BYTES.keys())
def test_no_bytes_end_the_port(server: Server, sent: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", server.grpc), 20)) as connection:
        connection.sendall(sent)
        next((kind for kind, _, _ in frames(connection) if kind in {HEADERS, GOAWAY}), None)
    with closing(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")) as client:
        assert client.is_server_ready()


GARBAGE = {
    "no protobuf": b"\xff\xff\xff\xff",
    "a name that is no text": b"\x0a\x02\xff\xfe",
    "a length beyond the end": b"\x0a\x7f",
    "an end within a number": b"\x08",
    "a group": b"\x0b\x0c",
    "many fields": b"\x08\x00" * 20_000,
    "nothing": b"",
}


@pytest.mark.parametrize("message", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_message_that_is_none_is_the_clients_mistake(server: Server, message: bytes) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(INFER)
        with pytest.raises(grpc.RpcError) as caught:
            method(message)
    expected = grpc.StatusCode.INVALID_ARGUMENT if message else grpc.StatusCode.NOT_FOUND
    assert caught.value.code() is expected, caught.value


def test_nothing_that_was_sent_is_in_the_log(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder)
    for sent in BYTES.values():
        with closing(socket.create_connection(("127.0.0.1", server.grpc), 20)) as connection:
            connection.sendall(sent)
            next((kind for kind, _, _ in frames(connection) if kind in {HEADERS, GOAWAY}), None)
    assert server.stop() == 0, "every line was JSON"
    text = json.dumps(server.lines)
    assert "grpc" in text, "gRPC did complain"
    assert not re.search(r"secret|xff|!!!|/a/|GET", text), text


def test_health_of_every_name(server: Server) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"") == b"\x08\x01"
        name = b"inference.GRPCInferenceService"
        assert check(b"\x0a" + bytes([len(name)]) + name) == b"\x08\x01"
        with pytest.raises(grpc.RpcError, match="service 'other' is not served here") as caught:
            check(b"\x0a\x05other")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError, match="no HealthCheckRequest"):
            check(b"\x0a\x01\xff")
        with pytest.raises(grpc.RpcError, match="has 1027 bytes; expected at most 1024"):
            check(b"\x0a\x80\x08" + bytes(1024))


Start = Callable[..., tuple[grpc.Server, str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start gRPC servers in this process that answer nothing to a message that their intake took."""
    with ExitStack() as ends:

        def serve(budget: Budget, **options: Any) -> tuple[grpc.Server, str]:
            intake = Intake(budget, **{"calls": 8, "headroom": 2**40} | options)
            server = grpc.server(ThreadPoolExecutor(8))
            answer: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(
                lambda *call: intake.take(*call)[:0]
            )
            server.add_registered_method_handlers("test.Test", {"Take": answer})
            address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
            end = threading.Event()

            def sweep() -> None:
                while not end.wait(0.02):
                    intake.sweep()

            sweeper = threading.Thread(target=sweep)
            sweeper.start()
            ends.callback(sweeper.join)
            ends.callback(end.set)
            ends.callback(lambda: server.stop(None).wait())
            return server, address

        yield serve


def silent_call(channel: grpc.Channel) -> tuple[Any, queue.SimpleQueue[bytes | None]]:
    """A call whose message does not come, until it is put into the queue."""
    messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    take: grpc.StreamUnaryMultiCallable[bytes | None, bytes] = channel.stream_unary("/test.Test/Take")
    return take.future(iter(messages.get, None)), messages


def test_a_message_that_does_not_come_ends_its_call(start: Start) -> None:
    _, address = start(Budget(MEBIBYTE, MEBIBYTE), longest=0.2)
    with grpc.insecure_channel(address) as channel:
        waiting, messages = silent_call(channel)
        assert waiting.exception(20).code() is grpc.StatusCode.CANCELLED
        messages.put(None)


def test_of_many_silent_calls_some_end(start: Start) -> None:
    _, address = start(Budget(MEBIBYTE, MEBIBYTE), calls=4, hurried=0.2)
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with grpc.insecure_channel(address) as channel:
        calls = [silent_call(channel) for _ in range(4)]
        for waiting, _ in calls:
            waiting.add_done_callback(done.put)
        for _ in range(2):
            assert done.get(timeout=20).code() is grpc.StatusCode.CANCELLED
        with pytest.raises(queue.Empty):
            done.get(timeout=0.5)
        for _, messages in calls:
            messages.put(None)


@pytest.mark.parametrize(("held", "limit"), [(65, 1000), (10, 9)], ids=["grown", "near its limit"])
def test_messages_stop_where_memory_does(start: Start, held: int, limit: int) -> None:
    memory = [0]
    options = {"headroom": 1, "memory": lambda: memory[0], "limit": limit * MEBIBYTE}
    _, address = start(Budget(MEBIBYTE, MEBIBYTE), **options)
    with grpc.insecure_channel(address) as channel:
        waiting, messages = silent_call(channel)
        with pytest.raises(grpc.FutureTimeoutError):
            waiting.exception(0.3)
        memory[0] = held * MEBIBYTE
        assert waiting.exception(20).code() is grpc.StatusCode.CANCELLED
        messages.put(None)


def test_memory_that_messages_do_not_hold_does_not_stop_them(start: Start) -> None:
    looks: queue.SimpleQueue[None] = queue.SimpleQueue()
    held = iter([0])

    def memory() -> int:
        looks.put(None)
        return next(held, 2**40)

    _, address = start(Budget(MEBIBYTE, MEBIBYTE), headroom=1, memory=memory)
    for _ in range(3):
        looks.get(timeout=20)
    with grpc.insecure_channel(address) as channel:
        waiting, messages = silent_call(channel)
        with pytest.raises(grpc.FutureTimeoutError):
            waiting.exception(0.3)
        messages.put(b"here")
        messages.put(None)
        assert waiting.result(20) == b""


def test_messages_give_back_what_they_took(start: Start) -> None:
    budget = Budget(MEBIBYTE, MEBIBYTE)
    server, address = start(budget)
    with grpc.insecure_channel(address) as channel:
        take: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Test/Take")
        for _ in range(3):
            take(bytes(MEBIBYTE), timeout=20)
            # The server gives back when it has seen the call's end, which is after the client has.
            while not budget.reserve(b"", MEBIBYTE):
                pass
            budget.release(b"", MEBIBYTE)
        server.stop(None).wait()


def test_one_peer_has_its_share(start: Start) -> None:
    budget = Budget(MEBIBYTE, 1000)
    budget.take(peer_of(("127.0.0.1", 1)), 600)
    budget.take(peer_of(("127.0.0.2", 1)), 600)
    _, address = start(budget)
    with grpc.insecure_channel(address) as channel:
        take: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Test/Take")
        take(bytes(400), timeout=20)
        with pytest.raises(grpc.RpcError):
            take(bytes(401), timeout=20)


@pytest.mark.parametrize(
    ("peer", "host"),
    [("ipv4:10.0.0.7:4711", "10.0.0.7"), ("ipv6:%5Bfd00::7%5D:4711", "fd00::7"), ("unix:", "")],
)
def test_a_peer_is_an_address(peer: str, host: str) -> None:
    assert _host(peer) == (host,)


def test_messages_share_the_budget_of_bodies(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--max-pending-mib", "1", "--drain-seconds", "0", "--max-batch", "50000")
    x = np.zeros((50_000, 4), np.float32)
    given = tritonclient.grpc.InferInput("x", list(x.shape), "FP32")
    given.set_data_from_numpy(x)
    with (
        closing(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")) as client,
        closing(socket.create_connection(("127.0.0.1", server.http), 20)) as connection,
    ):
        client.infer("toy", [given])
        connection.sendall(b"POST /v2/models/toy/infer HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n")
        connection.sendall(b"Content-Length: 500000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(bytes(499_999))
        with pytest.raises(InferenceServerException, match="too many requests are in memory") as caught:
            for _ in iter(lambda: client.infer("toy", [given]), None):
                pass  # until the server has received what was sent over HTTP
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
        connection.sendall(b"}")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
        client.infer("toy", [given])
    server.stop()


def test_a_port_that_answers_is_heard(start: Start) -> None:
    server, address = start(Budget(MEBIBYTE, MEBIBYTE))
    beats: queue.SimpleQueue[None] = queue.SimpleQueue()
    pulse = Pulse(address, lambda: beats.put(None), period=0.01)
    pulse.start()
    for _ in range(3):
        beats.get(timeout=20)
    server.stop(None).wait()
    pulse.stop()


def test_a_port_that_is_closed_is_not_heard(start: Start) -> None:
    server, address = start(Budget(MEBIBYTE, MEBIBYTE))
    server.stop(None).wait()
    beats: queue.SimpleQueue[None] = queue.SimpleQueue()
    pulse = Pulse(address, lambda: beats.put(None), period=0.01)
    pulse.start()
    with pytest.raises(queue.Empty):
        beats.get(timeout=0.5)
    pulse.stop()


def test_a_port_that_only_listens_is_not_heard() -> None:
    beats: queue.SimpleQueue[None] = queue.SimpleQueue()
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        pulse = Pulse(f"127.0.0.1:{deaf.getsockname()[1]}", lambda: beats.put(None), period=0.01)
        pulse.start()
        with closing(deaf.accept()[0]) as connection:
            assert connection.recv(24) == PREFACE
            assert beats.empty()
        pulse.stop()
