"""How long the HTTP server waits for its clients: everything ends."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

import pytest

from edgesmith_runtime.http.reader import Phase
from tests.patience import PATIENCE
from tests.runtime.pages import GET, connect, gone, only, serving, slow_client, until, without_sweeps


async def test_an_idle_connection_is_closed() -> None:
    async with serving(idle=60.0) as (server, port):
        without_sweeps(server)
        began = time.monotonic()
        reader, writer = await connect(port)
        writer.write(GET)
        assert (await reader.readuntil(b'""')).startswith(b"HTTP/1.1 200 ")
        only(server).expire(began + 59)
        assert not only(server)._transport.is_closing()
        only(server).expire(time.monotonic() + 61)
        assert await reader.read() == b""
        writer.close()


TOO_SLOW = {
    "head_time": b"GET / HTTP/1.1\r\nHost:",
    "stall": GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nab"),
}


@pytest.mark.parametrize(("limit", "sent"), TOO_SLOW.items(), ids=TOO_SLOW.keys())
async def test_a_request_that_stops_coming_is_refused(limit: str, sent: bytes) -> None:
    async with serving(**{limit: 0.1}) as (_, port):
        reader, writer = await connect(port)
        writer.write(sent)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"waited too long for the rest of the " in answer
        writer.close()


async def test_a_client_that_does_not_read_is_dropped() -> None:
    async with serving(unread=0.1) as (server, port):
        _, writer = await connect(port)
        writer.write(GET.replace(b"/", b"/50000000", 1))
        await cast("Any", server.api).asked.wait()
        await gone(server)
        assert server.cut == 0, "this client's own doing"
        writer.close()


SLOW = {
    "keep-alive": b"Host: a\r\n\r\n",
    "close": b"Host: a\r\nConnection: close\r\n\r\n",
    "half closed": b"Host: a\r\n\r\n",
    "draining": b"Host: a\r\n\r\n",
}


@pytest.mark.parametrize("way", SLOW)
async def test_an_answer_that_is_read_slowly_is_not_cut_off(way: str) -> None:
    async with serving(unread=60.0, linger=2.0, rate=4096) as (server, port), slow_client(port) as (client, read):
        without_sweeps(server)
        client.sendall(b"GET /20000000 HTTP/1.1\r\n" + SLOW[way])
        if way == "half closed":
            client.shutdown(socket.SHUT_WR)
        start = await read(1000)
        if way == "draining":
            server.stop_accepting()
            only(server).drain()
        left = 20_000_000 - len(start.partition(b"\r\n\r\n")[2])
        now = time.monotonic()
        only(server).expire(now)
        while left:
            count = min(left, 300_000)
            assert set(await read(count)) <= set(b'"x')
            left -= count
            now += 50.0  # 6 kB a second
            for connection in tuple(server._connections):
                connection.expire(now)
        if way == "close":
            await until(lambda: not only(server)._sending.unsent())
            only(server).expire(now)
            only(server).expire(now + 1)
            assert not only(server)._transport.is_closing(), "it lingers from when the answer has arrived"
            only(server).expire(now + 4)
            await gone(server)
        assert server.cut == 0


async def test_an_answer_that_is_read_too_slowly_is_cut_off() -> None:
    async with serving(unread=60.0, rate=4096) as (server, port), slow_client(port) as (client, read):
        without_sweeps(server)
        server.start_draining()
        client.sendall(b"GET /20000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        await read(1000)
        connection = only(server)
        now = time.monotonic()
        connection.expire(now)
        unsent = connection._sending.unsent()
        await read(100_000)
        await until(lambda: connection._sending.unsent() < unsent)
        connection.expire(now + 59)
        assert not connection._transport.is_closing()
        connection.expire(now + 61)
        await gone(server)
        assert server.cut == 1


async def test_a_refused_client_is_dropped_in_the_end() -> None:
    async with serving(linger=0.1) as (server, port):
        reader, writer = await connect(port)
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        await gone(server)
        writer.close()


async def test_an_answer_that_never_comes_is_given_up() -> None:
    async with serving(answer=0.1) as (server, port):
        reader, writer = await connect(port)
        writer.write(GET.replace(b"/", b"/never", 1) + GET)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"the answer took over 0.1 seconds; retry in a moment" in answer
        assert cast("Any", server.api).later.cancelled()
        writer.close()


@pytest.mark.parametrize("path", [b"/broken", b"/broken-later"])
async def test_an_error_of_the_server_is_answered_and_ends_one_connection_only(path: bytes) -> None:
    async with serving() as (server, port):
        other, other_writer = await connect(port)
        other_writer.write(GET)
        await other.readuntil(b'""')
        reader, writer = await connect(port)
        body = b"\r\nContent-Length: 5\r\n\r\nhello"
        writer.write(GET + GET.replace(b"/", path, 1).replace(b"\r\n\r\n", body) + GET)
        await reader.readuntil(b'""')
        if path == b"/broken-later":
            pages = cast("Any", server.api)
            await until(lambda: pages.later is not None)
            pages.later.set_exception(ZeroDivisionError())
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert answer.count(b"HTTP/1.1") == 1
        assert answer.endswith(b'{"error":"the server failed; its log says where"}')
        other_writer.write(GET)
        assert (await other.readuntil(b'""')).startswith(b"HTTP/1.1 200 ")
        writer.close()
        other_writer.close()


@pytest.mark.parametrize("callback", ["get_buffer", "buffer_updated", "eof_received", "resume_writing", "expire"])
async def test_no_callback_lets_an_error_out(callback: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    async with serving(linger=0.1) as (server, port):
        reader, writer = await connect(port)
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        await until(lambda: bool(server._connections) and only(server)._reader.phase is Phase.HEAD)
        connection = only(server)
        for name in ("buffer", "received", "drop"):
            monkeypatch.setattr(connection._reader, name, fails)
        monkeypatch.setattr(connection, "_advance", fails)
        monkeypatch.setattr(connection._sending, "look", fails)
        given: tuple[Any, ...] = (1,) if callback in {"get_buffer", "buffer_updated", "expire"} else ()
        getattr(connection, callback)(*given)
        await gone(server)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()


async def test_a_client_that_leaves_is_forgotten() -> None:
    async with serving() as (server, port):
        _, writer = await connect(port)
        writer.write(GET.replace(b"/", b"/never", 1).replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"))
        async with asyncio.timeout(PATIENCE):
            await cast("Any", server.api).asked.wait()
            # A plain close would look like a client that has only finished sending.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        await gone(server)
        assert server.budget.left == server.limits.bodies


async def test_a_drain_waits_for_an_answer_and_closes_the_rest() -> None:
    async with serving() as (server, port):
        idle, idle_writer = await connect(port)
        idle_writer.write(GET)
        await idle.readuntil(b'\r\n\r\n""')
        server.start_draining()
        reader, writer = await connect(port)
        writer.write(GET)
        answer = await reader.read()
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.startswith(f"HTTP/1.1 {HTTPStatus.OK.value} ".encode())
        writer.close()
        idle_writer.write(GET)
        assert b"\r\nConnection: close\r\n" in await idle.read()
        idle_writer.close()
        other, other_writer = await connect(port)
        async with asyncio.timeout(PATIENCE):
            await server.drain()
        assert await other.read() == b""
        other_writer.close()
