"""Removes input channels of one layer at the least loss, and gives its other weights what they can take over.

The optimal brain surgeon (B. Hassibi, D. G. Stork, "Second order derivatives for network pruning", NIPS 1992) on the
squared error of a layer's output, with whole channels as its weights. With the covariance C of the input channels over
the calibration set and P its inverse, what removing channel r costs when all other weights are set anew is
|w_r|² / P_rr; they become w - w_r P_r / P_rr, and P becomes P - P_r P_rᵀ / P_rr. What is constant of a channel goes
into the bias. A step is elementwise on doubles: it comes out the same whatever the processor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DAMPING = 0.01
"""Share of each variance that is added to it: fewer samples than channels leave C without an inverse."""
_LEAST = 1e-6
"""The same of the mean variance: a channel that never varies costs next to nothing."""

Matrix = NDArray[np.float64]


@dataclass(slots=True)
class Surgeon:
    """One layer's weights, and what is known of its input channels."""

    weights: Matrix
    """`[outputs * positions, channels]`."""
    inverse: Matrix
    """`[channels, channels]`; rows and columns of removed channels are zero."""
    scale: float
    """The output's variance, about: what costs are a share of."""

    @classmethod
    def of(cls, weights: Matrix, covariance: Matrix) -> Surgeon:
        """Begin with a whole layer."""
        variance = covariance.diagonal()
        damped = covariance + np.diag(variance * _DAMPING + (float(variance.mean()) * _LEAST + 1e-9))
        scale = float(((weights * weights).sum(axis=0) * variance).sum())
        return cls(weights.copy(), inverted(damped), scale or 1.0)

    def copy(self) -> Surgeon:
        """The same, to try something on."""
        return Surgeon(self.weights.copy(), self.inverse.copy(), self.scale)

    def costs(self) -> Matrix:
        """`[channels]`, what removing each would cost as a share of the output's variance; 0 for those removed."""
        own = self.inverse.diagonal()
        sizes = (self.weights * self.weights).sum(axis=0)
        costs: Matrix = np.divide(sizes, own * self.scale, out=np.zeros_like(sizes), where=own > 0)
        return costs

    def remove(self, channel: int) -> None:
        """Remove an input channel."""
        row = self.inverse[channel] / self.inverse[channel, channel]
        self.weights -= self.weights[:, channel, None] * row
        self.inverse -= self.inverse[:, channel, None] * row
        self.weights[:, channel] = 0
        self.inverse[channel], self.inverse[:, channel] = 0, 0

    def forget(self, outputs: list[int], count: int) -> None:
        """Some of `count` outputs are not wanted any more: nothing is lost by what they read."""
        self.weights.reshape(count, -1, self.weights.shape[1])[outputs] = 0


def inverted(matrix: Matrix) -> Matrix:
    """The inverse of a positive definite matrix, by Gauss-Jordan elimination in a fixed order."""
    found = matrix.copy()
    for index in range(len(found)):
        pivot = found[index, index]
        row, column = found[index] / pivot, found[:, index].copy()
        found -= column[:, None] * row
        found[index] = row
        found[:, index] = -column / pivot
        found[index, index] = 1 / pivot
    return found
