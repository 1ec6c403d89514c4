"""The bucket's time: it takes no request that is signed for another, and a device may boot in the wrong year."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.version import WRITTEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.uplink.certificates import Good

__all__ = ["BucketClock", "kept_by_kernel"]

_NEAR: Final = 60.0
"""Seconds that two clocks may be apart: a bucket takes 900."""
_TIMEX: Final = 512
"""Bytes for Linux' `struct timex`, which has 208; none of them set asks and changes nothing."""
_KEPT: Final = range(5)
"""What adjtimex(2) answers where the clock is kept by another; TIME_ERROR is 5, and -1 that it may not be asked."""


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def kept_by_kernel() -> bool:
    """Whether the kernel says that something, NTP say, keeps its clock right."""
    import ctypes  # noqa: PLC0415 - few nodes ever ask

    return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX)) in _KEPT


class BucketClock:
    """The node's wall clock until the bucket says what time it is; from then on the time since it did.

    Args:
        wall: Seconds since 1970, which may be wrong.
        running: Seconds on a clock that neither jumps nor stops.
        earliest: A time that is over for sure.
        kept: Whether something keeps the wall clock right.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        running: Callable[[], float] = _since_boot,
        earliest: float = WRITTEN,
        kept: Callable[[], bool] = kept_by_kernel,
    ) -> None:
        self._wall = wall
        self._running = running
        self._earliest = earliest
        self._offset: float | None = None
        self._known: float | None = None
        self.kept = kept

    def now(self) -> float:
        """The bucket's time in seconds since 1970, as far as is known."""
        return self._wall() if self._offset is None else self._running() + self._offset

    @property
    def known(self) -> float | None:
        """The time by a bucket whose certificates were good then; None before any was heard."""
        return None if self._known is None else self._running() + self._known

    @property
    def earliest(self) -> float:
        """It is no earlier than this."""
        return max(self._earliest, self.known or 0.0)

    def hear(self, date: str | None, good: Good | None = None) -> bool:
        """Take up the `Date` of an answer (RFC 9110, 6.6.1); returns whether it was another time than was thought.

        Args:
            date: The header; None where there was none.
            good: When the certificates of who says so are good; None where it has none.
        """
        said = _seconds(date)
        if said is None:
            return False
        if good is not None and self._possible(said, good):
            self._known = said - self._running()
        if abs(said - self.now()) <= _NEAR:
            return False
        self._offset = said - self._running()
        return True

    def learn(self, date: str | None, good: Good) -> bool:
        """Take up the `Date` of one whose certificates are not good by the wall clock; returns whether it can be true.

        Args:
            date: As `hear` has it.
            good: As there.
        """
        said = _seconds(date)
        if said is None or not self._possible(said, good):
            return False
        self.hear(date, good)
        return True

    def _possible(self, said: float, good: Good) -> bool:
        return good.at(said) and said >= self.earliest - _NEAR


def _seconds(date: str | None) -> float | None:
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
