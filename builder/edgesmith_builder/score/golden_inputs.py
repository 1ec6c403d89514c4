"""Inputs of the golden samples: few, small, and not all alike."""

from __future__ import annotations

import bz2
import math
from collections.abc import Sequence

import numpy as np

from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.score.spread import spread
from edgesmith_runtime.tensors import ANY_SIZE, DTYPES, TensorSpec, shape_text

GOLDEN_SAMPLES = 8
"""How many at most."""

FLOOR = 64 * 1024
"""Bytes, compressed, that they may have however small the model is."""

_SHARE = 4
"""They may have a quarter of the source's bytes."""

MADE_UP = 2**23
"""Values of an input that are made up for one sample, at most: all of them take the memory that `limits` reserves."""

_STEPS = 256
"""Values that a random number takes, so that random inputs compress."""


def golden_inputs(samples: Samples | None, inputs: Sequence[TensorSpec], source_size: int) -> Samples:
    """Samples spread over a set and its classes; without a set, seeded random numbers of the inputs' own shapes.

    They change with the set and not with the model: a model's size counts in powers of two, so that the same
    architecture trained anew gets the same samples. One is taken however large it is.

    Args:
        samples: The evaluation set, or else the calibration set.
        inputs: The model's inputs.
        source_size: Bytes of the source.

    Raises:
        RequestInvalid: where there is no set and an input has an open size besides the first, is too large to be made
            up, or holds text.
    """
    if samples is None:
        generator = np.random.Generator(np.random.PCG64(0))
        arrays = {spec.name: _random(spec, generator) for spec in inputs}
        samples = Samples(arrays, {spec.name: len(spec.shape) for spec in inputs}, batches=False)
    room = max(FLOOR, (1 << source_size.bit_length() >> 1) // _SHARE)
    weights: dict[int, int] = {}
    for count in range(min(GOLDEN_SAMPLES, len(samples)), 0, -1):
        picks = spread(count, len(samples), samples.classes)
        size = 0
        for pick in picks:
            size += weights.setdefault(pick, _weight(samples, pick)) if pick not in weights else weights[pick]
            if size > room:
                break
        if size <= room or count == 1:
            return _copied(samples, picks)
    raise ValueError("the set has no samples; one at least was expected")


def _copied(samples: Samples, picks: Sequence[int]) -> Samples:
    rows = picks if samples.rows is None else samples.rows[list(picks)].tolist()
    chosen = {name: np.array(array[rows]) for name, array in samples.inputs.items()}
    return Samples(chosen, samples.ranks, samples.batches)


def _weight(samples: Samples, index: int) -> int:
    """Compressed bytes of one sample."""
    feed = samples.feed(index)
    return sum(
        len(bz2.compress(array.tobytes() if array.dtype.kind != "O" else "\0".join(array.ravel()).encode()))
        for array in feed.values()
    )


def _random(spec: TensorSpec, generator: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    sizes = tuple(1 if axis == 0 and size == ANY_SIZE else size for axis, size in enumerate(spec.shape))
    if ANY_SIZE in sizes or spec.datatype == "BYTES":
        raise RequestInvalid(
            f"spec.evaluation and spec.calibration are absent and the model's input {spec.name!r} is "
            f"{spec.datatype}{shape_text(spec.shape)}; a data set was expected to take golden samples from"
        )
    sample = sizes[1:] if sizes[:1] == (1,) else sizes
    if math.prod(max(1, size) for size in sample) > MADE_UP:
        raise RequestInvalid(
            f"spec.evaluation and spec.calibration are absent and the model's input {spec.name!r} is "
            f"{spec.datatype}{shape_text(spec.shape)}; at most {MADE_UP} values were expected to make samples up, "
            "or a data set to take golden samples from"
        )
    dtype = DTYPES[spec.datatype]
    made = np.empty((GOLDEN_SAMPLES, *sample), dtype)
    for number in range(GOLDEN_SAMPLES):  # one by one: what they are made from is several times as large
        if dtype.kind == "f":
            made[number] = generator.integers(0, _STEPS, sample) / _STEPS
        else:
            made[number] = generator.integers(0, 2, sample)
    return made
