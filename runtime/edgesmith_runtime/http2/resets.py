"""Streams that end before their answer: how many of them one connection may have."""

from __future__ import annotations

from typing import Final

__all__ = ["MOST", "Resets"]

MOST: Final = 1000
"""At once; as nghttp2 allows since CVE-2023-44487, and so its rate."""
_A_SECOND: Final = 33.0


class Resets:
    """A number of streams that may end so, which grows again with time, and with each stream that has its answer.

    A client that gives up now and then, or as often as it waits, never comes to its end.

    Args:
        now: The time, on a clock that is never set.
    """

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = float(MOST)
        self._at = now

    def answered(self) -> None:
        """Take note of a stream that has its answer."""
        self._left += 1

    def reset(self, now: float) -> bool:
        """Take note of one that ends before; say whether it was allowed."""
        self._left = min(self._left + (now - self._at) * _A_SECOND, MOST) - 1
        self._at = now
        return self._left >= 0
