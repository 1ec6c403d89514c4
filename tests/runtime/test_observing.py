"""Observers see answered runs beside the answers, in bounds, and never in their way."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from edgesmith_runtime import observing
from edgesmith_runtime.dispatcher import Dispatcher
from edgesmith_runtime.feedback import making
from edgesmith_runtime.feedback.arguments import Feedback, Privacy
from edgesmith_runtime.health import Health, Patience
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.observing import Observers
from edgesmith_runtime.service import LoadedModel, Service
from edgesmith_runtime.signature import InferRequest
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesmith_runtime.observing import Run


class Seeing:
    """An observer that keeps what it sees."""

    def __init__(self, then: Callable[[Run], object] = lambda _: None, *pauses: float) -> None:
        self.pauses = list(pauses)
        self.seen: list[Run] = []
        self.closed = threading.Event()
        self.changed = threading.Condition()
        self._then = then

    def observe(self, run: Run) -> None:
        with self.changed:
            self.seen.append(run)
            self.changed.notify_all()
        self._then(run)

    def idle(self, now: float) -> float:
        del now
        return self.pauses.pop(0) if self.pauses else math.inf

    def tell(self, metrics: Metrics) -> None:
        metrics.put("edgesmith_ready", value=len(self.seen))

    def close(self) -> None:
        self.closed.set()

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.seen) >= count, PATIENCE), len(self.seen)


def one(value: float, size: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    return {"x": np.full(size, value, np.float32)}


def test_runs_are_seen_in_their_order_with_inputs_and_outputs() -> None:
    seeing, metrics = Seeing(), Metrics()
    observers = Observers([seeing], metrics)
    observers.start()
    for number in range(5):
        observers.offer(one(number), {"y": np.array(["a"], object)})
    seeing.wait_for(5)
    observers.close(PATIENCE)
    assert [run.inputs["x"][0] for run in seeing.seen] == [0, 1, 2, 3, 4]
    assert seeing.seen[0].outputs["y"].tolist() == ["a"]
    assert seeing.closed.is_set()
    assert metrics.get("edgesmith_observed_runs_total") == 5
    assert metrics.get("edgesmith_unobserved_runs_total") == 0


@pytest.mark.parametrize(("size", "fit"), [(1, 4), (30, 3), (99, 1), (200, 1)])
def test_what_waits_is_bounded_in_runs_and_bytes_and_the_rest_is_counted(size: int, fit: int) -> None:
    metrics = Metrics()
    observers = Observers([Seeing()], metrics, runs=4, size=400)
    for number in range(10):
        observers.offer(one(number, size), {})
    assert metrics.get("edgesmith_unobserved_runs_total") == 10 - fit


def test_texts_count_by_their_length() -> None:
    metrics = Metrics()
    observers = Observers([Seeing()], metrics, size=400)
    for _ in range(2):
        observers.offer({"x": np.array(["a" * 300], object)}, {})
    assert metrics.get("edgesmith_unobserved_runs_total") == 1


def test_an_observer_that_fails_is_left_out_and_the_others_go_on() -> None:
    def fail(_: Run) -> None:
        raise ZeroDivisionError

    failing, seeing, metrics = Seeing(fail), Seeing(), Metrics()
    observers = Observers([failing, seeing], metrics)
    observers.start()
    observers.offer(one(1), {})
    observers.offer(one(2), {})
    seeing.wait_for(2)
    observers.close(PATIENCE)
    assert len(failing.seen) == 1
    assert len(seeing.seen) == 2


class Bed(threading.Event):
    """Where the thread sleeps: says so, and wakes at once where that is to be tried."""

    def __init__(self, *, at_once: int = 0) -> None:
        super().__init__()
        self.sleeps: list[float] = []
        self.changed = threading.Condition()
        self.woken = 0
        self._at_once = at_once

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None, "a wake that is lost would hang it for ever"
        with self.changed:
            self.sleeps.append(timeout)
            self.changed.notify_all()
            if len(self.sleeps) <= self._at_once:
                return False
        return super().wait(timeout)

    def set(self) -> None:
        self.woken += 1
        super().set()

    def until(self, sleeps: int) -> None:
        """Wait until the thread has gone to sleep so often."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.sleeps) >= sleeps, PATIENCE), self.sleeps


