"""Golden samples: inputs with the answers that the build recorded, replayed wherever the model is about to serve.

Two files, since one changes with the evaluation set and the other with the model: the inputs, and the answers with the
deviation that each of their elements may have. Both are ``.npz`` without pickled objects, written so that the same
samples give the same bytes on any machine: members are sorted, carry no time and are compressed with bzip2, whose
output has been the same since version 1.0. Text is stored in NumPy's fixed-width unicode.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.tensors import datatype_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from edgesmith_runtime.engine import Engine

__all__ = ["UNCOMPARED", "Answers", "Golden", "GoldenError", "Parity", "compare", "places", "replay"]

UNCOMPARED: Final = 2**14
"""The tolerance of an element that is not compared: 2 to this power is more than any number differs by."""

_SUFFIX: Final = ".npy"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can carry
_PARTS: Final = ("shape", "count", "value", "tolerance")
_GOLDEN_RATIO: Final = (math.sqrt(5) - 1) / 2
_BROKEN: Final = (OSError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError)


class GoldenError(ValueError):
    """A set of golden samples cannot be used; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What one output answered to every sample. Of a long answer, some elements only are kept: those at `places`.

    Attributes:
        shapes: ``[samples, axes]``, the shape of each answer, with or without a leading axis of one.
        counts: ``[samples]``, how many elements of each answer are kept.
        values: The elements, sample after sample.
        tolerances: For each element the power of two by which an answer may differ; `UNCOMPARED` lets it be anything.
    """

    shapes: NDArray[np.int64]
    counts: NDArray[np.int64]
    values: NDArray[Any]
    tolerances: NDArray[np.int16]

    def fault(self) -> str | None:
        """Say what is wrong with these, as the end of a sentence; None where nothing is."""
        if self.shapes.ndim != 2 or self.counts.shape != self.shapes.shape[:1]:  # noqa: PLR2004 - samples and axes
            return (
                f"has shapes of {self.shapes.shape} and counts of {self.counts.shape}; expected a row and a number each"
            )
        sizes = np.array([math.prod(shape) for shape in self.shapes.tolist()], np.int64)
        if (self.counts < 0).any() or (self.counts > sizes).any():
            return f"keeps {self.counts.tolist()} elements of {sizes.tolist()}; expected no more than there are"
        if not self.values.shape == self.tolerances.shape == (int(self.counts.sum()),):
            return (
                f"has {self.values.size} elements and {self.tolerances.size} tolerances; expected {self.counts.sum()}"
            )
        if datatype_of(self.values) is None:
            return f"has type {self.values.dtype}; expected numbers or text"
        return None


@dataclass(frozen=True, slots=True)
class Golden:
    """Samples that a build recorded.

    Attributes:
        inputs: One array for each input of the model, first axis = samples.
        outputs: What each output that is compared answered to the same samples.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, Answers]

    def __post_init__(self) -> None:
        """Check that everything is there for the same number of samples, at least one.

        Raises:
            GoldenError: Something is missing, malformed, or differs in its number of samples.
        """
        if not self.inputs or not self.outputs:
            raise GoldenError("golden samples need at least one input and one output")
        sizes: dict[int, str] = {}
        for name, array in self.inputs.items():
            if array.ndim == 0 or len(array) == 0:
                raise GoldenError(f"golden input {name!r} has shape {array.shape}; expected at least one sample")
            if datatype_of(array) is None:
                raise GoldenError(f"golden input {name!r} has type {array.dtype}; expected numbers or text")
            sizes.setdefault(len(array), f"input {name!r}")
        for name, answers in self.outputs.items():
            if fault := answers.fault():
                raise GoldenError(f"golden output {name!r} {fault}")
            sizes.setdefault(len(answers.counts), f"output {name!r}")
        if len(sizes) > 1:
            counted = ", ".join(f"{count} in {name}" for count, name in sizes.items())
            raise GoldenError(f"golden arrays differ in their number of samples ({counted}); expected one number")

    def __len__(self) -> int:
        """Count the samples."""
        return len(next(iter(self.inputs.values())))

    @classmethod
    def of(cls, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]], tolerance: float) -> Golden:
        """Take whole answers of one shape.

        Args:
            inputs: One array for each input, first axis = samples.
            outputs: One array for each output, first axis = the same samples.
            tolerance: By how much an element may differ, as a share of its output's range; rounded up to a power of 2.

        Raises:
            GoldenError: As `Golden` itself.
        """
        return cls(inputs, {name: _whole(array, tolerance) for name, array in outputs.items()})

    def samples(self, engine: Engine) -> list[dict[str, NDArray[Any]]]:
        """Cut the inputs into what single runs take: batches of one, or the sample itself where a model has no batch.

        Args:
            engine: The engine that is to run them.
        """
        ranks = {spec.name: len(spec.shape) for spec in engine.inputs}
        return [
            {
                name: array[index] if ranks.get(name) == array.ndim - 1 else array[index : index + 1]
                for name, array in self.inputs.items()
            }
            for index in range(len(self))
        ]

    @classmethod
    def read(cls, inputs: Path, answers: Path) -> Golden:
        """Read samples from their two files.

        Args:
            inputs: An ``.npz`` with a member for every input.
            answers: An ``.npz`` with the members ``shape.NAME``, ``count.NAME``, ``value.NAME`` and
                ``tolerance.NAME`` for every output that is compared.

        Raises:
            GoldenError: A file is missing, is no such file, or holds pickled objects.
        """
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for member, array in _read(answers).items():
            part, _, name = member.partition(".")
            if part not in _PARTS or not name:
                raise GoldenError(f"{answers.name} holds {member!r}; expected {', '.join(_PARTS)} of outputs only")
            parts.setdefault(name, {})[part] = array
        for name, found in parts.items():
            if set(found) != set(_PARTS):
                raise GoldenError(f"{answers.name} holds {', '.join(found)} of {name!r}; expected {', '.join(_PARTS)}")
        outputs = {
            name: Answers(found["shape"], found["count"], found["value"], found["tolerance"])
            for name, found in parts.items()
        }
        return cls(MappingProxyType(_read(inputs)), MappingProxyType(outputs))

    def write(self, inputs: Path, answers: Path) -> None:
        """Write the samples; the same samples give the same bytes.

        Args:
            inputs: The file for the inputs, replaced where it exists.
            answers: The file for the answers, likewise.
        """
        _write(inputs, self.inputs)
        members: dict[str, NDArray[Any]] = {}
        for name, one in self.outputs.items():
            arrays: tuple[NDArray[Any], ...] = (one.shapes, one.counts, one.values, one.tolerances)
            members |= {f"{part}.{name}": array for part, array in zip(_PARTS, arrays, strict=True)}
        _write(answers, members)


