"""What watching for drift and for samples costs: processor time of a run that is observed, on the observers' thread.

    python bench --only drift-cost

It is off the way of answers, which only put a run into a queue; the thread has a tenth of a core at most, so the figure
says how many runs a second it comes to.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from row import Row

from edgesmith_runtime.drift.observer import Drift
from edgesmith_runtime.drift.recording import baseline_of
from edgesmith_runtime.metrics import Metrics
from edgesmith_runtime.observing import Run
from edgesmith_runtime.sampling.choosing import Chooser
from edgesmith_runtime.sampling.likeness import Likeness
from edgesmith_runtime.sampling.recorder import Keeping, Recorder, Subject
from edgesmith_runtime.sampling.redaction import Redaction
from edgesmith_runtime.spool.budget import DayBudget
from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.elapsed import instant
from edgesmith_runtime.spool.spool import Spool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgesmith_runtime.observing import Observer

    Tensors = dict[str, NDArray[Any]]

DAY = 86_400.0
BASELINE = 100
"""Samples of the calibration set."""
RUNS = 200
BETWEEN = 10
"""Runs between two times that observers do what they do from time to time: a hundred runs a second, ten such times."""
CLASSES = 10
INPUTS = {"a picture of 224 x 224 x 3": (1, 3, 224, 224), "64 sensor figures": (1, 64)}
MICROSECONDS = 1000.0
"""The aim: a tenth of a core then sees a hundred runs a second."""
DAY_BYTES, SPOOL_BYTES = 20_000_000, 200_000_000


@dataclass(frozen=True)
class _Watched:
    """One kind of input, and who sees runs of it."""

    shape: tuple[int, ...]
    observers: tuple[Observer, ...]


def measure_drift_cost(*, rounds: int = 9) -> list[Row]:
    """Microseconds of processor time a sample; some twenty seconds.

    Args:
        rounds: How often each kind of input is measured, in turns; the median counts.
    """
    rng = np.random.default_rng(5)
    with ExitStack() as stack:
        watched: dict[str, _Watched] = {}
        for name, shape in INPUTS.items():
            watched[f"drift: CPU a sample, {name}"] = _Watched(shape, (_drift(rng, shape),))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            both = _drift(rng, shape)
            watched[f"drift and samples: CPU a sample, {name}"] = _Watched(
                shape, (both, _recorder(both, shape, folder))
            )
        found: dict[str, list[float]] = {name: [] for name in watched}
        for _ in range(rounds):
            for name, one in watched.items():
                found[name].append(_microseconds(one.observers, [_run(rng, one.shape) for _ in range(RUNS)]))
    aim = f"{MICROSECONDS:g} µs, the aim"
    return [
        Row(name, middle, "µs", aim, middle / MICROSECONDS, most=1.0)
        for name, middle in ((name, statistics.median(times)) for name, times in found.items())
    ]


def _drift(rng: np.random.Generator, shape: tuple[int, ...]) -> Drift:
    runs = [_run(rng, shape) for _ in range(BASELINE)]
    pairs = [(run.inputs, run.outputs) for run in runs]
    baseline = baseline_of(pairs, {"x": len(shape) - 1}, seed="bench", classes="scores")
    if baseline is None:
        raise SystemExit("there is no baseline: nothing is read of the samples")
    return Drift(baseline, DAY, None)


def _recorder(drift: Drift, shape: tuple[int, ...], folder: Path) -> Recorder:
    """What takes samples of the same runs, for each reason; it keeps few, as on a node."""
    disk, metrics = RealDisk(), Metrics()
    budget = DayBudget(disk, folder, DAY_BYTES, instant())
    each = DAY_BYTES / DAY / 3
    likeness = Likeness([{"x": np.zeros(shape, np.float32)}])
    chooser = Chooser({"Uncertain": each, "Novel": each, "Random": each}, likeness, seed=1, now=0.0)
    keeping = Keeping(Spool(disk, folder, SPOOL_BYTES), budget, folder / "uplink.json")
    subject = Subject("bench", "", "fp32", "", frozenset({"x", "scores"}), "scores")
    return Recorder(subject, chooser, Redaction(), keeping, metrics, novelty=drift.novelty)


def _run(rng: np.random.Generator, shape: tuple[int, ...]) -> Run:
    scores = rng.random((1, CLASSES), np.float32)
    inputs: Tensors = {"x": rng.random(shape, np.float32)}
    outputs: Tensors = {"scores": scores / scores.sum()}
    return Run(inputs, outputs, time.time())


def _microseconds(observers: tuple[Observer, ...], runs: list[Run]) -> float:
    """Of one run, with what is done between two of them."""
    began = time.thread_time_ns()
    for number, run in enumerate(runs):
        for observer in observers:
            observer.observe(run)
        if number % BETWEEN == 0:
            for observer in observers:
                observer.idle(run.at)
    return (time.thread_time_ns() - began) / 1000 / len(runs)
