"""Which requests run on the event loop's own thread."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgesmith_runtime.alone import FAST, LOOKS, RUNS, Alone
from edgesmith_runtime.dispatcher import Dispatcher
from edgesmith_runtime.errors import Unavailable
from edgesmith_runtime.http.api import HttpApi
from edgesmith_runtime.http.messages import Request
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.service import Service
from tests.patience import PATIENCE
from tests.runtime.engines import WatchedEngine, serving

ROOT = Path(__file__).resolve().parents[2]
SIZE = 1000


def settled(size: int = SIZE) -> Alone:
    """Who has seen that requests of a size come one after the other and are fast."""
    alone = Alone()
    for _ in range(LOOKS):
        assert not alone.takes(size, 0)
        alone.took(size, FAST)
    return alone


def test_requests_run_on_the_loop_once_so_many_were_alone_and_fast() -> None:
    assert settled().takes(SIZE, 0)


def test_a_larger_request_than_those_does_not() -> None:
    alone = settled()
    assert not alone.takes(SIZE + 1, 0)
    assert alone.takes(SIZE, 0)


def test_one_that_finds_another_in_flight_begins_it_all_again() -> None:
    alone = settled()
    assert not alone.takes(SIZE, 1)
    for _ in range(LOOKS):
        assert not alone.takes(SIZE, 0)
        alone.took(SIZE, 0)
    assert alone.takes(SIZE, 0)


@pytest.mark.parametrize("before", range(LOOKS))
def test_requests_that_overlap_now_and_then_never_do(before: int) -> None:
    alone = Alone()
    for _ in range(3 * LOOKS):
        for _ in range(before):
            assert not alone.takes(SIZE, 0)
            alone.took(SIZE, 0)
        assert not alone.takes(SIZE, 1)


def test_slow_ones_never_do_and_one_that_was_slow_is_the_last() -> None:
    alone = Alone()
    for _ in range(3 * LOOKS):
        assert not alone.takes(SIZE, 0)
        alone.took(SIZE, FAST * 1.01)
    alone = settled()
    assert alone.takes(SIZE, 0)
    alone.took(SIZE, FAST * 1.01)
    assert not alone.takes(SIZE, 0)


def test_it_is_looked_again_after_so_many_runs() -> None:
    alone = settled()
    for _ in range(3):
        for _ in range(RUNS):
            assert alone.takes(SIZE, 0)
            alone.took(SIZE, 0)
        for _ in range(LOOKS):
            assert not alone.takes(SIZE, 0)
            alone.took(SIZE, 0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is fast, also where others have the cores."""
    monkeypatch.setattr("edgesmith_runtime.alone.FAST", PATIENCE)


@pytest.fixture
def queue(patient: None) -> Iterator[Dispatcher]:  # noqa: ARG001 - how fast its runs are is not left to the machine
    found = Dispatcher(workers=2, limit=8, metrics=Metrics())
    yield found
    found.close()


def where(_: bool) -> int:  # noqa: FBT001 - the queue calls it
    """A job that says on which thread it ran."""
    return threading.get_ident()


async def lone(queue: Dispatcher) -> None:
    """Ask often enough for the next request to be alone."""
    for _ in range(LOOKS):
        assert await queue.ask(where, SIZE) != threading.get_ident()


async def test_a_lone_caller_is_answered_on_the_loop_and_looked_at_again(queue: Dispatcher) -> None:
    await lone(queue)
    here = [await queue.ask(where, SIZE) == threading.get_ident() for _ in range(RUNS + LOOKS + 1)]
    assert here == [True] * RUNS + [False] * LOOKS + [True]
    assert (queue.pending, queue.finished, queue.longest) == (0, 2 * LOOKS + RUNS + 1, 0)


async def test_what_has_no_size_runs_on_a_thread(queue: Dispatcher) -> None:
    await lone(queue)
    assert await queue.ask(where) != threading.get_ident()
    assert await queue.ask(where, SIZE) == threading.get_ident()


async def test_a_job_on_the_loop_is_told_that_it_is_alone_and_seen_while_it_runs(queue: Dispatcher) -> None:
    await lone(queue)

    def look(busy: bool) -> tuple[bool, int, bool]:  # noqa: FBT001 - the queue calls it
        time.sleep(0.001)
        return busy, queue.pending, queue.longest > 0

    assert await queue.ask(look, SIZE) == (False, 1, True)


async def test_callers_at_once_run_on_threads(queue: Dispatcher) -> None:
    await lone(queue)
    together = threading.Barrier(2)

    def meet(_: bool) -> int:  # noqa: FBT001 - the queue calls it
        together.wait(PATIENCE)
        return threading.get_ident()

    first = queue.ask(meet)
    second = queue.ask(meet, SIZE)
    assert threading.get_ident() not in await asyncio.gather(first, second)
    assert await queue.ask(where, SIZE) != threading.get_ident(), "it is looked again"


async def test_a_slow_job_on_the_loop_is_the_last_there(queue: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    await lone(queue)
    monkeypatch.setattr("edgesmith_runtime.alone.FAST", FAST)
    await queue.ask(lambda _: time.sleep(2 * FAST), SIZE)
    assert await queue.ask(where, SIZE) != threading.get_ident()


async def test_a_closed_queue_runs_nothing_on_the_loop(queue: Dispatcher) -> None:
    await lone(queue)
    queue.close()
    with pytest.raises(Unavailable, match="is stopping"):
        queue.ask(where, SIZE)


@pytest.fixture
def watched(patient: None) -> Iterator[tuple[Service, WatchedEngine]]:  # noqa: ARG001 - as above
    engine = WatchedEngine()
    service, queue, _ = serving(engine)
    yield service, engine
    queue.close()


PLAIN = json.dumps({"inputs": [{"name": "x", "shape": [4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
PLAIN += b" " * 100
PACKED = gzip.compress(PLAIN)


async def test_over_http_what_is_to_be_inflated_runs_on_no_loop(
    watched: tuple[Service, WatchedEngine],
) -> None:
    service, engine = watched
    api = HttpApi(service, body_limit=2**20, pixel_limit=2**20)

    async def on_the_loop(body: bytes, **headers: str) -> bool:
        request = Request("POST", "/v2/models/m/infer", headers, keep_alive=True, old=False, body=memoryview(body))
        answer = api.answer(request)
        assert isinstance(answer, asyncio.Future)
        assert (await answer).status == 200
        return engine.ran == threading.get_ident()

    assert len(PACKED) < len(PLAIN)
    found = [await on_the_loop(PLAIN) for _ in range(LOOKS + 1)]
    assert found == [False] * LOOKS + [True]
    assert not await on_the_loop(PACKED, **{"content-encoding": "gzip"})
    assert await on_the_loop(PLAIN, **{"accept-encoding": "gzip"})


def test_over_grpc_requests_may_run_on_the_loop() -> None:
    """In a process of its own: a client's messages and the runtime's have the same names, of which one can have one."""
    line = [sys.executable, "-m", "tests.runtime.lone_calls"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["plain"] == [False] * LOOKS + [True]
    assert not found["larger"]
    assert found["streamed"]
