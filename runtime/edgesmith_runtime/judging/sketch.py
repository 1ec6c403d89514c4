"""How long runs took, in 1.5 kB: counts in buckets whose bounds grow by a fixed ratio.

A quantile of it is off by 9 % at most, however many runs there were and however they are distributed; so are those of
DDSketch (Masson, Rim, Lee, VLDB 2019), of which this is the part without merging.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BUCKETS", "bucket", "slowest", "upper_bound"]

_SMALLEST: Final = 1e-5
"""Seconds: what takes less is in the first bucket."""
_PER_DOUBLING: Final = 8
BUCKETS: Final = 192
"""24 doublings, up to 168 seconds; what takes longer is in the last bucket."""


def bucket(seconds: float) -> int:
    """The number of the bucket that a time belongs in."""
    if seconds <= _SMALLEST:
        return 0
    return min(BUCKETS - 1, int(math.log2(seconds / _SMALLEST) * _PER_DOUBLING))


def upper_bound(number: int) -> float:
    """The upper bound of a bucket in seconds."""
    return float(_SMALLEST * 2 ** ((number + 1) / _PER_DOUBLING))


def slowest(counts: Sequence[int], share: float) -> float:
    """The time in seconds that a share of all runs did not exceed: the upper bound of its bucket.

    Args:
        counts: Of each bucket; one at least is above 0.
        share: From 0 to 1.
    """
    left = math.ceil(share * sum(counts))
    for number, count in enumerate(counts):
        left -= count
        if left <= 0:
            return upper_bound(number)
    return upper_bound(BUCKETS - 1)
