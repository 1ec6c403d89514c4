"""How large a distance between two histograms, or two mean embeddings, may be by chance.

Of two samples of sizes n and m from one distribution in B bins, the PSI is close to (1 / n + 1 / m) times a chi-squared
variable with B - 1 degrees of freedom (Yurdakul and Naranjo 2020): a limit that knows no sizes is crossed by chance
where they are small. Samples of a device are not independent: a camera sees one scene for minutes. So n is divided by
how much more the histograms of successive spans differ than independent samples would (the design effect of Rao and
Scott 1981). The squared distance of mean embeddings is a sum of chi-squared variables with the kernel's eigenvalues
as weights, and is bounded by a gamma distribution of its mean and variance.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["chance", "gamma_limit", "least_design", "psi", "psi_limits", "psi_of", "quantile"]

MONTH: Final = 30 * 86400.0
FALSE_ALARMS: Final = 0.01
"""False alarms a month, of all features together."""
LEAST_PSI: Final = 0.1
"""A smaller one is no drift, however sure: 0.1 is where textbooks begin to call a shift moderate."""
LEAST_DISCREPANCY: Final = 0.02
"""The same of the squared distance of mean embeddings, as a share of the kernel's variance."""
_HALVINGS: Final = 40
_TERMS: Final = 200
_TINY: Final = 1e-300
_PRIOR: Final = 0.5
"""Samples that each bin is taken to have had before the first."""
_SCENE: Final = 1.5
"""By how much scenes of a third of a span's length are taken for shorter than they are."""
_SURE: Final = 2.0
"""Standard errors that a design effect is taken to be larger than was seen."""


def chance(tests: int, every: float) -> float:
    """The chance of a false alarm that each of some tests may have.

    Args:
        tests: How many there are at once.
        every: Seconds from each time to the next, or that this one stands for.
    """
    return FALSE_ALARMS * every / MONTH / tests


def psi(counts: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """The population stability index of each feature, over bins that either has.

    Args:
        counts: ``[features, bins]``, what was seen.
        reference: The same, of the baseline.
    """
    used = (counts > 0) | (reference > 0)
    return psi_of(_shares(counts, used), _shares(reference, used))


def psi_of(shares: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The index of shares: the sum over bins of (p - q) ln(p / q); bins where both are 0 add nothing."""
    with np.errstate(all="ignore"):
        terms = (shares - others) * np.log(shares / others)
    return np.asarray(np.where(np.isfinite(terms), terms, 0.0).sum(-1))


def psi_limits(
    alpha: float, bins: NDArray[np.intp], size: NDArray[np.float64], baseline: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What each feature's index may be.

    Args:
        alpha: The chance that one is above its limit.
        bins: Bins in use of each feature.
        size: Independent samples seen.
        baseline: Independent samples of the baseline.
    """
    degrees = np.maximum(1, bins - 1).astype(np.float64)
    scale = 1 / np.maximum(size, 1) + 1 / np.maximum(baseline, 1)
    return np.maximum(LEAST_PSI, _chi_squared(alpha, degrees) * scale)


def gamma_limit(alpha: float, mean: float, variance: float) -> float:
    """The quantile of a gamma distribution at 1 - `alpha`."""
    if mean <= 0 or variance <= 0:
        return 0.0
    degrees = 2 * mean * mean / variance
    return float(_chi_squared(alpha, np.array([degrees]))[0] * mean / degrees)


def least_design(seen: NDArray[np.float64], pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The design effect that is reckoned with, from 1.

    Args:
        seen: Mean of what pairs of successive spans differ by, where independent samples' mean is 1.
        pairs: How many pairs.
    """
    with np.errstate(all="ignore"):
        upper = seen * (_SCENE + _SURE * np.sqrt(2 / pairs))
    return np.where(pairs > 0, np.maximum(1.0, upper), np.inf)


def _chi_squared(alpha: float, degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([quantile(alpha, float(one)) for one in degrees])


@lru_cache(maxsize=1024)
def quantile(alpha: float, degrees: float) -> float:
    """The quantile of a chi-squared distribution at 1 - `alpha`, for an `alpha` below a hundredth."""
    low, high = degrees, degrees + 1.0
    while _beyond(high, degrees) > alpha:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _beyond(middle, degrees) > alpha else (low, middle)
    return high


def _beyond(value: float, degrees: float) -> float:
    """The chance of more than `value`, which is above the mean: Lentz' continued fraction of the incomplete gamma.

    Press, Teukolsky, Vetterling, Flannery: Numerical Recipes, 6.2.
    """
    half, at = degrees / 2, value / 2
    term = at + 1 - half
    ratio, fraction = 1 / _TINY, 1 / term
    product = fraction
    for step in range(1, _TERMS):
        weight = -step * (step - half)
        term += 2
        fraction = 1 / ((weight * fraction + term) or _TINY)
        ratio = (term + weight / ratio) or _TINY
        product *= fraction * ratio
    return math.exp(half * math.log(at) - at - math.lgamma(half)) * product


def _shares(counts: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    prior = np.where(used, _PRIOR, 0.0)
    raised = counts + prior
    with np.errstate(all="ignore"):
        return np.asarray(raised / raised.sum(-1, keepdims=True))
