"""Whether a sample is much like one that was taken already: a static scene must not take the whole day's bytes.

An input is described by the means of up to 64 parts of it in a row, in units of how much these differ between golden
samples: sensor noise averages out, and what changes in the scene does not.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Likeness"]

_PARTS: Final = 64
_REMEMBERED: Final = 128
_ALIKE: Final = 0.1
"""How far apart two samples may be and count as one, as a share of the spread between golden samples."""
_NUMBERS: Final = "biuf"


class Likeness:
    """Remembers what was taken.

    Args:
        golden: Golden samples, each one input by name, first size 1 where the model takes batches.
    """

    def __init__(self, golden: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        self._taken: deque[NDArray[np.float64]] = deque(maxlen=_REMEMBERED)
        rows = [_parts(sample) for sample in golden]
        same = [row for row in rows if row.shape == rows[0].shape]
        spread = np.std(same, axis=0) if same else np.zeros(0)
        usual = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
        # A part that never differs, a dark corner say, must not count a grey level as a change.
        self._spread = np.maximum(spread, usual / 2)

    def describe(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """What a sample is compared by."""
        parts = _parts(inputs)
        return parts / self._spread if parts.shape == self._spread.shape else parts

    def known(self, described: NDArray[np.float64]) -> bool:
        """Whether one much like it is among the newest 128 that were taken."""
        if not described.size:
            return False
        same = [other for other in self._taken if other.shape == described.shape]
        if not same:
            return False
        away = np.sqrt(np.mean((np.array(same) - described) ** 2, axis=1))
        return bool(away.min() < _ALIKE)

    def remember(self, described: NDArray[np.float64]) -> None:
        """Take up one that was taken."""
        self._taken.append(described)


def _parts(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The means of the parts of each input in the order of their names; inputs that are no numbers have none."""
    found = [_means(inputs[name]) for name in sorted(inputs) if inputs[name].dtype.kind in _NUMBERS]
    return np.concatenate(found) if found else np.zeros(0)


def _means(array: NDArray[Any]) -> NDArray[np.float64]:
    flat = array.reshape(-1)
    if not flat.size:
        return np.zeros(0)
    length = math.ceil(flat.size / _PARTS)
    starts = np.arange(0, flat.size, length)
    with np.errstate(all="ignore"):
        sums = np.add.reduceat(flat, starts, dtype=np.float64)
    return np.nan_to_num(sums / np.minimum(length, flat.size - starts), posinf=0.0, neginf=0.0)
