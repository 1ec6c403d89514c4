"""The scores of an answer, all together: what the model itself makes of its inputs.

Of the representations that a model has, its softmax finds a shift of the inputs best (Rabanser, Günnemann, Lipton 2019;
Lipton, Wang, Smola 2018), and it is the only one that every engine answers without another model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.drift.randomness import normals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["MOST_SCORES", "Scores"]

MOST_SCORES: Final = 32
"""Numbers that are taken as they are; of more there are as many random projections."""
_FEWEST: Final = 2
"""Of one number there is a histogram already."""
_PARTS: Final = 1024
"""Means that a projection is made of, where there are more numbers."""
_LEAST: Final = 1e-6
"""A smaller probability is as large as this one: its logarithm would be noise."""


@dataclass(frozen=True)
class Scores:
    """How scores are read of one output.

    Attributes:
        tensor: The output's name.
        axes: Axes of one sample.
        count: Numbers of one sample.
        shares: Whether they are probabilities of classes.
        model: The seed of all that is drawn for the model.
    """

    tensor: str
    axes: int
    count: int
    shares: bool
    model: str

    @property
    def seed(self) -> str:
        """Of projections and waves: other ones than those of the inputs."""
        return f"{self.model} scores"

    @property
    def width(self) -> int:
        """How many numbers are read of a sample."""
        return min(self.count, MOST_SCORES)

    @classmethod
    def of(cls, name: str, sample: NDArray[Any], seed: str, *, shares: bool) -> Scores | None:
        """How an output is read; None where it has no scores: text, whole numbers, a single number.

        Args:
            name: Its name.
            sample: One sample of it.
            seed: Of projections.
            shares: Whether it has probabilities of classes.
        """
        if sample.dtype.kind != "f" or sample.size < _FEWEST:
            return None
        return cls(name, sample.ndim, sample.size, shares, seed)

    def read(self, outputs: Mapping[str, NDArray[Any]], most: int) -> NDArray[np.float64] | None:
        """The scores of a run, ``[samples, width]``; a sample that has one that is no number has NaN.

        Args:
            outputs: What the model answered; those that the client asked for.
            most: Samples that are read: the first ones.

        Returns:
            None where the output is not there, or has another form.
        """
        array = outputs.get(self.tensor)
        if array is None or array.dtype.kind != "f" or array.ndim not in {self.axes, self.axes + 1}:
            return None
        samples = array[np.newaxis] if array.ndim == self.axes else array[:most]
        if not len(samples) or samples[0].size != self.count:
            return None
        numbers = samples.reshape(len(samples), -1).astype(np.float64)
        with np.errstate(all="ignore"):
            return self._narrowed(_centred(numbers) if self.shares else numbers)

    def _narrowed(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.count > MOST_SCORES:
            numbers = self._parts(numbers) @ self._weights
        return np.where(np.isfinite(numbers).all(1, keepdims=True), numbers, np.nan)

    def _parts(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.count <= _PARTS:
            return numbers
        starts = np.arange(_PARTS) * self.count // _PARTS
        return np.asarray(np.add.reduceat(numbers, starts, 1) / np.diff(starts, append=self.count))

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        parts = min(self.count, _PARTS)
        return np.asarray(normals(self.seed, "projections", parts * MOST_SCORES).reshape(parts, -1) / np.sqrt(parts))


def _centred(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms without their mean: what happens between unlikely classes counts as between likely ones."""
    logs = np.log(np.clip(shares, _LEAST, 1.0))
    return np.asarray(logs - logs.mean(1, keepdims=True))
