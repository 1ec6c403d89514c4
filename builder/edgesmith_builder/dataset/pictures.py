"""A set of pictures: a zip of JPEG and PNG files, and what is right for each of them.

What ``spec.picture`` declares makes samples of them, by the code that a server makes its input with. So a declaration
that does not fit how the model was taught costs accuracy in the build, and not on the nodes.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset.archive import members, opened
from edgesmith_builder.dataset.labels import LABELS, Labels
from edgesmith_builder.dataset.picture_labels import FILE, array_of, folder_of, labels_of
from edgesmith_builder.errors import DatasetInvalid
from edgesmith_builder.limits import DATASET
from edgesmith_builder.progress import size_text
from edgesmith_runtime.errors import RequestError
from edgesmith_runtime.picture import Picture, Pipeline
from edgesmith_runtime.picture.placing import Placed
from edgesmith_runtime.tensors import DTYPES, TensorSpec

PICTURES_LIMIT = 1_000_000
"""Pictures in one set."""

PICTURE_LIMIT = 64 * 1000**2
"""Bytes of one picture, packed as a JPEG or PNG."""

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_EXPECTED = "a zip of pictures; one of JPEG and PNG files"


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Pictures that were not looked at yet.

    Attributes:
        path: The zip.
        field: Where the request names it, for messages.
        names: The pictures in it, sorted.
    """

    path: Path
    field: str
    names: tuple[str, ...]

    def arrays(
        self, declared: Picture, spec: TensorSpec, classes: Sequence[str], labels: Labels | None, folder: Path
    ) -> dict[str, NDArray[Any]]:
        """Make the data set of them.

        Args:
            declared: How a picture becomes the model's input.
            spec: That input.
            classes: The names of the model's classes.
            labels: What kind of labels there must be; None: there are none.
            folder: An empty folder; samples are mapped from there.

        Returns:
            The model's input, samples along the first axis, and `labels` where they are asked for.

        Raises:
            DatasetInvalid: where one is no such picture, labels are missing or unknown, or samples would take too much.
        """
        pipeline = Pipeline(declared, spec.datatype, classes)
        batch = "N" in declared.layout
        placed: list[Placed] = []
        samples = self._room(declared, spec, folder)
        with opened(self.path, self.field, _EXPECTED) as archive:
            right = labels_of(archive, self.names, self.field) if labels is not None else None
            for number, (name, data) in enumerate(self._read(archive)):
                try:
                    prepared = pipeline.prepare(memoryview(data))
                except RequestError as error:
                    raise DatasetInvalid(
                        f"{self.field} holds {name!r}, which is not read ({error}); a JPEG or PNG was expected"
                    ) from error
                value = prepared.feed[declared.input]
                samples[number] = value[0] if batch else value
                placed.append(prepared.placed)
        found: dict[str, NDArray[Any]] = {declared.input: samples}
        if labels is not None:
            known = right if right is not None else {name: folder_of(name, self.field) for name in self.names}
            found[LABELS] = array_of(labels, [known[name] for name in self.names], placed, classes, self.field)
        return found

    def _room(self, declared: Picture, spec: TensorSpec, folder: Path) -> NDArray[Any]:
        """An array for all samples, in a file of its own."""
        sizes = {"C": declared.depth, "H": declared.height, "W": declared.width}
        shape = (len(self.names), *(sizes[axis] for axis in declared.layout if axis != "N"))
        dtype = DTYPES[spec.datatype]
        total = math.prod(shape) * dtype.itemsize
        if total > DATASET:
            raise DatasetInvalid(
                f"{self.field} holds {len(self.names)} pictures, which take {size_text(total)} as the model's input "
                f"{spec.name!r}; at most {size_text(DATASET)} were expected"
            )
        return np.lib.format.open_memmap(folder / "pictures.npy", mode="w+", dtype=dtype, shape=shape)

    def _read(self, archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
        for name in self.names:
            yield name, archive.read(name)


def holds_pictures(path: Path) -> bool:
    """Whether a file is a zip with a picture in it, and no array."""
    try:
        with zipfile.ZipFile(path) as archive:
            suffixes = {_suffix(info.filename) for info in archive.infolist() if not _is_litter(info.filename)}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return bool(suffixes & _SUFFIXES) and ".npy" not in suffixes


def read_pictures(path: Path, *, field: str) -> PictureSet:
    """Look at what a zip of pictures declares.

    Args:
        path: The zip, which is needed until the set's arrays were made.
        field: Where the request names it, for messages: `spec.evaluation.uri s3://…`.

    Raises:
        DatasetInvalid: where it holds something else than pictures and their labels, or too much.
    """
    with opened(path, field, _EXPECTED) as archive:
        found = members(archive, field, kind="pictures", most=PICTURES_LIMIT, limit=DATASET)
    names = []
    for name, info in found.items():
        if name == FILE or _is_litter(name):
            continue
        if _suffix(name) not in _SUFFIXES:
            raise DatasetInvalid(
                f"{field} holds {name[:100]!r}; pictures .jpg, .jpeg and .png and one {FILE} alone were expected"
            )
        if info.file_size > PICTURE_LIMIT:
            raise DatasetInvalid(
                f"{field} holds {name[:100]!r} of {size_text(info.file_size)}; "
                f"at most {size_text(PICTURE_LIMIT)} were expected"
            )
        names.append(name)
    return PictureSet(path, field, tuple(sorted(names)))


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _is_litter(name: str) -> bool:
    """Whether it is what a file manager leaves in a folder: `__MACOSX/…`, `.DS_Store`, `Thumbs.db`."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1:] == ("Thumbs.db",)
