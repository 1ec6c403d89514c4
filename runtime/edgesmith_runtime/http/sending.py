"""Answers on their way: what the client's machine has of them, and whether it takes them in fast enough."""

from __future__ import annotations

import enum
import fcntl
import struct
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from edgesmith_runtime.http.limits import Budget, Limits

__all__ = ["Sending"]


class Sending:
    """What is sent on one connection.

    Whether a client reads is told by the bytes that its machine acknowledges; how old an answer is says nothing.

    Args:
        transport: The connection.
        limits: How slow a client may be.
        budget: The memory that all requests and answers share.
        peer: Who receives.
    """

    class State(enum.Enum):
        """What became of the bytes."""

        NOTHING = "nothing is under way"
        UNDER_WAY = "some are under way"
        DONE = "the last have just arrived"
        STALLED = "too few have arrived for too long"

    def __init__(self, transport: asyncio.Transport, limits: Limits, budget: Budget, peer: bytes) -> None:
        self.paused = False
        """Whether the client's machine takes nothing at the moment."""
        self._transport = transport
        self._limits = limits
        self._budget = budget
        self._peer = peer
        self._held = 0
        self._written = 0
        self._mark = 0
        self.arrived = 0
        """Bytes that the client's machine had acknowledged at the last look."""
        self._moved = 0.0
        self._deadline: float | None = None

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send bytes."""
        self._written += sum(map(len, parts))
        self._transport.writelines(parts)

    def pause(self) -> None:
        """Count what waits in this process: the client's machine takes nothing at the moment."""
        self.paused = True
        self._held = self._transport.get_write_buffer_size()
        self._budget.take(self._peer, self._held)

    def resume(self) -> None:
        """Give back what was counted: nearly all of it has gone, or the connection is lost."""
        self.paused = False
        self._budget.release(self._peer, self._held)
        self._held = 0

    def room(self) -> int:
        """The most bytes that an answer may have now; see `Budget.room`."""
        return self._budget.room(self._peer)

    def unsent(self) -> int:
        """How many bytes the client's machine has not acknowledged, in this process and in the kernel (`tcp(7)`)."""
        held = self._transport.get_write_buffer_size()
        try:
            queue = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):  # the connection is gone
            return held
        waiting: int = struct.unpack("i", queue)[0]
        return held + waiting

    def stuck(self, now: float) -> float:
        """How many seconds nothing has arrived, as far as was looked; 0 where nothing is under way."""
        return 0.0 if self._deadline is None else now - self._moved

    def look(self, now: float) -> State:
        """Say what became of the bytes since the last look.

        Args:
            now: The time on `time.monotonic`'s clock.
        """
        unsent = self.unsent()
        arrived = self._written - unsent
        moves, self.arrived = arrived != self.arrived, arrived
        if not unsent:
            done = self._deadline is not None
            self._deadline = None
            return self.State.DONE if done else self.State.NOTHING
        if self._deadline is None or moves:
            self._moved = now
        if self._deadline is None or arrived - self._mark >= self._limits.rate * self._limits.unread:
            self._mark = arrived
            self._deadline = now + self._limits.unread
        return self.State.STALLED if now >= self._deadline else self.State.UNDER_WAY
