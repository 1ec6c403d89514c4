"""How a server's requests go, counted as they are answered: some microseconds each, and nothing kept of a request."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.judging.confidence import confidence_of
from edgesmith_runtime.judging.figures import MANY, Figures
from edgesmith_runtime.judging.sketch import BUCKETS, bucket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Totals", "Traffic", "Window"]

_SMALL: Final = 4096
"""Elements of an array that is looked at element by element; a sum finds out about larger ones without a second one."""


@dataclass(slots=True)
class Window:
    """Requests since the last window began.

    Attributes:
        requests: Runs of the model.
        failed: Those that failed, or were answered with what is no number.
        refused: Those that the model refused, though they fit its signature.
        timed: How many of the others' times are judged.
        slow: How many of these took longer than they may.
        sure: How many had a confidence.
        unsure: The sum of what each of these lacked to 1.
        spread: The sum of squares of how far each was from what those before it let expect.
    """

    requests: int = 0
    failed: int = 0
    refused: int = 0
    timed: int = 0
    slow: int = 0
    sure: int = 0
    unsure: float = 0.0
    spread: float = 0.0

    def add_confidence(self, score: float) -> None:
        """Take up one confidence."""
        lacking = 1.0 - score
        expected = (0.5 + self.unsure) / (1 + self.sure)
        self.spread += (lacking - expected) ** 2
        self.unsure += lacking
        self.sure += 1


@dataclass(slots=True)
class Totals:
    """Requests since the server started.

    Attributes:
        answered: Runs whose answer could be given.
        failed: Runs that failed.
        not_numbers: Runs that were answered with infinities or NaN though their inputs had none.
        refused: Runs that the model refused, though they fit its signature.
        sure: How many answers had a confidence.
        confidence: The sum of these.
    """

    answered: int = 0
    failed: int = 0
    not_numbers: int = 0
    refused: int = 0
    sure: int = 0
    confidence: float = 0.0


class Traffic:
    """The figures of one server. Safe to use from several threads.

    Args:
        model: What is served; see `Figures`.
        numbers: Outputs in which an infinity or NaN is a failure.
        classes: The output of probabilities; None where there is none.
    """

    def __init__(self, model: str, *, numbers: tuple[str, ...] = (), classes: str | None = None) -> None:
        self.model = model
        self.instance = uuid.uuid4().hex
        self.before = ""
        """What the server before this one served; empty where none was seen."""
        self.slow_above: float | None = None
        """Seconds that a run may take; None while times are not judged."""
        self.classes = classes
        self._numbers = numbers
        self._lock = threading.Lock()
        self._window = Window()
        self._totals = Totals()
        self._failed = self._refused = self._sure = 0
        self._taken = [0] * BUCKETS
        self._scores = self._squares = 0.0

    def answered(self, seconds: float, inputs: Mapping[str, NDArray[Any]], answers: Mapping[str, NDArray[Any]]) -> None:
        """Take up an answer of the model.

        Args:
            seconds: How long its run took.
            inputs: What the model was given.
            answers: What it answered, by output.
        """
        if not self._are_numbers(answers) and all(map(_is_finite, inputs.values())):
            with self._lock:
                self._totals.not_numbers += 1
                self._count_failed()
            return
        scores = None if self.classes is None else answers.get(self.classes)
        score = None if scores is None else confidence_of(scores)
        place = bucket(seconds)
        with self._lock:
            window, totals, limit = self._window, self._totals, self.slow_above
            window.requests += 1
            totals.answered += 1
            self._taken[place] += 1
            if limit is not None:
                window.timed += 1
                window.slow += seconds > limit
            if score is not None:
                window.add_confidence(score)
                totals.sure += 1
                totals.confidence += score
                self._sure += 1
                self._scores += score
                self._squares += score * score
            self._fade()

    def failed(self) -> None:
        """Take up a run that failed."""
        with self._lock:
            self._totals.failed += 1
            self._count_failed()

    def refused(self) -> None:
        """Take up a run that the model refused, though its inputs fit the signature."""
        with self._lock:
            self._window.requests += 1
            self._window.refused += 1
            self._totals.refused += 1
            self._refused += 1
            self._fade()

    def window(self) -> Window:
        """The present window as it is now."""
        with self._lock:
            seen = self._window
            return Window(
                seen.requests, seen.failed, seen.refused, seen.timed, seen.slow, seen.sure, seen.unsure, seen.spread
            )

    def begin_window(self) -> None:
        """Begin another window."""
        with self._lock:
            self._window = Window()

    def totals(self) -> Totals:
        """What was counted since the start, as it is now."""
        with self._lock:
            seen = self._totals
            return Totals(seen.answered, seen.failed, seen.not_numbers, seen.refused, seen.sure, seen.confidence)

    def figures(self) -> Figures:
        """What the next server is told."""
        with self._lock:
            mean = self._scores / self._sure if self._sure else 0.0
            variance = max(0.0, self._squares / self._sure - mean * mean) if self._sure else 0.0
            return Figures(
                self.model,
                self.instance,
                self.before,
                self._failed,
                self._refused,
                tuple(self._taken),
                self._sure,
                min(1.0, mean),
                min(1.0, variance),
            )

    def _count_failed(self) -> None:
        self._window.requests += 1
        self._window.failed += 1
        self._failed += 1
        self._fade()

    def _fade(self) -> None:
        """Halve what is told once there is much of it, so that it is about the newest requests."""
        totals = self._totals
        seen = totals.answered + totals.failed + totals.not_numbers + totals.refused
        if seen % (MANY // 2) or seen < MANY:
            return
        # Rare failures must not fade to none: they would be held against the next revision.
        self._failed, self._refused = (self._failed + 1) // 2, (self._refused + 1) // 2
        self._taken = [count // 2 for count in self._taken]
        kept = min(self._sure // 2, sum(self._taken))
        share = kept / self._sure if self._sure else 0.0
        self._sure, self._scores, self._squares = kept, self._scores * share, self._squares * share

    def _are_numbers(self, answers: Mapping[str, NDArray[Any]]) -> bool:
        for name in self._numbers:
            found = answers.get(name)
            if found is not None and not _is_finite(found):
                return False
        return True


def _is_finite(array: NDArray[Any]) -> bool:
    """Whether an array has numbers only."""
    if array.dtype.kind != "f":
        return True
    if array.size <= _SMALL:
        return bool(np.isfinite(array).all())
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())
