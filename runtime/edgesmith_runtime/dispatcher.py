"""The queue in front of the engine: as many runs at once as there are threads, a bounded number waiting behind them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from edgesmith_runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.metrics import Metrics

__all__ = ["Dispatcher"]

T = TypeVar("T")


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
        self._ran: set[int] = set()

    @property
    def pending(self) -> int:
        """How many jobs wait or run now."""
        return self._pending

    def coming(self) -> int:
        """How many jobs wait or run whose run of the model has not ended, as far as `ran` told."""
        return self._pending - len(self._ran)

    def ran(self) -> None:
        """Take note that the run of this thread's job has ended: what it does still is not the model's."""
        if (thread := threading.get_ident()) in self._started:
            self._ran.add(thread)

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
        future = self._pool.submit(self._run, job)
        future.add_done_callback(self._done)
        return future

    def close(self) -> None:
        """Refuse further jobs and forget those that wait; those that run are left to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Callable[[bool], T]) -> T:
        thread = threading.get_ident()
        with self._lock:
            self._started[thread] = time.monotonic()
        try:
            return job(self._pending > 1)
        finally:
            with self._lock:
                del self._started[thread]
                self._ran.discard(thread)

    def _done(self, _: object) -> None:
        with self._lock:
            self._finished += 1
            self._count(-1)

    def _count(self, change: int) -> None:
        self._pending += change
        self._metrics.put("edgesmith_requests_in_flight", value=self._pending)
