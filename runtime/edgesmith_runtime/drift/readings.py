"""What is read of a sample: features, a number each.

| of | features |
| --- | --- |
| a tensor of numbers with few elements | each element |
| a picture | brightness, contrast, sharpness, the mean of each channel, and projections of its coarse form |
| a tensor of numbers with many | mean, deviation, least, most, roughness, and projections of means of its parts |
| a tensor of text | length, words, and the shares of digits, capitals and letters that are not ASCII |
| probabilities of classes | the best class's score, and which class it is |

Projections are random and fixed: each is a sum with weights that are drawn from the baseline's seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.drift.pictures import GRID, channels_of, statistics
from edgesmith_runtime.drift.randomness import normals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["CLASSES", "ELEMENTS", "KINDS", "PICTURE", "SERIES", "TEXT", "Reading", "read_all", "reading_of"]

ELEMENTS, PICTURE, SERIES, TEXT, CLASSES = "elements", "picture", "series", "text", "classes"
KINDS: Final = (ELEMENTS, PICTURE, SERIES, TEXT, CLASSES)
_FEW: Final = 32
"""Elements of a sample that are read one by one."""
_FEW_ANSWERS: Final = 8
"""The same of an output: what drifts is what comes in."""
_PROJECTIONS: Final = 8
_PARTS: Final = GRID * GRID
"""Means that a projection is made of."""
_PICTURE: Final = ("brightness", "contrast", "sharpness")
_SERIES: Final = ("mean", "deviation", "least", "most", "roughness")
_TEXT: Final = ("length", "words", "digits", "capitals", "foreign")
_LONGEST_TEXT: Final = 4096
"""Characters of a text that are looked at."""
_MOST_NUMBERS: Final = 65536
"""Elements of a series that are looked at."""


@dataclass(frozen=True)
class Reading:
    """How features are read of one tensor.

    Attributes:
        tensor: The input's or output's name.
        output: Whether it is an output.
        kind: One of `KINDS`.
        axes: Axes of one sample.
        count: Elements, channels or classes; 0 where that does not matter.
        seed: Of the projections.
    """

    tensor: str
    output: bool
    kind: str
    axes: int
    count: int
    seed: str

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The names of the features, in order."""
        if self.kind == ELEMENTS:
            return (self.tensor,) if self.count == 1 else tuple(f"{self.tensor}[{i}]" for i in range(self.count))
        if self.kind == CLASSES:
            return (f"{self.tensor}.confidence", f"{self.tensor}.class")
        if self.kind == TEXT:
            return tuple(f"{self.tensor}.{name}" for name in _TEXT)
        channels = [f"channel[{i}]" for i in range(self.count)] if self.kind == PICTURE and self.count > 1 else []
        own = (*_PICTURE, *channels) if self.kind == PICTURE else _SERIES
        drawn = () if self.output else tuple(f"projection[{i}]" for i in range(_PROJECTIONS))
        return tuple(f"{self.tensor}.{name}" for name in (*own, *drawn))

    @property
    def categories(self) -> tuple[bool, ...]:
        """Of each feature whether its numbers are names."""
        return tuple(self.kind == CLASSES and name.endswith(".class") for name in self.features)

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        drawn = normals(self.seed, f"projections of {self.tensor}", _PARTS * _PROJECTIONS)
        return np.asarray(drawn.reshape(_PARTS, _PROJECTIONS) / np.sqrt(_PARTS))

    def samples(self, array: NDArray[Any]) -> NDArray[Any] | None:
        """An array of a run as samples along the first axis; None where it is none."""
        if array.ndim == self.axes:
            return array[np.newaxis]
        return array if array.ndim == self.axes + 1 and array.size else None

    def read(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """The features of samples, ``[samples, features]``; NaN for what cannot be read.

        Args:
            samples: The first axis counts them.
        """
        if self.kind == ELEMENTS:
            flat = samples.reshape(len(samples), -1)
            if flat.shape[1] != self.count:
                return np.full((len(samples), self.count), np.nan)
            return flat.astype(np.float64)
        if self.kind == CLASSES:
            return _classes(samples, self.count)
        # Sliced, not indexed: of texts along one axis an element is no array.
        return np.stack([self._one(samples[row : row + 1].reshape(samples.shape[1:])) for row in range(len(samples))])

    def _one(self, sample: NDArray[Any]) -> NDArray[np.float64]:
        nothing = np.full(len(self.features), np.nan)
        if self.kind == TEXT:
            return np.array(_text(sample))
        found = statistics(sample, self.count) if self.kind == PICTURE else _series(sample)
        if found is None:
            return nothing
        numbers, parts = found
        return np.array(numbers) if self.output else np.concatenate([numbers, parts @ self._weights])


def reading_of(name: str, sample: NDArray[Any], seed: str, *, output: bool = False, classes: bool = False) -> Reading:
    """How a tensor is read.

    Args:
        name: Its name.
        sample: One sample of it.
        seed: Of projections.
        output: Whether it is an output.
        classes: Whether it has probabilities of classes.
    """
    if classes:
        return Reading(name, output, CLASSES, sample.ndim, sample.shape[-1] if sample.ndim else 0, seed)
    if sample.dtype.kind in "OUS":
        return Reading(name, output, TEXT, sample.ndim, 0, seed)
    if sample.size <= (_FEW_ANSWERS if output else _FEW):
        return Reading(name, output, ELEMENTS, sample.ndim, sample.size, seed)
    channels = channels_of(sample.shape)
    if channels is not None:
        return Reading(name, output, PICTURE, sample.ndim, channels, seed)
    return Reading(name, output, SERIES, sample.ndim, 0, seed)


def read_all(
    readings: tuple[Reading, ...], inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]], most: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """The features of a run.

    Args:
        readings: How tensors are read.
        inputs: What the model was given.
        outputs: What it answered; those that the client asked for.
        most: Samples that are read: the first ones.

    Returns:
        ``[samples, features]``, NaN for what is no number, and of each feature whether its tensor was there with as
        many samples as the others; None where nothing is read.
    """
    found = []
    for reading in readings:
        array = (outputs if reading.output else inputs).get(reading.tensor)
        found.append(None if array is None else reading.samples(array))
    counts = [len(samples) for samples in found if samples is not None]
    if not counts:
        return None
    count = counts[0]  # an input's, where any is read: they come first
    rows, present = [], []
    with np.errstate(all="ignore"):
        for reading, samples in zip(readings, found, strict=True):
            there = samples is not None and len(samples) == count
            nothing = np.full((min(most, count), len(reading.features)), np.nan)
            rows.append(reading.read(samples[:most]) if samples is not None and there else nothing)
            present += [there] * len(reading.features)
    return np.concatenate(rows, axis=1), np.array(present)


