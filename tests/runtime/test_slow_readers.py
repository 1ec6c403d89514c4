"""Clients of the gRPC port that read slowly: none is cut off as long as it reads, whatever else it owes."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from edgesmith_runtime.http2.hpack import encode
from edgesmith_runtime.rpc.call import Method
from edgesmith_runtime.rpc.server import GrpcLimits
from tests.patience import PATIENCE
from tests.runtime.calls import LIVE, METHODS, Client, Clock, calling
from tests.runtime.http2 import DATA, HEADERS, PING, PREFACE, SETTINGS, WINDOW_UPDATE, frame
from tests.runtime.pages import slow_client, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgesmith_runtime.rpc.connection import Connection
    from edgesmith_runtime.rpc.server import GrpcServer

LARGE = b"/test.Test/Large"
SIZE = 6_000_000
ANSWERS = {LARGE: Method("health", lambda *_: bytes(SIZE))}

STALL, UNREAD = 30.0, 60.0
OWN = GrpcLimits(head=15.0, silent=60.0, answer=20.0)


class Reader:
    """A client that gives all leave for answers, and reads as much of them as it is told, as frames.

    It answers the pings that it comes to, unless it is told not to.
    """

    answers = True

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self.sizes = {1: 0, 3: 0}
        self.kinds: list[tuple[int, int]] = []

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._connection, data)

    async def read(self, most: int) -> None:
        """Read as many bytes, fewer at the end of what comes."""
        while most > 0 and not self.whole:
            came = await self._come(min(most, 2**16))
            assert came, "the server cut its client off"
            most -= came

    async def read_all(self) -> None:
        """Read to the end of the connection."""
        with suppress(ConnectionError):
            while await self._come(2**16):
                pass

    @property
    def whole(self) -> bool:
        """Whether both large answers and the small one have come."""
        return set(self.sizes.values()) == {SIZE + 5} and (HEADERS, 5) in self.kinds

    async def _come(self, most: int) -> int:
        async with asyncio.timeout(PATIENCE):
            came = await self._loop.sock_recv(self._connection, most)
        self._rest += came
        while len(self._rest) >= 9 and len(self._rest) >= (end := 9 + int.from_bytes(self._rest[:3], "big")):
            kind, flags, stream = self._rest[3], self._rest[4], int.from_bytes(self._rest[5:9], "big")
            self.kinds.append((kind, stream))
            if kind == PING and not flags and self.answers:
                await self.send(frame(PING, 1, 0, self._rest[9:end]))
            if kind == DATA and stream in self.sizes:
                self.sizes[stream] += end - 9
            self._rest = self._rest[end:]
        return len(came)


def began(stream: int, path: bytes) -> bytes:
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b"content-type", b"application/grpc")]
    return frame(HEADERS, 4, stream, encode(fields))


LEAVE = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30))
ASKED = b"".join(began(stream, LARGE) + frame(DATA, 1, stream, bytes(5)) for stream in (1, 3))


def serving_large() -> AbstractAsyncContextManager[tuple[GrpcServer, Client]]:
    return calling(methods=METHODS | ANSWERS, sweeps=False, own=OWN, unread=UNREAD, stall=STALL, rate=4096)


@asynccontextmanager
async def reading(sent: bytes) -> AsyncIterator[tuple[GrpcServer, Connection, Reader]]:
    """Send at once and read nothing yet."""
    async with serving_large() as (server, other):
        await until(lambda: bool(server._connections))
        before = set(server._connections)
        port = other.writer.get_extra_info("peername")[1]
        async with slow_client(port) as (client, _):
            reader = Reader(client)
            await reader.send(PREFACE + LEAVE + sent)
            await until(lambda: any(one not in before and one._calls.outbox.paused for one in server._connections))
            (connection,) = server._connections - before
            yield server, connection, reader


async def test_a_client_that_reads_on_is_waited_for_and_one_that_then_says_nothing_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it takes no more nothing of it is read: neither its sign of life, nor its messages, nor its leave."""
    clock = Clock(monkeypatch)
    rest = frame(DATA, 1, 5, bytes(4))
    async with reading(ASKED + began(5, LIVE) + frame(DATA, 0, 5, b"\0") + rest[:5]) as (server, connection, reader):
        await reader.send(rest[5:])
        connection.expire(clock.now)
        while not reader.whole:
            await reader.read(300_000)
            await until(lambda: connection._sending.paused or connection._marks.heard == clock.now or reader.whole)
            clock.now += 50.0  # 6 kB a second
            connection.expire(clock.now)
        assert not connection._transport.is_closing()
        pings = reader.kinds.count((PING, 0))
        assert pings >= 2 * (SIZE + 5) // int(4096 * OWN.silent)
        reader.answers = False
        await reader.send(frame(PING, 0, 0, bytes(8)))
        await until(lambda: connection._marks.heard == clock.now and not connection._sending.unsent())
        connection.expire(clock.now + OWN.silent + 1)
        connection.expire(clock.now + OWN.silent + OWN.answer)
        assert not connection._transport.is_closing()
        connection.expire(clock.now + OWN.silent + OWN.answer + 2)
        await until(lambda: connection not in server._connections)
        await reader.read_all()
        assert reader.kinds.count((PING, 0)) >= pings + 2, "its own was answered, and it was asked"


