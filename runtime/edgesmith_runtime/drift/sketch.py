"""A sketch of what samples are like, all features together: random Fourier features of them.

Rahimi and Recht 2007: the mean over samples of √(2 / R) cos(w·x + b) is close to their mean embedding in the space of a
Gaussian kernel, and the squared distance of two such means to the maximum mean discrepancy (Gretton et al. 2012) of two
sets of samples. The distance of one sample from the baseline's mean says how unlike the baseline it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from edgesmith_runtime.drift.randomness import normals, uniforms

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WIDTH", "Scaling", "scaling_of"]

WIDTH: Final = 128
"""Random features."""
_FAR: Final = 4.0
"""Deviations from the middle beyond which a feature is as far as it gets."""
_PAIRED: Final = 256
"""Samples whose distances from each other give the kernel's width."""
_NORMAL: Final = 1.349
"""Deviations between the quartiles of a normal distribution."""


@dataclass(frozen=True)
class Scaling:
    """From features to random Fourier features.

    Attributes:
        seed: Of the random numbers.
        middle: Of each feature.
        spread: Its deviation.
        width: Of the kernel.
    """

    seed: str
    middle: tuple[float, ...]
    spread: tuple[float, ...]
    width: float

    @cached_property
    def _middle(self) -> NDArray[np.float64]:
        return np.array(self.middle)

    @cached_property
    def _spread(self) -> NDArray[np.float64]:
        return np.array(self.spread)

    @cached_property
    def _waves(self) -> NDArray[np.float64]:
        count = len(self.middle)
        return normals(self.seed, "waves", count * WIDTH).reshape(count, WIDTH) / self.width

    @cached_property
    def _phases(self) -> NDArray[np.float64]:
        return 2 * np.pi * uniforms(self.seed, "phases", WIDTH)

    @cached_property
    def _in_fp32(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._waves.astype(np.float32), self._phases.astype(np.float32)

    def scaled(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Features in deviations from their middle; what is no number is in the middle."""
        with np.errstate(all="ignore"):
            found = (features - self._middle) / self._spread
        return np.clip(np.nan_to_num(found, nan=0.0, posinf=_FAR, neginf=-_FAR), -_FAR, _FAR)

    def embed(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The random features of samples, ``[samples, WIDTH]``."""
        return np.asarray(np.sqrt(2 / WIDTH) * np.cos(self.scaled(features) @ self._waves + self._phases))

    def embed_quickly(self, features: NDArray[np.float64]) -> NDArray[np.float32]:
        """The same in fp32, right to five digits after the point.

        It takes an eighth of the time on a processor with AVX2. A baseline is not made of it: its last digits are not
        the same on every processor.
        """
        waves, phases = self._in_fp32
        return np.asarray(
            np.float32(np.sqrt(2 / WIDTH)) * np.cos(self.scaled(features).astype(np.float32) @ waves + phases)
        )


def scaling_of(features: NDArray[np.float64], seed: str) -> Scaling:
    """Choose middles, deviations and the kernel's width: the median distance of samples.

    Args:
        features: The baseline's, ``[samples, features]``.
        seed: Of the random numbers.
    """
    middles, spreads = [], []
    for column in features.T:
        numbers = column[np.isfinite(column)]
        low, middle, high = np.quantile(numbers, (0.25, 0.5, 0.75)) if numbers.size else (0.0, 0.0, 0.0)
        spread = (high - low) / _NORMAL or (float(numbers.std()) if numbers.size else 0.0)
        middles.append(_short(middle))
        spreads.append(_short(spread) or max(abs(_short(middle)) * 1e-3, 1e-6))
    first = Scaling(seed, tuple(middles), tuple(spreads), 1.0)
    some = first.scaled(features[:: max(1, len(features) // _PAIRED)][:_PAIRED])
    squares = (some**2).sum(1)
    apart = np.maximum(0.0, squares[:, np.newaxis] + squares - 2 * some @ some.T)
    between = apart[np.triu_indices(len(some), 1)]
    width = _short(np.sqrt(np.median(between))) if between.size else 0.0
    return Scaling(seed, tuple(middles), tuple(spreads), width or 1.0)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
