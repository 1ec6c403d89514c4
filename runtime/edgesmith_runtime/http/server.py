"""The HTTP server: its sockets, its connections, and their end."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.http.connection import Connection
from edgesmith_runtime.http.limits import Budget, Limits
from edgesmith_runtime.http.turns import Turns

if TYPE_CHECKING:
    from edgesmith_runtime.http.api import HttpApi

__all__ = ["ACCEPTS", "BACKLOG", "REFUSED", "HttpServer", "listening_socket"]

_SCRATCH: Final = 64 * 1024
BACKLOG: Final = 512
ACCEPTS: Final = 8
"""Connections taken up in one turn of the event loop.

uvloop takes up one for each listening socket. With a single socket a probe would wait for as many turns as there are
connections before it.
"""
REFUSED: Final = 32
"""Connections above the limit that are told so: each stays for as long as its client may take to read it."""
_SWEEP: Final = 0.5
"""Seconds between two looks at the connections' deadlines."""


class HttpServer:
    """Accepts connections and holds what they share.

    Args:
        api: The pages.
        limits: Bounds on clients.
    """

    def __init__(self, api: HttpApi, limits: Limits) -> None:
        self.api = api
        self.limits = limits
        self.budget = Budget(limits.bodies, limits.share)
        self.turns = Turns()
        self.scratch = memoryview(bytearray(_SCRATCH))
        self.draining = False
        """Whether each connection is closed after its next answer."""
        self.stopping = False
        """Whether no connection is taken up any more, and those that ask for nothing are closed."""
        self.cut = 0
        """How many answers were cut off since draining began."""
        self._connections: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a socket."""
        loop = asyncio.get_running_loop()
        for sock in (listener, *(listener.dup() for _ in range(ACCEPTS - 1))):
            self._servers.append(await loop.create_server(lambda: Connection(self), sock=sock, backlog=BACKLOG))
        self._sweep()

    async def drain(self) -> None:
        """Accept nothing more, and return when every connection has had its answers and is closed."""
        self.stop_accepting()
        for connection in tuple(self._connections):
            connection.drain()
        if self._connections:
            self._empty.clear()
            await self._empty.wait()

    def start_draining(self) -> None:
        """Say with each answer that its connection ends; go on accepting."""
        self.draining = True

    def stop_accepting(self) -> None:
        """Accept nothing more."""
        self.draining = self.stopping = True
        while self._servers:
            self._servers.pop().close()

    def add(self, connection: Connection) -> bool:
        """Take a connection up, in the place of another where there are too many; say whether there was room."""
        self._connections.add(connection)
        return len(self._connections) <= self.limits.connections or self._make_room()

    def note(self, connection: Connection, *, waiting: bool) -> None:
        """Note whether a connection only waits for a request or its headers, since now where it did not before."""
        if waiting:
            self._waiting.setdefault(connection)
        else:
            self._waiting.pop(connection, None)

    def cut_off(self) -> None:
        """Count an answer that was cut off."""
        self.cut += self.draining

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._waiting.pop(connection, None)
        if not self._connections:
            self._empty.set()

    @property
    def crowded(self) -> bool:
        """Whether so many connections are above the limit already that a further one is not even told so."""
        return len(self._connections) > self.limits.connections + REFUSED

    def _make_room(self) -> bool:
        """Close the connection that has waited longest for a request, for more of a body, or for its client to read."""
        for connection in tuple(self._waiting):
            if connection.make_room():
                self._waiting.pop(connection, None)
                return True
        receiving = (connection for connection in self._connections if connection.receiving)
        oldest = min(receiving, key=lambda connection: connection.deadline, default=None)
        if oldest is not None and oldest.make_room():
            return True
        now = time.monotonic()
        stuck = max(self._connections, key=lambda connection: connection.stuck(now))
        if stuck.stuck(now) < self.limits.stuck:
            return False
        stuck.cut()
        return True

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in tuple(self._connections):
            connection.expire(now)
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)


def listening_socket(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket.

    Args:
        host: An address, or nothing for all addresses, IPv6 and IPv4, as far as the machine has them.
        port: The port; 0 for any free one.

    Raises:
        OSError: The address or port cannot be had.
    """
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:  # the kernel has IPv6, the network not
                raise
    return socket.create_server(("0.0.0.0", port), backlog=BACKLOG)  # noqa: S104 - a pod listens on its address
