"""Numbers against numbers: how far off answers are, and what share of the labels' variance they explain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import NUMBERS
from edgesmith_builder.errors import DatasetMismatch
from edgesmith_builder.interval import Weights, half_width, spread
from edgesmith_builder.metric.interface import Change, Evaluation
from edgesmith_builder.score.asking import ScoreFailed, answers
from edgesmith_runtime.engine import Engine
from edgesmith_runtime.tensors import shape_text

Formula = Callable[[NDArray[np.float64], NDArray[np.float64], Weights], float]
"""A number of right values, answers (both `[samples, values]`) and how often each sample counts."""


_DECIMALS = 6

_ITSELF = 1e-6
"""An error of this share of the labels' deviation is the last bits of FP32: the model made the labels."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Right values and answers of each sample."""

    right: NDArray[np.float64]
    """`[samples, values]`."""
    said: NDArray[np.float64]
    formula: Formula
    relative: bool
    """Whether the formula is an error, whose drop is its relative rise."""

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.right)

    @property
    def value(self) -> float:
        """The formula's number over all samples, to six decimals; an error to so many of the labels' deviation."""
        return self._rounded(self.over(np.ones(self.samples)))

    @property
    def error(self) -> float:
        """See `interval.spread`."""
        return self._rounded(spread(self.over, self.samples))

    def over(self, weights: Weights) -> float:
        """The number over samples that count so often."""
        return self.formula(self.right, self.said, weights)

    def change(self, candidate: Self) -> Change:
        """What the candidate lost, over the same samples drawn anew."""
        error = half_width(lambda weights: self._lost(candidate, weights), self.samples)
        return Change(round(self._lost(candidate, np.ones(self.samples)), 6), error)

    @property
    def deviation(self) -> float:
        """The labels' standard deviation, the smallest of several values; 0 where all labels are the same."""
        found = self.right.std(axis=0)
        return float(found[found > 0].min()) if found.any() else 0.0

    def _rounded(self, number: float) -> float:
        # Labels may be amperes or pascals: no number of decimals fits both. Digits of the error itself would do, but
        # those of a small one are the last bits of its sums, in which processors differ.
        places = math.floor(math.log10(self.deviation)) if self.relative and self.deviation > 0 else 0
        return round(number, _DECIMALS - places)

    def _lost(self, candidate: Self, weights: Weights) -> float:
        ours, theirs = self.over(weights), candidate.over(weights)
        if not self.relative:
            return ours - theirs
        return theirs / ours - 1 if ours > 0 else float("nan")

    def same(self, candidate: Self) -> None:
        """No classes are said."""


class Regression:
    """A metric over numbers.

    Args:
        name: What it is called.
        formula: Computes it.
        higher: Whether a higher number is a better one; else it is an error.
    """

    labels = NUMBERS

    def __init__(self, name: str, formula: Formula, *, higher: bool) -> None:
        self.name = name
        self.higher = higher
        self._formula = formula

    def score(self, engine: Engine, evaluation: Evaluation, like: Fit | None = None) -> Fit:  # noqa: ARG002 - no need
        """See `Metric.score`; the numbers of an answer are held against the label's in order, whatever its shape."""
        right, found = evaluation.labels, []
        for answer in answers(engine, evaluation.samples, (evaluation.output,), evaluation.field):
            array = answer[evaluation.output]
            if array.dtype.kind not in "biuf" or array.size != right.shape[1]:
                raise DatasetMismatch(
                    f"the model's output {evaluation.output!r} answers {shape_text(array.shape)} and "
                    f"{evaluation.field} has {right.shape[1]} numbers for each sample in 'labels'; "
                    "as many were expected"
                )
            numbers = array.reshape(-1).astype(np.float64)
            if not np.isfinite(numbers).all():
                raise ScoreFailed(
                    f"the output {evaluation.output!r} has minus infinity for a sample of {evaluation.field}, which "
                    "is no distance from a label"
                )
            found.append(numbers)
        return Fit(right, np.array(found), self._formula, relative=not self.higher)

    def check_source(self, source: Fit, evaluation: Evaluation) -> None:
        """Refuse a source that is no better than the labels' mean, and labels that tell nothing."""
        if not source.right.std(axis=0).any():
            raise DatasetMismatch(
                f"{evaluation.field} has the same labels for every sample; different ones were expected"
            )
        explained = variance_explained(source.right, source.said, np.ones(source.samples))
        if explained <= 0:
            raise DatasetMismatch(
                f"the model's output {evaluation.output!r} has the R2 {explained:.4f} over {source.samples} samples of "
                f"{evaluation.field}, no better than the labels' mean; labels in the output's own unit were "
                "expected, or spec.evaluation.output to name the output that the labels are about"
            )
        if source.relative and source.over(np.ones(source.samples)) <= _ITSELF * source.deviation:
            raise DatasetMismatch(
                f"the model's output {evaluation.output!r} is the labels of {evaluation.field} themselves; labels "
                "that the model did not make were expected, since a rise is measured as a share of the source's error"
            )


def root_mean_square(right: NDArray[np.float64], said: NDArray[np.float64], weights: Weights) -> float:
    """The root of the mean of squared differences, over all values."""
    return float(np.sqrt((weights @ ((said - right) ** 2).mean(axis=1)) / weights.sum()))


def mean_absolute(right: NDArray[np.float64], said: NDArray[np.float64], weights: Weights) -> float:
    """The mean of the differences' sizes, over all values."""
    return float((weights @ np.abs(said - right).mean(axis=1)) / weights.sum())


def variance_explained(right: NDArray[np.float64], said: NDArray[np.float64], weights: Weights) -> float:
    """One minus the squared differences as a share of those from the mean, for each value; their mean.

    Values that are the same in all samples say nothing and are left out; NaN where all are.
    """
    mean = (weights @ right) / weights.sum()
    whole, left = weights @ (right - mean) ** 2, weights @ (said - right) ** 2
    there = whole > 0
    return float((1 - left[there] / whole[there]).mean()) if there.any() else float("nan")


def rmse() -> Regression:
    """The root of the mean squared error, in the labels' unit: a lower one is better, a drop is its relative rise."""
    return Regression("RMSE", root_mean_square, higher=False)


def mae() -> Regression:
    """The mean absolute error, in the labels' unit: a lower one is better, a drop is its relative rise."""
    return Regression("MAE", mean_absolute, higher=False)


def r2() -> Regression:
    """The coefficient of determination, 1 at best and 0 for the labels' mean; of several values the mean over them.

    S. Wright, "Correlation and causation", Journal of Agricultural Research 20 (1921), 557-585.
    """
    return Regression("R2", variance_explained, higher=True)
