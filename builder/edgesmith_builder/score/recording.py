"""Golden samples: a few inputs with the winner's own answers, replayed on every device before it serves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.score.accuracy import ScoreFailed
from edgesmith_runtime.engine import Engine, EngineError
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.tensors import ANY_SIZE, DTYPES, TensorSpec, shape_text

GOLDEN_SAMPLES = 8
"""How many."""

TOLERANCE = 0.05
"""How far a device's answer may be off, as a share of the output's range: int8 kernels differ between processors."""

_GRID = 1 << 10
"""Steps that an output's range is recorded in: a fiftieth of the tolerance, so that the last bits, in which processors
differ, do not reach the image."""


def golden_inputs(samples: Samples | None, inputs: Sequence[TensorSpec]) -> Samples:
    """The first samples of a set; without one, seeded random numbers of the inputs' own shapes.

    Raises:
        RequestInvalid: where there is no set and an input has an open size besides the first, or holds text.
    """
    if samples is not None:
        chosen = {name: np.array(array[:GOLDEN_SAMPLES]) for name, array in samples.inputs.items()}
        return Samples(chosen, samples.ranks, samples.batches)
    generator = np.random.Generator(np.random.PCG64(0))
    arrays = {spec.name: _random(spec, generator) for spec in inputs}
    return Samples(arrays, {spec.name: len(spec.shape) for spec in inputs}, batches=False)


def record(engine: Engine, inputs: Samples) -> Golden:
    """Ask the winner, one sample at a time, and write down what it says.

    Outputs whose size differs from sample to sample are left out, unless there is no other.

    Raises:
        ScoreFailed: where it does not answer with numbers.
    """
    answers: list[dict[str, NDArray[Any]]] = []
    for index in range(len(inputs)):
        try:
            answers.append(engine.infer(inputs.feed(index)))
        except EngineError as error:
            raise ScoreFailed(f"golden sample {index} is not answered: {error}") from error
    names = [name for name in answers[0] if len({answer[name].shape for answer in answers}) == 1]
    if not names:
        names, answers = list(answers[0]), answers[:1]
    stacked = {name: np.stack([_sample(answer[name]) for answer in answers]) for name in names}
    for name, array in stacked.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ScoreFailed(f"the output {name!r} has NaN or infinity for a golden sample")
    kept = {name: array[: len(answers)] for name, array in inputs.inputs.items()}
    return Golden(kept, {name: on_grid(array) for name, array in stacked.items()})


def on_grid(array: NDArray[Any]) -> NDArray[Any]:
    """Round to steps of about a thousandth of the range. The step is a power of two, so it does not wobble itself."""
    if array.dtype.kind != "f":
        return array
    span = float(np.max(array)) - float(np.min(array))
    if span == 0.0:
        span = abs(float(np.max(array)))
    if span == 0.0:
        return array
    step = math.ldexp(1.0, math.frexp(span)[1]) / _GRID
    rounded: NDArray[Any] = (np.round(array.astype(np.float64) / step) * step).astype(array.dtype)
    rounded += array.dtype.type(0.0)  # no negative zeros
    return rounded


def _sample(answer: NDArray[Any]) -> NDArray[Any]:
    """One sample's answer without its axis of one; text in the form that needs no pickle."""
    plain = answer.astype(np.str_) if answer.dtype.kind == "O" else answer
    return plain[0] if plain.ndim and plain.shape[0] == 1 else plain


def _random(spec: TensorSpec, generator: np.random.Generator) -> NDArray[Any]:
    sizes = tuple(1 if axis == 0 and size == ANY_SIZE else size for axis, size in enumerate(spec.shape))
    if ANY_SIZE in sizes or spec.datatype == "BYTES":
        raise RequestInvalid(
            f"spec.evaluation and spec.calibration are absent and the model's input {spec.name!r} is "
            f"{spec.datatype}{shape_text(spec.shape)}; a data set was expected to take golden samples from"
        )
    shape = (GOLDEN_SAMPLES, *sizes[1:]) if sizes[:1] == (1,) else (GOLDEN_SAMPLES, *sizes)
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "f":
        return generator.random(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)
