"""Connections to the gRPC port: pings, silence, too many of them, and the stop of the server."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from edgesmith_runtime.rpc import server as servers
from edgesmith_runtime.rpc.call import Method
from edgesmith_runtime.rpc.server import GrpcLimits, GrpcServer
from tests.patience import PATIENCE
from tests.runtime.calls import METHODS, Client, Clock, calling
from tests.runtime.http2 import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    call,
    frame,
    frames,
)
from tests.runtime.pages import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from edgesmith_runtime.bundle import Bundle
    from edgesmith_runtime.rpc.connection import Connection
    from tests.runtime.conftest import Server, StartServer


def test_pings_are_answered_however_often_they_come(toy_server: Server) -> None:
    with closing(socket.create_connection(("127.0.0.1", toy_server.grpc), PATIENCE)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        received = frames(connection)
        for start in (0, 20):  # the second lot is sent when the first has had every consequence
            numbers = [struct.pack(">Q", number) for number in range(start, start + 20)]
            connection.sendall(b"".join(frame(PING, 0, 0, number) for number in numbers))
            answers = (payload for kind, flags, payload in received if (kind, flags) == (PING, 1))
            assert [next(answers) for _ in numbers] == numbers


async def test_a_call_begun_before_the_end_was_read_of_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    later: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    methods = METHODS | {b"/test.Test/Run": Method("other", lambda *_: later)}
    glances, turn = 0, asyncio.sleep
    async with calling(methods=methods) as (server, client):

        async def glance(_: float) -> None:
            nonlocal glances
            glances += 1
            if glances == 10:  # the stop is under way, and finds nobody who waits for an answer
                client.begin(1, changes={b":path": b"/test.Test/Run"})
                client.send(1, bytes(5), ends=True)
                await until(lambda: server.calls == 1)
            if glances == 1000:
                later.set_result(b"1")
            await turn(0)

        await until(lambda: bool(server._connections))
        monkeypatch.setattr(servers, "asyncio", SimpleNamespace(sleep=glance))
        await server.drain()
        assert glances >= 1000
        assert await client.status(1) == "0"
        await client.reading  # its connection is closed though it never does so itself


def test_a_connection_without_a_call_holds_no_stop_up(toy: Bundle, start_server: StartServer) -> None:
    server = start_server(toy.folder, "--accept-seconds", "0")
    with closing(socket.create_connection(("127.0.0.1", server.grpc), PATIENCE)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        next(frames(connection))
        assert server.stop() == 0
    assert [entry["message"] for entry in server.lines][-2:] == ["draining", "stopped"]


def test_one_connection_cannot_take_all_calls(toy_server: Server) -> None:
    with closing(socket.create_connection(("127.0.0.1", toy_server.grpc), PATIENCE)) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        settings = next(payload for kind, flags, payload in frames(connection) if (kind, flags) == (SETTINGS, 0))
    streams = 3  # SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 §6.5.2)
    assert dict(struct.iter_unpack(">HI", settings))[streams] == 64


FULL = """
import sys

from edgesmith_runtime import cli
from edgesmith_runtime.rpc import server

usual = server.GrpcLimits
server.GrpcLimits = lambda **given: usual(**{**given, "connections": 8})
sys.exit(cli.main())
"""


def test_a_connection_without_calls_makes_room_for_another_and_one_with_a_call_does_not(
    toy: Bundle, start_server: StartServer
) -> None:
    server = start_server(toy.folder, program=FULL)
    with ExitStack() as connections:

        def connect(sent: bytes) -> Iterator[tuple[int, int, bytes]]:
            connection = connections.enter_context(
                closing(socket.create_connection(("127.0.0.1", server.grpc), PATIENCE))
            )
            connection.sendall(sent)
            return connections.enter_context(closing(frames(connection)))  # what reads a socket keeps it open

        idle = [connect(PREFACE + frame(SETTINGS, 0, 0, b"")) for _ in range(8)]
        for received in idle:
            next(received)
        busy = [connect(call(b"/inference.GRPCInferenceService/ServerLive", ends=False)) for _ in range(8)]
        for received in idle:
            assert next(payload for kind, _, payload in received if kind == GOAWAY).endswith(
                b"too many connections are open"
            )
        for received in busy:
            next(received)
        with suppress(ConnectionError):
            assert not list(connect(PREFACE + frame(SETTINGS, 0, 0, b"")))
        with closing(HTTPConnection("127.0.0.1", server.http, timeout=PATIENCE)) as probe:
            probe.request("GET", "/v2/health/ready")
            assert probe.getresponse().status == 200
    assert server.stop() == 0


HASTY = """
import sys
from functools import partial

