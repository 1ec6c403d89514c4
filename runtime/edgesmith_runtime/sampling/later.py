"""In the place of a recorder whose folder cannot be used yet: a disk that fails at the start may come back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.complaints import Complaints

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.metrics import Metrics
    from edgesmith_runtime.observing import Observer, Run

__all__ = ["PAUSE", "Later"]

PAUSE: Final = 60.0
"""Seconds between two tries."""
_FOLDER: Final = "folder"


class Later:
    """An observer that is another one as soon as that can be made.

    Args:
        make: Makes it, or raises `OSError`.
        now: A clock in seconds that does not go back.
    """

    def __init__(self, make: Callable[[], Observer], now: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._now = now
        self._made: Observer | None = None
        self._complaints = Complaints("spool", now)
        self._next = 0.0
        self._try()

    def observe(self, run: Run) -> None:
        """Hand a run on; one that comes before is not seen."""
        if self._made is not None:
            self._made.observe(run)

    def idle(self, now: float) -> float:
        """Try again once a minute; see `Observer`."""
        if self._made is None and self._now() >= self._next:
            self._try()
        return self._next - self._now() if self._made is None else self._made.idle(now)

    def tell(self, metrics: Metrics) -> None:
        """Say what is known."""
        (self._made or self._complaints).tell(metrics)

    def close(self) -> None:
        """End."""
        if self._made is not None:
            self._made.close()

    def _try(self) -> None:
        self._next = self._now() + PAUSE
        try:
            self._made = self._make()
        except OSError as error:
            words = f"no samples are taken until their folder can be used: {error.strerror}: {error.filename}"
            self._complaints.wrong(_FOLDER, words)
        else:
            self._complaints.right(_FOLDER)
