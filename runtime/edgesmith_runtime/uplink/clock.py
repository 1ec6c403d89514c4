"""The bucket's time: it takes no request that is signed for another, and a device may boot in the wrong year."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BucketClock"]

_NEAR: Final = 60.0
"""Seconds that two clocks may be apart: a bucket takes 900."""


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class BucketClock:
    """The node's wall clock until the bucket says what time it is; from then on the time since it did.

    Args:
        wall: Seconds since 1970, which may be wrong.
        running: Seconds on a clock that neither jumps nor stops.
    """

    def __init__(self, wall: Callable[[], float] = time.time, running: Callable[[], float] = _since_boot) -> None:
        self._wall = wall
        self._running = running
        self._offset: float | None = None

    def now(self) -> float:
        """The bucket's time in seconds since 1970, as far as is known."""
        return self._wall() if self._offset is None else self._running() + self._offset

    def hear(self, date: str | None) -> bool:
        """Take up the `Date` of an answer (RFC 9110, 6.6.1); returns whether it was another time than was thought."""
        if date is None:
            return False
        try:
            said = parsedate_to_datetime(date).timestamp()
        except (ValueError, TypeError, OverflowError, IndexError):
            return False
        if abs(said - self.now()) <= _NEAR:
            return False
        self._offset = said - self._running()
        return True
