"""A gRPC server without a model in the test's own process, and a client of it that speaks in frames."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from edgesmith_runtime.dispatcher import Dispatcher
from edgesmith_runtime.health import Health, Patience
from edgesmith_runtime.http.limits import Budget, Limits
from edgesmith_runtime.http.server import listening_socket
from edgesmith_runtime.http.turns import Turns
from edgesmith_runtime.http2 import outbox
from edgesmith_runtime.http2.hpack import Decoder, encode
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.rpc import calls as calls_of
from edgesmith_runtime.rpc import connection as connections
from edgesmith_runtime.rpc import expiry
from edgesmith_runtime.rpc import server as servers
from edgesmith_runtime.rpc.call import Method
from edgesmith_runtime.rpc.server import GrpcLimits, GrpcServer
from edgesmith_runtime.rpc.watchers import Watchers
from edgesmith_runtime.service import Service
from tests.patience import PATIENCE
from tests.runtime.http2 import DATA, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import pytest

LIVE = b"/test.Test/Live"
HOUR = 3600.0
METHODS = {LIVE: Method("health", lambda *_: b"\x08\x01")}
"""One method, which answers whatever it is asked with yes."""


class Clock:
    """The time as connections see it: it stands still unless a test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()
        for module in (calls_of, connections, expiry, outbox, servers):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))


class Client:
    """One connection; what comes is kept by stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.blocks: dict[int, list[dict[bytes, bytes]]] = {}
        self._reader = reader
        self._decoder = Decoder(fields=100, size=16_384)
        self._came = asyncio.Event()
        self.reading = asyncio.ensure_future(self._read())
        self.write(PREFACE + frame(SETTINGS, 0, 0, b""))

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def begin(self, stream: int, *, changes: Mapping[bytes, bytes] | None = None) -> None:
        """Begin a call of the method, or of what the changed headers say; an empty value leaves one out."""
        fields = {b":method": b"POST", b":scheme": b"http", b":path": LIVE, b"te": b"trailers"}
        fields |= {b"content-type": b"application/grpc", **(changes or {})}
        kept = sorted((name, value) for name, value in fields.items() if value)
        self.write(frame(HEADERS, 4, stream, encode(kept)))

    def send(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        for start in range(0, max(1, len(data)), 2**20):
            piece = data[start : start + 2**20]
            self.write(frame(DATA, int(ends and start + len(piece) == len(data)), stream, piece))

    async def status(self, stream: int) -> str:
        """How a call ended: its number and what is said of it."""
        while True:
            for fields in self.blocks.get(stream, ()):
                if b"grpc-status" in fields:
                    said = unquote(fields.get(b"grpc-message", b"").decode())
                    return f"{fields[b'grpc-status'].decode()} {said}".strip()
            await self._more()

    async def codes(self, stream: int) -> list[int]:
        """Why a stream, or the whole connection, was ended before its time."""
        while True:
            found = [
                int.from_bytes(data, "big") for kind, _, one, data in self.frames if (kind, one) == (RST_STREAM, stream)
            ]
            found += [int.from_bytes(data[4:8], "big") for kind, _, _, data in self.frames if kind == GOAWAY]
            if found:
                return found
            await self._more()

    async def goaway(self) -> bytes:
        while True:
            for kind, _, _, payload in self.frames:
                if kind == GOAWAY:
                    return payload
            await self._more()

    async def _more(self) -> None:
        self._came.clear()
        async with asyncio.timeout(PATIENCE):
            await self._came.wait()

    async def _read(self) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                stream = int.from_bytes(head[5:], "big")
                self.frames.append((head[3], head[4], stream, payload))
                if head[3] == HEADERS:
                    self.blocks.setdefault(stream, []).append(dict(self._decoder.decode(payload)))
                self._came.set()


@asynccontextmanager
async def calling(
    *,
    calls: int = 100,
    own: GrpcLimits | None = None,
    served: tuple[Service, Dispatcher] | None = None,
    methods: Mapping[bytes, Method] = METHODS,
    sweeps: bool = True,
    **limits: Any,
) -> AsyncIterator[tuple[GrpcServer, Client]]:
    """Serve while the block runs; nothing may be held when it has ended."""
    bounds = Limits(**({"unread": HOUR, "stall": HOUR} | limits))
    metrics = Metrics()
    dispatcher = Dispatcher(workers=1, limit=8, metrics=metrics)
    service = Service(dispatcher=dispatcher, health=Health(dispatcher, Patience()), metrics=metrics)
    if served is not None:
        service, dispatcher = served
    share = bounds.share if "bodies" in limits else bounds.bodies
    watchers = Watchers(lambda _: b"\x08\x01")
    budget = Budget(bounds.bodies, share)
    server = GrpcServer(
        service, dict(methods), watchers, budget=budget, turns=Turns(), limits=bounds, calls=calls, own=own
    )
    listener = listening_socket("127.0.0.1", 0)
    await server.start(listener)

    async def sweep() -> None:
        while sweeps:
            server.look()
            await asyncio.sleep(0.02)

    sweeping = asyncio.ensure_future(sweep())
    client = Client(*await asyncio.open_connection("127.0.0.1", listener.getsockname()[1]))
    try:
        yield server, client
    finally:
        client.writer.close()
        client.reading.cancel()
        async with asyncio.timeout(PATIENCE):
            await server.drain()
        sweeping.cancel()
        dispatcher.close()
    assert not server.calls
    assert server.budget.left == bounds.bodies
