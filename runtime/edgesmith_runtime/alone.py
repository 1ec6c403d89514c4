"""Whether a request is alone, so that it can run on the event loop's own thread."""

from __future__ import annotations

from typing import Final

__all__ = ["FAST", "LOOKS", "RUNS", "Alone"]

LOOKS: Final = 8
"""So many requests have to come one after the other before one is taken for alone."""
RUNS: Final = 256
"""So many run on the loop before it is looked again."""
FAST: Final = 0.02
"""Seconds that a run may take of the loop, which answers nobody else meanwhile."""


class Alone:
    """Decides where a request runs. Not safe to use from several threads.

    A run on another thread begins on a core that sleeps and has none of the request in its cache
    (docs/decisions/0044-a-lone-request-runs-on-the-loop.md). But requests that come while the loop runs a model are not
    seen until it ends. So a few requests run on threads first: only where each finds nothing in flight, and is fast, do
    the next ones run on the loop, and none that is larger than those were. After some of them it is looked again.
    """

    def __init__(self) -> None:
        self._looked = 0
        self._left = 0
        self._largest = 0

    def takes(self, size: int, in_flight: int) -> bool:
        """Whether a request is to run on the loop.

        Args:
            size: Its bytes.
            in_flight: How many others wait or run.
        """
        if in_flight:
            self.start_over()
        return self._left > 0 and size <= self._largest

    def took(self, size: int, seconds: float) -> None:
        """Take note of a request that was answered.

        Args:
            size: Its bytes.
            seconds: How long it ran, on whichever thread.
        """
        if seconds > FAST:
            self.start_over()
            return
        self._largest = max(self._largest, size)
        if self._left:
            self._left -= 1
            return
        self._looked += 1
        if self._looked >= LOOKS:
            self._looked, self._left = 0, RUNS

    def start_over(self) -> None:
        """Take note of a request that has others beside it."""
        self._looked = self._left = self._largest = 0
