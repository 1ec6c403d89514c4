"""How often a ring that is counted in samples is judged, and what chance of a false alarm each judgement may have.

So many samples are there in five minutes or in a second, and a month of false alarms is one of time. So each judgement
has the chance that the time since the one before gives, and none comes sooner than a second after it. The clock may be
set while samples come: a step forward gives no more time than `most`, and one back gives none.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Pace"]

_SOONEST: Final = 1.0
"""Seconds from a judgement to the next."""


class Pace:
    """Says of judgements whether they are due, and how much time each of them stands for.

    Args:
        most: Seconds that one stands for at most, however long ago the one before was.
    """

    def __init__(self, most: float) -> None:
        self.most = most
        self.every = most
        """Seconds that the last judgement that was due stands for."""
        self._last: float | None = None

    def begin(self, at: float) -> None:
        """Count from the first sample: before it there is no time to judge.

        Args:
            at: When a sample came, in seconds since 1970.
        """
        if self._last is None:
            self._last = at

    def due(self, at: float) -> bool:
        """Whether a ring that is complete is to be judged; where it is, `every` is how much time that stands for.

        That is no more than what passed: `most` halved so often, since each chance has quantiles of its own, which are
        kept and take milliseconds to find.

        Args:
            at: When the ring was completed, in seconds since 1970.
        """
        passed = at - (at if self._last is None else self._last)
        if passed < 0:
            self._last = at
        if passed < _SOONEST:
            return False
        self._last = at
        self.every = self.most / 2 ** max(0, math.ceil(math.log2(self.most / passed)))
        return True
