"""That a handler of a signal may say that the uplink is to end, whatever the thread that it interrupts does."""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from edgesmith_runtime.uplink.told import Told
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from types import FrameType


def waits_interrupted_at(step: int) -> tuple[Told, int, bool]:
    """Wait on a thread, and set it as a handler would before a step of the interpreter.

    Returns:
        It; how many steps there were; whether the wait came back.
    """
    told, steps = Told(), 0

    def trace(frame: FrameType, _: str, __: Any) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        if steps == step:
            told.set()
        steps += 1
        return trace

    def wait() -> None:
        sys.settrace(trace)
        try:
            told.wait(0.01)
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return told, steps, not thread.is_alive()


def test_it_may_be_set_at_any_step_of_a_wait_of_the_same_thread() -> None:
    step, steps = 0, 1
    while step < steps:
        told, steps, came_back = waits_interrupted_at(step)
        assert came_back, f"set at step {step}"
        assert told.is_set()
        step += 1
    assert step > 10


def test_a_signal_ends_a_wait_at_once() -> None:
    told = Told()
    before = signal.signal(signal.SIGALRM, lambda *_: told.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        began = time.monotonic()
        assert told.wait(PATIENCE * 10)
        assert time.monotonic() - began < PATIENCE
    finally:
        signal.signal(signal.SIGALRM, before)


def test_it_stays_told_and_is_not_before() -> None:
    told = Told()
    assert not told.wait(-1.0)
    assert not told.wait(0.0)
    assert not told.is_set()
    told.set()
    assert all(told.wait(PATIENCE * 10) for _ in range(3))
