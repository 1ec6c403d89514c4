"""How the channels of some tensors vary together over the calibration set: their means and their covariance.

Activations are cut to whole numbers of some twelve bits first. Then every sum is exact in double precision, and does
not depend on the order in which a processor's library adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.prune.layout import Layout
from edgesmith_builder.prune.reading import Shapes
from edgesmith_builder.quantize.failures import failing_as

POSITIONS = 256
"""Positions of one sample that are looked at, at equal distances: neighbours are alike."""

_BITS = 11
"""Bits of the largest value of the first sample; larger ones later on have more."""
_MOST = 1 << 17
"""Largest whole number: squares of as many as there are samples and positions add up to less than 2^53."""


@dataclass(slots=True)
class Moments:
    """Of the channels of one tensor, in its own unit."""

    layout: Layout
    channels: int
    unit: float = 0.0
    """What a whole number of 1 stands for, a power of two; 0 before the first sample."""
    count: int = 0
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    square: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, array: NDArray[Any]) -> None:
        """Take one sample's values in."""
        rows = np.moveaxis(array, self.layout.axis, -1)
        if self.layout.repeat > 1:
            rows = np.moveaxis(rows.reshape(*rows.shape[:-1], self.channels, self.layout.repeat), -1, 0)
        rows = rows.reshape(-1, self.channels)
        rows = rows[:: max(1, math.ceil(len(rows) / POSITIONS))].astype(np.float64)
        if not np.isfinite(rows).all():
            raise CompileFailed("inside it are values that are no numbers for a sample of spec.calibration")
        if not self.unit:
            self.unit = 2.0 ** (math.frexp(float(np.abs(rows).max(initial=0)) or 1.0)[1] - _BITS)
            self.total, self.square = np.zeros(self.channels), np.zeros((self.channels, self.channels))
        whole = np.clip(np.rint(rows / self.unit), -_MOST, _MOST)
        self.count += len(whole)
        self.total += whole.sum(axis=0)
        self.square += whole.T @ whole

    @property
    def means(self) -> NDArray[np.float64]:
        """`[channels]`."""
        return self.total / self.count * self.unit

    @property
    def covariance(self) -> NDArray[np.float64]:
        """`[channels, channels]`, in units squared: what comes of it is a ratio."""
        means = self.total / self.count
        return self.square / self.count - means[:, None] * means[None, :]


def shapes_of(model: onnx.ModelProto, samples: Samples, folder: Path) -> Shapes:
    """The shape of every tensor, as one sample has it.

    Raises:
        CompileFailed: where the sample is not answered.
    """
    names = [value.name for value in model.graph.input]
    names += [name for node in model.graph.node for name in node.output if name]
    outputs = {value.name for value in model.graph.input}
    session = _session(model, [name for name in names if name not in outputs], folder)
    feed = samples.feed(0)
    found = {name: np.shape(array) for name, array in feed.items()}
    made = [output.name for output in session.get_outputs()]
    with failing_as("sample 0 of spec.calibration is not answered"):
        answers = session.run(made, feed)
    return found | {name: tuple(np.shape(answer)) for name, answer in zip(made, answers, strict=True)}


def measure(
    model: onnx.ModelProto, wanted: Mapping[str, tuple[Layout, int]], samples: Samples, folder: Path
) -> dict[str, Moments]:
    """Run the calibration set and take in the channels of some tensors.

    Args:
        model: The model.
        wanted: By tensor its layout and its channels.
        samples: What to run, one at a time on one thread.
        folder: Where to put what is in between.

    Raises:
        CompileFailed: where a sample is not answered with numbers.
    """
    found = {name: Moments(layout, channels) for name, (layout, channels) in wanted.items()}
    inputs = {value.name for value in model.graph.input}
    made = [name for name in wanted if name not in inputs]
    session = _session(model, made, folder)
    for index in range(len(samples)):
        feed = samples.feed(index)
        with failing_as(f"sample {index} of spec.calibration is not answered"):
            answers = session.run(made, feed)
        for name, array in zip(made, answers, strict=True):
            found[name].add(array)
    return found


def _session(model: onnx.ModelProto, names: Iterable[str], folder: Path) -> Any:
    """A session that answers with tensors from inside as well, with a processor's choices as small as can be."""
    known = {output.name for output in model.graph.output}
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    file = folder / "seen.onnx"
    onnx.save_model(seen, file)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with failing_as("it does not load in the form that it is pruned in"):
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    file.unlink()
    return session
