"""Judges a window against the baseline, and says when an episode of drift begins and ends.

Two questions, since what a device sees within a day is not what it sees over one. *Is it like the baseline?* is asked
of a whole ring, which covers a cycle: every feature's PSI, and the discrepancy of each sketch, against limits that
know both sizes. *Is it anything that the baseline has?* is asked of the newest spans: most samples of each of them
being novel is no hour of a day that the baseline covers.
"""

from __future__ import annotations

import enum
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edgesmith_runtime.drift.histograms import SLOTS
from edgesmith_runtime.drift.limits import (
    LEAST_DISCREPANCY,
    chance,
    gamma_limit,
    least_design,
    psi,
    psi_limits,
)
from edgesmith_runtime.drift.pace import Pace
from edgesmith_runtime.drift.readings import read_all
from edgesmith_runtime.drift.window import BLOCKS, SPANS, Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from edgesmith_runtime.drift.baseline import Baseline, Sketch

__all__ = ["COUNTED", "MOST_ROWS", "Figure", "State", "Watch"]

COUNTED: Final = 50
"""Samples of a span where there is no cycle."""
_FEWEST: Final = 200
"""Samples of a ring that are judged."""
_FEWEST_RECENT: Final = 10.0
"""Samples of each span in which novel ones are counted."""
MOST_ROWS: Final = 16
"""Samples of one request that are looked at."""
_NOVEL: Final = 0.5
"""The share of novel samples that is drift."""
_QUIET: Final = 0.8
"""The share of its limit that every figure is below where an episode ends."""
NOVEL, SKETCH, SCORES = "novel", "sketch", "scores"
"""What figures that are no feature's are called."""
TOGETHER: Final = frozenset((NOVEL, SKETCH, SCORES))


class State(enum.StrEnum):
    """What is known."""

    LEARNING = "Learning"
    """Too little was seen."""
    STEADY = "Steady"
    """It is like the baseline."""
    DRIFTED = "Drifted"
    """It is not."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that is judged.

    Attributes:
        name: A feature's, or one of `TOGETHER`.
        value: The PSI, the share of novel samples, or the squared discrepancy.
        limit: What it is held against.
    """

    name: str
    value: float
    limit: float

    @property
    def ratio(self) -> float:
        """The value as a share of its limit."""
        return self.value / self.limit if self.limit > 0 and math.isfinite(self.limit) else 0.0


