"""Histograms of many features at once, in bins that the baseline's own quantiles give.

A feature has up to `BINS` bins for numbers, and one more for what is no number. Of a feature with few different values
each has its own bin, and so have values below and above all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BINS", "SLOTS", "edges_of", "padded", "places"]

BINS: Final = 10
SLOTS: Final = BINS + 1
"""The last is for what is no number."""
_A_BIN: Final = 25
"""Samples that each bin of a baseline has at least."""
_NEAR: Final = 1e-6
"""By how much, as a share, values differ from an only one to be others."""


def edges_of(values: NDArray[np.float64], *, names: bool) -> list[float]:
    """The lower bounds of all bins but the first, ascending; at most `BINS` - 1.

    Args:
        values: The baseline's of one feature.
        names: Whether the numbers are names: the most frequent have a bin each, and those between share one.
    """
    numbers = values[np.isfinite(values)]
    if not numbers.size:
        return []
    different, counts = np.unique(numbers, return_counts=True)
    if names:
        most = different[np.argsort(-counts, kind="stable")[: (BINS - 1) // 2]]
        return sorted({float(value) for value in most} | {float(value + 1) for value in most})[: BINS - 1]
    between = (different[1:] + different[:-1]) / 2
    if len(different) < BINS - 1:
        beside = np.diff(different).min() / 2 if len(different) > 1 else abs(different[0]) * _NEAR + _NEAR
        return [float(different[0] - beside), *map(float, between), float(different[-1] + beside)]
    bins = int(np.clip(numbers.size // _A_BIN, 3, BINS))
    lower = np.quantile(numbers, np.arange(1, bins) / bins, method="lower")
    # Between two values that were seen: another processor's last bit must not move all of one to the next bin.
    return sorted({float(between[max(0, place - 1)]) for place in np.searchsorted(different, lower)})


def padded(edges: list[list[float]]) -> NDArray[np.float64]:
    """The edges of all features, ``[features, BINS - 1]``, infinite where a feature has fewer."""
    found = np.full((len(edges), BINS - 1), np.inf)
    for row, own in enumerate(edges):
        found[row, : len(own)] = own
    return found


def places(features: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of each feature of some samples, ``[samples, features]``.

    Args:
        features: ``[samples, features]``.
        edges: As `padded` gives them.
    """
    with np.errstate(invalid="ignore"):
        found = (features[:, :, np.newaxis] >= edges).sum(2)
    return np.where(np.isfinite(features), found, BINS)
