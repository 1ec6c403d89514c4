"""Callers of ``grpc.health.v1``'s ``Watch``: each is told a service's status at once, and then whenever it changes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.rpc.codes import Crowded, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.rpc.call import Call

__all__ = ["MOST_WATCHERS", "Watchers"]

MOST_WATCHERS: Final = 512
"""Half of the connections that the port takes: whoever only watches does not keep those out who ask."""
_LONGEST: Final = 2.0
_EVERY: Final = 0.1
"""Seconds between two looks while anybody watches; while nobody does the server is not woken for it."""


@dataclass(eq=False, slots=True)
class _Watcher:
    """A call of ``Watch``.

    Attributes:
        name: The service.
        call: The call.
        told: The status that was sent last.
        ended: Whether nothing more is to be told.
    """

    name: str
    call: Call
    told: bytes
    ended: bool = False


class Watchers:
    """Whoever watches.

    Args:
        status: The message for a service of that name, as it is now.
        most: How many may watch at once.
        longest: Seconds that a client may take to receive one message.
    """

    def __init__(
        self,
        status: Callable[[str], bytes],
        *,
        most: int = MOST_WATCHERS,
        longest: float = _LONGEST,
    ) -> None:
        self._status = status
        self._most = most
        self._longest = longest
        self._watchers: set[_Watcher] = set()
        self._next: asyncio.TimerHandle | None = None

    def add(self, name: str, call: Call) -> None:
        """Tell a caller of a service's status until its call ends.

        Args:
            name: The service.
            call: The call.

        Raises:
            Crowded: As many as may watch do so.
        """
        if len(self._watchers) >= self._most:
            raise Crowded(f"{self._most} callers watch, which is the limit; ask Check, or retry later")
        watcher = _Watcher(name, call, self._status(name))
        self._watchers.add(watcher)
        call.left = lambda: self._watchers.discard(watcher)
        call.side.send(call, watcher.told, last=False)
        if self._next is None:
            self._next = asyncio.get_running_loop().call_later(_EVERY, self._look_again)

    def __len__(self) -> int:
        return len(self._watchers)

    def look(self) -> None:
        """Tell of changes, and cut off whoever takes nothing."""
        now = time.monotonic()
        statuses = {name: self._status(name) for name in {watcher.name for watcher in self._watchers}}
        for watcher in tuple(self._watchers):
            if (stuck := watcher.call.side.stuck(watcher.call, now)) > self._longest:
                watcher.call.side.cut(watcher.call)
            elif watcher.told != statuses[watcher.name] and not (stuck or watcher.ended):
                watcher.told = statuses[watcher.name]
                watcher.call.side.send(watcher.call, watcher.told, last=False)

    def stop(self) -> None:
        """Tell the last status and end every call."""
        self.look()
        for watcher in tuple(self._watchers):
            watcher.ended = True
            watcher.call.side.finish(watcher.call, Status.UNAVAILABLE, "the server is stopping; watch another")

    def _look_again(self) -> None:
        again = bool(self._watchers)
        self._next = asyncio.get_running_loop().call_later(_EVERY, self._look_again) if again else None
        self.look()
