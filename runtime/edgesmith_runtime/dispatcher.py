"""The queue in front of the engine: as many runs at once as there are threads, a bounded number waiting behind them."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from edgesmith_runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.metrics import Metrics

__all__ = ["Dispatcher", "Together"]

T = TypeVar("T")


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


class Dispatcher:
    """Runs jobs on threads of its own. Safe to use from several threads.

    A job has its place until its thread is free again: that its client has left does not end a run.

    Args:
        workers: How many jobs run at once.
        limit: How many jobs wait or run at once; further ones are refused.
        metrics: Where jobs in flight and refusals are counted.
    """

    def __init__(self, *, workers: int, limit: int, metrics: Metrics) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="inference")
        self._limit = limit
        self._metrics = metrics
        self._lock = threading.Lock()
        self._pending = 0
        self._finished = 0
        self._started: dict[int, float] = {}
        self.together: Together | None = None
        """How jobs that may be are run together; None: each is run alone."""
        self._mates: deque[tuple[Callable[[bool], Any], Future[Any]]] = deque()
        self._more = threading.Condition()
        self._gathering = False
        self._expected = 1

    @property
    def pending(self) -> int:
        """How many jobs wait or run now."""
        return self._pending

    @property
    def finished(self) -> int:
        """How many jobs have ended so far, one way or another."""
        return self._finished

    @property
    def longest(self) -> float:
        """For how many seconds the job that has run longest has run; 0 where none runs."""
        with self._lock:
            oldest = min(self._started.values(), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    def submit(self, job: Callable[[bool], T]) -> Future[T]:
        """Queue a job. Cancelling what is returned takes it out of the queue, where it does not run yet.

        Args:
            job: Called on a thread, with whether other jobs are in flight at that moment.

        Raises:
            Unavailable: Too many jobs are in flight.
        """
        with self._lock:
            if self._pending >= self._limit:
                self._metrics.add("edgesmith_queue_refusals_total")
                raise Unavailable(f"{self._pending} requests are in flight, which is the limit; retry in a moment")
            self._count(1)
        if self.together is not None and getattr(job, "joins", False):
            mate: Future[T] = Future()
            mate.add_done_callback(self._done)
            with self._more:
                self._mates.append((job, mate))
                self._more.notify()
            self._pool.submit(self._run_mates, self.together)
            return mate
        future = self._pool.submit(self._run, job)
        future.add_done_callback(self._done)
        return future

    def close(self) -> None:
        """Refuse further jobs and forget those that wait; those that run are left to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._more:
            while self._mates:
                self._mates.popleft()[1].cancel()

    def _run(self, job: Callable[[bool], T]) -> T:
        thread = threading.get_ident()
        with self._lock:
            self._started[thread] = time.monotonic()
        try:
            return job(self._pending > 1)
        finally:
            with self._lock:
                del self._started[thread]

    def _run_mates(self, together: Together) -> None:
        """Run jobs that wait, as many together as may be; none where another thread has taken them already."""
        mates = self._gather(together)
        if not mates:
            return
        jobs = [job for job, _ in mates]
        try:
            outcomes = self._run(lambda _: together.run(jobs, together.most, busy=self._pending > len(jobs)))
        except BaseException as error:  # noqa: BLE001 - nobody else would ever be told
            outcomes = [error] * len(mates)
        for (_, future), outcome in zip(mates, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _gather(self, together: Together) -> list[tuple[Callable[[bool], Any], Future[Any]]]:
        """Take jobs out, after a wait for more where as many as last time are likely to come.

        Clients that ask again as soon as they are answered come together again; one that is alone is never waited for.
        """
        with self._more:
            until = time.monotonic() + together.seconds
            if not self._gathering and len(self._mates) < min(self._expected, together.most):
                self._gathering = True
                while 0 < len(self._mates) < min(self._expected, together.most):
                    left = until - time.monotonic()
                    if left <= 0 or not self._more.wait(left):
                        break
                self._gathering = False
            found: list[tuple[Callable[[bool], Any], Future[Any]]] = []
            while self._mates and len(found) < together.most:
                mate = self._mates.popleft()
                if mate[1].set_running_or_notify_cancel():
                    found.append(mate)
            if found:
                self._expected = len(found)
            return found

    def _done(self, _: object) -> None:
        with self._lock:
            self._finished += 1
            self._count(-1)

    def _count(self, change: int) -> None:
        self._pending += change
        self._metrics.put("edgesmith_requests_in_flight", value=self._pending)
