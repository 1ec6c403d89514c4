"""Messages on their way in, and the memory that they may take.

gRPC says neither how long a message is before it is there, nor how much of it has come. So a message takes its bytes
out of the budget that it shares with HTTP when it is whole, and until then three things bound it: its time, the number
of calls that send nothing, and the memory of the process.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from edgesmith_runtime.device import resident_memory
from edgesmith_runtime.errors import BadRequest, Unavailable
from edgesmith_runtime.http.limits import Budget, peer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import grpc

__all__ = ["Intake"]

_LEAST: Final = 64 * 2**20
_MOST_MESSAGES: Final = 1000
_FULL: Final = "too many requests are in memory; retry in a moment"
_CROWD: Final = 0.5
"""The share of all calls that may wait for their messages for longer than that."""


class Intake:
    """Receives messages. Safe to use from several threads.

    Args:
        budget: The bytes of requests that all clients share.
        calls: How many calls there may be at once.
        headroom: By how many bytes the process may grow while messages arrive; at least `_LEAST` are taken.
        memory: Reads the memory of the process.
        limit: How many bytes the process may have at any rate while messages arrive.
        longest: Seconds that a message may take to arrive.
        hurried: Seconds that it has where too many calls wait for theirs.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        calls: int,
        headroom: int,
        memory: Callable[[], int] = resident_memory,
        limit: float = math.inf,
        longest: float = 60.0,
        hurried: float = 2.0,
    ) -> None:
        self._budget = budget
        self._crowd = max(1, int(calls * _CROWD))
        self._headroom = max(headroom, _LEAST)
        self._memory = memory
        self._limit = limit
        self._longest = longest
        self._hurried = hurried
        self._level = memory()
        self._lock = threading.Lock()
        self._arriving: dict[int, tuple[float, grpc.ServicerContext]] = {}
        self._numbers = itertools.count()

    def take(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Wait for a call's message. Its bytes are given back when the call has ended.

        Args:
            requests: The call's messages.
            context: The call.

        Raises:
            Unavailable: The requests of all clients fill the memory set apart for them.
            BadRequest: The call has no message.
            grpc.RpcError: The client left, or the message took too long.
        """
        message = self._next(requests, context)
        if message is None:
            raise BadRequest("the call has no message; expected one")
        return message

    def each(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """The messages of a call that may have several, as they come; the arguments and errors are those of `take`.

        Raises:
            BadRequest: The call has too many.
        """
        for _ in range(_MOST_MESSAGES):
            message = self._next(requests, context)
            if message is None:
                return
            yield message
        raise BadRequest(f"the call has more than {_MOST_MESSAGES} messages; begin another call")

    def stream(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """The messages of a call that goes on for as long as its client wants, as they come.

        The bytes of one are given back when the next is asked for, or the call ends. The arguments and errors are
        those of `take`.
        """
        peer, held = peer_of(_host(context.peer())), _Held(self._budget)
        if not context.add_callback(held.end):
            held.end()
        while (message := self._arrived(requests, context)) is not None:
            if not held.take(peer, len(message)):
                raise Unavailable(_FULL)
            yield message

    def _next(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes | None:
        message = self._arrived(requests, context)
        if message is None:
            return None
        peer, size = peer_of(_host(context.peer())), len(message)
        if not self._budget.reserve(peer, size):
            raise Unavailable(_FULL)
        if not context.add_callback(lambda: self._budget.release(peer, size)):
            self._budget.release(peer, size)  # the call has ended already
        return message

    def _arrived(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes | None:
        number = next(self._numbers)
        with self._lock:
            self._arriving[number] = time.monotonic(), context
        try:
            return next(requests, None)
        finally:
            with self._lock:
                del self._arriving[number]

    def sweep(self) -> None:
        """End the calls whose messages take too long; call it several times a second."""
        with self._lock:
            arriving = sorted(self._arriving.values(), key=lambda entry: entry[0])
        memory = self._memory()
        if not arriving:
            # What the process has held without messages, runs of the model among it, is no message's.
            self._level = max(self._level, memory)
            return
        now = time.monotonic()
        full = memory > min(self._level + self._headroom, self._limit)
        for index, (since, context) in enumerate(arriving):
            crowded = len(arriving) - index > self._crowd
            if full or now - since > (self._hurried if crowded else self._longest):
                context.cancel()


class _Held:
    """What one call holds of a budget, one message at a time. Safe to use from several threads.

    Args:
        budget: The budget.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._peer = b""
        self._size = 0
        self._ended = False

    def take(self, peer: bytes, size: int) -> bool:
        """Hold so many bytes instead of what was held; say whether there are as many."""
        with self._lock:
            self._budget.release(self._peer, self._size)
            self._peer, self._size = peer, 0
            if not self._ended and not self._budget.reserve(peer, size):
                return False
            self._size = 0 if self._ended else size
            return True

    def end(self) -> None:
        """Give back what is held; nothing is held from now on."""
        with self._lock:
            self._budget.release(self._peer, self._size)
            self._size, self._ended = 0, True


def _host(peer: str) -> tuple[str]:
    """The address of a caller; gRPC writes ``ipv4:10.0.0.7:4711`` and ``ipv6:%5Bfd00::7%5D:4711``."""
    return (unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]"),)
