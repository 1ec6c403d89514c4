"""What labels can be: read from a set's array, and refused where they are something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.errors import DatasetInvalid
from edgesmith_runtime.tensors import shape_text

LABELS = "labels"
"""The array that holds what is right for each sample."""

CORNERS = 4
"""Numbers of a box: left, top, right, bottom."""

_LARGEST = 1e140
"""Size of a number that is right for a sample: the squares of as many as a set can hold add up to a finite number."""

_COLUMN = 2
_BOX_AXES = 3


@dataclass(frozen=True, slots=True)
class Labels:
    """A kind of labels."""

    expected: str
    """What is right for each sample, in words: `the class of each sample`."""
    read: Callable[[NDArray[Any], str], NDArray[Any]]
    """The labels of an array, one row a sample; raises `DatasetInvalid` where they are of another kind."""


def _classes(labels: NDArray[Any], field: str) -> NDArray[Any]:
    """`[samples]`, class numbers from 0, -1 and 1, or text."""
    if labels.ndim == _COLUMN and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "biuU" or labels.ndim != 1:
        raise _wrong(labels, field, "one integer or text for each sample was expected")
    if labels.dtype.kind == "U":
        return labels
    if int(labels.max()) > np.iinfo(np.int64).max:  # it would come out negative
        raise DatasetInvalid(f"{field} has the label {int(labels.max())}; classes counted from 0 were expected")
    numbers = labels.astype(np.int64)
    if int(numbers.min()) < 0 and not {*numbers.tolist()} <= {-1, 1}:
        raise DatasetInvalid(
            f"{field} has the label {int(numbers.min())}; classes counted from 0, or -1 and 1, were expected"
        )
    return numbers


def _numbers(labels: NDArray[Any], field: str) -> NDArray[Any]:
    """`[samples, values]`, the numbers of each sample's answer in order."""
    if labels.dtype.kind not in "biuf":
        raise _wrong(labels, field, "numbers, as many for each sample as the output answers, were expected")
    flat = labels.reshape(len(labels), -1).astype(np.float64)
    if not np.isfinite(flat).all():
        raise DatasetInvalid(f"{field} has NaN in the array {LABELS!r}; finite numbers were expected")
    far = np.argwhere(np.abs(flat) > _LARGEST)
    if len(far):
        sample, value = far[0]
        raise DatasetInvalid(
            f"{field} has the label {flat[sample, value]:g} in sample {sample}; numbers from {-_LARGEST:g} to "
            f"{_LARGEST:g} were expected, the squares of which add up to a finite number"
        )
    return flat


def _boxes(labels: NDArray[Any], field: str) -> NDArray[Any]:
    """`[samples, most, 5]`: left, top, right, bottom and class of each box; class -1 fills up."""
    if labels.dtype.kind not in "biuf" or labels.ndim != _BOX_AXES or labels.shape[2] != CORNERS + 1:
        raise _wrong(
            labels, field, "[samples, most boxes, 5] was expected: left, top, right, bottom and class, -1 to fill up"
        )
    boxes = labels.astype(np.float64, copy=False)
    kinds = boxes[..., CORNERS]
    if not np.isfinite(boxes).all() or not (kinds == np.rint(kinds)).all() or (kinds.size and kinds.min() < -1):
        raise DatasetInvalid(f"{field} has a box whose class is no whole number; a class from 0, or -1, was expected")
    if not (kinds >= 0).any():
        raise DatasetInvalid(f"{field} has no box in any sample; one at least was expected")
    return boxes


CLASSES = Labels("the class of each sample", _classes)
NUMBERS = Labels("one row of numbers for each sample", _numbers)
BOXES = Labels("an array of boxes for each sample", _boxes)


def _wrong(labels: NDArray[Any], field: str, expected: str) -> DatasetInvalid:
    return DatasetInvalid(
        f"{field} has {LABELS!r} of type {labels.dtype} and shape {shape_text(labels.shape)}; {expected}"
    )
