"""What the recorder keeps, and when it is called again where nothing comes: no sooner than it has something to do."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.observing import Run
from edgesmith_runtime.sampling.choosing import Chooser
from edgesmith_runtime.sampling.likeness import Likeness
from edgesmith_runtime.sampling.recorder import Keeping, Recorder, Subject
from edgesmith_runtime.sampling.redaction import Redaction
from edgesmith_runtime.sampling.sample import unpack_arrays
from edgesmith_runtime.spool.budget import DayBudget
from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.elapsed import Instant
from edgesmith_runtime.spool.spool import Spool
from edgesmith_runtime.uplink.answers import Outcome
from edgesmith_runtime.uplink.standing import Standing

HOUR, KEEP, LOOK = 3600.0, 60.0, 2.0
RATE = 20.0
"""Bytes a second."""
BOOTED = 1e9
"""When the node was, in seconds since 1970."""


class Taking:
    """A recorder over a clock that is moved."""

    def __init__(self, folder: Path) -> None:
        self.time = 0.0
        self.took = 0.0
        """Seconds that a look takes: not those of a machine that others keep busy."""
        self._stopwatch = 0.0
        disk = RealDisk()
        self.spool = Spool(disk, folder, 1 << 20)
        self.standing = folder / "uplink.json"
        budget = DayBudget(disk, folder, 1 << 20, self.instant())
        self.chooser = Chooser({"Random": RATE}, Likeness([{"x": np.zeros((1, 8), np.float32)}]), seed=1, now=0.0)
        keeping = Keeping(self.spool, budget, self.standing)
        subject = Subject("m", "d", "int8", "n1", frozenset({"x"}))
        self.metrics = Metrics()
        self.recorder = Recorder(subject, self.chooser, Redaction(), keeping, self.metrics, now=self.instant)

    def instant(self) -> Instant:
        return Instant("boot", self.time)

    def stopwatch(self) -> float:
        self._stopwatch += self.took
        return self._stopwatch

    def after(self, seconds: float) -> float:
        """Let time pass and call it; gives when it is to be called again."""
        self.time += seconds
        return self.recorder.idle(self.time + BOOTED)

    def ask(self, **outputs: NDArray[Any]) -> None:
        self.recorder.observe(Run({"x": np.ones((1, 8), np.float32)}, outputs, self.time + BOOTED, self.time))

    def outcomes(self, outcome: str) -> float:
        return self.metrics.get("edgesmith_samples_total", outcome)

    def objects(self) -> list[dict[str, NDArray[Any]]]:
        """What lies in the spool."""
        data = (self.spool.read(one) for one in self.spool.kept())
        return [unpack_arrays(one, 1 << 20) for one in data if one is not None]

    @property
    def told(self) -> float:
        """How many objects wait, as metrics say."""
        metrics = Metrics()
        self.recorder.tell(metrics)
        return metrics.get("edgesmith_spool_objects")

    def settle(self) -> float:
        """Call it whenever it asks for it, until it has nothing to do but to keep what was saved up."""
        pause = self.after(0)
        for _ in range(3):
            pause = self.after(pause)
        return pause


@pytest.fixture
def taking(tmp_path: Path) -> Iterator[Taking]:
    with pytest.MonkeyPatch.context() as patched:
        taking = Taking(tmp_path)
        patched.setattr("time.perf_counter", taking.stopwatch)
        yield taking


def test_without_samples_only_what_was_saved_up_is_kept(taking: Taking) -> None:
    assert KEEP - 3 * LOOK <= taking.settle() <= KEEP


def test_a_sample_is_kept_at_the_end_of_its_slot_without_a_call_in_vain(taking: Taking) -> None:
    taking.ask()
    pause = taking.after(0)
    while not taking.spool.kept():
        pause = taking.after(pause)
    taking.ask()
    ends, calls = taking.time + taking.chooser.left(taking.time), 0
    assert ends > taking.time
    while len(taking.spool.kept()) < 2:
        assert taking.time < ends
        pause, calls = taking.after(max(pause, 1e-6)), calls + 1  # what is left may be too little for a clock
    assert taking.time == pytest.approx(ends)
    assert calls <= ends / LOOK + 3


def test_what_waits_is_looked_at_until_it_has_gone_and_the_uplink_has_said_so(taking: Taking) -> None:
    taking.settle()
    assert taking.spool.put(b"an object", value=1).kept  # as if it had been there from the start
    taking.after(KEEP)
    assert taking.told == 1
    assert 0 < taking.after(LOOK) <= LOOK
    taking.spool.remove(taking.spool.kept()[0])
    assert 0 < taking.after(LOOK) <= LOOK, "the uplink has not said yet what became of it"
    assert taking.told == 0
    said = Standing()
    said.take(Outcome("Sent", sent=9))
    said.write(taking.standing)
    assert 0 < taking.after(LOOK) <= LOOK
    metrics = Metrics()
    taking.recorder.tell(metrics)
    assert metrics.get("edgesmith_uplink_tries_total", "Sent") == 1
    assert taking.settle() > LOOK


def test_a_disk_that_cannot_be_looked_at_is_looked_at_until_it_can(
    taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert taking.spool.put(b"an object", value=1).kept

    def fails() -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(taking.spool, "state", fails)
    assert taking.settle() <= LOOK
    assert taking.told == 0
    monkeypatch.undo()
    taking.after(LOOK)
    assert taking.told == 1


def test_a_look_that_takes_long_is_rare(taking: Taking) -> None:
    """Thousands of files are no reason to be busy: a look takes a 200th of the time at most."""
    assert taking.spool.put(b"an object", value=1).kept
    taking.took = 0.15
    taking.after(LOOK)
    assert taking.after(0) == pytest.approx(30)


def test_a_slot_without_a_sample_is_not_waited_for(taking: Taking) -> None:
    assert taking.chooser.left(0.0) == math.inf


def test_what_was_just_kept_is_looked_at_soon(taking: Taking) -> None:
    taking.settle()
    taking.ask()
    pause = taking.after(0)
    assert len(taking.spool.kept()) == 1
    assert taking.told == 0
    assert pause == pytest.approx(LOOK)
    taking.after(pause)
    assert taking.told == 1


def test_texts_that_an_engine_answers_as_bytes_are_kept(taking: Taking) -> None:
    for answer in (["grüße".encode()], [b"\xff!", "plain"]):
        taking.ask(y=np.array(answer, object))
        taking.after(HOUR)
    texts = {tuple(one["outputs/y"].tolist()) for one in taking.objects()}
    assert texts == {("grüße",), ("\N{REPLACEMENT CHARACTER}!", "plain")}


def test_whatever_fails_while_a_sample_is_made_costs_that_one_alone(
    taking: Taking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> NoReturn:
        raise ValueError("what was asked")

    monkeypatch.setattr(Redaction, "apply", fails)
    taking.ask()
    with caplog.at_level(logging.WARNING):
        taking.after(HOUR)
    assert (taking.outcomes("failed"), taking.objects()) == (1, [])
    assert "ValueError" in caplog.text
    assert "what was asked" not in caplog.text
    monkeypatch.undo()
    taking.ask()
    taking.after(HOUR)
    assert len(taking.objects()) == 1


def test_texts_that_would_fill_memory_while_they_are_packed_are_not_held(taking: Taking) -> None:
    taking.ask(y=np.array(["a" * 20_000] + ["b"] * 9_999, object))
    assert taking.outcomes("too_large") == 1
    assert taking.chooser.left(0.0) == math.inf
    taking.ask(y=np.array(["a" * 2_000] + ["b"] * 99, object))
    taking.after(HOUR)
    assert len(taking.objects()) == 1


def test_a_sample_says_when_its_request_was_answered(taking: Taking) -> None:
    taking.after(100)
    taking.ask(y=np.zeros(3000, np.float32))  # so that its slot does not end at once
    assert taking.after(0) > 0
    taking.after(600)
    (found,) = taking.objects()
    facts = json.loads(found["sample"].tobytes())
    assert (facts["time"], facts["boot"], facts["sinceBoot"]) == (BOOTED + 100, "boot", 100)
