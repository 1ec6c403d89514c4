"""What a model was made with, as it is looked for on devices: the file ``baseline.json`` of a bundle.

Histograms of every feature, and the means of a sketch of the inputs and of one of the scores. Of a feature of many
values a bin has some 25 samples at least; of one of few, the values themselves are in it.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.drift.histograms import BINS, SLOTS, padded, places
from edgesmith_runtime.drift.readings import KINDS, Reading
from edgesmith_runtime.drift.scores import Scores
from edgesmith_runtime.drift.sketch import WIDTH, Scaling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["LARGEST", "Baseline", "BaselineError", "Sketch", "SketchedScores"]

VERSION: Final = 1
LARGEST: Final = 128 * 1024
"""Bytes of a file."""
MOST_FEATURES: Final = 64
_MOST_AXES: Final = 8
_MOST_SAMPLES: Final = 2**31
_LONGEST_NAME: Final = 300


class BaselineError(ValueError):
    """A baseline cannot be read; the message is one sentence."""


_BLUR = 1e-5
"""By how much squared distances of samples that are embedded in fp32 may be wrong: where a baseline has one sample many
times, what is seen is that sample."""


@dataclass(frozen=True)
class Sketch:
    """The sketch of a baseline's inputs, or of its scores.

    Attributes:
        scaling: From features, or scores, to the sketch.
        mean: ``[WIDTH]``, over all samples.
        trace: The sum of the variances of its parts, over samples.
        squares: The sum of the squares of the eigenvalues of their covariance.
        usual: The distance from the mean that half of the samples have at most.
        far: That 99 of 100 have at most.
    """

    scaling: Scaling
    mean: NDArray[np.float64]
    trace: float
    squares: float
    usual: float
    far: float

    def distances(self, embedded: NDArray[np.floating]) -> NDArray[np.float64]:
        """How far embedded samples are from the baseline, in its `far`: above 1 is what it hardly has."""
        squared = 1 - 2 * embedded @ self.mean + float(self.mean @ self.mean) - _BLUR
        return np.sqrt(np.maximum(squared, 0.0)) / self.far


@dataclass(frozen=True)
class SketchedScores:
    """The sketch of an output's scores.

    Attributes:
        reading: How they are read.
        sketch: Of them.
    """

    reading: Scores
    sketch: Sketch


@dataclass(frozen=True)
class Baseline:
    """What a model was made with.

    Attributes:
        samples: How many there were.
        readings: How features are read.
        edges: The bins of each feature; see `histograms.edges_of`.
        counts: ``[features, SLOTS]``, samples in each bin.
        sketch: Of the inputs' features; None where no input has any number.
        inside: How many of the features, from the first, are in the sketch.
        scores: Of an output; None where none has any, and in a bundle of before there were any.
    """

    samples: int
    readings: tuple[Reading, ...]
    edges: tuple[tuple[float, ...], ...]
    counts: NDArray[np.float64]
    sketch: Sketch | None
    inside: int
    scores: SketchedScores | None = None

    @property
    def sketches(self) -> tuple[Sketch | None, Sketch | None]:
        """Of the inputs' features and of the scores."""
        return self.sketch, self.scores.sketch if self.scores is not None else None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features' names, in order."""
        return tuple(name for reading in self.readings for name in reading.features)

    @cached_property
    def lower(self) -> NDArray[np.float64]:
        """The lower bounds of bins, ``[features, BINS - 1]``."""
        return padded([list(own) for own in self.edges])

    @cached_property
    def bins(self) -> NDArray[np.intp]:
        """How many bins each feature has in use."""
        return np.asarray(np.maximum(2, (self.counts > 0).sum(1)))

    def places(self, features: NDArray[np.float64]) -> NDArray[np.intp]:
        """The bin of each feature of samples, ``[samples, features]``."""
        return places(features, self.lower)

    def write(self) -> bytes:
        """Its file; the same baseline gives the same bytes."""
        document: dict[str, Any] = {
            "formatVersion": VERSION,
            "samples": self.samples,
            "readings": [
                {"tensor": one.tensor, "output": one.output, "kind": one.kind, "axes": one.axes, "count": one.count}
                for one in self.readings
            ],
            "seed": self.readings[0].seed if self.readings else "",
            "edges": [list(own) for own in self.edges],
            "counts": self.counts.astype(np.int64).tolist(),
        }
        if self.sketch is not None:
            document["sketch"] = {"features": self.inside, **_written(self.sketch)}
        if self.scores is not None:
            own = self.scores.reading
            document["scores"] = {
                "tensor": own.tensor,
                "axes": own.axes,
                "count": own.count,
                "shares": own.shares,
                **_written(self.scores.sketch),
            }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` of its file."""
        return f"sha256:{hashlib.sha256(self.write()).hexdigest()}"

    @classmethod
    def read(cls, data: bytes) -> Baseline:
        """Read a file.

        Raises:
            BaselineError: It is none, or of another version.
        """
        if len(data) > LARGEST:
            raise BaselineError(f"baseline has {len(data)} bytes; expected {LARGEST} at most")
        try:
            document = json.loads(data)
            if not isinstance(document, dict) or document.get("formatVersion") != VERSION:
                raise BaselineError(f"baseline has another form; expected formatVersion {VERSION}")
            return _checked(document)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            if isinstance(error, BaselineError):
                raise
            raise BaselineError(f"baseline cannot be read: {type(error).__name__}; expected a build's own") from error


def _written(sketch: Sketch) -> dict[str, Any]:
    scaling = sketch.scaling
    return {
        "middle": list(scaling.middle),
        "spread": list(scaling.spread),
        "width": scaling.width,
        "mean": sketch.mean.tolist(),
        "trace": sketch.trace,
        "squares": sketch.squares,
        "usual": sketch.usual,
        "far": sketch.far,
    }


def _checked(document: Mapping[str, Any]) -> Baseline:
    seed = _text(document["seed"])
    readings = tuple(_reading(item, seed) for item in document["readings"])
    features = sum(len(reading.features) for reading in readings)
    edges = tuple(tuple(_number(edge) for edge in own) for own in document["edges"])
    counts = np.array(document["counts"], np.float64)
    known = 0 < features <= MOST_FEATURES and len(edges) == features and counts.shape == (features, SLOTS)
    ascending = all(len(own) < BINS and list(own) == sorted(set(own)) for own in edges)
    if not known or not ascending or not np.isfinite(counts).all() or (counts < 0).any():
        raise BaselineError("baseline has histograms of another form; expected those of its features")
    samples = document["samples"]
    if type(samples) is not int or not 0 < samples < _MOST_SAMPLES:
        raise BaselineError("baseline has no number of samples; expected one from 1")
    scores = _scores(document["scores"], seed) if "scores" in document else None
    found = document.get("sketch")
    if found is None:
        return Baseline(samples, readings, edges, counts, None, 0, scores)
    inside = found["features"]
    if type(inside) is not int or not 0 < inside <= features:
        raise BaselineError("baseline has a sketch of unknown features; expected some of its own")
    return Baseline(samples, readings, edges, counts, _sketch(found, inside, seed), inside, scores)


def _sketch(found: Mapping[str, Any], inside: int, seed: str) -> Sketch:
    middle, spread = (tuple(_number(value) for value in found[name]) for name in ("middle", "spread"))
    mean = np.array([_number(value) for value in found["mean"]])
    numbers = {name: _number(found[name]) for name in ("width", "trace", "squares", "usual", "far")}
    scaled = len(middle) == len(spread) == inside and all(value > 0 for value in spread)
    if not scaled or mean.shape != (WIDTH,) or numbers["width"] <= 0 or numbers["far"] <= 0:
        raise BaselineError("baseline has a sketch of another form; expected one of its features")
    scaling = Scaling(seed, middle, spread, numbers["width"])
    return Sketch(scaling, mean, numbers["trace"], numbers["squares"], numbers["usual"], numbers["far"])


def _scores(found: Mapping[str, Any], seed: str) -> SketchedScores:
    axes, count = found["axes"], found["count"]
    whole = type(axes) is int and 0 < axes <= _MOST_AXES and type(count) is int and 1 < count <= _MOST_SAMPLES
    if not whole or type(found["shares"]) is not bool:
        raise BaselineError("baseline reads scores in an unknown way; expected some numbers of an output")
    reading = Scores(_text(found["tensor"]), axes, count, found["shares"], seed)
    return SketchedScores(reading, _sketch(found, reading.width, reading.seed))


def _reading(item: Mapping[str, Any], seed: str) -> Reading:
    kind, axes, count = item["kind"], item["axes"], item["count"]
    whole = type(axes) is int and 0 <= axes <= _MOST_AXES and type(count) is int and 0 <= count <= _MOST_SAMPLES
    if kind not in KINDS or not whole or type(item["output"]) is not bool:
        raise BaselineError("baseline reads a tensor in an unknown way; expected one of " + ", ".join(KINDS))
    if kind in {"elements", "picture"} and not 0 < count <= MOST_FEATURES:
        raise BaselineError("baseline reads too much of a tensor; expected some features")
    return Reading(_text(item["tensor"]), item["output"], kind, axes, count, seed)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        raise BaselineError("baseline has a name that is none; expected a text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BaselineError("baseline has a number that is none; expected a finite one")
    return float(value)
