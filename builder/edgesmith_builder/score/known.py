"""How well an agreement is known: how far it may be off over other samples than those that were compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.interval import Weights, bounded_half_width, few, half_width
from edgesmith_builder.score.channels import Layout

Pair = tuple[NDArray[Any], NDArray[Any]]
"""What the source and a candidate answer to one sample, in one shape."""


def mean_known(shares: Sequence[float]) -> float:
    """How far the mean of shares, one of each sample, may be off; see `interval.bounded_half_width`."""
    values = np.array(shares, np.float64)
    return bounded_half_width(lambda weights: float(weights @ values / weights.sum()), len(values))


def places_known(said: NDArray[np.float64], same: NDArray[np.float64]) -> float:
    """How far the mean over classes of the share of places may be off; see `interval.bounded_half_width`.

    Args:
        said: `[samples, classes]`, at how many places the source says each class.
        same: `[samples, classes]`, at how many of them the candidate says it too.
    """

    def mean(weights: Weights) -> float:
        places = weights @ said
        there = places > 0
        return float(((weights @ same)[there] / places[there]).mean())

    return bounded_half_width(mean, len(said))


def channel_known(pairs: Sequence[Pair], layout: Layout, channel: int, least: float) -> float:
    """How far the agreement in one channel of numbers may be off; see `interval.half_width` and `interval.few`.

    It is a ratio of two means over samples, so it is computed again over samples drawn anew. Numbers of one sample are
    not told apart: what is known is what differs from sample to sample. One sample tells nothing of others.

    Args:
        pairs: Both answers to each sample.
        layout: Which part of an answer is which channel.
        channel: The channel.
        least: What its deviation counts as at least.
    """
    if len(pairs) == 1:
        return 1.0
    rows = [tuple(layout.rows(array)[channel].astype(np.float64) for array in pair) for pair in pairs]
    fine = [np.isfinite(ours) & np.isfinite(theirs) for ours, theirs in rows]
    apart = np.array([(np.isfinite(ours) != np.isfinite(theirs)).any() for ours, theirs in rows])
    count = np.array([row.sum() for row in fine], np.float64)
    kept = [(ours[row], theirs[row]) for (ours, theirs), row in zip(rows, fine, strict=True)]
    middle = float(np.concatenate([ours for ours, _ in kept]).mean()) if count.any() else 0.0
    total = np.array([(ours - middle).sum() for ours, _ in kept])
    square = np.array([((ours - middle) ** 2).sum() for ours, _ in kept])
    wrong = np.array([((ours - theirs) ** 2).sum() for ours, theirs in kept])

    def agreed(weights: Weights) -> float:
        if weights @ apart > 0:
            return 0.0  # one of them is minus infinity: off by more than any share
        values = weights @ count
        if values == 0:
            return math.nan
        variance = max(0.0, weights @ square / values - (weights @ total / values) ** 2)
        return float(1 - math.sqrt(weights @ wrong / values) / max(math.sqrt(variance), least))

    return half_width(agreed, len(pairs)) * few(len(pairs))
