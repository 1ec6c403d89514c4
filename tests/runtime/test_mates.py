"""How long jobs wait for others to be run with, by a clock that is moved; and that a lone one is run as any other."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest

from edgesmith_runtime.alone import LOOKS
from edgesmith_runtime.dispatcher import Dispatcher
from edgesmith_runtime.mates import Mates, Together
from edgesmith_runtime.metrics import Metrics
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SIZE = 1000
SECONDS = 0.05


class Moved(threading.Condition):
    """A clock, and a condition that moves it instead of waiting: by as long as is asked for, or until one comes."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0
        self.waits: list[float] = []
        self.comes: list[tuple[float, Callable[[], object]]] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None, "nothing ends it"
        self.waits.append(timeout)
        if self.comes and self.comes[0][0] <= timeout:
            seconds, happens = self.comes.pop(0)
            self.time += seconds
            happens()
            return True
        self.time += timeout
        return False


def job(_: bool) -> None:  # noqa: FBT001 - the queue calls it
    """Do nothing."""


def gather(mates: Mates, count: int, seconds: float = SECONDS, most: int = 8) -> int:
    """Have jobs wait and take them out; gives how many came together."""
    for _ in range(count):
        mates.put(Future(), job)
    return len(mates.take(Together(lambda *_, **__: [], most, seconds)))


def waiting(expected: int, *comes: float) -> tuple[Moved, Mates]:
    """What waits for as many as came together before, and its clock; others come after so many seconds each."""
    clock = Moved()
    mates = Mates(clock, lambda: clock.time)
    assert gather(mates, expected) == expected
    clock.comes = [(seconds, lambda: mates.put(Future(), job)) for seconds in comes]
    return clock, mates


def test_others_are_waited_for_as_long_as_allowed_and_no_longer() -> None:
    clock, mates = waiting(3)
    assert gather(mates, 1) == 1
    assert clock.waits == [pytest.approx(SECONDS)]
    assert gather(mates, 1) == 1
    assert len(clock.waits) == 1, "who came alone is waited for no more"


def test_who_comes_meanwhile_does_not_make_the_wait_longer() -> None:
    clock, mates = waiting(4, 0.03)
    assert gather(mates, 1) == 2
    assert clock.waits == [pytest.approx(SECONDS), pytest.approx(SECONDS - 0.03)]
    assert clock.time == pytest.approx(1000 + SECONDS)


def test_the_wait_ends_with_the_last_that_is_expected() -> None:
    clock, mates = waiting(2, 0.01)
    assert gather(mates, 1) == 2
    assert clock.time == pytest.approx(1000.01)


def test_no_more_are_waited_for_than_may_be_run_together() -> None:
    clock, mates = waiting(4)
    assert gather(mates, 2, most=2) == 2
    assert not clock.waits


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dispatcher]:
    monkeypatch.setattr("edgesmith_runtime.alone.FAST", PATIENCE)  # every run is fast, where others have the cores too
    found = Dispatcher(workers=1, limit=8, metrics=Metrics())
    found.together = Together(together, 8, PATIENCE)
    yield found
    found.close()


def together(jobs: Sequence[Callable[[bool], Any]], most: int, *, busy: bool) -> list[Any]:
    """Run jobs as a batch would be: how many there were, and on which thread."""
    del most, busy
    return [(len(jobs), threading.get_ident()) for _ in jobs]


class Joining:
    """A job that may be run with others; called, it says that it was not, and on which thread."""

    joins = True

    def __init__(self, held: threading.Event | None = None) -> None:
        self._held = held

    def __call__(self, _: bool) -> tuple[int, int]:  # noqa: FBT001 - the queue calls it
        assert self._held is None or self._held.wait(PATIENCE)
        return 0, threading.get_ident()


async def test_a_lone_one_runs_as_it_would_if_none_were_run_together(queue: Dispatcher) -> None:
    """On a thread until it is known to be alone, and then on the loop; never as a batch of one."""
    found = [await queue.ask(Joining(), SIZE) for _ in range(LOOKS + 3)]
    assert {how for how, _ in found} == {0}
    here = [thread == threading.get_ident() for _, thread in found]
    assert here == [False] * LOOKS + [True] * 3


async def test_those_that_come_during_a_run_are_run_together_and_so_are_the_next(queue: Dispatcher) -> None:
    """Of the next the first finds nobody in flight, and it is likely that others come."""
    held = threading.Event()
    asked = [queue.ask(Joining(held), SIZE), *(queue.ask(Joining(), SIZE) for _ in range(3))]
    held.set()
    assert [how for how, _ in await asyncio.gather(*asked)] == [0, 3, 3, 3]
    asked = [queue.ask(Joining(), SIZE) for _ in range(3)]
    assert [how for how, _ in await asyncio.gather(*asked)] == [3, 3, 3]


async def test_one_that_finds_another_ends_runs_on_the_loop(queue: Dispatcher) -> None:
    for _ in range(LOOKS):
        await queue.ask(Joining(), SIZE)
    await asyncio.gather(queue.ask(Joining(), SIZE), queue.ask(Joining(), SIZE))
    how, thread = await queue.ask(Joining(), SIZE)
    assert how == 0
    assert thread != threading.get_ident()
