"""Callers of ``grpc.health.v1``'s ``Watch``: each is told a service's status at once, and then whenever it changes.

A watcher holds no thread while it waits. gRPC for Python sends from a thread that waits until the message has left, so
few threads send to all, and a watcher whose client takes nothing is cut off before it keeps the others waiting.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

import grpc

from edgesmith_runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MOST_WATCHERS", "Crowded", "Watchers"]

_log: Final = logging.getLogger(__name__)

MOST_WATCHERS: Final = 512
"""Half of the connections that the port takes: whoever only watches does not keep those out who ask."""
_SENDERS: Final = 4
_LONGEST: Final = 2.0


class Crowded(Unavailable):
    """Every place is taken."""


@dataclass(eq=False, slots=True)
class _Watcher:
    """A call of ``Watch``.

    Attributes:
        name: The service.
        context: The call.
        send: See `Watchers.add`.
        told: The status that was sent last.
        queued: Whether a thread is to send to it, or does.
        since: When what is being sent was handed over (`time.monotonic`).
        ended: Whether its call was ended from here.
    """

    name: str
    context: grpc.ServicerContext
    send: Callable[[bytes | None], None]
    told: bytes = b""
    queued: bool = False
    since: float | None = None
    ended: bool = False


class Watchers:
    """Whoever watches. Safe to use from several threads.

    Args:
        status: The message for a service of that name, as it is now.
        most: How many may watch at once.
        longest: Seconds that a client may take to receive one message.
    """

    def __init__(self, status: Callable[[str], bytes], *, most: int = MOST_WATCHERS, longest: float = _LONGEST) -> None:
        self._status = status
        self._most = most
        self._longest = longest
        self._lock = threading.Lock()
        self._watchers: set[_Watcher] = set()
        self._queue: SimpleQueue[_Watcher] = SimpleQueue()
        self._sending = False
        self._stopping = False

    def add(self, name: str, context: grpc.ServicerContext, send: Callable[[bytes | None], None]) -> None:
        """Tell a caller of a service's status until its call ends.

        Args:
            name: The service.
            context: The call.
            send: Sends a message and returns when it has left; None ends the call.

        Raises:
            Crowded: As many as may watch do so.
        """
        watcher = _Watcher(name, context, send)
        with self._lock:
            if len(self._watchers) >= self._most:
                raise Crowded(f"{self._most} callers watch, which is the limit; ask Check, or retry later")
            self._watchers.add(watcher)
            self._start()
            self._enqueue(watcher)
        if not context.add_callback(lambda: self._leave(watcher)):
            self._leave(watcher)

    def look(self) -> None:
        """Tell of changes, and cut off whoever takes nothing; call it several times a second."""
        with self._lock:
            watchers = tuple(self._watchers)
        now = time.monotonic()
        statuses = {name: self._status(name) for name in {watcher.name for watcher in watchers}}
        for watcher in watchers:
            since = watcher.since
            if since is not None and now - since > self._longest:
                watcher.context.cancel()
            elif watcher.told != statuses[watcher.name] or self._stopping:
                with self._lock:
                    self._enqueue(watcher)

    def stop(self) -> None:
        """End every call when it has been told the last status."""
        self._stopping = True
        self.look()

    def _start(self) -> None:
        if self._sending:
            return
        self._sending = True
        for _ in range(_SENDERS):
            # The process does not wait for them at its end: a client that takes nothing would hold it up.
            threading.Thread(target=self._send, name="watch", daemon=True).start()

    def _enqueue(self, watcher: _Watcher) -> None:
        if not watcher.queued:
            watcher.queued = True
            self._queue.put(watcher)

    def _leave(self, watcher: _Watcher) -> None:
        with self._lock:
            self._watchers.discard(watcher)

    def _send(self) -> None:
        while True:
            watcher = self._queue.get()
            try:
                for message in self._messages(watcher):
                    watcher.send(message)
            except Exception:  # noqa: BLE001 - the other watchers are to be told all the same
                _log.exception("a watcher was not told")
                watcher.context.cancel()

    def _messages(self, watcher: _Watcher) -> Iterator[bytes | None]:
        """What a watcher has not been told yet: statuses, each as new as it can be, and at last the end."""
        while True:
            status = self._status(watcher.name)
            with self._lock:
                if watcher not in self._watchers or watcher.ended:
                    return
                if status == watcher.told and not self._stopping:
                    watcher.queued, watcher.since = False, None
                    return
                watcher.since = time.monotonic()
                watcher.ended = status == watcher.told
                watcher.told = status
            if watcher.ended:
                watcher.context.set_code(grpc.StatusCode.UNAVAILABLE)
                watcher.context.set_details("the server is stopping; watch another")
            yield None if watcher.ended else status
