"""A server of made-up pages in the test's own process, and clients of it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, closing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from edgesmith_runtime.http.limits import Limits
from edgesmith_runtime.http.messages import Request, Response, json_response
from edgesmith_runtime.http.server import HttpServer, listening_socket
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from edgesmith_runtime.http.connection import Connection

HOUR = 3600.0
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Pages:
    """Answers with as many bytes as the path says, never, or with an error of its own."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.last: Request | None = None
        self.paths: list[str] = []
        self.later: asyncio.Future[Response] | None = None
        self.room: list[int] = []
        """How long an answer might be, of each that came later."""

    def refused(self, response: Response) -> None:
        assert response.status >= HTTPStatus.BAD_REQUEST

    def answer(self, request: Request) -> Response | asyncio.Future[Response]:
        self.asked.set()
        self.last = request
        self.paths.append(request.path)
        if request.path == "/broken":
            raise ZeroDivisionError
        if request.path in {"/never", "/broken-later"}:
            self.later = asyncio.get_running_loop().create_future()
            return self.later
        return json_response("x" * (int(request.path.removeprefix("/") or "2") - 2))

    def settle(self, request: Request, future: asyncio.Future[Response], most: int) -> Response:
        assert request is self.last
        self.room.append(most)
        return future.result()


@asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[tuple[HttpServer, int]]:
    patient = {"idle": HOUR, "head_time": HOUR, "stall": HOUR, "unread": HOUR, "linger": HOUR}
    pages: Any = Pages()
    server = HttpServer(pages, Limits(**(patient | limits)))
    listener = listening_socket("127.0.0.1", 0)
    await server.start(listener)
    yield server, listener.getsockname()[1]
    for connection in tuple(server._connections):
        connection._transport.abort()
    async with asyncio.timeout(PATIENCE):
        await server.drain()
    assert server.budget.left == server.limits.bodies
    assert not server.budget._held
    assert not server._waiting
    without_sweeps(server)


def only(server: HttpServer) -> Connection:
    (connection,) = server._connections
    return connection


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for happens inside the server
            await asyncio.sleep(0.01)


async def gone(server: HttpServer) -> None:
    await until(lambda: not server._connections)


def without_sweeps(server: HttpServer) -> None:
    """Leave it to the test to tell the time."""
    assert server._sweeper is not None
    server._sweeper.cancel()


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


@asynccontextmanager
async def slow_client(port: int) -> AsyncIterator[tuple[socket.socket, Callable[[int], Awaitable[bytes]]]]:
    """A client whose machine holds little, and that reads as much as it is told."""
    loop = asyncio.get_running_loop()
    with closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))

        async def read(count: int) -> bytes:
            received = bytearray()
            while len(received) < count:
                received += await asyncio.wait_for(loop.sock_recv(client, min(65536, count - len(received))), PATIENCE)
            return bytes(received)

        yield client, read