from edgesmith_runtime import cli
from edgesmith_runtime.rpc import server

server.GrpcLimits = partial(server.GrpcLimits, head=0.5)
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def hasty(toy: Bundle, start_module_server: StartServer) -> Server:
    """A server that waits for the beginning of no connection for long."""
    return start_module_server(toy.folder, program=HASTY)


OWN = GrpcLimits(silent=60.0, answer=20.0, idle=300.0)


def pings(client: Client) -> list[bytes]:
    """What the client was asked for signs of life with."""
    return [payload for kind, flags, _, payload in client.frames if (kind, flags) == (PING, 0)]


async def all_arrived(server: GrpcServer) -> None:
    """Wait until a client's machine has all that was sent to it, and the server knows."""
    (connection,) = server._connections
    await until(lambda: not connection._sending.unsent())
    server.look()


async def test_a_connection_that_is_silent_is_pinged_and_one_without_calls_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    async with calling(own=OWN, sweeps=False) as (server, client):
        await until(lambda: any(one._reader.started for one in server._connections))
        (connection,) = server._connections
        for count in (1, 2, 3, 4):
            await all_arrived(server)
            clock.now += OWN.silent + 1
            server.look()
            await until(lambda count=count: len(pings(client)) == count)  # type: ignore[misc]  # of each turn
            client.write(frame(PING, 1, 0, pings(client)[-1]))
            await until(lambda: connection._marks.heard == clock.now)
        await all_arrived(server)
        assert not connection._transport.is_closing()
        clock.now += OWN.silent
        server.look()
        assert (await client.goaway()).endswith(b"connection idle")


async def test_a_client_that_gives_no_sign_of_life_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    async with calling(own=OWN, sweeps=False) as (server, client):
        client.begin(1)
        await until(lambda: server.calls == 1)
        await all_arrived(server)
        clock.now += OWN.silent + 1
        server.look()
        await until(lambda: bool(pings(client)))
        await all_arrived(server)
        clock.now += OWN.answer - 1
        server.look()
        assert server.calls == 1
        clock.now += 2
        server.look()
        await until(lambda: not server._connections)
        await client.reading
        assert GOAWAY not in {kind for kind, _, _, _ in client.frames}


@asynccontextmanager
async def read_nothing(server: GrpcServer, client: Client) -> AsyncIterator[Connection]:
    """A connection whose client asks on and on and reads no answer."""
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    await until(lambda: bool(server._connections))
    (connection,) = server._connections
    connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    client.reading.cancel()
    cast("asyncio.ReadTransport", client.writer.transport).pause_reading()
    pings = asyncio.ensure_future(ping_on(client))
    await until(lambda: connection._calls.outbox.paused)
    assert server.budget.left < server.limits.bodies, "short answers that wait count, too"
    yield connection
    pings.cancel()
    with suppress(asyncio.CancelledError, ConnectionError):
        await pings


async def cut_off(server: GrpcServer) -> None:
    """Look after deadlines until no connection is left; none of them is over before somebody looks."""

    def gone() -> bool:
        server.look()
        return not server._connections

    await until(gone)


async def test_a_client_that_reads_nothing_is_read_no_further_and_cut_off() -> None:
    async with calling(unread=1.0, sweeps=False) as (server, client), read_nothing(server, client):
        await cut_off(server)
        assert server.budget.left == server.limits.bodies


async def test_a_client_that_does_not_read_why_its_connection_is_closed_is_cut_off() -> None:
    async with calling(unread=1.0, sweeps=False) as (server, client), read_nothing(server, client) as connection:
        connection.close()
        assert server._connections, "it may read on"
        await cut_off(server)
        assert server.budget.left == server.limits.bodies


