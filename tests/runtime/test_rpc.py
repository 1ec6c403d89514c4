"""The gRPC port: bytes that are no calls, calls that bring nothing, memory, and its health."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from contextlib import closing
from typing import TYPE_CHECKING, cast

import grpc
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from edgesmith_runtime.http.limits import MEBIBYTE, peer_of
from edgesmith_runtime.rpc.call import Method
from edgesmith_runtime.rpc.server import GrpcLimits
from tests.patience import PATIENCE
from tests.runtime.arrived import wait_until_read
from tests.runtime.calls import Clock, calling
from tests.runtime.http2 import GOAWAY, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, call, frame, frames
from tests.runtime.pages import until

if TYPE_CHECKING:
    from edgesmith_runtime.bundle import Bundle
    from edgesmith_runtime.rpc.server import GrpcServer
    from tests.runtime.conftest import Server, StartServer

INFER = "/inference.GRPCInferenceService/ModelInfer"


BYTES = {
    "method": call(b"/a/\xff"),
    "metadata": call(b"/inference.GRPCInferenceService/ServerLive", (b"secret", b"\xff")),
    "binary metadata": call(b"/inference.GRPCInferenceService/ServerLive", (b"secret-bin", b"!!!")),
    "no HTTP": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.fixture(scope="module")
def server(toy: Bundle, start_module_server: StartServer) -> Server:
    """A server for those who do it harm."""
    return start_module_server(toy.folder)


@pytest.mark.parametrize("sent", BYTES.values(), ids=BYTES.keys())
def test_no_bytes_end_the_port(server: Server, sent: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", server.grpc), PATIENCE)) as connection:
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
        with closing(socket.create_connection(("127.0.0.1", server.grpc), PATIENCE)) as connection:
            connection.sendall(sent)
            next((kind for kind, _, _ in frames(connection) if kind in {HEADERS, GOAWAY}), None)
    assert server.stop() == 0, "every line was JSON"
    text = json.dumps(server.lines)
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


async def test_a_message_that_does_not_come_ends_its_call() -> None:
    async with calling(stall=0.2) as (_, client):
        client.begin(1)
        assert await client.status(1) == "1 waited too long for the rest of a message"
        client.begin(3)
        client.send(3, b"\0\0\0\0\x05abc")
        assert await client.status(3) == "1 waited too long for the rest of a message"


async def test_a_message_that_comes_slowly_enough_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    async with calling(stall=40.0, rate=1, sweeps=False) as (server, client):
        client.begin(1)
        client.send(1, b"\0\0\0\0\x78")
        for received in (5, 29, 53, 77):
            await until(lambda count=received: received_of(server) == count)  # type: ignore[misc]  # of each turn
            clock.now += 15.0
            server.look()
            client.send(1, b"\x08\0" * 12)
        client.send(1, b"\x08\0" * 12, ends=True)
        assert await client.status(1) == "0"


def received_of(server: GrpcServer) -> int:
    """How many bytes have come of the first call."""
    return next((one.calls[1].reader.received for one in server._connections if 1 in one.calls), 0)


async def test_there_are_so_many_calls_and_no_more() -> None:
    async with calling(calls=2, own=GrpcLimits(streams=3)) as (server, client):
        for stream in (1, 3, 5):
            client.begin(stream)
        assert (await client.status(5)).startswith("8 2 calls are in flight, which is the limit")
        client.send(1, bytes(5), ends=True)
        assert await client.status(1) == "0"
        client.begin(7)
        client.send(7, bytes(5), ends=True)
        assert await client.status(7) == "0"
        client.write(frame(RST_STREAM, 0, 3, bytes(4)))
        await until(lambda: not server.calls)


async def test_messages_give_back_what_they_took() -> None:
    async with calling(body=MEBIBYTE, bodies=MEBIBYTE) as (server, client):
        for number in range(3):
            stream = 2 * number + 1
            client.begin(stream)
            client.send(stream, b"\0\0\x0f\0\0" + bytes(500_000))
            await until(lambda: server.budget.left < MEBIBYTE)
            if number == 2:
                client.write(frame(RST_STREAM, 0, stream, bytes(4)))
            else:
                client.send(stream, bytes(0xF0000 - 500_000), ends=True)
                assert await client.status(stream) == "0"
            await until(lambda: server.budget.left == MEBIBYTE)


async def test_one_peer_has_its_share() -> None:
    async with calling(body=1000, bodies=2000) as (server, client):
        server.budget.take(peer_of(("127.0.0.1", 1)), 600)
        server.budget.take(peer_of(("127.0.0.2", 1)), 600)
        client.begin(1)
        client.send(1, b"\0\0\0\x01\x90" + b"\x08\0" * 200, ends=True)
        assert await client.status(1) == "0"
        client.begin(3)
        client.send(3, b"\0\0\0\x01\x92" + b"\x08\0" * 201, ends=True)
        assert (await client.status(3)).startswith("14 too many bytes of requests and answers are in memory")
        server.budget.release(peer_of(("127.0.0.1", 1)), 600)
        server.budget.release(peer_of(("127.0.0.2", 1)), 600)


async def test_a_client_has_leave_for_what_it_was_given_and_no_more() -> None:
    async with calling() as (server, client):
        never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        cast("dict[bytes, Method]", server.methods)[b"/test.Test/Never"] = Method("infer", lambda *_: never)
        client.begin(1, changes={b":path": b"/test.Test/Never"})
        client.send(1, bytes(5) * 9)  # one is being answered, eight wait
        client.begin(3)
        client.send(3, b"\0\x03\0\0\0" + bytes(0x03000000), ends=True)
        assert await client.status(3) == "0", "who is waited for has leave for more"
        client.send(1, b"\0\0\x50\0\0" + bytes(2**22 - 50))
        await until(lambda: server.budget.left < server.limits.bodies)
        assert server.calls == 1
        client.send(1, b"\0")
        assert await client.codes(1) == [3], "FLOW_CONTROL_ERROR"
        assert never.cancelled()


async def test_messages_that_wait_are_bounded() -> None:
    async with calling() as (server, client):
        never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        cast("dict[bytes, Method]", server.methods)[b"/test.Test/Never"] = Method("infer", lambda *_: never)
        client.begin(1, changes={b":path": b"/test.Test/Never"})
        client.send(1, bytes(5) * 258)
        assert (await client.status(1)).startswith("8 more than 256 messages of the call wait")


REFUSED = {
    "no such method": ({b":path": b"/a/b"}, "12 the method is not one of this server's"),
    "a compression that is not known": ({b"grpc-encoding": b"br"}, "12 messages are compressed in a way"),
    "a GET": ({b":method": b"GET"}, "13 gRPC calls are made with POST"),
    "no gRPC": ({b"content-type": b"text/plain"}, "13 gRPC calls have a Content-Type"),
}


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_no_call_is_refused(changes: dict[bytes, bytes], said: str) -> None:
    async with calling() as (server, client):
        client.begin(1, changes=changes)
        assert (await client.status(1)).startswith(said)
        assert not server.calls


MALFORMED = {
    "no method": {b":method": b""},
    "no path": {b":path": b""},
    "capitals": {b"X": b"a"},
    "a connection's header": {b"connection": b"close"},
    "another te": {b"te": b"gzip"},
    "another pseudo-header": {b":status": b"200"},
}


@pytest.mark.parametrize("changes", MALFORMED.values(), ids=MALFORMED.keys())
async def test_headers_that_are_none_end_their_stream(changes: dict[bytes, bytes]) -> None:
    async with calling() as (_, client):
        client.begin(1, changes=changes)
        assert await client.codes(1) == [1], "PROTOCOL_ERROR"
        client.begin(3)
        client.send(3, bytes(5), ends=True)
        assert await client.status(3) == "0"


ENDS: dict[str, tuple[list[bytes], str]] = {
    "without a message": ([b""], "3 the call has no message; expected one"),
    "within a prefix": ([b"\0\0"], "3 the call ends within a message"),
    "within a message": ([b"\0\0\0\0\x05ab"], "3 the call ends within a message"),
    "with a second message, which is not looked at": ([bytes(5), bytes(5)], "0"),
    "with trailers": ([bytes(5)], "0"),
    "too long": ([b"\0\x7f\0\0\0"], "8 the message has 2130706432 bytes; expected at most"),
    "begun wrong": ([b"\x02\0\0\0\0"], "3 a message begins with 2"),
    "compressed, and nobody said how": ([b"\x01\0\0\0\x01a"], "3 a message is compressed and grpc-encoding"),
}


@pytest.mark.parametrize(("pieces", "said"), ENDS.values(), ids=ENDS.keys())
async def test_how_a_call_ends(pieces: list[bytes], said: str) -> None:
    async with calling() as (server, client):
        client.begin(1)
        for index, piece in enumerate(pieces):
            client.send(1, piece, ends=index == len(pieces) - 1 and pieces != ENDS["with trailers"][0])
        if pieces == ENDS["with trailers"][0]:
            client.write(frame(HEADERS, 5, 1, b"\0\x01a\x01b"))
        assert (await client.status(1)).startswith(said)
        await until(lambda: not server.calls)


FURTHER = {
    "a message that is none": b"\x09\0\0\0\0",
    "one that is too long": b"\0\x7f\0\0\0",
    "more than may wait": bytes(5) * 300,
    "a part of one, for too long": b"\0\0",
}


@pytest.mark.parametrize("further", FURTHER.values(), ids=FURTHER.keys())
async def test_a_call_that_was_answered_is_not_ended_again(further: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer waits for its client, who sends on."""
    clock = Clock(monkeypatch)
    async with calling(own=GrpcLimits(between=10.0), stall=10.0, sweeps=False) as (server, client):
        client.write(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
        client.begin(1)
        client.send(1, bytes(5))
        await until(lambda: any(one._calls.outbox.waiting(1) for one in server._connections))
        client.send(1, further)
        client.begin(3)
        client.send(3, b"\x09\0\0\0\0")
        assert (await client.status(3)).startswith("3 a message begins with 9")
        for _ in range(3):
            clock.now += 11.0
            server.look()
        (connection,) = server._connections
        assert connection.calls[1].reader.received == 5
        client.write(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 100)))
        assert await client.status(1) == "0"
        counted = server.service.metrics.text()
        assert 'protocol="grpc",operation="health",code="OK"} 1' in counted
        assert counted.count('protocol="grpc",operation="health"') == 2, "the other call's beside it"


