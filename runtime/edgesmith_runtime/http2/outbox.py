"""What is sent on one connection's streams, as far as its client has room for it (RFC 9113 §5.2)."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgesmith_runtime.http.pace import Pace
from edgesmith_runtime.http2.frames import (
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    LARGEST_WINDOW,
    Code,
    Kind,
    Setting,
    Violation,
    frame_head,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgesmith_runtime.http.limits import Budget, Limits
    from edgesmith_runtime.http2.marks import Marks

__all__ = ["Outbox"]


@dataclass(slots=True)
class _Stream:
    """What waits on one stream.

    Attributes:
        window: How many bytes its client takes now; below 0 where it changed its mind.
        parts: What waits, in its order.
        size: The bytes of it.
        held: The bytes that are in memory for it: a part stays whole until the last of it is sent.
        end: What is written behind the last of it; None: more may come.
        sent: The bytes that were sent on it.
        moved: When some of it was last sent, on `time.monotonic`'s clock.
        seen: Bytes that had been sent when it began to wait, or at the last look: on it and on all streams.
        taken: The bytes that its client made room for while it waited.
        pace: How fast its client has to do that; None: it has not waited yet.
    """

    window: int
    parts: deque[memoryview] = field(default_factory=deque)
    size: int = 0
    held: int = 0
    end: bytes | None = None
    sent: int = 0
    moved: float = 0.0
    seen: tuple[int, int] = (0, 0)
    taken: int = 0
    pace: Pace | None = None


class Outbox:
    """Sends what may be sent and keeps the rest.

    Args:
        write: Sends bytes, one part after the other.
        ended: Is told of each stream whose end has been written.
        marks: Says after which bytes a ping asks whether they were read.
        limits: How slow a client may be.
        budget: The memory that all requests and answers share.
        peer: Who receives.
    """

    def __init__(
        self,
        write: Callable[[Sequence[bytes | memoryview]], None],
        ended: Callable[[int], None],
        marks: Marks,
        *,
        limits: Limits,
        budget: Budget,
        peer: bytes,
    ) -> None:
        self.paused = False
        """Whether the client's machine takes nothing at the moment."""
        self._write = write
        self._ended = ended
        self._marks = marks
        self._limits = limits
        self._sent = 0
        self._budget = budget
        self._peer = peer
        self._window = DEFAULT_WINDOW
        self._first_window = DEFAULT_WINDOW
        self._longest = DEFAULT_FRAME
        self._streams: dict[int, _Stream] = {}

    def open(self, stream: int) -> None:
        """Begin a stream."""
        self._streams[stream] = _Stream(self._first_window)

    def close(self, stream: int) -> None:
        """Forget a stream and what waits on it."""
        if (found := self._streams.pop(stream, None)) is not None:
            self._budget.release(self._peer, found.held)

    def waiting(self, stream: int) -> int:
        """How many bytes wait on a stream."""
        found = self._streams.get(stream)
        return 0 if found is None else found.size

    def late(self, stream: int, now: float) -> bool:
        """Whether its client makes room too slowly for what waits on a stream.

        Where the connection has no room, room for another stream is as good: this one's turn comes.
        """
        found = self._streams.get(stream)
        if found is None or found.pace is None:
            return False
        own, all_of_them = found.seen
        found.taken += self._sent - all_of_them if found.window > 0 else found.sent - own
        found.seen = found.sent, self._sent
        if found.size:
            return found.pace.late(found.taken, now)
        found.pace.rest()
        return False

    def stuck(self, stream: int, now: float) -> float:
        """For how many seconds nothing of what waits on a stream was sent; 0 where nothing waits."""
        found = self._streams.get(stream)
        return 0.0 if found is None or not found.size else now - found.moved

    def put_off(self, seconds: float, now: float) -> None:
        """Leave out a time in which leave that the client gave could not be read; see `Pace.put_off`."""
        for found in self._streams.values():
            found.moved = min(found.moved + seconds, now)
            if found.pace is not None:
                found.pace.put_off(seconds, now)

    def send(self, stream: int, head: bytes, parts: Sequence[bytes | memoryview], end: bytes | None) -> None:
        """Send on a stream that is open.

        Args:
            stream: The stream.
            head: A frame that counts against no window, written before the parts; empty for none.
            parts: What DATA frames are to carry.
            end: Frames that end the stream, written behind everything; None: more will follow.
        """
        found = self._streams[stream]
        size = sum(map(len, parts))
        if (
            not found.size
            and not self.paused
            and size <= min(found.window, self._window, self._longest, self._marks.room)
        ):
            data = [frame_head(Kind.DATA, 0, stream, size), *parts, self._count(found, size)] if size else []
            self._write([head, *data, end or b""])
            if end is not None:
                self._end(stream)
            return
        if head:
            self._write([head])
        if not found.size:
            found.moved = time.monotonic()
            found.seen = found.sent, self._sent
            found.pace = found.pace or Pace(self._limits.rate, self._limits.unread)
        more = [memoryview(part) for part in parts if len(part)]
        held = sum(map(_whole, more))
        found.parts.extend(more)
        found.size += size
        found.held += held
        found.end = end
        self._budget.take(self._peer, held)
        self._flush(stream, found)

    def flush(self) -> None:
        """Send what may be sent now."""
        for stream, found in tuple(self._streams.items()):
            if found.size:
                self._flush(stream, found)

    def grow(self, stream: int, increment: int) -> bool:
        """Take note that the client takes more bytes, on a stream or, for 0, on the connection.

        Returns:
            Whether that is in order; where it is not, the stream has to end.

        Raises:
            Violation: The same of the connection.
        """
        if not stream:
            self._window += increment
            if not increment or self._window > LARGEST_WINDOW:
                raise Violation(Code.FLOW_CONTROL_ERROR, "the connection's window grows by 0 or beyond 2³¹ - 1 bytes")
            self.flush()
            return True
        found = self._streams.get(stream)
        if found is None:
            return True  # it has ended here, which the client did not know
        found.window += increment
        if not increment or found.window > LARGEST_WINDOW:
            return False
        if found.size:
            self._flush(stream, found)
        return True

    def settings(self, values: dict[int, int]) -> None:
        """Take note of how the client is to be spoken to.

        Raises:
            Violation: A stream's window would be beyond what there is.
        """
        self._longest = values.get(Setting.MAX_FRAME_SIZE, self._longest)
        first = values.get(Setting.INITIAL_WINDOW_SIZE, self._first_window)
        more, self._first_window = first - self._first_window, first
        for found in self._streams.values():
            found.window += more
            if found.window > LARGEST_WINDOW:
                raise Violation(Code.FLOW_CONTROL_ERROR, "a window is over 2³¹ - 1 bytes; expected fewer")
        if more > 0:
            self.flush()

    def _flush(self, stream: int, found: _Stream) -> None:
        writes: list[bytes | memoryview] = []
        gone = 0
        while found.parts and not self.paused:
            part = found.parts[0]
            count = min(len(part), found.window, self._window, self._longest, self._marks.room)
            if count <= 0:
                break
            writes += (frame_head(Kind.DATA, 0, stream, count), part[:count])
            if mark := self._count(found, count):
                writes.append(mark)
            found.size -= count
            if count == len(part):
                found.parts.popleft()
                gone += _whole(part)
            else:
                found.parts[0] = part[count:]
        found.held -= gone
        self._budget.release(self._peer, gone)
        done = not found.parts and found.end is not None
        if done:
            writes.append(found.end or b"")
        if writes:
            self._write(writes)
        if done:
            self._end(stream)

    def _count(self, found: _Stream, count: int) -> bytes:
        """Take note of data that is sent; give the ping that follows, empty for none."""
        found.window -= count
        self._window -= count
        found.sent += count
        self._sent += count
        found.moved = time.monotonic()
        return self._marks.sent(count, found.moved)

    def _end(self, stream: int) -> None:
        self._streams.pop(stream, None)
        self._ended(stream)


def _whole(part: memoryview) -> int:
    """The bytes of what a part is cut out of."""
    return memoryview(part.obj).nbytes
