"""A calibration set that shows the model one class only: ranges measured on it are too narrow for the others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import DatasetMismatch
from edgesmith_builder.metric.classes import class_of, threshold_of
from edgesmith_builder.metric.interface import Evaluation
from edgesmith_builder.score.asking import alone
from edgesmith_runtime.engine import Engine

CHANCE = 1e-3
"""How likely samples of the most frequent class alone may be, drawn as the evaluation set was, to be refused."""


def check_classes(engine: Engine, calibration: Samples, what: str, evaluation: Evaluation) -> None:
    """Refuse a calibration set for all of whose samples the source says the same class, where that is no chance.

    Samples are asked one by one until two classes were said, so a set of several classes costs a few answers.

    Args:
        engine: The source.
        calibration: The calibration set.
        what: What messages call it: `spec.calibration.uri s3://…`.
        evaluation: The set that says which classes there are, and how frequent.

    Raises:
        DatasetMismatch: naming the class.
        ScoreFailed: where the source does not answer a sample.
    """
    _, counts = np.unique(evaluation.labels, return_counts=True)
    frequent = counts.max() / counts.sum()
    if len(counts) == 1 or len(calibration) * math.log(frequent) > math.log(CHANCE):
        return
    found: list[Any] = []
    for index in np.random.default_rng(0).permutation(len(calibration)):  # sets are often sorted by class
        answer = alone(engine, calibration, int(index), (evaluation.output,), "spec.calibration")
        found.append(class_of(answer[evaluation.output], evaluation)[1])
        # All answers together say what a single number means, so this is not asked at each: it would be quadratic.
        if len(found).bit_count() == 1 and _several(found):
            return
    if _several(found):
        return
    raise DatasetMismatch(
        f"{what} shows the model one class only: its output {evaluation.output!r} says the same for all {len(found)} "
        f"samples, and {evaluation.field} has {len(counts)} classes; samples of every class were expected"
    )


def _several(found: list[Any]) -> bool:
    """Whether these answers are more than one class."""
    values = np.array(found)
    if values.dtype.kind == "U":
        return len({*found}) > 1
    threshold = threshold_of(values)
    return len({*(values if threshold is None else values > threshold).tolist()}) > 1
