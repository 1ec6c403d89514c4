"""Floods of frames and requests: how much of them one turn of the event loop takes, and that all of it is answered."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

import pytest
import uvloop

from edgesmith_runtime.http import reader as http_reader
from edgesmith_runtime.http.connection import _ANSWER
from edgesmith_runtime.http.turns import MOST, SHARE, Share, Turns
from edgesmith_runtime.http2.hpack import encode
from edgesmith_runtime.rpc.call import Method
from tests.patience import PATIENCE
from tests.runtime.calls import LIVE, METHODS, Client, calling
from tests.runtime.http2 import CONTINUATION, DATA, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame
from tests.runtime.pages import GET, connect, serving, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.rpc.server import GrpcServer

LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
"""The servers' own loop reads a connection 32 times in one turn where it may."""

PRIORITY, UNKNOWN = 2, 77
FIELDS = [(b":method", b"POST"), (b":path", LIVE), (b":scheme", b"http"), (b"content-type", b"application/grpc")]
BLOCK = encode(sorted(FIELDS))
LONG = encode(sorted([*FIELDS, (b"x", b"y" * 2000)]))
STREAMED = encode(sorted([*FIELDS[2:], (b":method", b"POST"), (b":path", b"/test.Test/Many")]))
COUNT = 6000
FLOODS = {
    "pings": frame(PING, 0, 0, bytes(8)) * COUNT,
    "settings": frame(SETTINGS, 0, 0, b"") * COUNT,
    "priorities": frame(PRIORITY, 0, 1, bytes(5)) * COUNT,
    "leave": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * COUNT,
    "frames of no kind": frame(UNKNOWN, 0, 0, b"") * COUNT,
    "data of no bytes": frame(HEADERS, 4, 1, BLOCK) + frame(DATA, 0, 1, b"") * COUNT,
    "headers in bits": frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"x") * COUNT,
    "calls": b"".join(
        frame(HEADERS, 4, stream, BLOCK) + frame(DATA, 1, stream, bytes(5)) for stream in range(1, COUNT, 2)
    ),
    "calls that are given up": b"".join(
        frame(HEADERS, 4, stream, BLOCK) + frame(RST_STREAM, 0, stream, bytes(4)) for stream in range(1, 1900, 2)
    ),
}


def begun(server: GrpcServer) -> int:
    """Frames that have begun; those of a block of headers have a byte each."""
    readers = [connection._reader for connection in server._connections]
    return sum(reader.begun + len(reader._block or b"") for reader in readers)


async def each_turn(server: GrpcServer, count: Callable[[], int], total: int) -> list[int]:
    """What is counted of each turn until it comes to a number."""
    found = []
    async with asyncio.timeout(PATIENCE):
        while (before := count()) < total:
            await asyncio.sleep(0)
            found.append(count() - before)
            for connection in server._connections:
                assert connection._reader.held <= 2**16, "it is read no further meanwhile"
                if connection._waits:
                    assert connection._expiry.unfinished == math.inf, "it is the server that has not read on"
    return found


async def started(server: GrpcServer, count: int = 1) -> None:
    await until(lambda: [one._reader.started for one in server._connections] == [True] * count)


async def most_frames(flood: bytes, total: int) -> int:
    """The most frames of a flood over one connection that a turn takes, until so many have begun."""
    async with calling(sweeps=False) as (server, client):
        await started(server)
        before = begun(server)
        client.write(flood)
        return max(await each_turn(server, lambda: begun(server) - before, total))


@LOOPS
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_a_turn_takes_few_frames_of_one_connection(flood: bytes, run: Any) -> None:
    most = run(most_frames(flood, 1800))
    assert SHARE // 2 <= most <= SHARE + 1, "the last one may begin in one turn and end in another"


@LOOPS
def test_long_headers_are_as_many_frames(run: Any) -> None:
    flood = b"".join(frame(HEADERS, 5, stream, LONG) for stream in range(1, 600, 2))
    assert run(most_frames(flood, 300)) <= SHARE // (1 + len(LONG) // 256) + 2


@LOOPS
def test_messages_count_as_frames_do(run: Any) -> None:
    answered: list[int] = []

    def answer(*_: object) -> bytes:
        answered.append(1)
        return b""

    methods = METHODS | {b"/test.Test/Many": Method("metadata", answer, streams=True)}
    flood = frame(HEADERS, 4, 1, STREAMED) + frame(DATA, 0, 1, bytes(5) * 20) * 300

    async def scene() -> None:
        async with calling(sweeps=False, methods=methods) as (server, client):
            await started(server)
            client.write(flood)
            most = max(await each_turn(server, lambda: len(answered), 6000))
            assert most <= SHARE + 20, "a frame's messages are taken together"

    run(scene())


@LOOPS
def test_a_message_that_is_none_ends_a_connections_share(run: Any) -> None:
    bad = bytes(5) * 250 + b"\2" + bytes(4)
    flood = b"".join(frame(HEADERS, 4, stream, STREAMED) + frame(DATA, 1, stream, bad) for stream in range(1, 200, 2))
    methods = METHODS | {b"/test.Test/Many": Method("metadata", lambda *_: b"", streams=True)}

    async def scene() -> None:
        async with calling(sweeps=False, methods=methods) as (server, client):
            await started(server)
            before = begun(server)
            client.write(flood)
            assert max(await each_turn(server, lambda: begun(server) - before, 200)) <= 3

    run(scene())