def _classes(samples: NDArray[Any], count: int) -> NDArray[np.float64]:
    flat = samples.reshape(len(samples), -1)
    if flat.shape[1] != count or not count:
        return np.full((len(samples), 2), np.nan)
    best = flat.argmax(1)
    return np.stack([flat[np.arange(len(flat)), best].astype(np.float64), best.astype(np.float64)], 1)


def _series(sample: NDArray[Any]) -> tuple[list[float], NDArray[np.float64]] | None:
    flat = sample.reshape(-1)
    if not flat.size:
        return None
    flat = flat[:: max(1, flat.size // _MOST_NUMBERS)].astype(np.float64)
    mean, deviation = float(flat.mean()), float(flat.std())
    rough = float(np.abs(np.diff(flat)).mean()) / deviation if flat.size > 1 and deviation > 0 else 0.0
    parts = np.zeros(_PARTS)
    if flat.size >= _PARTS and deviation > 0:
        starts = np.arange(_PARTS) * flat.size // _PARTS
        sizes = np.diff(starts, append=flat.size)
        parts = (np.add.reduceat(flat, starts) / sizes - mean) / deviation
    return [mean, deviation, float(flat.min()), float(flat.max()), rough], parts


def _text(sample: NDArray[Any]) -> list[float]:
    text = " ".join(
        item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in sample.reshape(-1)[:_FEW]
    )[:_LONGEST_TEXT]
    long = max(1, len(text))
    return [
        float(len(text)),
        float(len(text.split())),
        sum(map(str.isdigit, text)) / long,
        sum(map(str.isupper, text)) / long,
        sum(letter > "\x7f" for letter in text) / long,
    ]
