"""What is left to send: the folder is listed when something came, and of thousands of files not with each of them.

However many wait, only those that go first are known: the folder is listed again once these are sent.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.spool.index import Index
from edgesmith_runtime.spool.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgesmith_runtime.spool.spool import Waiting

__all__ = ["Left"]

_MOST: Final = 20_000
"""How many objects are known at a time: some 300 bytes of memory each."""
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
        self._more = False
        """Whether there may be more than were known when it was listed."""

    def now(self) -> Index:
        """The objects. While there are others, one that came lately may be missing, and of a long backlog the end.

        Raises:
            OSError: The folder cannot be read.
        """
        for one in sorted(self._stored):
            with suppress(OSError):  # what cannot be removed is not sent again
                self._waiting.remove(one)
                self._stored.discard(one)
        state = self._waiting.state()
        old = state != self._state or not self._sure or (self._more and not self._index)
        if old and (not self._index or self._now() >= self._again):
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
        began, before = self._now(), self._state
        self._index, self._state = Index(), None  # the memory of both would be too much, and a listing may fail
        there = set[Kept]()
        index = Index(self._unsent(there), _MOST)
        ended = self._now()
        if state != before:
            self._since = began
        self._sure = began - self._since >= _TICK
        self._again = ended + max(_SOONEST, (ended - began) * _SHARE)
        self._index, self._state, self._stored = index, state, there
        self._more = len(index) == _MOST

    def _unsent(self, there: set[Kept]) -> Iterator[Kept]:
        """List what waits; those of it that are in the bucket are left out and added to a set."""
        for one in self._waiting.each():
            if one in self._stored:
                there.add(one)
            else:
                yield one
