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


@dataclass(frozen=True, slots=True)
class Output:
    """What is known of one output of the source."""

    layout: Layout
    open: bool
    """Whether its shape differs from sample to sample, as that of a detector's findings does."""
    classes: bool
    """Whether its largest value is what it says: one value for each class name, or probabilities that add up to 1."""
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
    known = {name: _output([answer[name] for answer in found], names) for name in outputs}
    return SourceAnswers(chosen, field, found, known)


def _output(found: Sequence[NDArray[Any]], names: Sequence[str] | None) -> Output:
    shapes = [array.shape for array in found]
    layout = layout_of(shapes)
    if found[0].dtype.kind not in "biuf":
        return Output(layout, len(set(shapes)) > 1, classes=False, spans=np.zeros(layout.channels))
    lowest, highest = extent(layout, found)
    spans = np.where(highest > lowest, highest - lowest, 0.0)
    return Output(layout, len(set(shapes)) > 1, classes=_says_classes(found, layout, names), spans=spans)


def _says_classes(found: Sequence[NDArray[Any]], layout: Layout, names: Sequence[str] | None) -> bool:
    first = found[0]
    if first.dtype.kind != "f" or not 1 < first.size == layout.channels:
        return False
    if names is not None and len(names) == first.size:
        return True
    return all(bool((array >= 0).all()) and abs(float(array.sum()) - 1) < 1e-3 for array in found)  # noqa: PLR2004 - float16's
