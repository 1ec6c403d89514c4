"""What is wrong with a folder: in the log once, and in the metrics for as long as it lasts."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.metrics import Metrics

__all__ = ["QUIET", "Complaints"]

_log: Final = logging.getLogger(__name__)
_MOST: Final = 16
QUIET: Final = 600.0
"""Seconds without a complaint after which it is over: a disk that is nearly full takes one file, and not the next."""


class Complaints:
    """What is wrong with one folder.

    Args:
        folder: What metrics call it.
        now: A clock in seconds that does not go back.
    """

    def __init__(self, folder: str, now: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._now = now
        self._wrong = set[str]()
        self._told = set[str]()
        self._last = 0.0

    def wrong(self, what: str, words: str) -> None:
        """Complain: it is logged unless it was since all was well.

        Args:
            what: What could not be kept.
            words: What to say of it.
        """
        self._last = self._now()
        self._wrong.add(what)
        if words not in self._told and len(self._told) < _MOST:
            self._told.add(words)
            _log.warning("%s", words, extra={"folder": self._folder})

    def right(self, what: str) -> None:
        """Take note that something was kept; that all is well again is logged once."""
        self._wrong.discard(what)
        if self._told and not self._wrong and self._now() - self._last >= QUIET:
            self._told.clear()
            _log.info("the folder can be written again", extra={"folder": self._folder})

    def tell(self, metrics: Metrics) -> None:
        """Write it as a metric."""
        metrics.put("edgesmith_folder_usable", self._folder, value=not self._wrong)