def places(size: int, count: int, sample: int) -> NDArray[np.int64]:
    """Say which elements of a sample's answer are kept, spread over all of it.

    They follow one another at the golden ratio of the size, made coprime to it (Weyl's sequence): no element comes
    twice, however the answer is cut into rows or columns each of them gets its share, and samples go on where the one
    before them ended.

    Args:
        size: Elements of the answer.
        count: How many are kept, at most `size`.
        sample: The sample's number.

    Returns:
        `count` different numbers below `size`.
    """
    if size == 0:
        return np.zeros(0, np.int64)
    step = max(1, int(size * _GOLDEN_RATIO))
    while math.gcd(step, size) != 1:
        step += 1
    return (np.arange(sample * count, (sample + 1) * count, dtype=np.int64) % size) * step % size


@dataclass(frozen=True, slots=True)
class Parity:
    """How well an engine answers what the build recorded.

    Attributes:
        samples: How many golden samples were replayed.
        agreeing: How many of them had every element within its tolerance.
        worst: The largest deviation seen, as a share of what is allowed: above 1 disagrees.
        message: The finding in one sentence.
    """

    samples: int
    agreeing: int
    worst: float
    message: str

    @property
    def fraction(self) -> float:
        """The share of the samples that agree, from 0 to 1."""
        return self.agreeing / self.samples

    @property
    def passed(self) -> bool:
        """Whether every sample agrees."""
        return self.agreeing == self.samples


def replay(engine: Engine, golden: Golden) -> Parity:
    """Ask an engine for every golden sample, one at a time, and compare.

    Args:
        engine: The engine to ask.
        golden: The recorded samples.

    Returns:
        What was found. A deviation in kind (shape, type, a missing output, not finite) counts as infinite.

    Raises:
        EngineError: The engine refused a sample, or failed on it.
    """
    agreeing, worst, culprit = 0, 0.0, ""
    for index, feed in enumerate(golden.samples(engine)):
        share, words = compare(golden, index, engine.infer(feed, tuple(golden.outputs)))
        if share > worst:
            worst, culprit = share, words
        agreeing += share <= 1
    total = len(golden)
    message = f"{agreeing} of {total} golden samples agree"
    if agreeing == total:
        message += f", the worst deviates by {worst:.0%} of what is allowed"
    else:
        message += f", {culprit}"
    return Parity(samples=total, agreeing=agreeing, worst=worst, message=message)


