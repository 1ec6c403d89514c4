"""A data set held against the model: same names, same types, same shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset.labels import LABELS, Labels
from edgesmith_builder.errors import DatasetInvalid, DatasetMismatch
from edgesmith_runtime.tensors import ANY_SIZE, TensorSpec, datatype_of, fits_datatype, shape_text


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs that fit the model, the first axis of each counting samples."""

    inputs: Mapping[str, NDArray[Any]]
    ranks: Mapping[str, int]
    """How many axes the model's own input has; one fewer than the array's where the model takes no batches."""
    batches: bool
    """Whether the model takes several samples at once."""
    labels: NDArray[Any] | None = None
    """What is right for each sample, as its kind of labels has it."""
    rows: NDArray[np.int64] | None = None
    """Which of the arrays' rows are the samples, in order; None: all of them."""

    @property
    def classes(self) -> NDArray[Any] | None:
        """`[samples]`, the class of each sample; None where labels are something else, or there are none."""
        found = self.labels
        return found if found is not None and found.ndim == 1 and found.dtype.kind in "iuU" else None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values()))) if self.rows is None else len(self.rows)

    def feed(self, first: int, count: int = 1) -> dict[str, NDArray[Any]]:
        """What to give the engine for some samples in a row; `count` above 1 only where `batches`."""
        rows = slice(first, first + count) if self.rows is None else self.rows[first : first + count]
        return {
            name: _fed(array[rows][0] if self.ranks[name] < array.ndim else array[rows])
            for name, array in self.inputs.items()
        }

    def feeds(self, batch: int) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        """All samples in order, `batch` at a time, each with the number of its first sample."""
        size = batch if self.batches else 1
        for first in range(0, len(self), size):
            yield first, self.feed(first, size)

    def take(self, chosen: Sequence[int]) -> Samples:
        """Some of the samples, by their numbers; nothing is copied but labels."""
        numbers = np.array(chosen, np.int64)
        rows = numbers if self.rows is None else self.rows[numbers]
        return replace(self, rows=rows, labels=None if self.labels is None else self.labels[numbers])


def samples_for(
    arrays: Mapping[str, NDArray[Any]], inputs: Sequence[TensorSpec], *, field: str, labels: Labels | None
) -> Samples:
    """Hold a data set against the model's inputs.

    Args:
        arrays: The data set.
        inputs: The model's inputs.
        field: Where the request names the set, for messages.
        labels: What kind of labels it must have; None: those that it has are passed over.

    Raises:
        DatasetMismatch: where a name, a type, a shape or a number of samples differs; both sides are named.
        DatasetInvalid: where labels are missing or of another kind.
    """
    expected = ", ".join(f"{spec.name!r} {spec.datatype}{shape_text(spec.shape)}" for spec in inputs)
    given = {name: array for name, array in arrays.items() if name != LABELS}
    if set(given) != {spec.name for spec in inputs}:
        found = ", ".join(repr(name) for name in given) or "none"
        raise DatasetMismatch(f"{field} has the arrays {found}; the model's inputs were expected: {expected}")
    chosen = {spec.name: _fitting(given[spec.name], spec, field) for spec in inputs}
    counts = {name: len(array) for name, array in chosen.items()}
    if labels is not None:
        if LABELS not in arrays:
            raise DatasetInvalid(f"{field} has no array {LABELS!r}; {labels.expected} was expected there")
        counts[LABELS] = len(arrays[LABELS])
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{count} in {name!r}" for name, count in counts.items())
        raise DatasetMismatch(f"{field} has different numbers of samples ({counted}); the same number was expected")
    right = labels.read(arrays[LABELS], field) if labels is not None else None
    batches = all(spec.shape[:1] == (ANY_SIZE,) and chosen[spec.name].ndim == len(spec.shape) for spec in inputs)
    return Samples(chosen, {spec.name: len(spec.shape) for spec in inputs}, batches, right)


def _fed(array: NDArray[Any]) -> NDArray[Any]:
    """One array as an engine takes it: contiguous, text as objects."""
    return np.asarray(array.astype(np.object_) if array.dtype.kind == "U" else array, order="C")


def _fitting(array: NDArray[Any], spec: TensorSpec, field: str) -> NDArray[Any]:
    datatype = datatype_of(array)
    if not fits_datatype(array, spec.datatype):
        raise DatasetMismatch(
            f"{field} has the array {spec.name!r} of type {datatype or array.dtype}; "
            f"the model's input {spec.name!r} is {spec.datatype}"
        )
    batched = len(spec.shape) == array.ndim and spec.shape[0] in (ANY_SIZE, 1)
    stacked = len(spec.shape) == array.ndim - 1
    sample = array.shape[1:]
    if not (batched and spec.accepts((spec.shape[0], *sample))) and not (stacked and spec.accepts(sample)):
        raise DatasetMismatch(
            f"{field} has the array {spec.name!r} of shape {shape_text(array.shape)}; "
            f"the model's input {spec.name!r} takes {shape_text(spec.shape)}, and samples along the first axis"
        )
    return array
