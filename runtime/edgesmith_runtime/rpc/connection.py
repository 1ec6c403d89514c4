"""One client's connection to the gRPC port: its bytes in and out, its end, and an end to every wait."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from edgesmith_runtime.http.guard import LastResort
from edgesmith_runtime.http.limits import peer_of
from edgesmith_runtime.http.sending import Sending
from edgesmith_runtime.http.turns import Share
from edgesmith_runtime.http2 import frames
from edgesmith_runtime.http2.frames import Code, Flag, Kind, Setting, Violation
from edgesmith_runtime.http2.marks import Marks
from edgesmith_runtime.http2.reader import MOST_FRAME, MOST_HEADER_BYTES, FrameReader
from edgesmith_runtime.rpc.calls import CONNECTION_WINDOW, STREAM_WINDOW, Calls
from edgesmith_runtime.rpc.expiry import Expiry

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.rpc.call import Call
    from edgesmith_runtime.rpc.server import GrpcServer

__all__ = ["Connection"]

_log: Final = logging.getLogger(__name__)

_ENDING: Final = b"the end."
"""The ping behind which no call can have been sent in ignorance of the end."""


class Connection(asyncio.BufferedProtocol):
    """A connection; what its calls are about is theirs (`Calls`).

    Args:
        server: The server, which holds the limits, the methods and every other connection.
    """

    def __init__(self, server: GrpcServer) -> None:
        self._server = server
        self._guard = LastResort(self.fail)
        self._transport: asyncio.Transport
        self._sending: Sending
        self._marks: Marks
        self._expiry: Expiry
        self._calls: Calls
        self._reader: FrameReader
        self._peer = b""
        self._share = Share(server.turns)
        self._waits = False
        self._held = 0
        self._paused_at = 0.0
        self._closing = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection up, or refuse it where there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        server, peer = self._server, peer_of(transport.get_extra_info("peername"))
        self._peer = peer
        self._sending = Sending(self._transport, server.limits, server.budget, peer)
        self._marks = Marks(server.limits.rate, server.own.silent, server.own.answer, time.monotonic())
        self._expiry = Expiry(self, self._sending, self._marks, server.limits, server.own)
        self._calls = Calls(
            server, self._guard, self._sending, self._marks, peer=peer, none_left=self._expiry.without_calls
        )
        self._reader = FrameReader(self, self._calls, server.scratch)
        with self._guard:
            if not self._server.add(self):
                self._transport.close()
                return
            own = {
                Setting.MAX_CONCURRENT_STREAMS: self._server.own.streams,
                Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                Setting.MAX_FRAME_SIZE: MOST_FRAME,
                Setting.MAX_HEADER_LIST_SIZE: MOST_HEADER_BYTES,
            }
            more = CONNECTION_WINDOW - frames.DEFAULT_WINDOW
            self._sending.write([frames.settings(own), frames.window_update(0, more)])

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its calls."""
        del exc
        self._closing = True
        with self._guard:
            self._calls.part()
        self._hold(0)
        self._sending.resume()
        self._server.remove(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next bytes belong."""
        del sizehint
        with self._guard:
            if not self._closing:
                return self._reader.buffer()
        return self._server.scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Take up received bytes."""
        if self._closing:
            return
        self._marks.came(time.monotonic())
        with self._guard:
            self._take_up(partial(self._reader.received, nbytes))

    def eof_received(self) -> bool:
        """Close: who sends nothing more can neither take an answer's window nor acknowledge anything."""
        return False

    def pause_writing(self) -> None:
        """Send no further to a client that does not read, and read no further what it sends."""
        self._calls.outbox.paused = True
        self._sending.pause()
        self._transport.pause_reading()
        self._paused_at = time.monotonic()

    def resume_writing(self) -> None:
        """Go on."""
        self._calls.outbox.paused = False
        self._sending.resume()
        self._read_on()
        now = time.monotonic()
        self._expiry.put_off(self.calls.values(), now - self._paused_at, now)
        self._calls.outbox.put_off(now - self._paused_at, now)
        with self._guard:
            self._calls.outbox.flush()
            self._calls.look()

    # What the reader tells of; see `Receiver`.

    def settings(self, values: dict[int, int]) -> None:
        """Do as the client asks."""
        self._sending.write([frames.frame(Kind.SETTINGS, Flag.ACK, 0, b"")])
        self._calls.settings(values)

    def ping(self, payload: bytes, *, answer: bool) -> None:
        """Answer a ping, or take note of an answer."""
        if not answer:
            self._sending.write([frames.frame(Kind.PING, Flag.ACK, 0, payload)])
        elif payload == _ENDING and self._calls.ending:
            self._calls.last = self._reader.newest
            self._sending.write([frames.goaway(self._reader.newest, Code.NO_ERROR)])
        else:
            self._marks.answered(payload)

    # What the server calls.

    @property
    def calls(self) -> dict[int, Call]:
        """Its calls by their streams."""
        return self._calls.open

    @property
    def quiet_since(self) -> float:
        """Since when it has had no call, on `time.monotonic`'s clock."""
        return self._expiry.quiet_since

    def expire(self, now: float) -> None:
        """End a wait that took too long.

        Args:
            now: The time on `time.monotonic`'s clock.
        """
        with self._guard:
            if self._closing:
                self._expiry.leave(now)
            else:
                self._expiry.look(self.calls.values(), now, started=self._reader.started)

    def end(self) -> None:
        """Ask the client to begin no further call, and to close the connection when it has its answers (§6.8)."""
        if self._calls.ending or self._closing:
            return
        with self._guard:
            self._calls.ending = True
            ping = frames.frame(Kind.PING, 0, 0, _ENDING)
            self._sending.write([frames.goaway(frames.LARGEST_WINDOW, Code.NO_ERROR), ping])
            self._calls.look()

    def close(self, code: Code = Code.NO_ERROR, sentence: str = "") -> None:
        """Say that the connection ends, and why, and close it."""
        if not self._closing:
            self._closing = True
            self._sending.write([frames.goaway(self._reader.newest, code, sentence)])
            self._transport.close()

    def make_room(self) -> None:
        """Close for the sake of a new connection, at once where its client leaves bytes unread: it would stay open."""
        unread = self._transport.get_write_buffer_size()
        self.close(sentence="too many connections are open")
        if unread:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def fail(self) -> None:
        """Close after an error that nothing else took up."""
        _log.exception("a connection failed unexpectedly")
        try:
            self.close(Code.INTERNAL_ERROR, "the server failed; its log says where")
        except Exception:  # noqa: BLE001 - nothing may pass the last resort
            _log.exception("a connection could not be ended well")
            self._transport.abort()

    # Its own.

    def _take_up(self, read: Callable[[int], int]) -> None:
        """Take up as much of what came as one turn has room for."""
        try:
            if work := read(self._share.left):
                self._share.spend(work)
        except Violation as violation:
            self._violated(violation)
            return
        more = self._reader.more
        if more or self._held:
            self._hold(self._reader.held if more else 0)
        self._expiry.read(self._reader.begun, unfinished=self._reader.unfinished and not more)
        if more and not self._closing:
            self._wait()

    def _wait(self) -> None:
        """Read no further until a turn has room for what has come."""
        if not self._waits:
            self._waits = True
            self._transport.pause_reading()
            self._server.turns.wait(self._go_on)

    def _go_on(self) -> None:
        """Take up more of what has come, unless its client takes no answers at the moment."""
        self._waits = False
        if self._closing or self._calls.outbox.paused:
            return
        with self._guard:
            self._take_up(self._reader.go_on)
            if not self._closing:
                self._read_on()

    def _read_on(self) -> None:
        """Read further what the client sends, once what has come is taken up and its client takes answers."""
        if self._waits or self._calls.outbox.paused:
            return
        if self._reader.more:
            self._wait()
        else:
            self._transport.resume_reading()

    def _hold(self, count: int) -> None:
        """Count the bytes that wait for a turn among all that are in memory."""
        more, self._held = count - self._held, count
        if more > 0:
            self._server.budget.take(self._peer, more)
        else:
            self._server.budget.release(self._peer, -more)

    def _violated(self, violation: Violation) -> None:
        self._calls.part()
        self.close(violation.code, str(violation))
