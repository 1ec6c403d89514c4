"""Disks that go under a server, and come back: it says so once, and takes samples again by itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgesmith_runtime.complaints import QUIET, Complaints
from edgesmith_runtime.drift.observer import Drift
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.observing import Run
from edgesmith_runtime.sampling.choosing import Chooser
from edgesmith_runtime.sampling.later import PAUSE, Later
from edgesmith_runtime.sampling.likeness import Likeness
from edgesmith_runtime.sampling.recorder import Keeping, Recorder, Subject
from edgesmith_runtime.sampling.redaction import Redaction
from edgesmith_runtime.spool.budget import DayBudget
from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.elapsed import Instant
from edgesmith_runtime.spool.spool import Spool
from edgesmith_runtime.uplink.standing import FILE, OBJECTS
from tests.runtime.drifting import baseline_from, independent
from tests.runtime.gone_disks import FAULTS, Failing, Fault, Full, ReadOnly, held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EACH = pytest.mark.parametrize("kind", FAULTS, ids=[kind.__name__ for kind in FAULTS])
OUTCOMES = ("uncertain", "novel", "random", "disk_full", "disk_failed", "spool_full", "over_budget")


@pytest.fixture
def fault(kind: type[Fault], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fault]:
    yield from held(kind, tmp_path / "disk", monkeypatch)


class Camera:
    """A recorder that sees a run a second, in time of its own."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 0.0
        self.metrics = Metrics()
        self._random = np.random.default_rng(1)
        disk, objects = RealDisk(), folder / OBJECTS
        objects.mkdir()
        self.spool = Spool(disk, objects, 1 << 19)
        chooser = Chooser({"Random": 40.0}, Likeness([]), seed=1, now=0.0)
        keeping = Keeping(self.spool, DayBudget(disk, folder, 10**9, self.now()), folder / FILE)
        subject = Subject("m", "0" * 64, "int8", "n1")
        self.recorder = Recorder(subject, chooser, Redaction(), keeping, self.metrics, now=self.now)

    def now(self) -> Instant:
        return Instant("boot", self.seconds)

    def watch(self, seconds: int) -> dict[str, float]:
        """What became of the samples of so many seconds."""
        before = self.counts()
        for _ in range(seconds):
            self.seconds += 1
            self.recorder.observe(Run({"x": self._random.standard_normal(100).astype(np.float32)}, {}, self.seconds))
            self.recorder.idle(self.seconds)
        self.recorder.tell(self.metrics)
        return {name: count - before[name] for name, count in self.counts().items() if count != before[name]}

    def counts(self) -> dict[str, float]:
        return {name: self.metrics.get("edgesmith_samples_total", name) for name in OUTCOMES}

    @property
    def usable(self) -> bool:
        return bool(self.metrics.get("edgesmith_folder_usable", "spool"))


