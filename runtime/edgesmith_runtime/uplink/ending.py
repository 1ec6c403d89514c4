"""How the uplink ends: told to, and with some seconds for what still waits."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesmith_runtime.uplink.told import Told

__all__ = ["Ending", "OutOfTime"]


class OutOfTime(Exception):  # noqa: N818 - reads as what happened
    """The last seconds are over."""


class Ending:
    """When it has to end.

    Args:
        told: Set once it is told to.
        seconds: How long it goes on from then on.
    """

    def __init__(self, told: Told, seconds: float) -> None:
        self._told = told
        self._seconds = seconds
        self._end = math.inf

    @property
    def told(self) -> bool:
        """Whether it was told to end."""
        return self._told.is_set()

    @property
    def left(self) -> float:
        """How many seconds are left; infinitely many before it is told to end."""
        if self._end == math.inf and self.told:
            self._end = time.monotonic() + self._seconds
        return self._end - time.monotonic()

    def rest(self, seconds: float) -> None:
        """Wait, until it is told to end at the latest."""
        self._told.wait(seconds)

    def hold(self, seconds: float) -> None:
        """Wait, whether it is told to end or not: the link has its share in the last seconds, too.

        Raises:
            OutOfTime: They are not as many.
        """
        until = time.monotonic() + seconds
        if not self._told.wait(seconds):
            return
        pause = until - time.monotonic()
        if pause >= self.left:
            raise OutOfTime
        time.sleep(max(0.0, pause))
