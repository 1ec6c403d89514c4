"""The queue in front of the engine: who waits on the event loop, who leaves, and what threads hold on to."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from edgesmith_runtime.alone import LOOKS
from edgesmith_runtime.dispatcher import Dispatcher
from edgesmith_runtime.errors import Unavailable
from edgesmith_runtime.mates import Together
from edgesmith_runtime.metrics import Metrics
from tests.patience import PATIENCE


@pytest.fixture
def queue() -> Iterator[Dispatcher]:
    found = Dispatcher(workers=1, limit=3, metrics=Metrics())
    yield found
    found.close()


class Held:
    """A job that runs until it is let go."""

    def __init__(self) -> None:
        self.running, self.go_on = threading.Event(), threading.Event()

    def __call__(self, busy: bool) -> bool:  # noqa: FBT001 - the queue calls it
        self.running.set()
        assert self.go_on.wait(PATIENCE)
        return busy


class Large:
    """What a request may hold."""


async def test_what_a_job_gives_or_raises_comes_to_the_loop(queue: Dispatcher) -> None:
    def fails(_: bool) -> None:  # noqa: FBT001 - the queue calls it
        raise KeyError("planted")

    assert await queue.ask(lambda busy: ("it", busy)) == ("it", False)
    with pytest.raises(KeyError, match="planted"):
        await queue.ask(fails)
    assert (queue.pending, queue.finished, queue.longest) == (0, 2, 0)


async def test_a_job_is_over_before_the_loop_is_told(queue: Dispatcher) -> None:
    seen = []
    asked = queue.ask(lambda _: None)
    asked.add_done_callback(lambda _: seen.append((queue.pending, queue.finished)))
    await asked
    await asyncio.sleep(0)
    assert seen == [(0, 1)]


async def test_who_leaves_gives_its_place_back_once_and_is_not_run(queue: Dispatcher) -> None:
    held, ran = Held(), []
    first = queue.ask(held)
    await asyncio.to_thread(held.running.wait, PATIENCE)
    waits = queue.ask(lambda _: ran.append(1))
    waits.cancel()
    await asyncio.sleep(0)
    assert queue.pending == 1
    first.cancel()
    await asyncio.sleep(0)
    assert queue.pending == 1, "what runs keeps its place"
    held.go_on.set()
    assert await queue.ask(lambda _: "next") == "next"
    assert (queue.pending, queue.finished, ran) == (0, 3, [])


@pytest.mark.parametrize("way", ["ask", "submit", "ask together", "submit together"])
async def test_nothing_is_kept_of_who_left_while_all_threads_are_busy(queue: Dispatcher, way: str) -> None:
    """With the collector off: clients that give up and ask again would fill the memory, and no limit counts them."""
    held, ran = Held(), []
    first = queue.ask(held)
    await asyncio.to_thread(held.running.wait, PATIENCE)

    class Joining(Large):
        joins = way.endswith("together")

        def __call__(self, _: bool) -> None:  # noqa: FBT001 - the queue calls it
            ran.append(self)

    if Joining.joins:
        queue.together = Together(lambda jobs, *_, **__: [job(True) for job in jobs], 8, 0.0)
    stays = queue.ask(lambda _: "stays")
    gc.disable()
    try:
        for _ in range(5):
            job = Joining()
            known = weakref.ref(job)
            asked: Any = queue.submit(job) if way.startswith("submit") else queue.ask(job)
            del job
            asked.cancel()
            await asyncio.sleep(0)
            assert known() is None, "the request is still held"
            assert (queue.pending, len(queue._workers._works), queue._mates._waiting, queue._works) == (2, 1, {}, {})
    finally:
        gc.enable()
    held.go_on.set()
    assert await first is False
    assert await stays == "stays", "who left took nobody's place with him"
    assert (queue.pending, ran) == (0, [])


async def test_no_more_than_the_limit_are_in_the_queue(queue: Dispatcher) -> None:
    held = Held()
    asked = [queue.ask(held), *(queue.ask(lambda busy: busy) for _ in range(2))]
    for ask in (queue.ask, queue.submit):
        with pytest.raises(Unavailable, match="3 requests are in flight"):
            ask(lambda _: None)
    await asyncio.to_thread(held.running.wait, PATIENCE)
    held.go_on.set()
    assert await asyncio.gather(*asked) == [True, True, False]
    assert queue.pending == 0


async def test_a_queue_that_closes_cancels_what_waits_and_lets_end_what_runs(queue: Dispatcher) -> None:
    held = Held()
    runs = queue.ask(held)
    await asyncio.to_thread(held.running.wait, PATIENCE)
    waits, submitted = queue.ask(lambda _: None), queue.submit(lambda _: None)
    queue.close()
    done, _ = await asyncio.wait([waits], timeout=PATIENCE)
    assert done
    assert waits.cancelled()
    assert submitted.cancelled()
    with pytest.raises(Unavailable, match="is stopping"):
        queue.ask(lambda _: None)
    held.go_on.set()
    assert await runs is False
    assert queue.pending == 0
    for thread in threading.enumerate():
        if thread.name.startswith("inference") and thread in queue._workers._threads:
            await asyncio.to_thread(thread.join, PATIENCE)
            assert not thread.is_alive()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("way", ["ask", "ask on the loop", "submit"])
async def test_nothing_holds_the_last_request(queue: Dispatcher, way: str, *, fails: bool) -> None:
    """With the collector off: who asks seldom must not keep a request in memory until it runs."""
    large: Any = Large()
    known = weakref.ref(large)

    def job(_: bool, held: Any = large) -> None:  # noqa: FBT001 - the queue calls it
        if fails:
            raise KeyError(str(held))

    if way == "ask on the loop":
        for _ in range(LOOKS):
            await queue.ask(lambda _: None, 1)
    ways: dict[str, Any] = {"ask": queue.ask, "ask on the loop": partial(queue.ask, size=1), "submit": queue.submit}
    gc.disable()
    try:
        asked = ways[way](job)
        del large, job
        over = asyncio.wrap_future(asked) if way == "submit" else asked
        await asyncio.wait([over])
        over.exception()
        del over
        if fails:
            assert isinstance(asked.exception(), KeyError)
        del asked
        async with asyncio.timeout(PATIENCE):
            while known() is not None:  # noqa: ASYNC110 - a thread that starves lets go late
                await asyncio.sleep(0.001)
    finally:
        gc.enable()


async def test_a_loop_that_ended_breaks_no_thread(queue: Dispatcher) -> None:
    held = Held()
    other = asyncio.new_event_loop()

    async def ask() -> None:
        queue.ask(held)

    await asyncio.to_thread(lambda: other.run_until_complete(ask()))
    await asyncio.to_thread(held.running.wait, PATIENCE)
    other.close()
    held.go_on.set()
    async with asyncio.timeout(PATIENCE):
        assert await queue.ask(lambda _: "goes on") == "goes on"
