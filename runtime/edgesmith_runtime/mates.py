"""Jobs that wait to be run together, and how long for others like them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Mates", "Together"]


class Run(Protocol):
    """Runs several jobs; gives the result of each, or the exception that it ended with."""

    def __call__(self, jobs: list[Any], most: int, *, busy: bool) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Together:
    """How jobs are run together.

    Attributes:
        run: Runs them.
        most: How many at most.
        seconds: How long a run waits for as many as there were last time.
    """

    run: Run
    most: int
    seconds: float


class Mates:
    """What waits to be run together. Safe to use from several threads.

    Args:
        more: Is told of each that comes.
        now: Seconds on a clock that does not go back.
    """

    def __init__(self, more: threading.Condition | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._more = more or threading.Condition()
        self._now = now
        self._waiting: dict[Future[Any], Callable[[bool], Any]] = {}
        self._gathering = False
        self._expected = 1

    @property
    def expected(self) -> int:
        """How many were run together last time: as many are likely to come again."""
        return self._expected

    def put(self, future: Future[Any], job: Callable[[bool], Any]) -> None:
        """Have a job wait.

        Args:
            future: Its outcome.
            job: It.
        """
        with self._more:
            self._waiting[future] = job
            self._more.notify()

    def drop(self, future: Future[Any]) -> None:
        """Forget a job that nobody waits for any more."""
        with self._more:
            self._waiting.pop(future, None)

    def cancel(self) -> None:
        """Cancel all that wait."""
        with self._more:
            for future in tuple(self._waiting):
                future.cancel()

    def take(self, together: Together) -> dict[Future[Any], Callable[[bool], Any]]:
        """Take jobs out, after a wait for more where as many as last time are likely to come.

        While one thread waits, another takes none before they have come: those that wait are the first one's.

        Clients that ask again as soon as they are answered come together again; one that is alone is never waited for.

        Args:
            together: How many may be run together, and for how long they are waited for.
        """
        with self._more:
            until = self._now() + together.seconds
            if len(self._waiting) < min(self._expected, together.most):
                if self._gathering:
                    return {}
                self._gathering = True
                while 0 < len(self._waiting) < min(self._expected, together.most):
                    left = until - self._now()
                    if left <= 0:
                        break
                    self._more.wait(left)
                self._gathering = False
            found: dict[Future[Any], Callable[[bool], Any]] = {}
            for future in tuple(self._waiting):
                if len(found) == together.most:
                    break
                job = self._waiting.pop(future)
                if future.set_running_or_notify_cancel():
                    found[future] = job
            if found:
                self._expected = len(found)
            return found
