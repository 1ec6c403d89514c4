"""The queue in front of the engine: as many runs at once as there are threads, a bounded number waiting behind them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from operator import call
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgesmith_runtime.alone import Alone
from edgesmith_runtime.errors import Unavailable
from edgesmith_runtime.mates import Mates
from edgesmith_runtime.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.mates import Together
    from edgesmith_runtime.metrics import Metrics
    from edgesmith_runtime.workers import Work

__all__ = ["Dispatcher"]

T = TypeVar("T")


class Dispatcher:
    """Runs jobs on threads of its own. Safe to use from several threads.

    A job has its place until its thread is free again: that its client has left does not end a run. One that does not
    run yet gives its place back then, and nothing of it is kept.

    Args:
        workers: How many jobs run at once.
        limit: How many jobs wait or run at once; further ones are refused.
        metrics: Where jobs in flight and refusals are counted.
    """

    def __init__(self, *, workers: int, limit: int, metrics: Metrics) -> None:
        self._workers = Workers(workers, "inference")
        self._limit = limit
        self._closed = False
        self._metrics = metrics
        self._lock = threading.Lock()
        self._pending = 0
        self._finished = 0
        self._started: dict[int, float] = {}
        self._alone = Alone()
        self.together: Together | None = None
        """How jobs that may be are run together; None: each is run alone."""
        self._works: dict[Future[Any], Work] = {}
        self._mates = Mates()

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
            Unavailable: Too many jobs are in flight, or the queue is closed.
        """
        self._admit()
        future: Future[T] = Future()
        work: Work
        if self._joins(job):
            work = _Turn(self)
            self._mates.put(future, job)
        else:
            work = _Held(self, job, future)
        self._works[future] = work
        future.add_done_callback(self._over)
        self._workers.put(work)
        return future

    def ask(self, job: Callable[[bool], T], size: int | None = None) -> asyncio.Future[T]:
        """Queue a job and wait on the event loop that this is called on; otherwise as `submit`.

        Args:
            job: Called on a thread, or on the loop's own where it is alone; see `Alone`.
            size: The bytes that it reads, by which it may be alone; None: it never is.

        Raises:
            Unavailable: As `submit`.
        """
        if self._joins(job) and not self._is_lone():
            self._alone.start_over()
            return asyncio.wrap_future(self.submit(job))
        self._admit()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        awaited = _Awaited(self, job, size, future)
        if size is not None and self._alone.takes(size, self._pending - 1):
            future.get_loop().call_soon(awaited.run_here)
        else:
            self._workers.put(awaited)
        return future

    def close(self) -> None:
        """Refuse further jobs and forget those that wait; those that run are left to end."""
        self._closed = True
        self._workers.close()
        self._mates.cancel()

    def _joins(self, job: object) -> bool:
        return self.together is not None and getattr(job, "joins", False)

    def _is_lone(self) -> bool:
        """Whether a job that may be run with others has none, nor is likely to get any: it runs as any other job."""
        return not self._pending and self._mates.expected == 1

    def _admit(self) -> None:
        if self._closed:
            raise Unavailable("the server is stopping; ask another")
        with self._lock:
            if self._pending >= self._limit:
                self._metrics.add("edgesmith_queue_refusals_total")
                raise Unavailable(f"{self._pending} requests are in flight, which is the limit; retry in a moment")
            self._count(1)

    # What calls these are jobs in the queue.

    def run(self, job: Callable[[bool], T]) -> T:
        """Run a job on this thread; it leaves by itself."""
        thread = threading.get_ident()
        with self._lock:
            self._started[thread] = time.monotonic()
        try:
            return job(self._pending > 1)
        finally:
            with self._lock:
                del self._started[thread]

    def withdraw(self, work: Work) -> None:
        """Free the place of a job that does not run yet and that nobody waits for any more."""
        self._workers.discard(work)
        self.leave()

    def leave(self) -> None:
        """Free the place of a job."""
        with self._lock:
            self._finished += 1
            self._count(-1)

    def took(self, size: int | None, seconds: float) -> None:
        """Take note, on the event loop, of how long a job ran that was asked there."""
        if size is not None:
            self._alone.took(size, seconds)

    def run_mates(self) -> None:
        """Run jobs that wait, as many together as may be; none where another thread has taken them already."""
        together = self.together
        mates = self._mates.take(together) if together is not None else {}
        if together is None or not mates:
            return
        jobs = list(mates.values())
        try:
            outcomes = self.run(lambda _: together.run(jobs, together.most, busy=self._pending > len(jobs)))
        except BaseException as error:  # noqa: BLE001 - nobody else would ever be told
            outcomes = [error] * len(mates)
        for future, outcome in zip(mates, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _over(self, future: Future[Any]) -> None:
        """Free the place of a job that was submitted; its future must not hold it, or each holds the other."""
        work = self._works.pop(future)
        if not future.cancelled():
            self.leave()
            return
        self._mates.drop(future)
        self.withdraw(work)

    def _count(self, change: int) -> None:
        self._pending += change
        self._metrics.put("edgesmith_requests_in_flight", value=self._pending)


@dataclass(frozen=True, slots=True, eq=False)
class _Held(Generic[T]):
    """A job whose outcome is waited for on another thread."""

    queue: Dispatcher
    job: Callable[[bool], T]
    future: Future[T]

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            outcome = self.queue.run(self.job)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            self.future.set_exception(error)
            del self  # or the error's traceback and the future hold each other, and the request
        else:
            self.future.set_result(outcome)

    def cancel(self) -> None:
        self.future.cancel()


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """The turn of jobs that are run together."""

    queue: Dispatcher

    def run(self) -> None:
        self.queue.run_mates()

    def cancel(self) -> None:
        """The jobs themselves are cancelled where they wait."""


class _Awaited(Generic[T]):
    """A job whose outcome is waited for on the event loop; the loop is told once, when all else is done.

    Args:
        queue: The queue.
        job: The job.
        size: The bytes that it reads, where they are known.
        future: Its outcome.
    """

    __slots__ = ("_free", "_future", "_job", "_loop", "_queue", "_size")

    def __init__(
        self, queue: Dispatcher, job: Callable[[bool], T], size: int | None, future: asyncio.Future[T]
    ) -> None:
        self._queue = queue
        self._job = job
        self._size = size
        self._loop = future.get_loop()
        self._free = threading.Lock()
        self._future: asyncio.Future[T] | None = future
        future.add_done_callback(self._left)

    def run(self) -> None:
        """Run the job on one of the threads."""
        self._run(self._loop.call_soon_threadsafe)

    def run_here(self) -> None:
        """Run the job on the loop's own thread."""
        self._run(call)

    def cancel(self) -> None:
        future = self._future
        if future is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(future.cancel)

    def _run(self, tell: Callable[..., object]) -> None:
        if not self._free.acquire(blocking=False):
            return
        outcome: T | None = None
        failure: BaseException | None = None
        start = time.monotonic()
        try:
            outcome = self._queue.run(self._job)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failure = error
        seconds = time.monotonic() - start
        self._queue.leave()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            tell(self._settle, outcome, failure, seconds)
        del failure  # or the error's traceback and it hold each other, and the request

    def _settle(self, outcome: Any, failure: BaseException | None, seconds: float) -> None:
        self._queue.took(self._size, seconds)
        # Let go of here, or the error's traceback, whose frames hold this object, and the future hold each other.
        future, self._future = self._future, None
        if future is None or future.done():
            return
        if failure is None:
            future.set_result(outcome)
        else:
            future.set_exception(failure)

    def _left(self, future: asyncio.Future[T]) -> None:
        """Free the place where nobody waits any more and the job does not run yet: who has the lock has the job."""
        if future.cancelled() and self._free.acquire(blocking=False):
            self._queue.withdraw(self)