async def test_a_call_that_was_answered_holds_nothing_of_a_further_message() -> None:
    async with calling() as (server, client):
        client.write(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
        before = server.budget.left
        client.begin(1)
        client.send(1, bytes(5) + b"\0\0\1\0\0" + bytes(1000))
        await until(lambda: any(one._calls.outbox.waiting(1) for one in server._connections))
        await until(lambda: server.budget.left == before - len(bytes(5) + b"\x08\x01"))
        client.write(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 100)))
        assert await client.status(1) == "0"


async def test_an_error_of_the_servers_own_is_told_and_the_next_call_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with calling() as (server, client):

        def fails(*_: object) -> bytes:
            raise ZeroDivisionError("a secret")

        methods = cast("dict[bytes, Method]", server.methods)
        monkeypatch.setitem(methods, b"/test.Test/Fails", Method("health", fails))
        client.begin(1, changes={b":path": b"/test.Test/Fails"})
        client.send(1, bytes(5), ends=True)
        assert await client.status(1) == "13 the server failed; its log says where"
        client.begin(3)
        client.send(3, bytes(5), ends=True)
        assert await client.status(3) == "0"


@pytest.mark.parametrize("callback", ["get_buffer", "buffer_updated", "resume_writing", "expire"])
async def test_no_callback_lets_an_error_out(callback: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    async with calling() as (server, client):
        client.begin(1)
        await until(lambda: bool(server.calls))
        (connection,) = server._connections
        for name in ("buffer", "received"):
            monkeypatch.setattr(connection._reader, name, fails)
        monkeypatch.setattr(connection._calls.outbox, "flush", fails)
        monkeypatch.setattr(connection._sending, "look", fails)
        getattr(connection, callback)(*((1,) if callback != "resume_writing" else ()))
        assert (await client.goaway())[4:8] == bytes([0, 0, 0, 2]), "INTERNAL_ERROR"
        await until(lambda: not server._connections)


def test_messages_share_the_budget_of_bodies(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--max-pending-mib", "1", "--drain-seconds", "0", "--max-batch", "50000")
    x = np.zeros((50_000, 4), np.float32)
    given = tritonclient.grpc.InferInput("x", list(x.shape), "FP32")
    given.set_data_from_numpy(x)
    with (
        closing(tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")) as client,
        closing(socket.create_connection(("127.0.0.1", server.http), PATIENCE)) as connection,
    ):
        client.infer("toy", [given])
        connection.sendall(b"POST /v2/models/toy/infer HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n")
        connection.sendall(b"Content-Length: 500000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(bytes(499_999))
        wait_until_read(connection)  # where both come at once, it may be the body that is refused
        with pytest.raises(
            InferenceServerException, match="too many bytes of requests and answers are in memory"
        ) as caught:
            client.infer("toy", [given])
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
        connection.sendall(b"}")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
        client.infer("toy", [given])
    server.stop()
