"""That the uplink is told to end: said by a signal's handler, on the thread that waits for it."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue

__all__ = ["Told"]


class Told:
    """As `threading.Event`, which a handler may not set: its lock may be held by the very thread that runs the handler.

    For one thread that waits; `set` may be called on any, and while the same one waits.
    """

    def __init__(self) -> None:
        self._set = False
        self._wake: SimpleQueue[None] = SimpleQueue()  # its `put` may interrupt a `get` of the same thread

    def is_set(self) -> bool:
        """Whether it was told."""
        return self._set

    def set(self) -> None:
        """Tell it."""
        self._set = True
        self._wake.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait until it is told, and so many seconds at most; returns whether it was."""
        if not self._set:
            with suppress(Empty):
                self._wake.get(timeout=max(0.0, seconds))
        return self._set