async def test_a_client_that_reads_nothing_is_cut_off_at_once_for_another() -> None:
    async with (
        calling(unread=3600.0, own=GrpcLimits(connections=1)) as (server, client),
        read_nothing(server, client) as connection,
    ):
        _, writer = await asyncio.open_connection(*client.writer.get_extra_info("peername"))
        await until(lambda: bool(server._connections) and connection not in server._connections)
        await until(lambda: server.budget.left == server.limits.bodies)
        writer.close()


async def ping_on(client: Client) -> None:
    while True:
        client.write(frame(PING, 0, 0, bytes(8)) * 1000)
        await client.writer.drain()


async def test_of_many_silent_calls_the_oldest_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    async with calling(calls=4, own=GrpcLimits(hurried=2.0), sweeps=False) as (server, client):
        for count, stream in enumerate((1, 3, 5, 7), 1):
            client.begin(stream)
            await until(lambda count=count: server.calls == count)  # type: ignore[misc]  # of each turn
            clock.now += 0.1
        clock.now += 2.0
        server.look()
        for stream in (1, 3):
            assert await client.status(stream) == "1 too many calls wait for their messages"
        clock.now += 10.0
        server.look()
        assert server.calls == 2
        client.send(7, bytes(5), ends=True)
        assert await client.status(7) == "0"


@pytest.mark.parametrize(
    "sent",
    [b"", PREFACE[:5], PREFACE, PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 0, 1, b"\x83")],
    ids=["nothing", "a part of the preface", "no settings", "headers without an end"],
)
def test_what_begins_and_does_not_go_on_is_closed(hasty: Server, sent: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", hasty.grpc), PATIENCE)) as connection:
        connection.sendall(sent)
        told = next(payload for kind, _, payload in frames(connection) if kind == GOAWAY)
        assert told.endswith(b"waited too long for the rest of a frame")


async def test_headers_that_come_in_bits_have_no_more_time_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    async with calling(sweeps=False) as (server, client):
        client.write(frame(HEADERS, 0, 1, b"\x40\x7f\xff\x01"))
        await until(lambda: any(one._reader._block for one in server._connections))
        (connection,) = server._connections
        for bit in range(1, 4):
            clock.now += server.own.head / 4
            client.write(frame(CONTINUATION, 0, 1, b"x"))
            await until(lambda bit=bit: len(connection._reader._block) == 4 + bit)  # type: ignore[misc, arg-type]
            server.look()
        assert not connection._transport.is_closing()
        clock.now += server.own.head / 2
        server.look()
        assert (await client.goaway()).endswith(b"waited too long for the rest of a frame")


def test_a_server_that_stops_lets_no_call_begin_in_ignorance_of_it(slow: Bundle, start_server: StartServer) -> None:
    server = start_server(slow.folder, "--accept-seconds", "0")
    live = b"/inference.GRPCInferenceService/ServerLive"
    with closing(socket.create_connection(("127.0.0.1", server.grpc), PATIENCE)) as connection:
        connection.sendall(call(live, ends=False))
        received = frames(connection)
        assert next(kind for kind, flags, _ in received if (kind, flags) == (SETTINGS, 1)) == SETTINGS
        server.process.send_signal(signal.SIGTERM)
        assert next(payload for kind, _, payload in received if kind == GOAWAY)[:4] == b"\x7f\xff\xff\xff"
        ping = next(payload for kind, _, payload in received if kind == PING)
        # What was sent before the client knew is answered still.
        head = call(live)[len(PREFACE) + 9 :]
        connection.sendall(head[:8] + b"\x03" + head[9:] + frame(PING, 1, 0, ping))
        assert next(payload for kind, _, payload in received if kind == GOAWAY)[:4] == bytes([0, 0, 0, 3])
        connection.sendall(head[:8] + b"\x05" + head[9:])
        refused = next(payload for kind, _, payload in received if kind == RST_STREAM)
        assert refused == struct.pack(">I", 7), "REFUSED_STREAM, which clients send again elsewhere"
        connection.sendall(frame(DATA, 1, 1, bytes(5)))
        assert next(payload for kind, _, payload in received if kind == DATA) == bytes([0, 0, 0, 0, 2, 8, 1])
        assert server.stop() == 0
