"""How long a client is waited for: the rest of a frame or message, leave for an answer, a sign of life, a call."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Protocol

from edgesmith_runtime.http.sending import Sending
from edgesmith_runtime.http2.frames import Code

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgesmith_runtime.http.limits import Limits
    from edgesmith_runtime.http2.marks import Marks
    from edgesmith_runtime.rpc.call import Call
    from edgesmith_runtime.rpc.server import GrpcLimits

__all__ = ["Ending", "Expiry"]


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
        marks: What its client's program has read of that.
        limits: Bounds on clients that hold over HTTP, too.
        own: Bounds that do not.
    """

    def __init__(self, ending: Ending, sending: Sending, marks: Marks, limits: Limits, own: GrpcLimits) -> None:
        self.quiet_since = time.monotonic()
        """Since when the connection has had no call."""
        self.unfinished = math.inf
        """Since when the rest of a frame, or of a block of headers, is waited for; infinity: it is not."""
        self._begun = 0
        self._ending = ending
        self._sending = sending
        self._marks = marks
        self._limits = limits
        self._own = own

    def read(self, begun: int, *, unfinished: bool) -> None:
        """Take note of what was read of it.

        Args:
            begun: How many frames have begun.
            unfinished: Whether the last of them, or a block of headers, has not come whole.
        """
        if not unfinished:
            self.unfinished = math.inf
        elif begun != self._begun or self.unfinished == math.inf:
            self.unfinished = self._marks.heard
        self._begun = begun

    def without_calls(self) -> None:
        """Take note that the last call has ended."""
        self.quiet_since = time.monotonic()

    def put_off(self, calls: Collection[Call], seconds: float, now: float) -> None:
        """Leave out a time in which nothing of the client was read.

        Args:
            calls: The connection's calls.
            seconds: How long that was.
            now: When it ended.
        """
        self._marks.put_off(seconds, now)
        if self.unfinished < math.inf:
            self.unfinished = min(self.unfinished + seconds, now)
        for call in calls:
            if call.since < math.inf:
                call.since = min(call.since + seconds, now)

    def look(self, calls: Collection[Call], now: float, *, started: bool) -> None:
        """End what takes too long.

        Args:
            calls: The connection's calls.
            now: The time.
            started: Whether the client has said how it is to be spoken to, as it has to at first.
        """
        sending = self._sending.look(now)
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
            if call.side.late(call, now):
                call.side.cut(call)
            elif now - call.since > (self._limits.stall if call.expected else self._own.between):
                call.side.cancel(call, "waited too long for the rest of a message")
        self._ask(now, calls=bool(calls), under_way=sending is Sending.State.UNDER_WAY)

    def leave(self, now: float) -> None:
        """End a connection that is closed, and stays open as long as its client does not take what was sent before."""
        if self._sending.look(now) is Sending.State.STALLED:
            self._ending.abort()

    def _ask(self, now: float, *, calls: bool, under_way: bool) -> None:
        """Ask a client that says nothing for a sign of life, and leave one that gives none, or asks for nothing."""
        if under_way:
            self.quiet_since = now
            self._marks.under_way(now)
        if not calls and now - self.quiet_since > self._own.idle:
            self._ending.close(sentence="connection idle")
        elif self._marks.late(now):
            self._ending.abort()
        elif now - self._marks.heard > self._own.silent and not self._marks.asked:
            self._sending.write([self._marks.ask(now)])
