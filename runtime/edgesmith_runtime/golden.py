"""Golden samples: inputs with the outputs that the build recorded, replayed wherever the model is about to serve.

The file is an ``.npz`` without pickled objects, written so that the same samples give the same bytes on any machine:
members are sorted, uncompressed and carry no time. Text tensors are stored in NumPy's fixed-width unicode.
"""

from __future__ import annotations

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

__all__ = ["Golden", "GoldenError", "Parity", "replay"]

SMALLEST_RANGE: Final = 1e-6
"""The range of a constant output: a tolerance relative to nothing would accept nothing."""

_SUFFIX: Final = ".npy"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can carry


class GoldenError(ValueError):
    """A set of golden samples cannot be used; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Samples that a build recorded.

    Attributes:
        inputs: One array for each input of the model, first axis = samples.
        outputs: One array for each output that is compared, first axis = the same samples.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        """Check that every array holds the same number of samples, at least one.

        Raises:
            GoldenError: An array is missing, empty, of an unsupported type, or differs in its number of samples.
        """
        if not self.inputs or not self.outputs:
            raise GoldenError("golden samples need at least one input and one output")
        sizes: dict[int, str] = {}
        for kind, arrays in (("input", self.inputs), ("output", self.outputs)):
            for name, array in arrays.items():
                if array.ndim == 0 or len(array) == 0:
                    raise GoldenError(f"golden {kind} {name!r} has shape {array.shape}; expected at least one sample")
                if datatype_of(array) is None:
                    raise GoldenError(f"golden {kind} {name!r} has type {array.dtype}; expected numbers or text")
                sizes.setdefault(len(array), f"{kind} {name!r}")
        if len(sizes) > 1:
            counted = ", ".join(f"{count} in {name}" for count, name in sizes.items())
            raise GoldenError(f"golden arrays differ in their number of samples ({counted}); expected one number")

    def __len__(self) -> int:
        """Count the samples."""
        return len(next(iter(self.inputs.values())))

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
    def read(cls, path: Path) -> Golden:
        """Read samples from a file.

        Args:
            path: An ``.npz`` with members ``input.<name>`` and ``output.<name>``.

        Raises:
            GoldenError: The file is missing, is no such file, or holds pickled objects.
        """
        parts: dict[str, dict[str, NDArray[Any]]] = {"input": {}, "output": {}}
        try:
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    kind, _, name = member.removesuffix(_SUFFIX).partition(".")
                    if kind not in parts or not name or not member.endswith(_SUFFIX):
                        raise GoldenError(
                            f"{path.name} holds {member!r}; expected 'input.<name>.npy' and 'output.<name>.npy' only"
                        )
                    with archive.open(member) as stream:
                        array = np.lib.format.read_array(stream, allow_pickle=False)
                    parts[kind][name] = array.astype(np.object_) if array.dtype.kind == "U" else array
        except (OSError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
            if isinstance(error, GoldenError):
                raise
            raise GoldenError(f"{path.name} cannot be read as golden samples: {error}") from error
        return cls(MappingProxyType(parts["input"]), MappingProxyType(parts["output"]))

    def write(self, path: Path) -> None:
        """Write the samples; the same samples give the same bytes.

        Args:
            path: The file to write, replaced where it exists.
        """
        members = {f"input.{name}": array for name, array in self.inputs.items()}
        members |= {f"output.{name}": array for name, array in self.outputs.items()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(members):
                array = np.ascontiguousarray(members[name])
                if array.dtype.kind == "O":
                    array = np.array([_text(item) for item in array.ravel()], dtype=np.str_).reshape(array.shape)
                entry = zipfile.ZipInfo(name + _SUFFIX, date_time=_EPOCH)
                entry.create_system = 3  # what Unix writes, on every system
                entry.external_attr = 0o644 << 16
                with archive.open(entry, "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)


@dataclass(frozen=True, slots=True)
class Parity:
    """How well an engine answers what the build recorded.

    Attributes:
        samples: How many golden samples were replayed.
        agreeing: How many of them had every output within the tolerance.
        worst: The largest deviation seen, as a share of its output's range (0.05 = five per cent).
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


def replay(engine: Engine, golden: Golden, tolerance: float) -> Parity:
    """Ask an engine for every golden sample, one at a time, and compare.

    Args:
        engine: The engine to ask.
        golden: The recorded samples.
        tolerance: The deviation allowed, as a share of the output's range over the golden set.

    Returns:
        What was found. A deviation in kind (shape, type, a missing output, not finite) counts as infinite.

    Raises:
        EngineError: The engine refused a sample, or failed on it.
    """
    ranges = {name: _range(array) for name, array in golden.outputs.items()}
    agreeing, worst, culprit = 0, 0.0, ""
    for index, feed in enumerate(golden.samples(engine)):
        answers = engine.infer(feed, tuple(golden.outputs))
        sample = 0.0
        for name, recorded in golden.outputs.items():
            deviation = _deviation(recorded[index], answers.get(name), ranges[name])
            sample = max(sample, deviation)
            if deviation > worst:
                worst, culprit = deviation, f"output {name!r} of sample {index}"
        agreeing += sample <= tolerance
    total = len(golden)
    if agreeing == total:
        message = f"{total} of {total} golden samples agree, the worst deviates by {worst:.2%} of its range"
    else:
        message = (
            f"{agreeing} of {total} golden samples agree, {culprit} deviates by {worst:.2%} of its range; "
            f"expected every one within {tolerance:.2%}"
        )
    return Parity(samples=total, agreeing=agreeing, worst=worst, message=message)


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


def _range(recorded: NDArray[Any]) -> float:
    if recorded.dtype.kind in "OUS":
        return 1.0
    finite = recorded[np.isfinite(recorded)].astype(np.float64)
    if not finite.size:
        return SMALLEST_RANGE
    with np.errstate(over="ignore"):
        return float(np.clip(finite.max() - finite.min(), SMALLEST_RANGE, np.finfo(np.float64).max))


def _deviation(recorded: NDArray[Any], answer: NDArray[Any] | None, scale: float) -> float:
    """The largest difference between one recorded sample and its answer, as a share of `scale`."""
    recorded = np.asarray(recorded)
    if answer is None or datatype_of(answer) != datatype_of(recorded):
        return np.inf
    if answer.shape == (1, *recorded.shape):
        answer = answer[0]
    if answer.shape != recorded.shape:
        return np.inf
    if recorded.size == 0:
        return 0.0
    if recorded.dtype.kind in "OUS":
        same = all(_text(a) == _text(b) for a, b in zip(recorded.flat, np.asarray(answer).flat, strict=True))
        return 0.0 if same else np.inf
    # Infinities and NaN agree with themselves only.
    first, second = recorded.astype(np.float64), np.asarray(answer).astype(np.float64)
    finite = np.isfinite(first) & np.isfinite(second)
    if not np.array_equal(first[~finite], second[~finite], equal_nan=True):
        return np.inf
    with np.errstate(over="ignore"):
        return float(np.abs(first[finite] - second[finite]).max(initial=0.0)) / scale
