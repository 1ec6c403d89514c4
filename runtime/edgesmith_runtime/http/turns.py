"""How much is done in one turn of the event loop: clients that ask for more go on in further turns, one by one."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MOST", "SHARE", "Share", "Turns"]

MOST: Final = 128
"""Work of a turn. A frame is one and takes some 20 µs; a probe waits for three turns: taken up, read, answered."""
SHARE: Final = 32
"""The part of it that one connection may have."""


class Turns:
    """The turns of one event loop, for all its connections.

    What was done is forgotten in the next turn only where it came to half of what may be done: a loop that has nothing
    else to do is not woken for the sake of small numbers.
    """

    def __init__(self) -> None:
        self._spent = 0
        self._shares: set[Share] = set()
        self._waiting: deque[Callable[[], None]] = deque()
        self._called = False

    @property
    def left(self) -> int:
        """The work that may be done in this turn still."""
        return max(0, MOST - self._spent)

    def spend(self, work: int) -> None:
        """Take note of work that was done."""
        self._spent += work
        if self._spent >= MOST // 2:
            self._call()

    def renew(self, share: Share) -> None:
        """Give a connection its whole share again, in the next turn."""
        self._shares.add(share)
        self._call()

    def wait(self, go_on: Callable[[], None]) -> None:
        """Go on in one of the next turns, behind all who wait already."""
        self._waiting.append(go_on)
        self._call()

    def _call(self) -> None:
        if not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Begin a turn; those who waited have half of it, so that who comes new is not behind all of them."""
        self._called = False
        self._spent = 0
        for share in self._shares:
            share.spent = 0
        self._shares.clear()
        if self._waiting:
            self._call()
        for _ in range(len(self._waiting)):  # who waits again has the next turn
            self._waiting.popleft()()
            if self._spent >= MOST // 2:
                break


class Share:
    """One connection's part of each turn.

    Args:
        turns: The turns.
    """

    __slots__ = ("_turns", "spent")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.spent = 0
        """What it has had of this turn."""

    @property
    def left(self) -> int:
        """The work that may be done for it now."""
        return min(max(0, SHARE - self.spent), self._turns.left)

    def spend(self, work: int) -> None:
        """Take note of work that was done for it."""
        self._turns.spend(work)
        self.spent += work
        if self.spent >= SHARE // 2:
            self._turns.renew(self)
