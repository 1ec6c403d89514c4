"""The work queue: which object is looked at next, and when.

`Schedule` is the logic, with no clock and no loop of its own; `WorkQueue` runs it. An object that is asked for ten
times before its turn is looked at once; one that is asked for while it is being looked at is looked at once more
afterwards, never by two workers at the same time.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(namespace, name) of an EdgeModel."""

SETTLE = 0.05
"""Seconds between a change and its pass: changes come in bursts, and one pass reads them all."""
REST = 2.0
"""How many times as long as planning took nothing is planned. Changes go on gathering meanwhile, so that a large fleet
leaves the processor to those who carry its plans out; planning for a small one takes a millisecond."""
LONGEST_REST = 2.0
"""Seconds."""
FIRST_RETRY = 1.0
LONGEST_RETRY = 300.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a pass."""

    failed: bool = False
    """Try again, after a delay that doubles every time."""
    again: float | None = None
    """Look again after this many seconds, whatever happens."""


class Schedule:
    """Keys with the times at which they are due. Times are seconds on any clock that only grows."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._running: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}

    @property
    def running(self) -> int:
        """How many keys are being worked on."""
        return len(self._running)

    def add(self, key: Key, at: float) -> None:
        """Ask for a key at a time; where it is due earlier already, nothing changes."""
        if key not in self._due or at < self._due[key]:
            self._due[key] = at
            heapq.heappush(self._heap, (at, key))

    def take(self, now: float) -> Key | None:
        """The key that has been due longest and that nobody works on; None where there is none."""
        deferred = []
        found = None
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) != at:
                continue
            if key in self._running:
                deferred.append((at, key))
                continue
            del self._due[key]
            self._running[key] = now
            found = key
            break
        for item in deferred:
            heapq.heappush(self._heap, item)
        return found

    def done(self, key: Key, now: float, outcome: Outcome) -> None:
        """Say that the work on a key has ended."""
        del self._running[key]
        if outcome.failed:
            count = self._failures.get(key, 0)
            self._failures[key] = count + 1
            self.add(key, now + min(FIRST_RETRY * 2.0 ** min(count, 20), LONGEST_RETRY))
        else:
            self._failures.pop(key, None)
        if outcome.again is not None:
            self.add(key, now + max(outcome.again, 0.0))

    def next_due(self) -> float | None:
        """When to look for work again: the earliest time of a key that nobody works on."""
        return min((at for key, at in self._due.items() if key not in self._running), default=None)

    def depth(self, now: float) -> int:
        """How many keys are due and not being worked on."""
        return sum(1 for key, at in self._due.items() if at <= now and key not in self._running)

    def longest(self, now: float) -> float:
        """For how many seconds the key that waits longest has been due or worked on.

        A key that is due while it is worked on waits for that work and is counted with it.
        """
        waits = [now - at for key, at in self._due.items() if at <= now and key not in self._running]
        return max([*waits, *(now - since for since in self._running.values())], default=0.0)


class WorkQueue:
    """Runs passes, a limited number at once and never two for one key."""

    def __init__(self, work: Callable[[Key], Awaitable[Outcome]], *, workers: int, clock: Callable[[], float]) -> None:
        """Make a queue.

        Args:
            work: One pass; it raises nothing but what is a mistake of ours.
            workers: How many passes may run at once.
            clock: Seconds that only grow.
        """
        self._work = work
        self._workers = workers
        self._clock = clock
        self._schedule = Schedule()
        self._changed = asyncio.Event()
        self._rests_until = clock()

    def rest(self, planned: float) -> None:
        """Begin no pass for a while, because planning took so many seconds."""
        now = self._clock()
        self._rests_until = min(max(self._rests_until, now) + REST * planned, now + LONGEST_REST)

    def add(self, key: Key, after: float = SETTLE) -> None:
        """Ask for a pass."""
        self._schedule.add(key, self._clock() + after)
        self._changed.set()

    @property
    def depth(self) -> int:
        """How many keys are due and not being worked on."""
        return self._schedule.depth(self._clock())

    @property
    def longest(self) -> float:
        """Seconds for which the key that waits longest has been due or worked on."""
        return self._schedule.longest(self._clock())

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            Exception: What the work raised; the queue is of no use then and the process ends.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                while self._may_begin() and (key := self._schedule.take(self._clock())):
                    group.create_task(self._one(key), name=f"pass for {key[0]}/{key[1]}")
                await self._pause(full=self._schedule.running >= self._workers)

    def _may_begin(self) -> bool:
        return self._schedule.running < self._workers and self._clock() >= self._rests_until

    async def _one(self, key: Key) -> None:
        outcome = Outcome(failed=True)
        try:
            outcome = await self._work(key)
        finally:
            self._schedule.done(key, self._clock(), outcome)
            self._changed.set()

    async def _pause(self, *, full: bool) -> None:
        """Wait for a change or for the next key's time."""
        due = None if full else self._schedule.next_due()
        try:
            async with asyncio.timeout(None if due is None else max(due, self._rests_until) - self._clock()):
                await self._changed.wait()
        except TimeoutError:
            return
