"""Channels: the parts of an output that mean different things, each with a range of its own.

The coordinates and the scores of a detector often come in one output, boxes in hundreds of pixels beside probabilities:
what is nothing to the one is all to the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_runtime.tensors import ANY_SIZE

_PAIR = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """Which axes of an output count channels; along the others are samples and positions."""

    axes: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def channels(self) -> int:
        """How many there are."""
        return math.prod(self.sizes)

    def rows(self, answer: NDArray[Any]) -> NDArray[Any]:
        """An answer as `[channels, positions]`."""
        front = np.moveaxis(answer, self.axes, range(len(self.axes)))
        return front.reshape(self.channels, answer.size // self.channels)

    def numbers(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The channel of every element of an answer of a shape, flat."""
        found = np.zeros(shape, np.int64)
        for axis, size in zip(self.axes, self.sizes, strict=True):
            along = [1] * len(shape)
            along[axis] = size
            found = found * size + np.arange(size).reshape(along)
        return found.reshape(-1)


def extent(layout: Layout, answers: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the largest finite number of each channel; infinite and minus infinite where there is none."""
    lowest, highest = np.full(layout.channels, np.inf), np.full(layout.channels, -np.inf)
    for answer in answers:
        if answer.size:
            rows = layout.rows(answer).astype(np.float64)
            finite = np.isfinite(rows)
            lowest = np.minimum(lowest, np.where(finite, rows, np.inf).min(axis=1))
            highest = np.maximum(highest, np.where(finite, rows, -np.inf).max(axis=1))
    return lowest, highest


def layout_of(shapes: Sequence[tuple[int, ...]], named: Sequence[int] = ()) -> Layout:
    """Tell channels from positions by an output's shapes, one for each sample.

    An axis that the model leaves open, while it gives others behind the first a size, counts positions: the height and
    width of `[-1, 1, -1, -1]`. Of the other axes longer than one whose length is the same for all samples

    - a single one counts channels: the scores of a classifier;
    - of two, the shorter one: the 85 of `[1, 8400, 85]` and of `[1, 85, 8400]`;
    - of more, two neighbours of the same length are an image's sides, or else the two longest are; the rest counts
      channels: the 21 of `[1, 21, 512, 512]`, the 3 and 85 of `[1, 3, 80, 80, 85]`.

    Args:
        shapes: As answered.
        named: As the model says it, `ANY_SIZE` where it says nothing.
    """
    if len({len(shape) for shape in shapes}) != 1:
        return Layout((), ())
    axes = [axis for axis, size in enumerate(shapes[0]) if size > 1 and len({shape[axis] for shape in shapes}) == 1]
    if len(named) == len(shapes[0]) and any(size != ANY_SIZE for size in named[1:]):
        axes = [axis for axis in axes if named[axis] != ANY_SIZE]
    sizes = {axis: shapes[0][axis] for axis in axes}
    if len(axes) == _PAIR:
        axes = [axes[0] if sizes[axes[0]] < sizes[axes[1]] else axes[1]]
    elif len(axes) > _PAIR:
        sides = [pair for pair in pairwise(axes) if sizes[pair[0]] == sizes[pair[1]]]
        longest = sorted(axes, key=lambda axis: sizes[axis])[-_PAIR:]
        positions = max(sides, key=lambda pair: sizes[pair[0]]) if sides else longest
        axes = [axis for axis in axes if axis not in positions]
    return Layout(tuple(axes), tuple(sizes[axis] for axis in axes))
