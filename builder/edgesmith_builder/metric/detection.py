"""Mean average precision of boxes at an overlap of one half."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import BOXES
from edgesmith_builder.dataset.labels import CORNERS
from edgesmith_builder.errors import DatasetMismatch
from edgesmith_builder.interval import Weights, bounded_half_width, half_width
from edgesmith_builder.metric.boxes import CLASS, SCORE, boxes_in, declared_for
from edgesmith_builder.metric.interface import Change, Evaluation
from edgesmith_runtime.engine import Engine

OVERLAP = 0.5
"""The intersection over the union from which on a box is the one that is there."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """What was found of one class in all samples, the highest scores first."""

    samples: NDArray[np.int64]
    """`[found]`, the sample of each box that was found."""
    hits: NDArray[np.bool_]
    """`[found]`, whether it is one that is there."""
    last: NDArray[np.bool_]
    """`[found]`, whether it is the last of those that score alike: no threshold lies between them."""
    there: NDArray[np.float64]
    """`[samples]`, how many boxes there are to find."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in the samples."""

    classes: tuple[Ranked, ...]
    """Those that there are boxes of."""
    samples: int

    @property
    def value(self) -> float:
        """The mean over classes, as a fraction of 1."""
        return round(self.over(np.ones(self.samples)), 6)

    @property
    def error(self) -> float:
        """See `interval.bounded_half_width`."""
        return bounded_half_width(self.over, self.samples)

    def over(self, weights: Weights) -> float:
        """The mean over the classes that there are boxes of in samples that count so often; NaN where there is none."""
        precisions = [average_precision(one, weights) for one in self.classes if weights @ one.there > 0]
        return float(np.mean(precisions)) if precisions else float("nan")

    def change(self, candidate: Self) -> Change:
        """What the candidate lost, over the same samples drawn anew."""
        error = half_width(lambda weights: self.over(weights) - candidate.over(weights), self.samples)
        return Change(round(self.value - candidate.value, 6), error)

    def same(self, candidate: Self) -> None:
        """Boxes say no one class."""


class MeanAveragePrecision:
    """The mean over classes of average precision, a box counting as found where it overlaps by one half and more.

    Where `spec.picture` declares the scored output, boxes are what a server answers by it, in pixels of the model's
    input. Otherwise the output answers `[boxes, 6]` or `[1, boxes, 6]`: left, top, right, bottom, score and class of
    each box, as detectors do that have non-maximum suppression within; what scores 0 and less is no box. Labels are
    `[samples, most boxes, 5]`: left, top, right, bottom and class in the same unit, class -1 to fill up.

    M. Everingham and others, "The PASCAL Visual Object Classes Challenge: a retrospective", International Journal of
    Computer Vision 111 (2015), 98-136: boxes are taken by falling score, each for the box of its class and sample that
    it overlaps most; a second one for the same box is wrong. Average precision is the area under precision over recall,
    precision being the highest that is reached at that recall or a higher one. Boxes that score alike are taken
    together, so that the area does not depend on their order.
    """

    name = "mAP@0.5"
    labels = BOXES
    higher = True

    def score(self, engine: Engine, evaluation: Evaluation, like: Found | None = None) -> Found:
        """See `Metric.score`."""
        labels = evaluation.labels
        hits: dict[int, list[tuple[float, int, bool]]] = defaultdict(list)
        for sample, boxes in enumerate(boxes_in(engine, evaluation, source=like is None)):
            for kind, score, hit in _judged(boxes, labels[sample]):
                hits[kind].append((-score, sample, hit))
        kinds = labels[..., CORNERS]
        classes = [
            _ranked(hits[kind], (kinds == kind).sum(axis=1)) for kind in sorted({int(k) for k in kinds.ravel()} - {-1})
        ]
        return Found(tuple(classes), len(labels))

    def check_source(self, source: Found, evaluation: Evaluation) -> None:
        """Refuse a source that finds nothing."""
        if source.value <= 0:
            by = "the output's own unit" if declared_for(evaluation) is None else "pixels of the model's input"
            raise DatasetMismatch(
                f"the model's output {evaluation.output!r} finds none of the boxes of {evaluation.field}; labels of "
                f"left, top, right, bottom and class in {by} were expected"
            )


def average_precision(ranked: Ranked, weights: Weights) -> float:
    """The area under precision over recall."""
    counted = weights[ranked.samples]
    found = np.cumsum(counted * ranked.hits)[ranked.last]
    taken = np.cumsum(counted)[ranked.last]
    recall = found / (weights @ ranked.there)
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best).sum())


def overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The intersection of a box with each of `[boxes, 4]` as a share of their union."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared: Any = np.clip(sides, 0, None).prod(axis=1)
    areas = np.clip(others[:, 2:] - others[:, :2], 0, None).prod(axis=1)
    union = np.clip(box[2:] - box[:2], 0, None).prod() + areas - shared
    found: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def _judged(boxes: NDArray[np.float64], right: NDArray[np.float64]) -> list[tuple[int, float, bool]]:
    """Class, score and whether it is there, of each box that was found in one sample."""
    taken: set[int] = set()
    judged = []
    # Not by np.argsort: its sort in AVX2 comes out wrong under QEMU 7.2.
    for place in sorted(range(len(boxes)), key=lambda number: -boxes[number, SCORE]):
        kind, hit = round(float(boxes[place, CLASS])), False
        there = np.flatnonzero(right[:, CORNERS] == kind)
        if there.size:
            shares = overlaps(boxes[place, :CORNERS], right[there, :CORNERS])
            best = int(shares.argmax())
            hit = bool(shares[best] >= OVERLAP) and int(there[best]) not in taken
            if hit:
                taken.add(int(there[best]))
        judged.append((kind, float(boxes[place, SCORE]), hit))
    return judged


def _ranked(found: list[tuple[float, int, bool]], there: NDArray[np.int64]) -> Ranked:
    ordered = sorted(found)
    scores = [score for score, _, _ in ordered]
    last = [place + 1 == len(scores) or scores[place + 1] != score for place, score in enumerate(scores)]
    return Ranked(
        np.array([sample for _, sample, _ in ordered], np.int64),
        np.array([hit for _, _, hit in ordered], bool),
        np.array(last, bool),
        there.astype(np.float64),
    )
