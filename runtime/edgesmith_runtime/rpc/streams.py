"""Calls of ``ModelStreamInfer``: requests one after the other, each answered before the next is read.

So one request of a call is in flight at a time, answers come in the order of their requests, and what a client sends
meanwhile waits on its side.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc

from edgesmith_runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Streams"]

_STOPPING: Final = "the server is stopping; ask another"
_LONGEST: Final = 60.0


@dataclass(eq=False, slots=True)
class _Stream:
    """A call.

    Attributes:
        context: The call.
        send: See `Streams.run`.
        since: When the answer being sent was handed over (`time.monotonic`).
        waiting: Whether it waits for its client's next request.
        ended: Whether it was ended from another thread.
    """

    context: grpc.ServicerContext
    send: Callable[[bytes | None], None]
    since: float | None = None
    waiting: bool = False
    ended: bool = False


class Streams:
    """Runs calls, each on a thread of its own. Safe to use from several threads.

    Args:
        longest: Seconds that a client may take to receive one answer.
    """

    def __init__(self, *, longest: float = _LONGEST) -> None:
        self._longest = longest
        self._lock = threading.Lock()
        self._streams: set[_Stream] = set()
        self._stopping = False

    def run(
        self,
        requests: Iterator[bytes],
        answer: Callable[[bytes], bytes],
        context: grpc.ServicerContext,
        send: Callable[[bytes | None], None],
    ) -> bool:
        """Answer a call's requests until its client ends them, or the server stops.

        Args:
            requests: The requests.
            answer: Answers one.
            context: The call.
            send: Sends an answer and returns when it has left; None ends the call.

        Returns:
            Whether the call is still to be ended.

        Raises:
            Unavailable: The server is stopping.
            grpc.RpcError: The client left.
        """
        stream = _Stream(context, send)
        with self._lock:
            self._streams.add(stream)
        try:
            while (request := self._next(stream, requests)) is not None:
                answered = answer(request)
                stream.since = time.monotonic()
                send(answered)
                stream.since = None
        finally:
            with self._lock:
                self._streams.discard(stream)
        return not stream.ended

    def look(self) -> None:
        """Cut off whoever takes no answer; call it several times a second."""
        with self._lock:
            streams = tuple(self._streams)
        now = time.monotonic()
        for stream in streams:
            since = stream.since
            if since is not None and now - since > self._longest:
                stream.context.cancel()

    def stop(self) -> None:
        """End every call: those that wait for a request now, others when they have sent their answer."""
        with self._lock:
            self._stopping = True
            waiting = [stream for stream in self._streams if stream.waiting]
            for stream in waiting:
                stream.ended = True
        for stream in waiting:
            stream.context.set_code(grpc.StatusCode.UNAVAILABLE)
            stream.context.set_details(_STOPPING)
            stream.send(None)

    def _next(self, stream: _Stream, requests: Iterator[bytes]) -> bytes | None:
        with self._lock:
            if self._stopping:
                raise Unavailable(_STOPPING)
            stream.waiting = True
        request = next(requests, None)
        with self._lock:
            stream.waiting = False
            return None if stream.ended else request