@EACH
def test_samples_are_taken_again_once_the_disk_is_back(
    fault: Fault, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera = Camera(tmp_path / "disk")
    assert camera.watch(200)["random"] >= 2
    before = len(camera.spool.kept())
    assert camera.usable
    fault.begin()
    with caplog.at_level(logging.INFO):
        while_it_lasts = camera.watch(1200)
    if not fault.lasts:
        assert set(while_it_lasts) == {"random"}
        assert camera.usable
        assert not caplog.records
    else:
        assert {"disk_full", "disk_failed"} & set(while_it_lasts)
        assert not camera.usable
        assert 1 <= len(caplog.records) <= 2, "a sample and the day's bytes, once each"
    fault.end()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert camera.watch(1200)["random"] >= 10
    assert camera.usable
    assert [record.levelname for record in caplog.records] == ["INFO"] * fault.lasts
    assert len(camera.spool.kept()) >= 10 + before * fault.lasts
    camera.recorder.close()


@pytest.mark.parametrize("kind", [Full])
def test_a_disk_that_is_full_again_and_again_is_one_complaint(
    fault: Fault, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camera = Camera(tmp_path / "disk")
    with caplog.at_level(logging.INFO):
        for _ in range(10):
            fault.begin()
            camera.watch(80)
            fault.end()
            camera.watch(80)
    assert camera.metrics.get("edgesmith_samples_total", "disk_full") >= 10
    assert len(caplog.records) <= 2


@EACH
def test_what_is_known_of_drift_is_kept_again_once_the_disk_is_back(
    fault: Fault, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, random, metrics, at = tmp_path / "disk", np.random.default_rng(1), Metrics(), 0.0
    baseline = baseline_from(independent, 300)
    drift = Drift(baseline, 0.0, folder)

    def watch(minutes: int) -> bool:
        nonlocal at
        for _ in range(minutes):
            at += 61.0
            drift.observe(Run({"x": random.standard_normal((1, 4)).astype(np.float32)}, {}, at))
            drift.idle(at)
        drift.tell(metrics)
        return bool(metrics.get("edgesmith_folder_usable", "notes"))

    assert watch(3)
    fault.begin()
    with caplog.at_level(logging.WARNING):
        assert watch(9) != fault.lasts
    assert len(caplog.records) == fault.lasts
    fault.end()
    drift.idle(at + 61)
    drift.tell(metrics)
    assert metrics.get("edgesmith_folder_usable", "notes"), "it needs no further request"
    assert Drift(baseline, 0.0, folder).verdict.samples == 12


@pytest.mark.parametrize("kind", [Failing])
def test_drift_that_cannot_be_read_begins_anew_and_is_watched(
    fault: Fault, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fault.begin()
    with caplog.at_level(logging.WARNING):
        assert Drift(baseline_from(independent, 300), 0.0, tmp_path / "disk").verdict.samples == 0
    assert ["cannot be read: Input/output error" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("kind", [ReadOnly, Failing])
def test_samples_are_taken_once_a_disk_that_failed_at_the_start_is_back(
    fault: Fault, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fault.begin()
    seconds, metrics, made = 0.0, Metrics(), list[Camera]()

    def make() -> Recorder:
        made.append(Camera(tmp_path / "disk"))
        return made[-1].recorder

    with caplog.at_level(logging.INFO):
        later = Later(make, lambda: seconds)
        run = Run({"x": np.ones(4, np.float32)}, {}, 0.0)
        while seconds < 10 * PAUSE:
            seconds += 1.0
            later.observe(run)
            later.idle(0.0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    later.tell(metrics)
    assert not metrics.get("edgesmith_folder_usable", "spool")
    assert not made
    fault.end()
    pause = later.idle(0.0)
    assert not made, "it is tried once a minute"
    seconds += pause
    later.idle(0.0)
    made[0].seconds += 1000
    later.observe(run)
    later.idle(0.0)
    later.tell(metrics)
    assert metrics.get("edgesmith_folder_usable", "spool")
    assert len(made) == len(made[0].spool.kept()) == 1
    later.close()


def test_a_complaint_is_over_when_all_that_failed_works_and_none_came_for_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seconds, metrics = 0.0, Metrics()
    complaints = Complaints("spool", lambda: seconds)

    def usable() -> bool:
        complaints.tell(metrics)
        return bool(metrics.get("edgesmith_folder_usable", "spool"))

    with caplog.at_level(logging.INFO):
        complaints.right("a")
        for number in range(40):
            complaints.wrong("a", f"words {number % 30}")
        complaints.wrong("b", "words 0")
        assert len(caplog.records) == 16
        seconds += QUIET
        complaints.right("a")
        assert (usable(), len(caplog.records)) == (False, 16), "b is still wrong"
        seconds -= 1
        complaints.right("b")
        assert (usable(), len(caplog.records)) == (True, 16), "it may be wrong again in a moment"
        seconds += 1
        complaints.right("b")
        complaints.right("b")
        assert [record.levelname for record in caplog.records[16:]] == ["INFO"]
        complaints.wrong("a", "words 0")
    assert (usable(), caplog.records[-1].message) == (False, "words 0")
