"""Which samples are taken: in each slot of time the most uncertain, the most novel, and one at random.

Pure: it is told the time, and its chances come from a seed. Slots are as long as a day's bytes ask for (`pacing`), so
that what a sample must exceed to be taken adapts by itself: it is the best of all others in its slot.

The random one is a reservoir sample of its slot (Vitter, ACM TOMS 11, 1985): of N samples each is taken with a
probability of 1 / N, which is said with it. The sum over random samples of value times N is then an unbiased estimate
of the sum over all samples of all slots that ended with one (Horvitz, Thompson, JASA 47, 1952). A slot's end depends
on nothing within it. Slots whose sample could not be kept are counted (`missed`), with the samples in them.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from edgesmith_runtime.sampling.pacing import Pace
from edgesmith_runtime.sampling.scores import Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from edgesmith_runtime.sampling.likeness import Likeness

__all__ = ["REASONS", "Choice", "Chooser", "Offer", "Reason"]

Reason = Literal["Uncertain", "Novel", "Random"]
REASONS: Final[tuple[Reason, ...]] = ("Uncertain", "Novel", "Random")

_MOST_VALUE: Final = 9999
_ROWS: Final = 4
"""Rows of a batch that are considered, the best of it."""
_CHARACTER: Final = np.dtype("U1").itemsize


@dataclass(frozen=True, slots=True)
class Offer:
    """What a request and its answer are, as samples.

    Attributes:
        inputs: The inputs, by name.
        outputs: The answers, by name.
        samples: How many samples it has, along each first axis; None: the whole is one, and no axis counts samples.
        uncertainty: `[samples]`, from 0 to 1; None where the model has none.
        novelty: `[samples]`, the higher the less like what the model was built with; None where the model has none.
        at: When the request was answered, in seconds since 1970.
        since_boot: The same in seconds since the machine's boot.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    samples: int | None = None
    uncertainty: NDArray[np.float64] | None = None
    novelty: NDArray[np.float64] | None = None
    at: float = 0.0
    since_boot: float = 0.0

    def size(self) -> int:
        """Bytes of one sample while it is packed: the texts of a tensor are each as wide as the longest then."""
        return self._bytes(lambda texts: texts.size * max(map(len, texts.flat), default=0) * _CHARACTER)

    def content(self) -> int:
        """Bytes of one sample, of texts their characters: what fills the narrower ones up takes nothing once packed."""
        return self._bytes(lambda texts: sum(map(len, texts.flat)))

    def _bytes(self, of_texts: Callable[[NDArray[Any]], int]) -> int:
        arrays = (*self.inputs.values(), *self.outputs.values())
        total = sum(of_texts(array) if array.dtype.kind == "O" else array.nbytes for array in arrays)
        return total // max(1, self.samples or 1)

    def score(self, reason: Reason) -> NDArray[np.float64] | None:
        """`[samples]`; None where there is none."""
        return {"Uncertain": self.uncertainty, "Novel": self.novelty}.get(reason)

    def inputs_of(self, row: int) -> Mapping[str, NDArray[Any]]:
        """One sample's inputs; they keep the axis that counts samples."""
        return (
            self.inputs if self.samples is None else {key: array[row : row + 1] for key, array in self.inputs.items()}
        )

    def outputs_of(self, row: int) -> Mapping[str, NDArray[Any]]:
        """One sample's answers; likewise."""
        if self.samples is None:
            return self.outputs
        return {key: array[row : row + 1] for key, array in self.outputs.items()}


@dataclass(frozen=True, slots=True)
class Choice:
    """A sample that was chosen.

    Attributes:
        reason: Why.
        inputs: Its inputs: copies.
        outputs: Its answers: copies.
        batch: Whether the first axis of each counts samples.
        value: What it is worth among those of its reason, from 0 to 9999; of a random one a random number.
        of: How many samples its slot had: a random one was taken with a probability of 1 / `of`.
        uncertainty: Its uncertainty, where there is one.
        novelty: Its novelty, where there is one.
        described: What it is compared by with later ones.
        at: When its request was answered, in seconds since 1970.
        since_boot: The same in seconds since the machine's boot.
    """

    reason: Reason
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    batch: bool
    value: int
    of: int = 0
    uncertainty: float | None = None
    novelty: float | None = None
    described: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    at: float = 0.0
    since_boot: float = 0.0


@dataclass(slots=True)
class _Slot:
    """The present slot of one reason."""

    pace: Pace
    recent: Recent = field(default_factory=Recent)
    seen: int = 0
    best: float = -1.0
    held: Choice | None = None


