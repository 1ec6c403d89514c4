"""When the next sample may be taken, so that a day's bytes are spread over the day."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["Pace"]

_SOONER: Final = 4
"""How many times as fast as usual what was saved up may be spent."""
_SAVED: Final = 10_800.0
"""Seconds whose bytes may be saved up, three hours; what one sample takes may be in any case."""


@dataclass(slots=True)
class Pace:
    """The time between two samples of one reason: a slot.

    A slot's end depends on what was taken before it and never on what comes within it, or the random sample were none.

    Attributes:
        rate: Bytes a second.
        expected: Bytes that a sample is expected to take; 0 until one was seen.
        credit: Bytes that are saved up; below 0 they are owed.
        opened: When the present slot began, in seconds.
        seen: When credit was last counted.
    """

    rate: float
    expected: float = 0.0
    credit: float = 0.0
    opened: float = 0.0
    seen: float = 0.0

    def due(self, now: float) -> bool:
        """Whether the slot ends.

        Args:
            now: The time in seconds, on a clock that does not go back.
        """
        return self.left(now) <= 0

    def left(self, now: float) -> float:
        """How many seconds are left of the slot; infinitely many where nothing is known of the samples in it.

        Args:
            now: As `due` has it.
        """
        self._advance(now)
        if self.rate <= 0 or self.expected <= 0:
            return math.inf
        saving = (self.expected - self.credit) / self.rate
        return max(0.0, saving, self.expected / self.rate / _SOONER - (now - self.opened))

    def begin(self, now: float, taken: int = 0) -> None:
        """Begin the next slot.

        Args:
            now: The time.
            taken: Bytes of the sample of the last one; 0 where there was none.
        """
        self._advance(now)
        self.opened = now
        if taken:
            self.credit -= taken
            self.expected += (taken - self.expected) / 8

    def expect(self, size: int) -> None:
        """Say how large a sample may be before one was taken."""
        if self.expected <= 0:
            self.expected = float(max(1, size))

    def _advance(self, now: float) -> None:
        most = max(self.rate * _SAVED, self.expected)
        self.credit = min(most, self.credit + self.rate * max(0.0, now - self.seen))
        self.seen = max(self.seen, now)
