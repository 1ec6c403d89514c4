"""The range of every tensor over the calibration set: the smallest and the largest value that it takes.

Each sample runs alone on one thread without graph optimisation, several samples at once on as many threads as there
are: a sample's values do not depend on its neighbours, and minimum and maximum do not depend on the order, so the
ranges are the same to the bit whatever the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization.calibrate import MinMaxCalibrater

from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize.failures import failing_as

MOST = 4
"""Samples at once at most: each has all that a network has inside, and a build's memory is bounded."""

Ranges = dict[str, tuple[float, float]]
"""Lowest and highest value by tensor, zero within them; infinite or NaN where the tensor was."""


def calibrate(model: Path, samples: Samples, op_types: list[str], folder: Path, threads: int) -> Ranges:
    """Measure the range of every tensor that the given operators read or write.

    Args:
        model: The fp32 model, prepared.
        samples: What to run.
        op_types: The operators.
        folder: Where to put what is in between.
        threads: How many samples to run at once; it does not change what comes out.

    Raises:
        QuantizationFailed: where a sample is not answered.
    """
    augmented = folder / "augmented.onnx"
    with failing_as("the ranges inside it cannot be measured"):
        calibrator = MinMaxCalibrater(model, op_types, str(augmented))
        calibrator.augment_graph()
        own = calibrator.num_model_outputs
        del calibrator  # it holds the model
        session = _session(augmented)
    augmented.unlink()
    names = [output.name for output in session.get_outputs()[own:]]

    def measure(index: int) -> list[float]:
        with failing_as(f"sample {index} of spec.calibration is not answered"):
            answers = session.run(names, samples.feed(index))
        return [float(answer.item()) if answer.size else 0.0 for answer in answers]

    return _extremes(_all(measure, len(samples), threads), names)


def finite(bounds: tuple[float, float]) -> bool:
    """Whether a range can be cut into 256 steps."""
    return math.isfinite(bounds[0]) and math.isfinite(bounds[1]) and math.isfinite(bounds[1] - bounds[0])


def _all(measure: Any, count: int, threads: int) -> Iterator[list[float]]:
    with ThreadPoolExecutor(max_workers=max(1, min(threads, MOST)), thread_name_prefix="calibrate") as pool:
        try:
            yield from pool.map(measure, range(count))
        finally:
            pool.shutdown(cancel_futures=True)


def _extremes(rows: Iterator[list[float]], names: list[str]) -> Ranges:
    """The smallest of each column named `X_ReduceMin` and the largest of each named `X_ReduceMax`, with zero, by X."""
    lows = np.array([name.endswith("_ReduceMin") for name in names])
    table = np.zeros(len(names))  # NaN stays, once it is there
    for row in rows:
        table = np.where(lows, np.minimum(table, row), np.maximum(table, row))
    pairs: dict[str, list[float]] = {}
    for name, low, value in zip(names, lows, table, strict=True):
        pairs.setdefault(name.rpartition("_")[0], [0.0, 0.0])[0 if low else 1] = float(value)
    return {name: (low, high) for name, (low, high) in sorted(pairs.items())}


def _session(augmented: Path) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(str(augmented), options, providers=["CPUExecutionProvider"])
