"""How well a number is known that is no share of right answers: computed again over samples drawn anew.

B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 6 and 13: the standard deviation of
the number over many sets, each drawn with replacement from the samples, times the normal distribution's quantile.
Source and candidate are drawn together, so that what they have in common does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.metric.proportion import Z

ROUNDS = 400
"""Sets that are drawn: the width is then known to a thirtieth of itself."""

_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

Weights = NDArray[np.float64]
"""`[samples]`, how often each sample was drawn."""


def half_width(number: Callable[[Weights], float], samples: int) -> float:
    """Half the width of a number's 95 % confidence interval, to six digits.

    Args:
        number: Computes it for a set that was drawn; NaN where that cannot be.
        samples: How many samples there are.
    """
    found = [number(drawn(samples, turn)) for turn in range(ROUNDS)]
    known = [value for value in found if math.isfinite(value)]
    mean = math.fsum(known) / max(1, len(known))
    variance = math.fsum((value - mean) ** 2 for value in known) / max(1, len(known) - 1)
    return round(Z * math.sqrt(variance), 6)


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
