"""Threads that take one piece of work after the other out of a queue."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

__all__ = ["Work", "Workers"]


class Work(Protocol):
    """A piece of work. Neither method raises."""

    def run(self) -> None:
        """Do it, on one of the threads."""

    def cancel(self) -> None:
        """Take note that it will not be done."""


class Workers:
    """The threads. Those of `concurrent.futures` take two locks, a semaphore and a condition for each call.

    They do not keep the process from ending.

    Args:
        count: How many.
        name: What the name of each begins with.
    """

    def __init__(self, count: int, name: str) -> None:
        self._works: SimpleQueue[Work | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._go, name=f"{name}_{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, work: Work) -> None:
        """Queue a piece of work."""
        self._works.put(work)

    def close(self) -> None:
        """Cancel what waits; what is being done is left to end, and then the threads do."""
        with suppress(Empty):
            while True:
                work = self._works.get_nowait()
                if work is not None:
                    work.cancel()
        for _ in self._threads:
            self._works.put(None)

    def _go(self) -> None:
        while (work := self._works.get()) is not None:
            work.run()
            del work  # or a thread that waits holds the last request