def test_a_run_wakes_who_sleeps_and_the_next_ones_wake_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "_LONGEST_SLEEP", 10 * PATIENCE)
    held = threading.Event()
    seeing, bed = Seeing(lambda _: held.wait(PATIENCE)), Bed()
    observers = Observers([seeing], Metrics())
    observers._wake = bed
    observers.start()
    bed.until(1)
    for number in range(3):
        observers.offer(one(number), {})
    seeing.wait_for(1)
    observers.offer(one(3), {})
    held.set()
    seeing.wait_for(4)
    assert bed.woken == 1
    bed.until(2)
    observers.offer(one(4), {})
    seeing.wait_for(5)
    observers.close(PATIENCE)
    assert seeing.closed.is_set()


def test_who_sleeps_does_not_keep_the_end_waiting() -> None:
    seeing, bed = Seeing(), Bed()
    observers = Observers([seeing], Metrics())
    observers._wake = bed
    observers.start()
    bed.until(1)
    began = time.monotonic()
    observers.close(PATIENCE)
    assert seeing.closed.is_set()
    assert time.monotonic() - began < bed.sleeps[0] / 2


def test_the_thread_sleeps_as_long_as_no_observer_has_anything_to_do() -> None:
    """Seconds that observers ask for, the shortest counts; no less than a tenth of one, and no more than a minute."""
    bed = Bed(at_once=5)
    first, second = Seeing(lambda _: None, 7.0, 50.0, 0.0, 70.0), Seeing(lambda _: None, 9.0, 20.0, 30.0, 80.0)
    observers = Observers([first, second], Metrics())
    observers._wake = bed
    observers.start()
    bed.until(6)
    observers.close(PATIENCE)
    assert bed.sleeps == [7.0, 20.0, 0.1, 60.0, 60.0, 60.0]


class Doubling:
    """An engine that answers the double."""

    def infer(self, inputs: Any, outputs: Any, *, busy: bool) -> Any:
        del outputs, busy
        return {"y": inputs["x"] * 2}


def test_a_service_offers_what_was_answered_and_answers_while_an_observer_hangs() -> None:
    held = threading.Event()
    seeing, metrics = Seeing(lambda _: held.wait(PATIENCE)), Metrics()
    dispatcher = Dispatcher(workers=1, limit=4, metrics=metrics)
    service = Service(dispatcher=dispatcher, health=Health(dispatcher, Patience()), metrics=metrics)
    model: Any = LoadedModel(None, Doubling())  # type: ignore[arg-type]
    request = InferRequest("", one(3), ())
    assert service.run(model, request, busy=False)["y"][0] == 6  # nobody observes
    service.observers = Observers([seeing], metrics, runs=2)
    service.observers.start()
    for _ in range(6):
        assert service.run(model, request, busy=False)["y"][0] == 6
    seeing.wait_for(1)
    assert metrics.get("edgesmith_unobserved_runs_total") >= 3
    held.set()
    service.observers.close(PATIENCE)
    assert [seen.outputs["y"][0] for seen in seeing.seen][:1] == [6]
    dispatcher.close()


def test_what_cannot_see_requests_costs_no_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in what would see them must not end the server, which would be rolled back for it."""

    def broken(*_: Any) -> Any:
        raise ModuleNotFoundError("No module named 'numpy.random'")

    monkeypatch.setattr(making, "_drift", broken)
    asked = Feedback(privacy=Privacy.STATISTICS)
    assert making.observers_of(cast("Any", None), asked, Metrics(), name="toy") == making.Observed()
    assert "seen neither for drift nor for samples" in caplog.text
