"""Macro F1: the mean over classes of the harmonic mean of precision and recall, so that rare classes count as much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import CLASSES
from edgesmith_builder.interval import Weights, bounded_half_width, half_width
from edgesmith_builder.metric.classes import Said, check_above_chance, said
from edgesmith_builder.metric.interface import Change, Evaluation
from edgesmith_builder.metric.proportion import same_share
from edgesmith_runtime.engine import Engine


@dataclass(frozen=True, slots=True)
class Balanced:
    """Which class was said and which is right, for each sample."""

    said: Said
    kinds: NDArray[np.int64]
    """`[2, samples]`, the right class and the one that was said, as numbers of the classes that occur as either."""

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.said.chosen)

    @property
    def value(self) -> float:
        """The mean over classes, as a fraction of 1."""
        return round(self.over(np.ones(self.samples)), 6)

    @property
    def error(self) -> float:
        """See `interval.bounded_half_width`."""
        return bounded_half_width(self.over, self.samples)

    def over(self, weights: Weights) -> float:
        """The value over samples that count so often; classes that do not occur among them are left out."""
        most = int(self.kinds.max()) + 1
        right, chosen = self.kinds
        hits = np.bincount(right, weights * (right == chosen), most)
        both = np.bincount(right, weights, most) + np.bincount(chosen, weights, most)
        there = both > 0
        return float((2 * hits[there] / both[there]).mean())

    def change(self, candidate: Self) -> Change:
        """What the candidate lost, over the same samples drawn anew."""
        error = half_width(lambda weights: self.over(weights) - candidate.over(weights), self.samples)
        return Change(round(self.value - candidate.value, 6), error)

    def same(self, candidate: Self) -> float:
        """The share of samples for which both say the same class."""
        return same_share(self.said.chosen, candidate.said.chosen)


class MacroF1:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), over classes that are said or right for some sample.

    J. Opitz and S. Burst, "Macro F1 and Macro F1" (2019), arXiv:1911.03347: the arithmetic mean over classes.
    """

    name = "macro F1"
    labels = CLASSES
    higher = True

    def score(self, engine: Engine, evaluation: Evaluation, like: Balanced | None = None) -> Balanced:
        """See `Metric.score`."""
        found = said(engine, evaluation, like.said if like is not None else None)
        right, chosen = found.wanted.tolist(), found.chosen.tolist()
        places = {kind: place for place, kind in enumerate(sorted({*right, *chosen}))}
        return Balanced(found, np.array([[places[kind] for kind in kinds] for kinds in (right, chosen)], np.int64))

    def check_source(self, source: Balanced, evaluation: Evaluation) -> None:
        """Refuse a source that is no better than guessing."""
        check_above_chance(int(source.said.right.sum()), source.said.classes, evaluation)