async def test_a_client_that_reads_no_more_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    async with reading(ASKED) as (server, connection, _):
        connection.expire(clock.now)
        connection.expire(clock.now + 59)
        assert not connection._transport.is_closing()
        connection.expire(clock.now + 61)
        await until(lambda: connection not in server._connections)


OWED = {
    "a sign of life": (b"", OWN.silent + 1, OWN.answer + 1),
    "the rest of a frame": (frame(DATA, 1, 5, bytes(4))[:5], 0, OWN.head + 1),
    "the rest of a message": (began(1, LIVE) + frame(DATA, 0, 1, b"\0"), 0, STALL + 1),
    "leave for an answer": (began(1, LARGE) + frame(DATA, 1, 1, bytes(5)), 0, UNREAD + 1),
}


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize(("sent", "before", "late"), OWED.values(), ids=OWED.keys())
async def test_what_could_not_be_read_is_waited_for_anew(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, before: float, late: float, *, reads: bool
) -> None:
    clock = Clock(monkeypatch)
    async with serving_large() as (server, client):
        client.write(sent)
        await until(lambda: any(one._reader.started for one in server._connections))
        (connection,) = server._connections
        await until(lambda: bool(connection.calls) or not sent or connection._expiry.unfinished < math.inf)
        await until(lambda: not connection._sending.unsent())
        connection.expire(clock.now)
        clock.now += before
        connection.expire(clock.now)
        calls = len(connection.calls)
        if not reads:
            connection.pause_writing()
        clock.now += late
        connection.expire(clock.now)
        if not reads:
            connection.resume_writing()
            connection.expire(clock.now)
        cut_off = connection._transport.is_closing() or len(connection.calls) < calls
        assert cut_off is reads


@pytest.mark.parametrize(("sent", "before", "late"), OWED.values(), ids=OWED.keys())
async def test_a_client_that_takes_no_more_again_and_again_has_no_more_time_for_what_it_owes(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, before: float, late: float
) -> None:
    clock = Clock(monkeypatch)
    async with serving_large() as (server, client):
        client.write(sent)
        await until(lambda: any(one._reader.started for one in server._connections))
        (connection,) = server._connections
        await until(lambda: bool(connection.calls) or not sent or connection._expiry.unfinished < math.inf)
        await until(lambda: not connection._sending.unsent())
        connection.expire(clock.now)
        clock.now += before
        connection.expire(clock.now)
        calls = len(connection.calls)
        for _ in range(10):
            clock.now += late / 10
            connection.pause_writing()
            clock.now += 1
            connection.resume_writing()
            connection.expire(clock.now)
        assert connection._transport.is_closing() or len(connection.calls) < calls


async def whose_machine_has_all(server: GrpcServer, client: Client) -> Connection:
    """The connection of a client that has a large answer, and a call besides that nothing ends."""
    client.write(LEAVE + began(3, LIVE) + began(5, LARGE) + frame(DATA, 1, 5, bytes(5)))
    await client.status(5)
    (connection,) = server._connections
    await until(lambda: not connection._sending.unsent())
    connection.calls[3].since = math.inf
    return connection


