"""Threads that take one piece of work after the other out of a queue."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from typing import Protocol

__all__ = ["Work", "Workers"]


class Work(Protocol):
    """A piece of work, which is equal to itself alone. Neither method raises."""

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
        self._works: deque[Work] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()  # one for each piece of work, also for those taken out
        self._closed = False
        self._threads = [
            threading.Thread(target=self._go, name=f"{name}_{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, work: Work) -> None:
        """Queue a piece of work."""
        self._works.append(work)
        self._wake.put(None)

    def discard(self, work: Work) -> None:
        """Take a piece of work out where it still waits: the queue holds nothing of it then."""
        with suppress(ValueError):
            self._works.remove(work)

    def close(self) -> None:
        """Cancel what waits; what is being done is left to end, and then the threads do."""
        self._closed = True
        with suppress(IndexError):
            while True:
                self._works.popleft().cancel()
        for _ in self._threads:
            self._wake.put(None)

    def _go(self) -> None:
        while True:
            self._wake.get()
            try:
                work = self._works.popleft()
            except IndexError:
                if self._closed:
                    return
                continue
            work.run()
            del work  # or a thread that waits holds the last request
