"""How much a sample would teach: how unsure the model is of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Recent", "uncertainty"]

_KEPT: Final = 1024


def uncertainty(scores: NDArray[Any]) -> NDArray[np.float64]:
    """One less the margin between the two best classes (Scheffer, Decomain, Wrobel, IDA 2001).

    Args:
        scores: `[samples, classes]` or `[classes]`, probabilities.

    Returns:
        `[samples]`, from 0 (sure) to 1; what is no number is 0.
    """
    rows = np.atleast_2d(scores.astype(np.float64, copy=False))
    best = np.partition(rows, rows.shape[-1] - 2, axis=-1)[..., -2:]
    with np.errstate(invalid="ignore"):
        margin = best[..., 1] - best[..., 0]
    unsure: NDArray[np.float64] = np.where(np.isfinite(margin), np.clip(1.0 - margin, 0.0, 1.0), 0.0)
    return unsure


class Recent:
    """The newest scores of one kind, to say where another stands among them."""

    def __init__(self) -> None:
        self._scores = np.zeros(_KEPT)
        self._count = 0

    def add(self, scores: NDArray[np.float64]) -> None:
        """Take up `[samples]`."""
        if len(scores) == 1:
            self._scores[self._count % _KEPT] = scores[0]
            self._count += 1
            return
        new = scores[-_KEPT:]
        places = (self._count + np.arange(len(new))) % _KEPT
        self._scores[places] = new
        self._count += len(new)

    def rank(self, score: float) -> float:
        """The share of them that are lower, from 0 to 1; 0 where there are none."""
        seen = self._scores[: min(self._count, _KEPT)]
        return float((seen < score).mean()) if seen.size else 0.0
