"""The gRPC server: its port, its limits, its methods, and what all connections share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.http.server import ACCEPTS, BACKLOG
from edgesmith_runtime.rpc.connection import Connection

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from edgesmith_runtime.http.limits import Budget, Limits
    from edgesmith_runtime.http.turns import Turns
    from edgesmith_runtime.rpc.call import Method
    from edgesmith_runtime.rpc.watchers import Watchers
    from edgesmith_runtime.service import Service

__all__ = ["GrpcLimits", "GrpcServer"]

_SCRATCH: Final = 64 * 1024
_CROWD: Final = 0.5
"""The share of all calls that may wait for their messages for long."""
_GLANCE: Final = 0.02
"""Seconds between two looks at whether there are calls still."""
_GLANCES: Final = 50
"""Looks that find no call until clients that keep their connection are left to it."""


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """Bounds on gRPC's clients that HTTP's have no like of. Times are seconds.

    Attributes:
        connections: The most connections at once.
        streams: The most calls of one connection at once.
        head: How long a frame, or a block of headers, may take.
        hurried: How long a message may take where more than half of the calls wait for theirs.
        between: How long a call of many messages may be silent between two.
        silent: After how long a client that says nothing is asked for a sign of life.
        answer: How long it may take to give one.
        idle: How long a connection without calls stays open.
    """

    connections: int = 1024
    streams: int = 64
    head: float = 15.0
    hurried: float = 2.0
    between: float = 300.0
    silent: float = 60.0
    answer: float = 20.0
    idle: float = 300.0


class GrpcServer:
    """Serves the protocol, on the event loop that serves HTTP.

    Args:
        service: The model and the server's state.
        methods: What can be called, by its path.
        watchers: Who watches.
        budget: The memory that all requests and answers share.
        turns: The event loop's turns, which all connections share.
        limits: Bounds on clients that hold over HTTP, too.
        calls: The most calls at once, those that watch left out; further ones end with RESOURCE_EXHAUSTED.
        own: Bounds that do not.
    """

    def __init__(
        self,
        service: Service,
        methods: Mapping[bytes, Method],
        watchers: Watchers,
        *,
        budget: Budget,
        turns: Turns,
        limits: Limits,
        calls: int,
        own: GrpcLimits | None = None,
    ) -> None:
        self.service = service
        self.methods = methods
        self._watchers = watchers
        self.budget = budget
        self.turns = turns
        self.limits = limits
        self.own = own or GrpcLimits()
        self.scratch = memoryview(bytearray(_SCRATCH))
        self.calls = 0
        """How many calls are in flight, those who watch among them."""
        self._most_calls = calls
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a socket."""
        loop = asyncio.get_running_loop()
        for sock in (listener, *(listener.dup() for _ in range(ACCEPTS - 1))):
            self._servers.append(await loop.create_server(lambda: Connection(self), sock=sock, backlog=BACKLOG))

    async def drain(self) -> None:
        """Accept nothing more, and return when every call has its answer and the clients had a moment to close."""
        while self._servers:
            self._servers.pop().close()
        self._watchers.stop()
        for connection in tuple(self._connections):
            connection.end()
        quiet = 0
        while self._connections and quiet < _GLANCES:
            await asyncio.sleep(_GLANCE)
            # A client that had not read of the end yet may have begun a call since: it is answered as well.
            quiet += not any(connection.calls for connection in self._connections)
        for connection in tuple(self._connections):
            connection.close()

    def look(self) -> None:
        """Look after the connections' deadlines; call it twice a second."""
        now = time.monotonic()
        for connection in tuple(self._connections):
            connection.expire(now)
        self._hurry(now)

    def add(self, connection: Connection) -> bool:
        """Take a connection up, in the place of one without calls where there are too many; say whether it has one."""
        self._connections.add(connection)
        if len(self._connections) <= self.own.connections:
            return True
        quiet = [other for other in self._connections if not other.calls and other is not connection]
        oldest = min(quiet, key=lambda other: other.quiet_since, default=None)
        if oldest is None:
            return False
        oldest.make_room()
        self._connections.discard(oldest)
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def admits(self) -> bool:
        """Whether there is room for another call."""
        return self.calls - len(self._watchers) < self._most_calls

    def _hurry(self, now: float) -> None:
        """End the oldest of the calls that bring nothing, where they are more than half of all that there may be."""
        waiting = [call for connection in self._connections for call in connection.calls.values() if call.expected]
        waiting.sort(key=lambda call: call.since)
        for call in waiting[: max(0, len(waiting) - max(1, int(self._most_calls * _CROWD)))]:
            if now - call.since > self.own.hurried:
                call.side.cancel(call, "too many calls wait for their messages")
