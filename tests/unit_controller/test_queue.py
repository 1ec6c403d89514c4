"""The work queue: once each, one worker at a time, later where it failed."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from edgesmith.controller.queue import FIRST_RETRY, LONGEST_REST, LONGEST_RETRY, REST, Outcome, Schedule, WorkQueue

A, B = ("ns", "a"), ("ns", "b")


def test_a_key_asked_for_often_is_due_once_at_the_earliest_time() -> None:
    schedule = Schedule()
    for at in (5.0, 2.0, 9.0):
        schedule.add(A, at)
    assert schedule.take(1.9) is None
    assert schedule.take(2.0) == A
    assert schedule.take(100.0) is None


def test_the_one_that_waits_longest_is_first() -> None:
    schedule = Schedule()
    schedule.add(B, 2.0)
    schedule.add(A, 1.0)
    assert [schedule.take(3.0), schedule.take(3.0)] == [A, B]


def test_a_key_being_worked_on_is_taken_again_only_afterwards() -> None:
    schedule = Schedule()
    schedule.add(A, 0.0)
    assert schedule.take(0.0) == A
    schedule.add(A, 1.0)
    assert schedule.take(2.0) is None
    assert schedule.next_due() is None
    schedule.done(A, 3.0, Outcome())
    assert schedule.next_due() == 1.0
    assert schedule.take(3.0) == A


def test_a_deferred_key_does_not_hold_up_the_others() -> None:
    schedule = Schedule()
    schedule.add(A, 0.0)
    schedule.take(0.0)
    schedule.add(A, 0.0)
    schedule.add(B, 1.0)
    assert schedule.take(1.0) == B


def test_failures_double_the_delay_up_to_a_limit_and_success_forgets_them() -> None:
    schedule, now, delays = Schedule(), 0.0, []
    schedule.add(A, now)
    for _ in range(12):
        assert schedule.take(now) == A
        schedule.done(A, now, Outcome(failed=True))
        due = schedule.next_due()
        assert due is not None
        delays.append(due - now)
        now = due
    assert delays[:4] == [FIRST_RETRY, FIRST_RETRY * 2, FIRST_RETRY * 4, FIRST_RETRY * 8]
    assert delays[-1] == LONGEST_RETRY
    schedule.take(now)
    schedule.done(A, now, Outcome())
    schedule.add(A, now)
    schedule.take(now)
    schedule.done(A, now, Outcome(failed=True))
    assert schedule.next_due() == now + FIRST_RETRY


def test_a_change_cuts_a_retry_short() -> None:
    schedule = Schedule()
    schedule.add(A, 0.0)
    schedule.take(0.0)
    schedule.done(A, 0.0, Outcome(failed=True))
    schedule.add(A, 0.1)
    assert schedule.take(0.1) == A
    schedule.done(A, 0.2, Outcome())
    assert schedule.take(1000.0) is None


def test_look_again() -> None:
    schedule = Schedule()
    schedule.add(A, 0.0)
    schedule.take(0.0)
    schedule.done(A, 1.0, Outcome(again=4.0))
    assert schedule.take(4.9) is None
    assert schedule.take(5.0) == A


def test_the_longest_wait_counts_waiting_and_work() -> None:
    schedule = Schedule()
    assert schedule.longest(9.0) == 0.0
    schedule.add(A, 1.0)
    schedule.add(B, 100.0)
    assert schedule.longest(4.0) == 3.0
    assert schedule.depth(4.0) == 1
    schedule.take(4.0)
    assert schedule.longest(9.0) == 5.0
    schedule.add(A, 5.0)
    assert schedule.depth(9.0) == 0


async def run_until(queue: WorkQueue, finished: asyncio.Event) -> None:
    """Let a queue work until a pass has said that it is enough."""
    task = asyncio.create_task(queue.run())
    await finished.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_passes_run_side_by_side_but_never_two_of_one_key() -> None:
    running: set[tuple[str, str]] = set()
    most, passes = 0, 0
    finished = asyncio.Event()

    async def work(key: tuple[str, str]) -> Outcome:
        nonlocal most, passes
        assert key not in running
        running.add(key)
        most = max(most, len(running))
        queue.add(key, 0.0)
        await asyncio.sleep(0.001)
        running.discard(key)
        passes += 1
        if passes >= 50:
            finished.set()
        return Outcome()

    queue = WorkQueue(work, workers=2, clock=time.monotonic)
    for key in (A, B, ("ns", "c")):
        queue.add(key, 0.0)
    await run_until(queue, finished)
    assert most == 2


async def test_after_a_plan_that_took_long_no_other_begins_for_longer_still() -> None:
    planned, begun = 0.02, list[float]()
    finished = asyncio.Event()

    async def work(key: tuple[str, str]) -> Outcome:
        begun.append(time.monotonic())
        queue.rest(planned)
        queue.add(key, 0.0)
        if len(begun) == 12:
            finished.set()
        return Outcome()

    queue = WorkQueue(work, workers=1, clock=time.monotonic)
    for key in (A, B, ("ns", "c")):
        queue.add(key, 0.0)
    await run_until(queue, finished)
    assert all(later - earlier >= REST * planned for earlier, later in itertools.pairwise(begun))


async def test_a_rest_is_bounded_and_those_of_passes_that_run_together_add_up() -> None:
    now, finished = 0.0, asyncio.Event()

    async def work(_: tuple[str, str]) -> Outcome:
        finished.set()
        return Outcome()

    queue = WorkQueue(work, workers=2, clock=lambda: now)
    queue.add(A, 0.0)
    for _ in range(2):
        queue.rest(LONGEST_REST / REST / 2)
    task = asyncio.create_task(queue.run())
    for now in (LONGEST_REST / 2, LONGEST_REST - 0.01):  # noqa: B007 - the clock reads it
        queue.add(B, 0.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not finished.is_set()
    queue.rest(1000.0)
    now += LONGEST_REST
    queue.add(B, 0.0)
    await finished.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_mistake_of_ours_ends_the_queue() -> None:
    async def work(key: tuple[str, str]) -> Outcome:
        raise RuntimeError(key)

    queue = WorkQueue(work, workers=2, clock=time.monotonic)
    queue.add(A, 0.0)
    with pytest.raises(ExceptionGroup):
        await queue.run()
