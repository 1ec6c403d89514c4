"""What watching for drift costs: processor time of a run that is observed, on the thread that observes.

    python bench --only drift-cost

It is off the way of answers, which only put a run into a queue; the thread has a tenth of a core at most, so the figure
says how many runs a second it comes to.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from row import Row

from edgesmith_runtime.drift.observer import Drift
from edgesmith_runtime.drift.recording import baseline_of
from edgesmith_runtime.observing import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[Any]]

DAY = 86_400.0
BASELINE = 100
"""Samples of the calibration set."""
RUNS = 200
CLASSES = 10
INPUTS = {"a picture of 224 x 224 x 3": (1, 3, 224, 224), "64 sensor figures": (1, 64)}


def measure_drift_cost(*, rounds: int = 9) -> list[Row]:
    """Microseconds of processor time a sample; some ten seconds.

    Args:
        rounds: How often each kind of input is measured, in turns; the median counts.
    """
    rng = np.random.default_rng(5)
    observers = {name: _observer(rng, shape) for name, shape in INPUTS.items()}
    found: dict[str, list[float]] = {name: [] for name in INPUTS}
    for _ in range(rounds):
        for name, drift in observers.items():
            found[name].append(_microseconds(drift, [_run(rng, INPUTS[name]) for _ in range(RUNS)]))
    return [Row(f"drift: CPU a sample, {name}", statistics.median(times), "µs") for name, times in found.items()]


def _observer(rng: np.random.Generator, shape: tuple[int, ...]) -> Drift:
    runs = [_run(rng, shape) for _ in range(BASELINE)]
    pairs = [(run.inputs, run.outputs) for run in runs]
    baseline = baseline_of(pairs, {"x": len(shape) - 1}, seed="bench", classes="scores")
    if baseline is None:
        raise SystemExit("there is no baseline: nothing is read of the samples")
    return Drift(baseline, DAY, None)


def _run(rng: np.random.Generator, shape: tuple[int, ...]) -> Run:
    scores = rng.random((1, CLASSES), np.float32)
    inputs: Tensors = {"x": rng.random(shape, np.float32)}
    outputs: Tensors = {"scores": scores / scores.sum()}
    return Run(inputs, outputs, time.time())


def _microseconds(drift: Drift, runs: list[Run]) -> float:
    """Of one run, with what is done between two of them."""
    began = time.thread_time_ns()
    for run in runs:
        drift.observe(run)
        drift.idle(run.at)
    return (time.thread_time_ns() - began) / 1000 / len(runs)
