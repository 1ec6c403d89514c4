"""How far a number may be off that was measured over samples: how far its 95 % confidence interval reaches.

Of a share of samples there is a formula; any other number is computed again over samples drawn anew. B. Efron and R. J.
Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 6 and 13: the standard deviation of the number over many
sets, each drawn with replacement from the samples, times the normal distribution's quantile. Source and candidate are
drawn together, so that what they have in common does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = 1.959964
"""The normal distribution's 97.5 % quantile: 95 % lie between this and its negative."""

ROUNDS = 400
"""Sets that are drawn: the width is then known to a thirtieth of itself."""

_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

Weights = NDArray[np.float64]
"""`[samples]`, how often each sample was drawn."""

Number = Callable[[Weights], float]
"""Computes a number for a set that was drawn; NaN where that cannot be."""


def share_reach(part: float, samples: int) -> float:
    """How far the 95 % confidence interval of a share of samples reaches from it, to the further end.

    Wilson's score interval, which does not take 10 of 10 for certainty: E. B. Wilson, "Probable inference, the law of
    succession, and statistical inference", Journal of the American Statistical Association 22 (1927), 209-212. Its
    middle lies nearer to one half than the share, so half of its width on either side of the share would hold the true
    one 17 times in 20 only, where it is near to 1.

    Args:
        part: The share, from 0 to 1.
        samples: How many samples there are, 1 at least.
    """
    square = Z**2 / samples
    middle = (part + square / 2) / (1 + square)
    half = math.sqrt(part * (1 - part) * square + square**2 / 4) / (1 + square)
    return half + abs(middle - part)


def bounded_half_width(number: Number, samples: int) -> float:
    """As `half_width`, of a number from 0 to 1 that is 1 where every sample is as it should be.

    Where every sample is, all sets that are drawn say 1. Samples that were not seen may be otherwise, as often as
    `share_reach` of 1 says: no number that averages over samples is known better than that.
    """
    return max(half_width(number, samples), round(share_reach(1.0, samples), 6))


def half_width(number: Number, samples: int) -> float:
    """Half the width of a number's 95 % confidence interval, to six decimals: see `spread` for one in a unit."""
    return round(spread(number, samples), 6)


def spread(number: Number, samples: int) -> float:
    """Half the width of a number's 95 % confidence interval.

    Args:
        number: Computes it.
        samples: How many samples there are.
    """
    found = [number(drawn(samples, turn)) for turn in range(ROUNDS)]
    known = [value for value in found if math.isfinite(value)]
    mean = math.fsum(known) / max(1, len(known))
    variance = math.fsum((value - mean) ** 2 for value in known) / max(1, len(known) - 1)
    return Z * math.sqrt(variance)


def few(samples: int) -> float:
    """By how much wider an interval of `half_width` has to be where there are few samples: 1.29 for 8, 1.02 for 128.

    Sets that are drawn vary too little by the root of n / (n - 1), and Student's quantile is larger than the normal
    distribution's: by M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions" (1964), 26.7.5.

    Args:
        samples: How many there are, 2 at least.
    """
    free = samples - 1
    student = (
        Z
        + (Z**3 + Z) / (4 * free)
        + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * free**2)
        + (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / (384 * free**3)
    )
    return student / Z * math.sqrt(samples / free)


def drawn(samples: int, turn: int) -> Weights:
    """Draw as many samples as there are, with replacement: the same for the same turn, on every machine.

    SplitMix64: G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    counted = np.arange(turn * samples + 1, (turn + 1) * samples + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        mixed: NDArray[Any] = counted * np.uint64(_GAMMA)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_FIRST)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_SECOND)
        mixed ^= mixed >> np.uint64(31)
    numbers = (mixed % np.uint64(samples)).astype(np.int64)
    return np.bincount(numbers, minlength=samples).astype(np.float64)