@LOOPS
def test_who_comes_new_waits_for_few_of_the_frames_of_eight(run: Any) -> None:
    async def scene() -> None:
        async with calling(sweeps=False) as (server, client):
            others = [
                Client(*await asyncio.open_connection(*client.writer.get_extra_info("peername"))) for _ in range(8)
            ]
            await started(server, 9)
            before = begun(server)
            for other in others:
                other.write(FLOODS["pings"])
            most = max(await each_turn(server, lambda: begun(server) - before, 5 * MOST))
            assert most <= MOST + 9
            before = begun(server)
            client.begin(1)
            client.send(1, bytes(5), ends=True)
            assert await client.status(1) == "0"
            assert begun(server) - before <= 12 * MOST
            assert any(connection._waits for connection in server._connections), "they go on"
            for other in others:
                other.writer.transport.abort()
                other.reading.cancel()

    run(scene())


@LOOPS
def test_all_of_a_flood_is_answered_though_its_client_reads_late(run: Any) -> None:
    numbers = [struct.pack(">Q", number) for number in range(20_000)]

    async def scene() -> None:
        async with calling() as (server, client):
            await started(server)
            (connection,) = server._connections
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            reading = cast("asyncio.ReadTransport", client.writer.transport)
            reading.pause_reading()
            client.write(b"".join(frame(PING, 0, 0, number) for number in numbers))
            await until(lambda: connection._calls.outbox.paused)
            before = begun(server)
            for _ in range(100):
                await asyncio.sleep(0)
            assert begun(server) == before, "who takes no answers is read no further"
            reading.resume_reading()

            def answers() -> list[bytes]:
                return [payload for kind, flags, _, payload in client.frames if (kind, flags) == (PING, 1)]

            await until(lambda: len(answers()) == len(numbers))
            assert answers() == numbers

    run(scene())


@LOOPS
def test_what_had_come_when_a_client_took_nothing_is_answered_when_it_does(run: Any) -> None:
    methods = {LIVE: Method("health", lambda *_: bytes(2000))}
    streams = range(1, 600, 2)

    async def scene() -> None:
        async with calling(methods=methods) as (server, client):
            await started(server)
            (connection,) = server._connections
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            reading = cast("asyncio.ReadTransport", client.writer.transport)
            reading.pause_reading()
            client.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30)))
            calls = (frame(HEADERS, 4, one, BLOCK) + frame(DATA, 1, one, bytes(5)) for one in streams)
            client.write(b"".join(calls))
            await until(lambda: connection._calls.outbox.paused and connection._reader.held > 0)
            reading.resume_reading()
            assert [await client.status(one) for one in streams] == ["0"] * len(streams)

    run(scene())


@LOOPS
def test_what_waits_for_a_turn_is_counted_until_its_client_is_gone(run: Any) -> None:
    async def scene() -> None:
        async with calling(sweeps=False) as (server, client):
            await started(server)
            (connection,) = server._connections
            client.write(FLOODS["pings"])
            async with asyncio.timeout(PATIENCE):
                while not connection._waits:  # noqa: ASYNC110 - what is waited for happens inside the server
                    await asyncio.sleep(0)
            held = connection._reader.held
            assert held
            assert server.limits.bodies - server.budget.left == held
            client.writer.transport.abort()
            connection.abort()
            await until(lambda: not server._connections)
            assert server.budget.left == server.limits.bodies

    run(scene())


async def test_a_share_is_whole_again_in_the_next_turn_and_not_in_this_one() -> None:
    turns = Turns()
    one, other = Share(turns), Share(turns)
    assert (one.left, other.left, turns.left) == (SHARE, SHARE, MOST)
    one.spend(SHARE + 3)
    assert (one.left, other.left, turns.left) == (0, SHARE, MOST - SHARE - 3)
    turns.spend(MOST - SHARE - 5)
    assert (other.left, turns.left) == (2, 2)
    turns.spend(5)
    assert (other.left, turns.left) == (0, 0)
    await asyncio.sleep(0)
    assert (one.left, other.left, turns.left) == (SHARE, SHARE, MOST)


async def test_what_a_turn_had_is_forgotten_in_the_next() -> None:
    turns = Turns()
    turns.spend(MOST)
    assert turns.left == 0
    await asyncio.sleep(0)
    assert turns.left == MOST


async def test_small_numbers_wake_nobody() -> None:
    turns = Turns()
    share = Share(turns)
    share.spend(SHARE // 2 - 1)
    turns.spend(MOST // 2 - SHARE // 2)
    await asyncio.sleep(0)
    assert share.left == SHARE // 2 + 1, "no turn was asked for"


async def test_those_who_wait_go_on_in_their_order_with_half_of_a_turn() -> None:
    turns = Turns()
    went: list[str] = []

    def go_on(name: str, again: int) -> None:
        went.append(name)
        turns.spend(MOST // 4)
        if again:
            turns.wait(lambda: go_on(name, again - 1))

    for name in "abc":
        turns.wait(lambda name=name: go_on(name, 1))  # type: ignore[misc]  # of each turn
    expected = ["ab", "abca", "abcabc"]
    for so_far in expected:
        await asyncio.sleep(0)
        assert "".join(went) == so_far
    assert turns.left == MOST // 2


@LOOPS
def test_requests_that_were_sent_ahead_share_a_turn(run: Any) -> None:
    async def scene() -> None:
        async with serving() as (server, port):
            pages: Any = server.api
            writers = [(await connect(port))[1] for _ in range(60)]
            await until(lambda: len(server._connections) == 60)
            for writer in writers:
                writer.write(GET * 20)
            await until(lambda: len(pages.paths) >= 60)
            found = []
            async with asyncio.timeout(PATIENCE):
                while (before := len(pages.paths)) < 1200:
                    await asyncio.sleep(0)
                    found.append(len(pages.paths) - before)
            assert max(found) <= MOST // 2 // _ANSWER
            for writer in writers:
                writer.close()

    run(scene())


def test_few_requests_are_read_before_the_first_is_answered() -> None:
    assert http_reader._HEADS // len(GET) <= 2 * SHARE
