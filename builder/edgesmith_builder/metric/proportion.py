"""Shares of samples that are right: how well one is known, and a difference of two over the same samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.interval import Z, share_reach
from edgesmith_builder.metric.interface import Change


def share(right: NDArray[np.bool_]) -> float:
    """The share that is right, to six digits: enough for a million samples."""
    return round(int(right.sum()) / len(right), 6)


def share_error(right: NDArray[np.bool_]) -> float:
    """How far a share may be off, to six digits; see `interval.share_reach`."""
    return round(share_reach(int(right.sum()) / len(right), len(right)), 6)


def changed(source: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> Change:
    """Compare which of the same samples two engines are right about."""
    return change_of(int((source & ~candidate).sum()), int((~source & candidate).sum()), len(source))


def change_of(lost: int, gained: int, samples: int) -> Change:
    """The change of so many answers.

    The interval is Wald's for the difference of two paired proportions with half a sample added to each of the four
    cells, so that no changed answer at all does not read as certainty: A. Agresti and Y. Min, "Simple improved
    confidence intervals for comparing matched proportions", Statistics in Medicine 24 (2005), 729-740.
    """
    more, less, count = lost + 0.5, gained + 0.5, samples + 2
    error = Z * math.sqrt(more + less - (more - less) ** 2 / count) / count
    return Change(round((lost - gained) / samples, 6), round(error, 6), lost, gained)


def same_share(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """The share of places with the same value in both."""
    return float((ours == theirs).mean())