async def test_a_client_whose_machine_has_all_is_waited_for_as_long_as_its_program_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has a call besides, without which it would be closed after a while in any case."""
    clock = Clock(monkeypatch)
    async with serving_large() as (server, client):
        connection = await whose_machine_has_all(server, client)
        pings = [payload for kind, flags, _, payload in client.frames if (kind, flags) == (PING, 0)]
        assert len(pings) == (SIZE + 5) // int(4096 * OWN.silent)
        for ping in pings:
            connection.expire(clock.now)
            clock.now += OWN.silent - 1  # 4 KiB a second, and a little more
            connection.expire(clock.now)
            client.write(frame(PING, 1, 0, ping))
            await until(lambda: connection._marks.heard == clock.now)
        assert connection._marks._read == len(pings) * int(4096 * OWN.silent)
        connection.expire(clock.now + OWN.silent + 1)
        connection.expire(clock.now + OWN.silent + OWN.answer)
        assert not connection._transport.is_closing()
        connection.expire(clock.now + OWN.silent + OWN.answer + 2)
        assert connection._transport.is_closing()


async def test_a_client_whose_machine_has_all_and_whose_program_hangs_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    async with serving_large() as (server, client):
        connection = await whose_machine_has_all(server, client)
        connection.expire(clock.now)
        connection.expire(clock.now + OWN.silent + OWN.answer - 1)
        assert not connection._transport.is_closing()
        connection.expire(clock.now + OWN.silent + OWN.answer + 1)
        assert connection._transport.is_closing()


HURRIED: dict[str, Any] = {"own": GrpcLimits(silent=2.0, answer=2.0), "unread": 2.0, "rate": 32_768}
"""Patience for two seconds and 64 KiB."""


async def test_a_client_that_gives_leave_for_a_byte_at_a_time_is_cut_off() -> None:
    async with calling(methods=ANSWERS, **HURRIED) as (server, client):
        client.write(began(1, LARGE) + frame(DATA, 1, 1, bytes(5)))
        ended = asyncio.ensure_future(client.codes(1))
        while not ended.done():
            client.write(b"".join(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1)) for stream in (0, 1)))
            await asyncio.wait([ended], timeout=0.05)
        assert ended.result() == [8], "CANCEL"
        assert not server.calls


async def test_a_client_that_gives_leave_slowly_and_steadily_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two answers at once: the second one waits for the first, since the connection has no room for both."""
    half = 300_000
    clock = Clock(monkeypatch)
    async with calling(methods={LARGE: Method("health", lambda *_: bytes(half))}, **HURRIED) as (_, client):
        all_of_it = struct.pack(">I", half)
        client.write(b"".join(began(stream, LARGE) + frame(DATA, 1, stream, bytes(5)) for stream in (1, 3)))
        client.write(b"".join(frame(WINDOW_UPDATE, 0, stream, all_of_it) for stream in (1, 3)))
        ended = asyncio.ensure_future(client.status(3))
        answered = 0
        while not ended.done():
            client.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 5_000)))  # 100 kB a second
            pings = [payload for kind, flags, _, payload in client.frames if (kind, flags) == (PING, 0)]
            client.write(b"".join(frame(PING, 1, 0, ping) for ping in pings[answered:]))
            answered = len(pings)
            clock.now += 0.05
            await asyncio.wait([ended], timeout=0.03)
        assert ended.result() == "0"
        assert {
            stream: sum(len(data) for kind, _, one, data in client.frames if (kind, one) == (DATA, stream))
            for stream in (1, 3)
        } == dict.fromkeys((1, 3), half + 5)


async def test_a_client_that_hangs_is_soon_gone_however_much_its_machine_takes() -> None:
    async with calling(methods=METHODS | ANSWERS, **HURRIED) as (
        server,
        client,
    ):
        client.write(LEAVE + began(3, LIVE) + began(5, LARGE) + frame(DATA, 1, 5, bytes(5)))
        await client.status(5)
        assert server.calls == 1
        await until(lambda: not server._connections)
