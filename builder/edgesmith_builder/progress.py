"""The build's log: one line for each step on stderr, with what was done, how big it is and how long it took.

A line is `LEVEL +SECONDS message`: seconds since the build began, so two builds' logs can be laid side by side.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("edgesmith_builder")


class _Line(logging.Formatter):
    def __init__(self) -> None:
        super().__init__()
        self._start = time.time()

    def format(self, record: logging.LogRecord) -> str:
        message = " ".join(record.getMessage().split())
        return f"{record.levelname.lower()} +{max(0.0, record.created - self._start):.1f}s {message}"


def log_to_stderr() -> None:
    """Send the builder's lines to stderr, and other libraries' warnings with them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    log.setLevel(logging.INFO)


class Step:
    """A step under way; `say` adds what came of it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = ""

    def say(self, outcome: str) -> None:
        """What the finished line says after the step's name."""
        self._said = outcome

    def __str__(self) -> str:
        return f"{self._what} {self._said}".strip()


@contextmanager
def step(what: str) -> Iterator[Step]:
    """Log one line when the block ends well: `what`, what it said, and the seconds."""
    start = time.monotonic()
    current = Step(what)
    yield current
    log.info("%s in %.1f s", current, time.monotonic() - start)


def size_text(size: int) -> str:
    """Bytes as people read them: `1.2 MB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:  # noqa: PLR2004 - SI units
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
