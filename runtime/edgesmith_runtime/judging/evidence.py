"""How strongly what was seen speaks against a bound, however often it is looked at. Pure, and no arrays.

A bound is looked at after every few requests, so an ordinary test would, sooner or later, find against any server.
What is computed here is a *test supermartingale*: a number that starts at 1 and, as long as the bound is kept, is not
expected to grow. By Ville's inequality the chance that it ever reaches ``1 / alpha`` is at most ``alpha``, at whatever
moments it is looked at (Ramdas, Gruenwald, Vovk, Shafer: *Game-theoretic statistics and safe anytime-valid inference*,
Statistical Science 38, 2023). Several alternatives are mixed with equal weights, since nobody knows how bad a bad
revision is; a mean of supermartingales is one.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["bound_of_mean", "bound_of_share", "evidence_of_mean", "evidence_of_share", "wanted"]

_ALTERNATIVES: Final = (0.03, 0.08, 0.15, 0.25, 0.4, 0.6, 0.8, 0.98)
"""Which shares a bad revision may have, as parts of the way from the bound to 1."""
_STAKES: Final = (0.03, 0.06, 0.12, 0.25, 0.45, 0.7)
"""How much is staked on each observation of a mean; small stakes find small changes in many observations."""
_STEPS: Final = 60
"""Halvings of an interval: more than a float has digits."""


def wanted(alpha: float, window: int) -> float:
    """The evidence that ends a server, as a logarithm.

    Windows follow one another without end, each with evidence of its own. Window `window` may spend ``alpha / (k (k +
    1))`` of the chance of a false alarm, and over all windows these add up to `alpha`.

    Args:
        alpha: The chance of a false alarm over all windows.
        window: Its number, from 1.
    """
    return math.log(window * (window + 1) / alpha)


def evidence_of_share(count: int, hits: int, allowed: float) -> float:
    """The evidence that more than a share of all requests are hits, as a logarithm.

    Likelihood ratios of Bernoulli trials against the bound itself; each is a supermartingale under any share up to it.

    Args:
        count: How many requests.
        hits: How many of them.
        allowed: The share that is allowed, from 0 up to but not 1; 0 is taken for one in a million.
    """
    if allowed >= 1:
        return 0.0
    allowed = max(allowed, 1e-6)
    found = []
    for part in _ALTERNATIVES:
        share = allowed + (1 - allowed) * part
        found.append(hits * math.log(share / allowed) + (count - hits) * math.log((1 - share) / (1 - allowed)))
    return _mixed(found)


def evidence_of_mean(count: int, total: float, spread: float, allowed: float) -> float:
    """The evidence that the mean of numbers from 0 to 1 is above what is allowed, as a logarithm.

    It knows nothing of their distribution, and finds a change the sooner the less they vary: Theorem 4 of Howard,
    Ramdas, McAuliffe, Sekhon, *Time-uniform, nonparametric, nonasymptotic confidence sequences*, Annals of Statistics
    49, 2021, by the inequality of Fan, Grama and Liu (2015).

    Args:
        count: How many numbers.
        total: Their sum.
        spread: The sum of squares of each one's distance from what was expected of it by those before it.
        allowed: The mean that is allowed.
    """
    gain = total - count * allowed
    return _mixed([stake * gain + (math.log1p(-stake) + stake) * spread for stake in _STAKES])


def bound_of_share(share: float, count: int, delta: float) -> float:
    """The largest share that a sample leaves possible, but for a chance of `delta`.

    Chernoff's bound, exact for every sample size: the largest p with ``count * KL(share, p) <= log(1 / delta)``.

    Args:
        share: The share that was seen.
        count: In how many requests.
        delta: The chance that the true share is larger.
    """
    if count <= 0:
        return 1.0
    most = math.log(1 / delta) / count
    low, high = share, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _divergence(share, middle) <= most:
            low = middle
        else:
            high = middle
    return high


def bound_of_mean(mean: float, variance: float, count: int, delta: float) -> float:
    """How far the mean of numbers from 0 to 1 may be from what a sample says, to one side, but for a chance of `delta`.

    Theorem 4 of Maurer and Pontil, *Empirical Bernstein bounds and sample variance penalization*, COLT 2009.

    Args:
        mean: The sample's mean.
        variance: The sample's variance.
        count: How many numbers.
        delta: The chance that it is further.

    Returns:
        The largest mean that is left possible.
    """
    if count < 2:  # noqa: PLR2004 - one number has no variance
        return 1.0
    weight = math.log(2 / delta)
    return min(1.0, mean + math.sqrt(2 * variance * weight / count) + 7 * weight / (3 * (count - 1)))


def _divergence(seen: float, true: float) -> float:
    """Kullback and Leibler's divergence of two Bernoulli distributions."""
    found = 0.0
    if seen > 0:
        found += seen * math.log(seen / true) if true > 0 else math.inf
    if seen < 1:
        found += (1 - seen) * math.log((1 - seen) / (1 - true)) if true < 1 else math.inf
    return found


def _mixed(logarithms: list[float]) -> float:
    """The logarithm of the mean of numbers that are given by theirs."""
    most = max(logarithms)
    return most + math.log(sum(math.exp(one - most) for one in logarithms) / len(logarithms))
