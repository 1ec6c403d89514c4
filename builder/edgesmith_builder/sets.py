"""The calibration and the evaluation set of a build: fetched once, read, and held against the model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgesmith_builder.contract import Artifact, Build
from edgesmith_builder.dataset import (
    LABELS,
    Labels,
    PictureSet,
    Samples,
    holds_pictures,
    read_npz,
    read_pictures,
    samples_for,
)
from edgesmith_builder.errors import DatasetInvalid
from edgesmith_builder.limits import DATASET
from edgesmith_builder.progress import step
from edgesmith_builder.source import Limit, Source
from edgesmith_runtime.picture import Picture
from edgesmith_runtime.tensors import TensorSpec

Arrays = dict[str, NDArray[Any]]


class DataSet:
    """One set, fetched when it is asked for first.

    Args:
        field: Where the request names it: `spec.evaluation`.
        artifact: Where it is.
        missing: Whether NaN stands for a value that is missing.
        sources: Where files come from.
        work: A folder for it.
    """

    def __init__(self, field: str, artifact: Artifact, sources: Source, work: Path, *, missing: bool) -> None:
        self._field = field
        self._artifact = artifact
        self._sources = sources
        self._folder = work / field
        self._missing = missing

    @property
    def ranks(self) -> dict[str, int]:
        """How many axes the array of each input has; none is known of pictures."""
        found = self._found
        return {} if isinstance(found, PictureSet) else {n: a.ndim for n, a in found.items() if n != LABELS}

    def samples(
        self, specs: Sequence[TensorSpec], labels: Labels | None, declared: Picture | None, classes: Sequence[str]
    ) -> Samples:
        """The samples, which fit the model.

        Args:
            specs: The model's inputs.
            labels: What kind of labels it must have; None: those that it has are passed over.
            declared: How a picture becomes the model's input; None: there are no pictures.
            classes: The names of the model's classes.

        Raises:
            DatasetInvalid: where it is a set of pictures and none are declared, or labels are missing or wrong.
            DatasetMismatch: where it does not fit the model.
        """
        arrays = self._found
        if isinstance(arrays, PictureSet):
            arrays = self._pictured(arrays, specs, labels, declared, classes)
        with step(self._field) as current:
            samples = samples_for(arrays, specs, field=self._what, labels=labels)
            current.say(f"{len(samples)} samples, checked")
        return samples

    def _pictured(
        self,
        pictures: PictureSet,
        specs: Sequence[TensorSpec],
        labels: Labels | None,
        declared: Picture | None,
        classes: Sequence[str],
    ) -> Arrays:
        if declared is None:
            raise DatasetInvalid(
                f"{self._what} holds pictures, and spec.picture, which says how one becomes the model's input, is "
                "absent; it was expected, or an .npz of inputs"
            )
        (spec,) = specs
        with step(f"{self._field}: pictures") as current:
            arrays = pictures.arrays(declared, spec, classes, labels, self._folder)
            pictures.path.unlink()
            current.say(f"{len(pictures.names)} decoded,")
        return arrays

    @property
    def _what(self) -> str:
        return f"{self._field}.uri {self._artifact.shown}"

    @cached_property
    def _found(self) -> Arrays | PictureSet:
        """The set as it came."""
        self._folder.mkdir()
        packed = self._folder / "set.zip"
        self._sources.fetch(self._field, self._artifact, packed, Limit(DATASET, DatasetInvalid))
        with step(f"{self._field}: read"):
            if holds_pictures(packed):
                return read_pictures(packed, field=self._what)
            arrays = read_npz(packed, field=self._what, folder=self._folder, missing=self._missing)
            packed.unlink()
        return arrays


def sets_of(wanted: Build, sources: Source, work: Path) -> dict[str, DataSet]:
    """The sets of a build by the field that names each.

    Args:
        wanted: The build.
        sources: Where files come from.
        work: A folder for them.
    """
    named = {"spec.calibration": wanted.calibration, "spec.evaluation": wanted.evaluation}
    missing = wanted.missing_values == "NaN"
    return {
        field: DataSet(field, artifact, sources, work, missing=missing)
        for field, artifact in named.items()
        if artifact is not None
    }
