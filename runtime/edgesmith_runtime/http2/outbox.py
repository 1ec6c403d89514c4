"""What is sent on one connection's streams, as far as its client has room for it (RFC 9113 §5.2)."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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

    from edgesmith_runtime.http.limits import Budget

__all__ = ["Outbox"]


@dataclass(slots=True)
class _Stream:
    """What waits on one stream.

    Attributes:
        window: How many bytes its client takes now; below 0 where it changed its mind.
        parts: What waits, in its order.
        size: The bytes of it.
        end: What is written behind the last of it; None: more may come.
        moved: When some of it was last sent, on `time.monotonic`'s clock.
    """

    window: int
    parts: deque[memoryview] = field(default_factory=deque)
    size: int = 0
    end: bytes | None = None
    moved: float = 0.0


class Outbox:
    """Sends what may be sent and keeps the rest.

    Args:
        write: Sends bytes, one part after the other.
        ended: Is told of each stream whose end has been written.
        budget: The memory that all requests and answers share.
        peer: Who receives.
    """

    def __init__(
        self,
        write: Callable[[Sequence[bytes | memoryview]], None],
        ended: Callable[[int], None],
        budget: Budget,
        peer: bytes,
    ) -> None:
        self.paused = False
        """Whether the client's machine takes nothing at the moment."""
        self._write = write
        self._ended = ended
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
            self._budget.release(self._peer, found.size)

    def waiting(self, stream: int) -> int:
        """How many bytes wait on a stream."""
        found = self._streams.get(stream)
        return 0 if found is None else found.size

    def stuck(self, stream: int, now: float) -> float:
        """For how many seconds nothing of what waits on a stream was sent; 0 where nothing waits."""
        found = self._streams.get(stream)
        return 0.0 if found is None or not found.size else now - found.moved

    def renew(self, now: float) -> None:
        """Count anew for how long nothing was sent: the client may have given leave that could not be read."""
        for found in self._streams.values():
            found.moved = now

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
        if not found.size and not self.paused and size <= min(found.window, self._window, self._longest):
            found.window -= size
            self._window -= size
            data = [frame_head(Kind.DATA, 0, stream, size), *parts] if size else []
            self._write([head, *data, end or b""])
            if end is not None:
                self._end(stream)
            return
        if head:
            self._write([head])
        if not found.size:
            found.moved = time.monotonic()
        found.parts.extend(memoryview(part) for part in parts if len(part))
        found.size += size
        found.end = end
        self._budget.take(self._peer, size)
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
        sent = 0
        while found.parts and not self.paused:
            part = found.parts[0]
            count = min(len(part), found.window - sent, self._window - sent, self._longest)
            if count <= 0:
                break
            writes += (frame_head(Kind.DATA, 0, stream, count), part[:count])
            sent += count
            if count == len(part):
                found.parts.popleft()
            else:
                found.parts[0] = part[count:]
        if sent:
            found.window -= sent
            self._window -= sent
            found.size -= sent
            found.moved = time.monotonic()
            self._budget.release(self._peer, sent)
        done = not found.parts and found.end is not None
        if done:
            writes.append(found.end or b"")
        if writes:
            self._write(writes)
        if done:
            self._end(stream)

    def _end(self, stream: int) -> None:
        self._streams.pop(stream, None)
        self._ended(stream)
