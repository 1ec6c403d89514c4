"""Answers on their way: what the client's machine has of them, and whether it takes them in fast enough."""

from __future__ import annotations

import enum
import fcntl
import struct
import termios
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesmith_runtime.http.limits import SMALL_ANSWER
from edgesmith_runtime.http.pace import Pace

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from edgesmith_runtime.http.limits import Budget, Limits

__all__ = ["Sending"]


@dataclass(slots=True)
class _Kept:
    """What is in memory for the sake of bytes that wait in this process.

    Attributes:
        whole: It.
        size: The bytes of it.
        end: How many bytes have been written in all when it may go.
    """

    whole: object
    size: int
    end: int


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
        self._budget = budget
        self._peer = peer
        self._kept: deque[_Kept] = deque()
        self._short = 0
        self._written = 0
        self._arrived = 0
        self._moved = 0.0
        self._pace = Pace(limits.rate, limits.unread)
        transport.set_write_buffer_limits(SMALL_ANSWER, 0)

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send bytes."""
        self._written += sum(map(len, parts))
        for part in parts:
            if isinstance(part, memoryview):
                self._keep(part.obj, memoryview(part.obj).nbytes)
            elif len(part) > SMALL_ANSWER:
                self._keep(part, len(part))
        self._transport.writelines(parts)
        if self._kept:
            self._forget(self._written - self._transport.get_write_buffer_size())

    def pause(self) -> None:
        """Count the short answers that wait in this process, too: the client's machine takes nothing at the moment."""
        self.paused = True
        self._short = 0 if self._kept else self._transport.get_write_buffer_size()
        self._budget.take(self._peer, self._short)

    def resume(self) -> None:
        """Give back what was counted: all of it has gone, or the connection is lost."""
        self.paused = False
        self._budget.release(self._peer, self._short)
        self._short = 0
        self._forget(self._written)

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
        return now - self._moved if self._pace.waits else 0.0

    def look(self, now: float) -> State:
        """Say what became of the bytes since the last look.

        Args:
            now: The time on `time.monotonic`'s clock.
        """
        self._forget(self._written - self._transport.get_write_buffer_size())
        unsent = self.unsent()
        arrived = self._written - unsent
        moves, self._arrived = arrived != self._arrived, arrived
        if not unsent:
            done = self._pace.waits
            self._pace.rest()
            return self.State.DONE if done else self.State.NOTHING
        if moves or not self._pace.waits:
            self._moved = now
        return self.State.STALLED if self._pace.late(arrived, now) else self.State.UNDER_WAY

    def _keep(self, whole: object, size: int) -> None:
        """Count what a part is cut out of, where it is long: all of it is in memory until its last byte has gone."""
        if size <= SMALL_ANSWER:
            return
        found = next((kept for kept in self._kept if kept.whole is whole), None)
        if found is None:
            self._budget.take(self._peer, size)
            self._kept.append(_Kept(whole, size, self._written))
        else:
            found.end = self._written

    def _forget(self, gone: int) -> None:
        """Give back what was counted of all that was written before so many bytes had been."""
        while self._kept and self._kept[0].end <= gone:
            self._budget.release(self._peer, self._kept.popleft().size)
