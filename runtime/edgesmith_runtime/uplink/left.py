"""What is left to send: the folder is listed when something came, and of thousands of files not with each of them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.spool.index import Index
from edgesmith_runtime.spool.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.spool.spool import Waiting

__all__ = ["Left"]

_SHARE: Final = 50
"""How many times as long as a listing took the next one is away, while there is something to send."""
_SOONEST: Final = 2.0
"""Seconds between two listings at least, while there is something to send."""
_TICK: Final = 2.0
"""Seconds after which a change surely shows in a folder's state: file systems date changes by clocks as coarse."""


class Left:
    """What waits and is not in the bucket.

    Args:
        waiting: The spool.
        now: Seconds on a clock that does not go back.
    """

    def __init__(self, waiting: Waiting, now: Callable[[], float] = time.monotonic) -> None:
        self._waiting = waiting
        self._now = now
        self._index = Index()
        self._state: tuple[int, ...] | None = None
        self._since = 0.0
        """When it was first listed in that state."""
        self._sure = False
        """Whether it was listed a tick later once more: within one, the state does not show what came after."""
        self._again = 0.0
        self._stored = set[Kept]()

    def now(self) -> Index:
        """The objects. One that came lately may be missing while there are others.

        Raises:
            OSError: The folder cannot be read.
        """
        with suppress(OSError):  # what cannot be removed is not sent again
            for one in sorted(self._stored):
                self._waiting.remove(one)
                self._stored.discard(one)
        state = self._waiting.state()
        if (state != self._state or not self._sure) and (not self._index or self._now() >= self._again):
            self._list(state)
        return self._index

    def gone(self, one: Kept) -> None:
        """Leave out what is no longer there."""
        self._index.discard(one)

    def stored(self, one: Kept) -> None:
        """Leave out what is in the bucket; it is removed from the spool with the next look, or as soon as it can be."""
        self._index.discard(one)
        self._stored.add(one)

    def _list(self, state: tuple[int, ...]) -> None:
        began = self._now()
        index = self._waiting.listed()
        ended = self._now()
        if state != self._state:
            self._state, self._since = state, began
        self._sure = began - self._since >= _TICK
        self._again = ended + max(_SOONEST, (ended - began) * _SHARE)
        there = set(index) if self._stored else set()
        self._stored &= there
        for one in self._stored:
            index.discard(one)
        self._index = index
