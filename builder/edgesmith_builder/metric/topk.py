"""Top-k accuracy: the share of samples whose class is among the k that score highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import CLASSES
from edgesmith_builder.errors import DatasetMismatch, RequestInvalid
from edgesmith_builder.metric.classes import check_above_chance, no_class, numbered
from edgesmith_builder.metric.interface import Change, Evaluation
from edgesmith_builder.metric.proportion import changed, same_share, share, share_error
from edgesmith_builder.score.asking import answers
from edgesmith_runtime.engine import Engine
from edgesmith_runtime.tensors import shape_text

_LARGEST = 1000


@dataclass(frozen=True, slots=True)
class Among:
    """For which samples the class is among the first."""

    right: NDArray[np.bool_]
    chosen: NDArray[np.int64]
    """The class that scores highest, for each sample."""
    classes: int

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.right)

    @property
    def value(self) -> float:
        """The share, as a fraction of 1."""
        return share(self.right)

    @property
    def error(self) -> float:
        """See `proportion.share_error`."""
        return share_error(self.right)

    def change(self, candidate: Self) -> Change:
        """See `proportion.change_of`."""
        return changed(self.right, candidate.right)

    def same(self, candidate: Self) -> float:
        """The share of samples for which the same class scores highest."""
        return same_share(self.chosen, candidate.chosen)


class TopK:
    """The share of samples whose class is among the `k` that score highest, 5 unless told otherwise.

    Of classes that score alike those with the lower numbers come first, as one would be taken for the answer.

    Args:
        k: A whole number of 2 and more, as text.

    Raises:
        RequestInvalid: where it is none.
    """

    labels = CLASSES
    higher = True

    def __init__(self, k: str = "5") -> None:
        if not (k.isascii() and k.isdigit() and 1 < int(k[:9]) <= _LARGEST):
            raise RequestInvalid(f"build.metricOptions.k is {k!r}; a number from 2 to {_LARGEST} was expected")
        self.k = int(k)
        self.name = f"top-{self.k} accuracy"

    def score(self, engine: Engine, evaluation: Evaluation, like: Among | None = None) -> Among:  # noqa: ARG002 - no need
        """See `Metric.score`."""
        scores = []
        for answer in answers(engine, evaluation.samples, (evaluation.output,), evaluation.field):
            array = answer[evaluation.output]
            if array.dtype.kind not in "iuf" or sum(size > 1 for size in array.shape) != 1:
                raise no_class(evaluation, f"answers {shape_text(array.shape)}")
            scores.append(array.reshape(-1))
        classes = scores[0].size
        if any(one.size != classes for one in scores):
            raise no_class(evaluation, "answers another number of values from sample to sample")
        if self.k >= classes:
            raise DatasetMismatch(
                f"the model's output {evaluation.output!r} has {classes} classes and build.metricOptions.k is "
                f"{self.k}; fewer were expected"
            )
        wanted = numbered(evaluation.labels, evaluation, classes)
        right = [_place(one, int(label)) < self.k for one, label in zip(scores, wanted, strict=True)]
        return Among(np.array(right), np.array([int(one.argmax()) for one in scores]), classes)

    def check_source(self, source: Among, evaluation: Evaluation) -> None:
        """Refuse a source that is no better than guessing `k` classes."""
        check_above_chance(int(source.right.sum()), source.classes, evaluation, self.k)


def _place(scores: NDArray[Any], label: int) -> int:
    """How many classes come before one."""
    own = scores[label]
    return int((scores > own).sum() + (scores[:label] == own).sum())
