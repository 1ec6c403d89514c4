"""Who gets what there is of connections, memory and turns."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import AsyncExitStack, closing, suppress
from typing import Any, cast

import uvloop

from edgesmith_runtime.http.server import REFUSED
from tests.patience import PATIENCE
from tests.runtime.pages import GET, HOUR, connect, only, serving, slow_client, until, without_sweeps


async def test_the_longest_idle_makes_room() -> None:
    async with serving(connections=3) as (server, port):
        clients = [await connect(port) for _ in range(3)]
        for index in (0, 1, 2, 0):  # 1 is idle for longest then
            reader, writer = clients[index]
            writer.write(GET)
            await reader.readuntil(b'\r\n\r\n""')
        await until(lambda: not any(connection._sending.unsent() for connection in server._connections))
        reader, writer = await connect(port)
        writer.write(GET)
        assert (await reader.readuntil(b'""')).startswith(b"HTTP/1.1 200 ")
        assert await clients[1][0].read() == b""
        assert len(server._connections) == 3
        for _, other in (*clients, (None, writer)):
            other.close()


async def test_one_that_drips_its_headers_makes_room_too() -> None:
    async with serving(connections=1) as (_, port):
        first, first_writer = await connect(port)
        first_writer.write(b"GET / HTTP/1.1\r\nHost:")
        await asyncio.sleep(0)
        reader, writer = await connect(port)
        writer.write(GET)
        assert (await reader.readuntil(b'""')).startswith(b"HTTP/1.1 200 ")
        assert await first.read() == b""
        first_writer.close()
        writer.close()


async def test_one_that_brings_a_body_makes_room_where_none_is_idle() -> None:
    async with serving(connections=1, linger=0.1) as (server, port):
        first, first_writer = await connect(port)
        first_writer.write(GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhell"))
        await until(lambda: bool(server._connections) and only(server).receiving)
        reader, writer = await connect(port)
        writer.write(GET)
        assert (await reader.readuntil(b'""')).startswith(b"HTTP/1.1 200 ")
        assert (await first.read()).startswith(b"HTTP/1.1 503 ")
        first_writer.close()
        writer.close()


async def test_one_that_reads_nothing_makes_room_where_none_waits() -> None:
    async with serving(connections=1, stuck=HOUR) as (server, port), slow_client(port) as (client, read):
        without_sweeps(server)
        client.sendall(b"GET /20000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        await read(1000)
        stuck = only(server)
        stuck.expire(time.monotonic())
        reader, writer = await connect(port)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 "), "it may read on in a moment"
        writer.close()
        await until(lambda: len(server._connections) == 1)
        stuck._sending._moved -= HOUR + 1
        reader, writer = await connect(port)
        writer.write(GET)
        assert (await reader.readuntil(b'""')).startswith(b"HTTP/1.1 200 ")
        await until(lambda: stuck not in server._connections)
        writer.close()


async def test_a_connection_too_many_is_told_so_where_all_are_being_answered() -> None:
    async with serving(connections=1) as (server, port):
        _, first_writer = await connect(port)
        first_writer.write(GET.replace(b"/", b"/never", 1))
        await cast("Any", server.api).asked.wait()
        reader, writer = await connect(port)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()
        first_writer.close()


async def test_those_too_many_that_are_told_so_are_bounded() -> None:
    async with serving(connections=1) as (server, port), AsyncExitStack() as clients:
        _, first_writer = await connect(port)
        first_writer.write(GET.replace(b"/", b"/never", 1))
        await cast("Any", server.api).asked.wait()
        for number in range(1, REFUSED + 20):
            client = clients.enter_context(closing(socket.socket()))
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
            with suppress(ConnectionResetError):
                said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 100), PATIENCE)
                assert said.startswith(b"HTTP/1.1 503 ") == (number <= REFUSED)
        assert len(server._connections) == 1 + REFUSED
        first_writer.close()


def test_connections_that_come_together_are_taken_up_together() -> None:
    async def turns() -> int:
        async with serving() as (server, port), AsyncExitStack() as clients:
            for _ in range(64):
                clients.enter_context(closing(socket.create_connection(("127.0.0.1", port))))
            count = 0
            while len(server._connections) < 64:
                count += 1
                await asyncio.sleep(0)
            return count

    assert uvloop.run(turns()) < 32, "a probe behind 64 connections waits for less than 64 turns"


async def test_every_connection_has_its_turn() -> None:
    async with serving() as (server, port):
        _, greedy = await connect(port)
        reader, writer = await connect(port)
        greedy.write(GET * 140)  # one read
        writer.write(GET.replace(b"/", b"/3", 1))
        await reader.readuntil(b'"x"')
        paths = cast("Any", server.api).paths
        assert paths.index("/3") < 10
        await until(lambda: len(paths) == 141)
        greedy.close()
        writer.close()


async def test_answers_that_nobody_reads_take_from_the_budget() -> None:
    async with serving(bodies=1_000_000, body=1_000_000) as (server, port):
        reader, writer = await connect(port)
        writer.write(GET.replace(b"/", b"/20000000", 1))
        await until(lambda: server.budget.left < 0)
        other, other_writer = await connect(port)
        other_writer.write(GET)
        assert (await other.readuntil(b'""')).startswith(b"HTTP/1.1 200 "), "what has no body is answered"
        other_writer.write(GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"))
        answer = await other.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"too many bytes of requests and answers are in memory; retry in a moment" in answer
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(20_000_000)
        await until(lambda: server.budget.left == 1_000_000)
        for each in (writer, other_writer):
            each.close()


async def test_pipelined_requests_are_read_no_further_than_they_are_answered() -> None:
    async with serving(pipeline=4) as (server, port):
        _, writer = await connect(port)
        writer.write(GET.replace(b"/", b"/never", 1))
        await cast("Any", server.api).asked.wait()
        writer.write(GET * 1_000_000)
        connection = only(server)
        await until(lambda: not connection._transport.is_reading())
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(connection._reader.requests) <= 4096 // len(GET) + 4
        assert writer.transport.get_write_buffer_size() > 10_000_000
        writer.transport.abort()
