"""Picks a few of many: far apart in the set, and of every class where there are labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def spread(count: int, total: int, labels: NDArray[Any] | None) -> list[int]:
    """Pick samples.

    Sets are often sorted: by class, by day, by camera. Without labels the picks lie at equal distances. With labels
    each class gets its share in turn, and its picks lie at equal distances among its own samples; where there are more
    classes than picks, the classes lie at equal distances.

    Args:
        count: How many to pick, at most `total`.
        total: How many there are.
        labels: `[total]`, their classes.

    Returns:
        Numbers from 0, rising.
    """
    if labels is None:
        return _apart(count, total)
    # Python's sort: NumPy's vectorised one, in np.unique too, came out unsorted on an emulated Haswell.
    members = [np.flatnonzero(labels == kind) for kind in sorted({*labels.tolist()})]
    members = [members[number] for number in _apart(min(count, len(members)), len(members))]
    shares = [0] * len(members)
    while sum(shares) < count:
        before = sum(shares)
        for number, own in enumerate(members):
            if shares[number] < len(own) and sum(shares) < count:
                shares[number] += 1
        if sum(shares) == before:
            break  # the classes that were picked have no more
    return sorted(
        int(own[place]) for own, share in zip(members, shares, strict=True) for place in _apart(share, len(own))
    )


def _apart(count: int, total: int) -> list[int]:
    """The middles of `count` equal parts of `total`."""
    return [(2 * number + 1) * total // (2 * count) for number in range(count)]
