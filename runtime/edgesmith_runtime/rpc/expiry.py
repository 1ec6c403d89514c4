"""How long a client is waited for: the rest of a frame or message, leave for an answer, a sign of life, a call."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final, Protocol

from edgesmith_runtime.http.sending import Sending
from edgesmith_runtime.http2 import frames
from edgesmith_runtime.http2.frames import Code, Kind

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgesmith_runtime.http.limits import Limits
    from edgesmith_runtime.rpc.call import Call
    from edgesmith_runtime.rpc.server import GrpcLimits

__all__ = ["RECEIVED_UNREAD", "Ending", "Expiry"]

_ALIVE: Final = b"alive?  "
RECEIVED_UNREAD: Final = 6 * 2**20
"""Bytes that a client's machine may have acknowledged and its program not read: what Linux keeps at most, unless told
otherwise (tcp(7), tcp_rmem)."""


class Ending(Protocol):
    """Ends a connection."""

    def close(self, code: Code = Code.NO_ERROR, sentence: str = "") -> None:
        """Say that it ends, and why."""

    def abort(self) -> None:
        """End it at once: its client takes nothing."""


class Expiry:
    """Ends one connection's waits that take too long. Times are those of `time.monotonic`.

    Args:
        ending: Ends the connection.
        sending: What is sent on it.
        limits: Bounds on clients that hold over HTTP, too.
        own: Bounds that do not.
    """

    def __init__(self, ending: Ending, sending: Sending, limits: Limits, own: GrpcLimits) -> None:
        self.quiet_since = time.monotonic()
        """Since when the connection has had no call."""
        self.heard = self.quiet_since
        """When its client last sent anything."""
        self._asked = math.inf
        self._arrived = 0
        self._looked = self._reads_until = self.quiet_since
        self.unfinished = math.inf
        """Since when the rest of a frame, or of a block of headers, is waited for; infinity: it is not."""
        self._begun = 0
        self._ending = ending
        self._sending = sending
        self._limits = limits
        self._own = own

    def came(self) -> None:
        """Take note that the client sent something: what its machine had before is taken as read."""
        self.heard = self._reads_until = time.monotonic()
        self._asked = math.inf

    def read(self, begun: int, *, unfinished: bool) -> None:
        """Take note of what was read of it.

        Args:
            begun: How many frames have begun.
            unfinished: Whether the last of them, or a block of headers, has not come whole.
        """
        if not unfinished:
            self.unfinished = math.inf
        elif begun != self._begun or self.unfinished == math.inf:
            self.unfinished = self.heard
        self._begun = begun

    def without_calls(self) -> None:
        """Take note that the last call has ended."""
        self.quiet_since = time.monotonic()

    def renew(self, calls: Collection[Call], now: float) -> None:
        """Wait anew for all that the client may have sent while nothing was read."""
        self.heard, self._asked = now, math.inf
        if self.unfinished < math.inf:
            self.unfinished = now
        for call in calls:
            if call.since < math.inf:
                call.since = now

    def look(self, calls: Collection[Call], now: float, *, started: bool) -> None:
        """End what takes too long.

        Args:
            calls: The connection's calls.
            now: The time.
            started: Whether the client has said how it is to be spoken to, as it has to at first.
        """
        sending = self._sending.look(now)
        self._note_arrived(now)
        if sending is Sending.State.STALLED:
            self._ending.abort()
            return
        if self._sending.paused:
            return  # nothing that the client sends is read meanwhile
        late = not started and now - self.quiet_since > self._own.head
        if late or now - self.unfinished > self._own.head:
            self._ending.close(Code.ENHANCE_YOUR_CALM, "waited too long for the rest of a frame")
            return
        for call in tuple(calls):
            if call.side.stuck(call, now) > self._limits.unread:
                call.side.cut(call)
            elif now - call.since > (self._limits.stall if call.expected else self._own.between):
                call.side.cancel(call, "waited too long for the rest of a message")
        self._ask(now, calls=bool(calls), under_way=sending is Sending.State.UNDER_WAY)

    def _ask(self, now: float, *, calls: bool, under_way: bool) -> None:
        """Ask a client that says nothing for a sign of life, and leave one that gives none, or asks for nothing."""
        own = self._own
        if under_way and self._asked == math.inf:
            # A ping would come behind an answer, and how slowly that may be read is a bound of its own.
            self.heard = self.quiet_since = now
        elif not calls and now - self.quiet_since > own.idle:
            self._ending.close(sentence="connection idle")
        elif now - max(self._asked, self._reads_until) > own.answer:
            self._ending.abort()
        elif now - self.heard > own.silent and self._asked == math.inf:
            self._asked = now
            self._sending.write([frames.frame(Kind.PING, 0, 0, _ALIVE)])

    def _note_arrived(self, now: float) -> None:
        """Reckon until when a client that reads as slowly as it may has what its machine acknowledged to read."""
        rate = self._limits.rate
        more, self._arrived = self._sending.arrived - self._arrived, self._sending.arrived
        before, self._looked = self._looked, now
        if more:
            self._reads_until = min(max(self._reads_until, before) + more / rate, now + RECEIVED_UNREAD / rate)
