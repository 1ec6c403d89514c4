"""Of boxes that overlap, the one with the best score: greedy non-maximum suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["overlaps", "suppressed"]


def overlaps(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """What share of the area of either box lies in both (intersection over union), 0 for boxes without area.

    Args:
        one: ``[4]``: left, top, right, bottom.
        others: ``[boxes, 4]``.
    """
    sides = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    shared = np.prod(np.maximum(sides, 0.0), axis=1)
    areas = np.prod(np.maximum(others[:, 2:] - others[:, :2], 0.0), axis=1)
    union = np.prod(np.maximum(one[2:] - one[:2], 0.0)) + areas - shared
    return np.asarray(np.divide(shared, union, out=np.zeros(len(others)), where=union > 0))


def suppressed(
    corners: NDArray[np.float64],
    scores: NDArray[np.float64],
    classes: NDArray[np.int64] | None,
    *,
    threshold: float,
    most: int,
) -> NDArray[np.int64]:
    """Go through boxes from the best score down; keep each that overlaps none that was kept by more than a threshold.

    Args:
        corners: ``[boxes, 4]``: left, top, right, bottom.
        scores: ``[boxes]``.
        classes: ``[boxes]``: boxes of different classes do not suppress each other; None: they do.
        threshold: The most overlap.
        most: How many are kept at most.

    Returns:
        The numbers of those that are kept, best first; of equals, the first.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        first, order = order[0], order[1:]
        kept.append(int(first))
        near = overlaps(corners[first], corners[order]) > threshold
        if classes is not None:
            near &= classes[order] == classes[first]
        order = order[~near]
    return np.array(kept, np.int64)
