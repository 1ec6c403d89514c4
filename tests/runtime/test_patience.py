"""How long the HTTP server waits for its clients: everything ends."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import pytest

from edgesmith_runtime.http.limits import Limits
from edgesmith_runtime.http.messages import Request, Response, json_response
from edgesmith_runtime.http.server import HttpServer, listening_socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HOUR = 3600.0
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Pages:
    """Answers with as many bytes as the path says, or never."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def refused(self, response: Response) -> None:
        assert response.status >= HTTPStatus.BAD_REQUEST

    def answer(self, request: Request, respond: Callable[[Response], None]) -> asyncio.Future[Response] | None:
        self.asked.set()
        if request.path == "/never":
            return asyncio.get_running_loop().create_future()
        size = int(request.path.removeprefix("/") or "2")
        respond(json_response("x" * (size - 2)))
        return None


@asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[tuple[HttpServer, int]]:
    patient = {"idle": HOUR, "head_time": HOUR, "stall": HOUR, "linger": HOUR}
    pages: Any = Pages()
    server = HttpServer(pages, Limits(**(patient | limits)))
    listener = listening_socket("127.0.0.1", 0)
    await server.start(listener)
    yield server, listener.getsockname()[1]
    server.limits = Limits()
    async with asyncio.timeout(10):
        await server.drain()


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def test_an_idle_connection_is_closed() -> None:
    async with serving(idle=0.1) as (_, port):
        reader, writer = await connect(port)
        writer.write(GET)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
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
    async with serving(stall=0.1) as (server, port):
        _, writer = await connect(port)
        writer.write(GET.replace(b"/", b"/50000000", 1))
        async with asyncio.timeout(10):
            await server._empty.wait()
        writer.close()


async def test_a_refused_client_is_dropped_in_the_end() -> None:
    async with serving(linger=0.1) as (server, port):
        reader, writer = await connect(port)
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        async with asyncio.timeout(10):
            await server._empty.wait()
        writer.close()


async def test_a_connection_too_many_is_told_so() -> None:
    async with serving(connections=1) as (_, port):
        first, first_writer = await connect(port)
        first_writer.write(GET)
        await first.readuntil(b"\r\n\r\n")
        reader, writer = await connect(port)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()
        first_writer.close()


async def test_a_client_that_leaves_is_forgotten() -> None:
    async with serving() as (server, port):
        _, writer = await connect(port)
        writer.write(GET.replace(b"/", b"/never", 1).replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"))
        async with asyncio.timeout(10):
            await cast("Any", server.api).asked.wait()
            # A plain close would look like a client that has only finished sending.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await server._empty.wait()
        assert server.budget._left == server.limits.bodies


async def test_a_drain_waits_for_an_answer_and_closes_the_rest() -> None:
    async with serving() as (server, port):
        idle, idle_writer = await connect(port)
        idle_writer.write(GET)
        await idle.readuntil(b'\r\n\r\n""')
        server.draining = True
        reader, writer = await connect(port)
        writer.write(GET)
        answer = await reader.read()
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.startswith(f"HTTP/1.1 {HTTPStatus.OK.value} ".encode())
        writer.close()
        async with asyncio.timeout(10):
            await server.drain()
        assert await idle.read() == b""
        idle_writer.close()