class Watch:
    """Watches one stream of samples. For one thread.

    Args:
        baseline: What they are held against.
        cycle: Seconds in which what is seen may change and come back, as it does in the baseline; 0: samples do not
            depend on the time of day nor on each other, a span is `COUNTED` samples, and `Pace` says when it is judged.
    """

    def __init__(self, baseline: Baseline, cycle: float) -> None:
        self.baseline = baseline
        self.cycle = cycle
        self.window = Window(len(baseline.names))
        self.state = State.LEARNING
        self.since = 0.0
        """When `state` began, in seconds since 1970; 0 for the first."""
        self.figures: tuple[Figure, ...] = ()
        """As they were when the ring was last judged, largest share of its limit first."""
        self.novel = Figure(NOVEL, 0.0, _NOVEL)
        self.samples = 0
        self.episodes = 0
        self.quiet = 0
        self.pace = Pace(cycle / BLOCKS if cycle else float(COUNTED * SPANS))
        self.ends = 0.0
        """When the present span ends; 0 before the first."""

    @property
    def seconds(self) -> float:
        """Of a span; 0 where samples are counted."""
        return self.cycle / (BLOCKS * SPANS)

    def see(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]], at: float
    ) -> NDArray[np.float64]:
        """Take up a run.

        Args:
            inputs: What the model was given.
            outputs: What it answered.
            at: When, in seconds since 1970.

        Returns:
            How far each of its samples is from the baseline; see `Sketch.distances`. Empty where that is not known.
        """
        found = read_all(self.baseline.readings, inputs, outputs, MOST_ROWS)
        if found is None or not len(found[0]):
            self.pass_to(at)
            return np.zeros(0)
        scores = self.baseline.scores
        return self.take(*found, at, None if scores is None else scores.reading.read(outputs, MOST_ROWS))

    def distances(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """How far the samples of a run are from the baseline, without taking it up; see `see`."""
        sketch, found = self.baseline.sketch, read_all(self.baseline.readings, inputs, outputs, sys.maxsize)
        if sketch is None or found is None or not len(found[0]):
            return np.zeros(0)
        return sketch.distances(sketch.scaling.embed_quickly(found[0][:, : self.baseline.inside]))

    def take(
        self,
        features: NDArray[np.float64],
        present: NDArray[np.bool_],
        at: float,
        scores: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Take up samples that were read; see `readings.read_all`, `scores.Scores.read` and `see`."""
        self.pass_to(at)
        self.pace.begin(at)
        span, count = self.window.span, len(features)
        self.samples += count
        span.marks[0] += count
        where = np.flatnonzero(present)
        spots = self.baseline.places(features)[:, where] + where * SLOTS
        span.counts += np.bincount(spots.reshape(-1), minlength=span.counts.size).reshape(span.counts.shape)
        sketch = self.baseline.sketch
        distances = np.zeros(0)
        if sketch is not None:
            embedded = sketch.scaling.embed_quickly(features[:, : self.baseline.inside])
            span.waves[0] += embedded.sum(0)
            distances = sketch.distances(embedded)
            span.marks[1] += int((distances > 1).sum())
        if scores is not None and len(scores) == count:
            self._take_scores(scores)
        if not self.cycle and span.size >= COUNTED:
            self._close(at)
        return distances

    def _take_scores(self, scores: NDArray[np.float64]) -> None:
        """Take up those that are numbers: of the others a histogram has a bin."""
        sketched, numbers = self.baseline.scores, scores[np.isfinite(scores).all(1)]
        if sketched is not None and len(numbers):
            self.window.span.waves[1] += sketched.sketch.scaling.embed_quickly(numbers).sum(0)
            self.window.span.marks[2] += len(numbers)

    def pass_to(self, now: float) -> None:
        """Let time pass.

        Args:
            now: Seconds since 1970.
        """
        if not self.cycle:
            return
        span = self.seconds
        if not self.ends or now < self.ends - 2 * span:  # the first, or the clock was set back
            self.ends = now + span
        elif now >= self.ends + self.cycle:  # nothing of the ring is left
            self.window.clear()
            self.ends = now + span
        while now >= self.ends:
            self._close(self.ends)
            self.ends += span

    def left(self, now: float) -> float:
        """How many seconds are left of the present span; infinitely many where spans are counted in samples.

        Args:
            now: Seconds since 1970.
        """
        return max(0.0, self.ends - now) if self.cycle else math.inf

    def look(self) -> None:
        """Measure the ring as it is, without judging it: after a restart, say."""
        if self.window.full and self.window.sizes.sum() >= _FEWEST:
            self.figures = self._ranked()

    def _ranked(self) -> tuple[Figure, ...]:
        return tuple(sorted(self._measured(), key=lambda one: (-one.ratio, one.name)))

    def _close(self, at: float) -> None:
        ended = self.window.close_span()
        self._judge_recent(at)
        if ended:
            self._judge(at)

    def _judge_recent(self, at: float) -> None:
        sizes, novel = self.window.recent.T
        if (sizes < _FEWEST_RECENT).any():
            self.novel = Figure(NOVEL, 0.0, _NOVEL)
            return
        # The least of them: each span has more than half.
        self.novel = Figure(NOVEL, float((novel / sizes).min()), _NOVEL)
        if self.novel.ratio > 1 and self.state is not State.DRIFTED:
            self._begin(at)

    def _judge(self, at: float) -> None:
        window = self.window
        if not window.full or window.sizes.sum() < _FEWEST:
            return
        if not self.cycle and not self.pace.due(at):
            return
        self.figures = self._ranked()
        worst = max(one.ratio for one in (*self.figures, self.novel))
        self.quiet = self.quiet + 1 if worst < _QUIET else 0
        if self.state is not State.DRIFTED and worst > 1:
            self._begin(at)
        elif self.state is State.LEARNING or (self.state is State.DRIFTED and self.quiet >= BLOCKS):
            self.state, self.since = State.STEADY, at

    def _begin(self, at: float) -> None:
        self.state, self.since, self.quiet = State.DRIFTED, at, 0
        self.episodes += 1
        if not self.figures:
            self.figures = self._ranked()

    def _measured(self) -> list[Figure]:
        baseline, total = self.baseline, self.window.total()
        unlike, pairs = self.window.design()
        sketches = baseline.sketches
        alpha = chance(len(baseline.names) + sum(one is not None for one in sketches), self.pace.every)
        features = len(baseline.names)
        design = least_design(unlike[:features], pairs[:features])
        sizes = total.counts.sum(1)
        values = psi(total.counts, baseline.counts)
        limits = psi_limits(alpha, baseline.bins, sizes / design, baseline.counts.sum(1))
        found = [
            Figure(name, float(value) if size else 0.0, float(limit))
            for name, value, limit, size in zip(baseline.names, values, limits, sizes, strict=True)
        ]
        for place, (name, sketch) in enumerate(zip((SKETCH, SCORES), sketches, strict=True)):
            size = float(total.sketched[place])
            if sketch is not None and size:
                own = unlike[features + place :][:1] / max(sketch.trace, 1e-12)
                scale = float(least_design(own, pairs[features + place :][:1])[0]) / size + 1 / baseline.samples
                found.append(_discrepancy(name, sketch, total.waves[place] / size, scale, alpha))
        return found


def _discrepancy(name: str, sketch: Sketch, mean: NDArray[np.float64], scale: float, alpha: float) -> Figure:
    """How far a mean is from a sketch's, and how far it may be.

    Args:
        name: Of the figure.
        sketch: The baseline's.
        mean: Of what was seen.
        scale: The sum of one over the independent samples of both; infinite where they are not known.
        alpha: The chance of a false alarm.
    """
    apart = mean - sketch.mean
    value = float(apart @ apart)
    if not math.isfinite(scale):
        return Figure(name, value, math.inf)
    limit = gamma_limit(alpha, sketch.trace * scale, 2 * sketch.squares * scale * scale)
    return Figure(name, value, max(limit, LEAST_DISCREPANCY * sketch.trace))
