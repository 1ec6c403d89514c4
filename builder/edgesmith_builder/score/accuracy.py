"""Accuracy, counted with the engine that will serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import DatasetMismatch
from edgesmith_runtime.engine import Engine, EngineError
from edgesmith_runtime.tensors import shape_text

BATCH = 32
"""Samples at once, where the model takes several."""


class ScoreFailed(Exception):  # noqa: N818 - an outcome of the ladder, turned into a sentence there
    """The candidate does not answer, or answers with NaN."""


@dataclass(frozen=True, slots=True)
class Score:
    """How often a candidate is right."""

    right: int
    samples: int

    @property
    def accuracy(self) -> float:
        """As a fraction of 1, to six digits: enough for a million samples."""
        return round(self.right / self.samples, 6)


def score(engine: Engine, samples: Samples, field: str) -> Score:
    """Count how often the largest value of the first output is at the label's place.

    An integer output without an axis for classes is taken as the class itself, as converters from scikit-learn have it.

    Args:
        engine: The candidate.
        samples: The evaluation set, with labels.
        field: Where the request names the set, for messages.

    Raises:
        ScoreFailed: where the candidate does not answer with numbers.
        DatasetMismatch: where the labels do not fit the first output.
    """
    if samples.labels is None:
        raise ValueError("samples have no labels; an evaluation set was expected")
    name, batch, right, first = engine.outputs[0].name, BATCH if samples.batches else 1, 0, 0
    while first < len(samples):
        count = min(batch, len(samples) - first)
        try:
            answer = engine.infer(samples.feed(first, count), (name,))[name]
        except EngineError as error:
            if batch > 1:
                batch = 1  # a free first axis that the graph inside does not keep to
                continue
            raise ScoreFailed(f"sample {first} of {field} is not answered: {error}") from error
        if answer.dtype.kind == "f" and not np.isfinite(answer).all():
            raise ScoreFailed(f"the output {name!r} has NaN or infinity for sample {first} of {field}")
        labels = samples.labels[first : first + count]
        right += int((_classes(answer, labels, name, field) == labels).sum())
        first += count
    return Score(right, len(samples))


def _classes(answer: NDArray[Any], labels: NDArray[Any], name: str, field: str) -> NDArray[Any]:
    if answer.dtype.kind in "iu" and answer.size == len(labels):
        return answer.reshape(-1)
    rows = answer.reshape(len(labels), -1) if answer.size % len(labels) == 0 else answer.reshape(0, 0)
    classes = rows.shape[1]
    # More than one axis besides the samples is an image or a sequence, whose argmax is no class.
    wide = sum(size > 1 for size in answer.shape) > (2 if len(labels) > 1 else 1)
    if classes < 2 or wide:  # noqa: PLR2004 - there is nothing to choose between fewer
        raise DatasetMismatch(
            f"the model's first output {name!r} answers {shape_text(answer.shape)} "
            f"for {len(labels)} samples of {field}; one value for each class was expected to count accuracy"
        )
    if int(labels.max()) >= classes:
        raise DatasetMismatch(
            f"{field} has the label {int(labels.max())}; the model's first output {name!r} has {classes} classes"
        )
    chosen: NDArray[Any] = np.argmax(rows, axis=1)
    return chosen
