"""How far a long transfer is, on standard error: one line that changes on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time

from edgesmith.cli.table import size

TERMINAL_SECONDS = 0.2
LOG_SECONDS = 10.0


class Progress:
    """Counts blobs and bytes."""

    def __init__(self) -> None:
        self._blobs = self._bytes = self._total = 0
        self._said = 0.0
        self._what = ""

    def begin(self, what: str, total: int) -> None:
        """Begin to count.

        Args:
            what: What is done: `checking`.
            total: All bytes.
        """
        self._blobs = self._bytes = 0
        self._what, self._total, self._said = what, total, time.monotonic()

    def blob(self, _how: str, added: int) -> None:
        """Count one blob."""
        self._blobs += 1
        self._bytes += added
        terminal, now = sys.stderr.isatty(), time.monotonic()
        last = self._bytes >= self._total
        if not last and now - self._said < (TERMINAL_SECONDS if terminal else LOG_SECONDS):
            return
        self._said = now
        line = f"{self._what}: {size(self._bytes)} of {size(self._total)}, {self._blobs} blobs"
        print(f"\r{line}\x1b[K" if terminal else line, end="" if terminal and not last else "\n", file=sys.stderr)
