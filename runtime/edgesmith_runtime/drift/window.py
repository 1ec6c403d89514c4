"""What was seen lately, in kilobytes: a ring of blocks, each of some spans.

A ring of time covers a whole cycle (a day, say), so that what changes within one is in it as often as in the baseline.
Spans are short: how much successive ones differ says how many independent samples there were.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from edgesmith_runtime.drift.histograms import SLOTS
from edgesmith_runtime.drift.sketch import WIDTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLOCKS", "RECENT", "SKETCHES", "SPANS", "Batch", "Window"]

BLOCKS: Final = 12
"""In a ring."""
SPANS: Final = 6
"""In a block."""
SKETCHES: Final = 2
"""Of the inputs' features, and of the scores."""
RECENT: Final = 6
"""Spans whose share of novel samples is kept."""
_PAIR: Final = 10.0
"""Samples of a span at least, to be held against the one before; shorter ones are put together."""


@dataclass
class Batch:
    """Sums over some samples.

    Attributes:
        counts: ``[features, SLOTS]``, samples in each bin.
        waves: ``[SKETCHES, WIDTH]``, of the sketches.
        marks: ``[3]``: samples, how many of them are novel, and how many have scores.
    """

    counts: NDArray[np.float64]
    waves: NDArray[np.float64]
    marks: NDArray[np.float64]

    @property
    def size(self) -> float:
        """Samples."""
        return float(self.marks[0])

    @property
    def sketched(self) -> NDArray[np.float64]:
        """``[SKETCHES]``, samples in each sketch."""
        return self.marks[[0, 2]]

    @classmethod
    def empty(cls, features: int) -> Batch:
        """One without samples."""
        return cls(np.zeros((features, SLOTS)), np.zeros((SKETCHES, WIDTH)), np.zeros(3))

    def add(self, other: Batch) -> None:
        """Add the sums of another."""
        self.counts += other.counts
        self.waves += other.waves
        self.marks += other.marks


@dataclass
class Window:
    """The ring, and what is not in it yet.

    Attributes:
        features: How many.
        counts: ``[BLOCKS, features, SLOTS]``, oldest block first.
        waves: ``[BLOCKS, SKETCHES, WIDTH]``.
        sizes: ``[BLOCKS]``, samples.
        scored: ``[BLOCKS]``, those that have scores.
        unlike: ``[BLOCKS, features + SKETCHES]``: sums of how unlike successive spans are, for features, then sketches.
        pairs: ``[BLOCKS, features + SKETCHES]``: how many pairs these are of.
        recent: ``[RECENT, 2]``: samples of the newest spans, and how many were novel.
        closed: Blocks that were closed since the window began, up to `BLOCKS`.
        spans: Spans in the block that is filled.
    """

    features: int
    counts: NDArray[np.float64] = field(init=False)
    waves: NDArray[np.float64] = field(init=False)
    sizes: NDArray[np.float64] = field(init=False)
    scored: NDArray[np.float64] = field(init=False)
    unlike: NDArray[np.float64] = field(init=False)
    pairs: NDArray[np.float64] = field(init=False)
    recent: NDArray[np.float64] = field(init=False)
    span: Batch = field(init=False)
    block: Batch = field(init=False)
    gathered: Batch = field(init=False)
    before: Batch = field(init=False)
    closed: int = 0
    spans: int = 0

    def __post_init__(self) -> None:
        """Begin without samples."""
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        features = self.features
        self.counts = np.zeros((BLOCKS, features, SLOTS))
        self.waves = np.zeros((BLOCKS, SKETCHES, WIDTH))
        self.sizes, self.scored = np.zeros(BLOCKS), np.zeros(BLOCKS)
        self.unlike = np.zeros((BLOCKS, features + SKETCHES))
        self.pairs = np.zeros((BLOCKS, features + SKETCHES))
        self.recent = np.zeros((RECENT, 2))
        self.span, self.block, self.gathered, self.before = (Batch.empty(features) for _ in range(4))
        self.closed = self.spans = 0

    @property
    def full(self) -> bool:
        """Whether every block of the ring was closed."""
        return self.closed == BLOCKS

    def close_span(self) -> bool:
        """End a span; say whether a block ended with it."""
        span, self.span = self.span, Batch.empty(self.features)
        self.recent = np.roll(self.recent, -1, 0)
        self.recent[-1] = span.marks[:2]
        if not self.spans:
            self._roll()
        self.spans += 1
        self.block.add(span)
        self.gathered.add(span)
        if self.gathered.size >= _PAIR:
            self._compare()
        self.counts[-1], self.waves[-1] = self.block.counts, self.block.waves
        self.sizes[-1], self.scored[-1] = self.block.sketched
        if self.spans < SPANS:
            return False
        self.block, self.spans = Batch.empty(self.features), 0
        self.closed = min(BLOCKS, self.closed + 1)
        return True

    def total(self) -> Batch:
        """The sums of the whole ring."""
        return Batch(self.counts.sum(0), self.waves.sum(0), np.array([self.sizes.sum(), 0.0, self.scored.sum()]))

    @property
    def sums(self) -> list[NDArray[np.float64]]:
        """Every array, in one order; to be written and to be filled."""
        batches = (self.span, self.block, self.gathered, self.before)
        rings = [self.counts, self.waves, self.sizes, self.scored, self.unlike, self.pairs, self.recent]
        return rings + [array for one in batches for array in (one.counts, one.waves, one.marks)]

    def design(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """How unlike successive spans are, and of how many pairs that is the mean; see `limits.least_design`."""
        pairs = self.pairs.sum(0)
        return self.unlike.sum(0) / np.maximum(pairs, 1), pairs

    def _roll(self) -> None:
        for name in ("counts", "waves", "sizes", "scored", "unlike", "pairs"):
            ring = np.roll(getattr(self, name), -1, 0)
            ring[-1] = 0
            setattr(self, name, ring)

    def _compare(self) -> None:
        """Hold a span against the one before."""
        ours, theirs = self.gathered, self.before
        self.gathered, self.before = Batch.empty(self.features), ours
        if not theirs.size:
            return
        sizes, others = ours.counts.sum(1), theirs.counts.sum(1)
        seen = (sizes >= _PAIR) & (others >= _PAIR)
        pooled = self.counts.sum(0) + ours.counts
        with np.errstate(all="ignore"):
            shares = pooled / pooled.sum(1, keepdims=True)
            apart = (ours.counts / sizes[:, np.newaxis] - theirs.counts / others[:, np.newaxis]) ** 2
            terms = np.where(shares > 0, apart / shares, 0.0).sum(1) / (1 / sizes + 1 / others)
            degrees = np.maximum(1, (shares > 0).sum(1) - 1)
        self.unlike[-1, :-SKETCHES] += np.where(seen, terms / degrees, 0.0)
        self.pairs[-1, :-SKETCHES] += seen
        self._compare_sketches(ours, theirs)

    def _compare_sketches(self, ours: Batch, theirs: Batch) -> None:
        sizes, others = ours.sketched[:, np.newaxis], theirs.sketched[:, np.newaxis]
        seen = ((sizes >= _PAIR) & (others >= _PAIR))[:, 0]
        with np.errstate(all="ignore"):
            terms = (ours.waves / sizes - theirs.waves / others) ** 2 / (1 / sizes + 1 / others)
        self.unlike[-1, -SKETCHES:] += np.where(seen, terms.sum(1), 0.0)
        self.pairs[-1, -SKETCHES:] += seen
