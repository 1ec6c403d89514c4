"""Makes a baseline of the samples that a build has, with the code that devices read theirs with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.drift.baseline import MOST_FEATURES, Baseline, Sketch, SketchedScores
from edgesmith_runtime.drift.histograms import SLOTS, edges_of, padded, places
from edgesmith_runtime.drift.readings import CLASSES, Reading, read_all, reading_of
from edgesmith_runtime.drift.scores import Scores
from edgesmith_runtime.drift.sketch import scaling_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    Pair = tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]

__all__ = ["FEWEST", "baseline_of"]

FEWEST: Final = 50
"""Samples of which a baseline can be made: of fewer, chance may be as large as any drift."""


def baseline_of(
    answered: Iterable[Pair], axes: Mapping[str, int], *, seed: str, classes: str | None
) -> Baseline | None:
    """Make a baseline.

    Args:
        answered: What a model was given and what it answered, one sample a pair, as a server sees them.
        axes: Axes of one sample of each input: one fewer than the input where its first is a batch.
        seed: Of random projections and waves: the model's digest.
        classes: The output of probabilities; None where there is none.

    Returns:
        None where there are too few samples, or nothing is read of them.
    """
    readings: tuple[Reading, ...] = ()
    rows: list[NDArray[np.float64]] = []
    always: NDArray[np.bool_] = np.array(True)
    scores = _Gathered(None, [])
    for inputs, outputs in answered:
        if not readings:
            readings = _readings(inputs, outputs, axes, classes, seed)
            scores = _Gathered(_scored(_samples(inputs, outputs, axes), classes, seed), [])
        found = read_all(readings, inputs, outputs, 1)
        if found is not None and len(found[0]):
            rows.append(found[0][0])
            always = always & found[1]
            scores.take(outputs)
    if len(rows) < FEWEST:
        return None
    # An output that has no row for each sample, like boxes that were found, is none of a sample.
    starts = np.cumsum([0, *(len(reading.features) for reading in readings)])
    kept = tuple(reading for reading, start in zip(readings, starts[:-1], strict=True) if always[start])
    return _made(np.stack(rows)[:, always], kept, scores.made(len(rows))) if kept else None


@dataclass
class _Gathered:
    """The scores of all samples, as long as each has some."""

    reading: Scores | None
    rows: list[NDArray[np.float64]]

    def take(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        found = None if self.reading is None else self.reading.read(outputs, 2)
        if found is None or len(found) != 1 or not np.isfinite(found).all():
            self.reading = None
            return
        self.rows.append(found[0])

    def made(self, samples: int) -> SketchedScores | None:
        if self.reading is None or len(self.rows) != samples:
            return None
        return SketchedScores(self.reading, _sketch(np.stack(self.rows), self.reading.seed))


def _scored(samples: Mapping[str, NDArray[Any]], classes: str | None, seed: str) -> Scores | None:
    """The output whose scores are looked at: the probabilities, or the first one that has some."""
    for name in sorted(samples, key=lambda one: one != classes):
        found = Scores.of(name, samples[name], seed, shares=name == classes)
        if found is not None:
            return found
    return None


def _samples(
    inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]], axes: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """What is one sample of each output."""
    batched = all(inputs[name].ndim > count for name, count in axes.items())
    return {
        name: _first(array) if batched and array.ndim and len(array) == 1 else array for name, array in outputs.items()
    }


def _readings(
    inputs: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, NDArray[Any]],
    axes: Mapping[str, int],
    classes: str | None,
    seed: str,
) -> tuple[Reading, ...]:
    """How tensors are read: inputs first, and no more than fit."""
    found: list[Reading] = []
    for name, array in inputs.items():
        found.append(reading_of(name, _first(array) if array.ndim > axes[name] else array, seed))
    for name, sample in _samples(inputs, outputs, axes).items():
        found.append(reading_of(name, sample, seed, output=True, classes=name == classes))
    kept: list[Reading] = []
    for reading in sorted(found, key=lambda one: (one.output, one.kind != CLASSES)):
        if reading.features and sum(len(one.features) for one in (*kept, reading)) <= MOST_FEATURES:
            kept.append(reading)
    return tuple(kept)


def _first(array: NDArray[Any]) -> NDArray[Any]:
    """The first sample of a batch, as an array also where it is one text."""
    return array[:1].reshape(array.shape[1:])


def _made(features: NDArray[np.float64], readings: tuple[Reading, ...], scores: SketchedScores | None) -> Baseline:
    names = [name for reading in readings for name in reading.categories]
    edges = [edges_of(column, names=named) for column, named in zip(features.T, names, strict=True)]
    counts = np.zeros((features.shape[1], SLOTS))
    for row in places(features, padded(edges)):
        counts[np.arange(len(row)), row] += 1
    inside = sum(len(reading.features) for reading in readings if not reading.output)
    sketch = _sketch(features[:, :inside], readings[0].seed) if inside else None
    return Baseline(len(features), readings, tuple(map(tuple, edges)), counts, sketch, inside, scores)


def _sketch(features: NDArray[np.float64], seed: str) -> Sketch:
    scaling = scaling_of(features, seed)
    embedded = scaling.embed(features)
    mean = np.array([_short(value) for value in embedded.mean(0)])
    covariance = np.cov(embedded.T)
    far = np.sqrt(np.maximum(0.0, 1 - 2 * embedded @ mean + float(mean @ mean)))
    usual, farthest = np.quantile(far, (0.5, 0.99))
    return Sketch(
        scaling,
        mean,
        trace=_short(float(np.trace(covariance))),
        squares=_short(float((covariance**2).sum())),
        usual=_short(usual),
        far=_short(max(float(farthest), 1e-6)),
    )


def _short(value: float) -> float:
    """Six digits: enough, and the same where the last bits of sums are not."""
    return float(f"{value:.6g}")