def compare(golden: Golden, index: int, given: Mapping[str, NDArray[Any]]) -> tuple[float, str]:
    """Hold the answer to one sample against what was recorded.

    Args:
        golden: The recorded samples.
        index: The sample's number.
        given: What was answered, by output.

    Returns:
        The largest deviation of its outputs as a share of what is allowed, above 1 where they disagree; and what is
        wrong with the worst one, as a clause.
    """
    worst, culprit = 0.0, ""
    for name, answers in golden.outputs.items():
        end = int(answers.counts[: index + 1].sum())
        share, words = _deviation(answers, index, slice(end - int(answers.counts[index]), end), given.get(name))
        if share > worst:
            worst, culprit = share, f"output {name!r} of sample {index} {words}"
    return worst, culprit


def _deviation(answers: Answers, index: int, kept: slice, given: NDArray[Any] | None) -> tuple[float, str]:
    """The largest deviation of one answer as a share of what is allowed, and what is wrong with it."""
    values, shape = answers.values[kept], tuple(answers.shapes[index].tolist())
    if given is None or datatype_of(given) != datatype_of(values):
        found = "is missing" if given is None else f"has type {given.dtype}"
        return math.inf, f"{found}; expected {values.dtype}"
    if given.shape not in (shape, (1, *shape)):
        return math.inf, f"has shape {list(given.shape)}; expected {list(shape)}"
    if values.size == 0:
        return 0.0, ""
    where = places(given.size, values.size, index)
    chosen = np.asarray(given).reshape(-1)[where]
    if values.dtype.kind in "OUS":
        for a, b in zip(values, chosen, strict=True):
            if _text(a) != _text(b):
                return math.inf, f"is {_text(b)[:50]!r}; expected {_text(a)[:50]!r}"
        return 0.0, ""
    first, second = values.astype(np.float64), chosen.astype(np.float64)
    # Infinities and NaN agree with themselves only.
    same = (values == chosen) | (np.isnan(first) & np.isnan(second)) | (answers.tolerances[kept] == UNCOMPARED)
    with np.errstate(over="ignore", invalid="ignore"):
        shares = np.abs(first - second) / np.ldexp(1.0, np.minimum(answers.tolerances[kept], 1000))
    shares = np.where(same, 0.0, np.where(np.isnan(shares), np.inf, shares))
    at = int(np.argmax(shares))
    allowed = math.ldexp(1.0, min(int(answers.tolerances[kept][at]), 1000))
    words = f"has {second[at]:.7g} at element {where[at]}; expected {first[at]:.7g} within {allowed:.3g}"
    return float(shares[at]), words


def _whole(array: NDArray[Any], tolerance: float) -> Answers:
    """Keep every element of an output, each with the same tolerance."""
    size = math.prod(array.shape[1:])
    rows = array.reshape(len(array), size)
    kept = [rows[sample][places(size, size, sample)] for sample in range(len(rows))]
    exponent = 0
    if array.dtype.kind not in "OUS" and array.size:
        finite = array[np.isfinite(array)].astype(np.float64)
        with np.errstate(over="ignore"):
            span = float(np.clip(finite.max() - finite.min(), 1e-6, np.finfo(np.float64).max)) if finite.size else 1e-6
        exponent = math.ceil(math.log2(span * tolerance))
    return Answers(
        np.tile(np.array(array.shape[1:], np.int64), (len(array), 1)),
        np.full(len(array), size, np.int64),
        np.concatenate(kept) if kept else rows.reshape(-1),
        np.full(array.size, exponent, np.int16),
    )


def _read(path: Path) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if not member.endswith(_SUFFIX) or member == _SUFFIX:
                    raise GoldenError(f"{path.name} holds {member!r}; expected arrays NAME.npy only")
                with archive.open(member) as stream:
                    array = np.lib.format.read_array(stream, allow_pickle=False)
                found[member.removesuffix(_SUFFIX)] = array.astype(np.object_) if array.dtype.kind == "U" else array
    except _BROKEN as error:
        if isinstance(error, GoldenError):
            raise
        raise GoldenError(f"{path.name} cannot be read as golden samples: {error}") from error
    return found


def _write(path: Path, members: Mapping[str, NDArray[Any]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for name in sorted(members):
            array = np.ascontiguousarray(members[name])
            if array.dtype.kind == "O":
                array = np.array([_text(item) for item in array.ravel()], dtype=np.str_).reshape(array.shape)
            entry = zipfile.ZipInfo(name + _SUFFIX, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_BZIP2
            entry.create_system = 3  # what Unix writes, on every system
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)
