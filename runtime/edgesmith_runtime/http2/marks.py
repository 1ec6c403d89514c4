"""What a client's program has read, which its machine cannot tell: its answers to pings between the frames do."""

from __future__ import annotations

import math
import struct
from typing import Final

from edgesmith_runtime.http2 import frames
from edgesmith_runtime.http2.frames import Kind

__all__ = ["Marks"]

_PLACE: Final = struct.Struct(">Q")


class Marks:
    """Pings in one connection's data, each with its place in it as payload.

    A machine acknowledges what its program never reads, so acknowledged bytes prove nothing of the program. A ping is
    answered by the program when it has read all before it (RFC 9113 §6.7). Between two pings is no more data than the
    slowest client that is welcome reads in a time that a hung one may be kept. Times are those of `time.monotonic`.

    Args:
        rate: The fewest bytes a second that a client reads.
        spacing: The seconds that it may take from one ping to the next.
        answer: The seconds that an answer may take beyond that.
        now: The time.
    """

    __slots__ = ("_answer", "_asked", "_last", "_rate", "_read", "_sent", "_since", "_spacing", "heard", "room")

    def __init__(self, rate: float, spacing: float, answer: float, now: float) -> None:
        self.heard = now
        """When the client last sent anything."""
        self._rate = rate
        self._answer = answer
        self._spacing = max(1, int(rate * spacing))
        self.room = self._spacing
        """Bytes of data that may be sent before a ping must follow."""
        self._asked = math.inf
        self._since = now
        self._sent = self._last = self._read = 0

    @property
    def asked(self) -> bool:
        """Whether the client owes an answer."""
        return self._asked < math.inf

    def sent(self, count: int, now: float) -> bytes:
        """Take note of data that is sent; give the ping that follows, empty for none."""
        self._sent += count
        self.room -= count
        if not self.asked:
            self._since = now
        return b"" if self.room > 0 else self.ask(now)

    def ask(self, now: float) -> bytes:
        """Write a ping."""
        if not self.asked:
            self._asked = now
        self._last, self.room = self._sent, self._spacing
        return frames.frame(Kind.PING, 0, 0, _PLACE.pack(self._sent))

    def under_way(self, now: float) -> None:
        """Take note that bytes before the next ping have not arrived yet."""
        if not self.asked:
            self._since = now

    def came(self, now: float) -> None:
        """Take note that the client sent something: it is there, and has anew the time that a question gives."""
        self.heard = self._since = now
        self._asked = math.inf

    def answered(self, payload: bytes) -> None:
        """Take note of an answer to a ping: all before it is read."""
        self._read = max(self._read, min(_PLACE.unpack(payload)[0], self._sent))

    def late(self, now: float) -> bool:
        """Say whether an answer took too long, with what was to be read before it."""
        unread = min(self._last - self._read, self._spacing)
        return now > max(self._asked, self._since + unread / self._rate) + self._answer

    def put_off(self, seconds: float, now: float) -> None:
        """Leave out a time in which nothing of the client was read.

        Args:
            seconds: How long that was.
            now: When it ended.
        """
        self.heard, self._since = min(self.heard + seconds, now), min(self._since + seconds, now)
        if self.asked:
            self._asked = min(self._asked + seconds, now)
