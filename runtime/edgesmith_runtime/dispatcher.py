"""The queue in front of the engine: as many runs at once as there are threads, a bounded number waiting behind them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from edgesmith_runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.metrics import Metrics

__all__ = ["Dispatcher"]

T = TypeVar("T")


class Dispatcher:
    """Runs jobs on threads beside the event loop.

    Args:
        workers: How many jobs run at once.
        limit: How many jobs wait or run at once; further ones are refused.
        metrics: Where jobs in flight and refusals are counted.
    """

    def __init__(self, *, workers: int, limit: int, metrics: Metrics) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="inference")
        self._limit = limit
        self._metrics = metrics
        self._pending = 0

    @property
    def pending(self) -> int:
        """How many jobs wait or run now."""
        return self._pending

    def submit(self, job: Callable[[bool], T]) -> asyncio.Future[T]:
        """Queue a job; call it on the event loop only.

        Args:
            job: Called on a thread, with whether other jobs are in flight at that moment.

        Raises:
            Unavailable: Too many jobs are in flight.
        """
        if self._pending >= self._limit:
            self._metrics.add("edgesmith_queue_refusals_total")
            raise Unavailable(f"{self._pending} requests are in flight, which is the limit; retry in a moment")
        self._pending += 1
        self._metrics.put("edgesmith_requests_in_flight", value=self._pending)
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._run, job)
        future.add_done_callback(self._done)
        return future

    def close(self) -> None:
        """Refuse further jobs and forget those that wait; those that run are left to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Callable[[bool], T]) -> T:
        return job(self._pending > 1)

    def _done(self, _: object) -> None:
        self._pending -= 1
        self._metrics.put("edgesmith_requests_in_flight", value=self._pending)