class Chooser:
    """Chooses.

    Args:
        rates: Bytes a second for each reason; those that a model has no score for are left out.
        likeness: What uncertain and novel samples are compared by.
        seed: Where its chances come from.
        now: The time in seconds, on a clock that does not go back.
    """

    def __init__(self, rates: Mapping[Reason, float], likeness: Likeness, *, seed: int, now: float) -> None:
        self._slots = {reason: _Slot(Pace(rate, opened=now, seen=now)) for reason, rate in rates.items() if rate > 0}
        self._likeness = likeness
        self._random = random.Random(seed)  # noqa: S311 - fair, not secret; images have no numpy.random

    def credits(self) -> dict[str, float]:
        """What each reason has saved up, to be kept over a restart: bytes by reason, and `Expected` of each."""
        found: dict[str, float] = {}
        for reason, slot in self._slots.items():
            found |= {reason: slot.pace.credit, f"{reason}Expected": slot.pace.expected}
        return found

    def resume(self, saved: Mapping[str, float]) -> None:
        """Take over what was saved up before a restart."""
        for reason, slot in self._slots.items():
            slot.pace.credit = saved.get(reason, 0.0)
            slot.pace.expected = max(0.0, saved.get(f"{reason}Expected", 0.0))

    def ended(self, now: float) -> Choice | None:
        """The sample of a slot that has ended, to be answered with `taken`; None where no more has."""
        for slot in self._slots.values():
            if slot.held is None or not slot.pace.due(now):
                continue
            if slot.held.reason != "Random" and self._likeness.known(slot.held.described):
                slot.best, slot.held = -1.0, None  # taken meanwhile, for another reason
                continue
            return replace(slot.held, of=slot.seen)
        return None

    def left(self, now: float) -> float:
        """How many seconds are left of the slot that ends next, of those with a sample; infinitely many without."""
        return min((slot.pace.left(now) for slot in self._slots.values() if slot.held is not None), default=math.inf)

    def taken(self, choice: Choice, size: int, now: float) -> None:
        """Begin the next slot after a choice.

        Args:
            choice: It.
            size: Bytes that it took; 0 where it was not kept.
            now: The time.
        """
        slot = self._slots[choice.reason]
        slot.pace.begin(now, size)
        if not size:
            # As if it had been kept, or what cannot be (a filter that fails) were tried with each request.
            slot.pace.credit -= slot.pace.expected
        elif choice.reason != "Random":
            self._likeness.remember(choice.described)
        slot.seen, slot.best, slot.held = 0, -1.0, None

    def offer(self, offer: Offer) -> None:
        """Consider what was answered."""
        count = 1 if offer.samples is None else offer.samples
        if count < 1:
            return
        size = offer.content()
        for reason, slot in self._slots.items():
            slot.pace.expect(size)
            slot.seen += count
            if reason == "Random":
                self._draw(slot, offer, count)
                continue
            scores = offer.score(reason)
            if scores is not None and len(scores) == count:
                if not np.isfinite(scores).all():
                    scores = np.where(np.isfinite(scores), scores, 0.0)
                slot.recent.add(scores)
                self._improve(reason, slot, offer, scores)

    def _draw(self, slot: _Slot, offer: Offer, count: int) -> None:
        """Let one of the new samples take the place of the one held, with the probability that they have together."""
        if self._random.random() * slot.seen < count:
            row = self._random.randrange(count)
            value = self._random.randrange(_MOST_VALUE + 1)
            slot.held = _choice("Random", offer, row, value)

    def _improve(self, reason: Reason, slot: _Slot, offer: Offer, scores: NDArray[np.float64]) -> None:
        """Hold the best of the new samples where it is better than what is held, and like nothing that was taken."""
        if not scores.max() > slot.best:
            return
        for row in np.argsort(-scores, kind="stable")[:_ROWS]:
            score = float(scores[row])
            if not score > slot.best:
                break
            described = self._likeness.describe(offer.inputs_of(int(row)))
            if self._likeness.known(described):
                continue
            value = round(slot.recent.rank(score) * _MOST_VALUE)
            slot.best, slot.held = score, _choice(reason, offer, int(row), value, described)
            break


def _choice(reason: Reason, offer: Offer, row: int, value: int, described: NDArray[np.float64] | None = None) -> Choice:
    """Keep one sample: copied, since a request's memory is used again."""
    unsure, novel = (_score(scores, row) for scores in (offer.uncertainty, offer.novelty))
    return Choice(
        reason,
        {name: array.copy() for name, array in offer.inputs_of(row).items()},
        {name: array.copy() for name, array in offer.outputs_of(row).items()},
        offer.samples is not None,
        value,
        uncertainty=unsure,
        novelty=novel,
        described=np.zeros(0) if described is None else described,
        at=offer.at,
        since_boot=offer.since_boot,
    )


def _score(scores: NDArray[np.float64] | None, row: int) -> float | None:
    """A score that can be written down: what is no number is none."""
    if scores is None or row >= len(scores):
        return None
    found = float(scores[row])
    return found if math.isfinite(found) else None
