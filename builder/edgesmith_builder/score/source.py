"""What the source itself answers to some samples: what candidates are held against when nobody knows what is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.score.asking import Answer, answers
from edgesmith_builder.score.channels import Layout, extent, layout_of
from edgesmith_builder.score.spread import spread
from edgesmith_runtime.engine import Engine

SAMPLES = 128
"""How many samples are compared at most."""

FEWEST = 8
"""How many are compared however large the answers are."""

MEMORY = 256 * 1000**2
"""Bytes of the source's answers that are held at once."""


_NEAR = 1e-3
"""How near to 1 probabilities add up, in float16 too."""


@dataclass(frozen=True, slots=True)
class Output:
    """What is known of one output of the source."""

    layout: Layout
    open: bool
    """Whether its shape differs from sample to sample, as that of a detector's findings does."""
    classes: bool
    """Whether its largest value is what it says: one value for each class name, or probabilities that add up to 1."""
    places: int | None
    """The axis along which probabilities of classes lie, at each of several places: letters of a line of text, pixels
    of an image. None where there is none."""
    spans: NDArray[np.float64]
    """`[channels]`, between the smallest and the largest finite value of each channel; 0 where it is constant."""


@dataclass(frozen=True, slots=True)
class SourceAnswers:
    """The source's answers to some samples of a set."""

    samples: Samples
    field: str
    """Where the request names the set, for messages."""
    answers: tuple[Answer, ...]
    outputs: Mapping[str, Output]


def ask_source(engine: Engine, samples: Samples, field: str, names: Sequence[str] | None = None) -> SourceAnswers:
    """Ask the source.

    Args:
        engine: The source.
        samples: A set; samples spread over it are asked.
        field: Where the request names it, for messages.
        names: The model's class names, where it has them.

    Raises:
        ScoreFailed: where it does not answer with numbers.
    """
    outputs = tuple(spec.name for spec in engine.outputs)
    (first,) = answers(engine, samples.take([0]), outputs, field)
    size = max(1, sum(array.nbytes for array in first.values()))
    count = min(len(samples), max(FEWEST, min(SAMPLES, MEMORY // size)))
    chosen = samples.take(spread(count, len(samples), None))
    found = tuple(answers(engine, chosen, outputs, field))
    shapes = {spec.name: spec.shape for spec in engine.outputs}
    known = {name: _output([answer[name] for answer in found], names, shapes[name]) for name in outputs}
    return SourceAnswers(chosen, field, found, known)


def _output(found: Sequence[NDArray[Any]], names: Sequence[str] | None, shape: Sequence[int]) -> Output:
    shapes = [array.shape for array in found]
    layout, differs = layout_of(shapes, shape), len(set(shapes)) > 1
    if found[0].dtype.kind not in "biuf":
        return Output(layout, differs, classes=False, places=None, spans=np.zeros(layout.channels))
    classes = _says_classes(found, layout, names)
    places = None if classes or differs else _places(found)
    if places is not None:
        layout = Layout((), ())  # probabilities all have one range
    lowest, highest = extent(layout, found)
    spans = np.where(highest > lowest, highest - lowest, 0.0)
    return Output(layout, differs, classes=classes, places=places, spans=spans)


def _places(found: Sequence[NDArray[Any]]) -> int | None:
    """The axis along which all answers are at least 0 and add up to 1, at each of several places."""
    first = found[0]
    if first.dtype.kind != "f" or not all(bool((array >= 0).all()) for array in found):
        return None
    for axis, size in enumerate(first.shape):
        if 1 < size < first.size and all(bool((abs(array.sum(axis) - 1) < _NEAR).all()) for array in found):
            return axis
    return None


def _says_classes(found: Sequence[NDArray[Any]], layout: Layout, names: Sequence[str] | None) -> bool:
    first = found[0]
    if first.dtype.kind != "f" or not 1 < first.size == layout.channels:
        return False
    if names is not None and len(names) == first.size:
        return True
    return all(bool((array >= 0).all()) and abs(float(array.sum()) - 1) < _NEAR for array in found)
