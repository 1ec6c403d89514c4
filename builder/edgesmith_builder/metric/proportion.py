"""Shares of samples that are right: how well one is known, and a difference of two over the same samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.metric.interface import Change

Z = 1.959964
"""The normal distribution's 97.5 % quantile: 95 % lie between this and its negative."""


def share(right: NDArray[np.bool_]) -> float:
    """The share that is right, to six digits: enough for a million samples."""
    return round(int(right.sum()) / len(right), 6)


def share_error(right: NDArray[np.bool_]) -> float:
    """Half the width of a share's 95 % confidence interval, to six digits.

    Wilson's score interval, which does not take 10 of 10 for certainty: E. B. Wilson, "Probable inference, the law of
    succession, and statistical inference", Journal of the American Statistical Association 22 (1927), 209-212.
    """
    count = len(right)
    part = int(right.sum()) / count
    width = Z / (1 + Z**2 / count) * math.sqrt(part * (1 - part) / count + Z**2 / (4 * count**2))
    return round(width, 6)


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
