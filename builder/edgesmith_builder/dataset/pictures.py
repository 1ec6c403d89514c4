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
from edgesmith_builder.dataset.labels import BOXES, LABELS, Labels
from edgesmith_builder.dataset.picture_labels import FILE, NAMED, array_of, folder_of, labels_of, path_of
from edgesmith_builder.dataset.writing import write_array
from edgesmith_builder.errors import DatasetInvalid
from edgesmith_builder.lastwords import in_hand
from edgesmith_builder.limits import DATASET
from edgesmith_builder.progress import size_text
from edgesmith_builder.zips import opened_zip
from edgesmith_runtime.errors import RequestError, TooLarge
from edgesmith_runtime.picture import Picture, Pipeline
from edgesmith_runtime.picture.containers import read_container
from edgesmith_runtime.picture.pipeline import Prepared
from edgesmith_runtime.picture.placing import Placed
from edgesmith_runtime.tensors import DTYPES, TensorSpec

PICTURES_LIMIT = 200_000
"""Pictures in one set: each takes about 1 KB of memory, in the zip's table of contents above all."""

PICTURE_LIMIT = 64 * 1000**2
"""Bytes of one picture, packed as a JPEG or PNG."""

LARGEST = 192 * 1000**2
"""Bytes of a picture's pixels, three for each: 64 million. A server bounds them by its own memory, which is less."""

_PER_PIXEL = 3
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_EXPECTED = "a zip of pictures; one of JPEG and PNG files"


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Pictures that were not looked at yet.

    Attributes:
        path: The zip.
        field: Where the request names it, for messages.
        names: The paths of the pictures in it, sorted.
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
        shape, dtype = self._room(declared, spec)
        pipeline, target = Pipeline(declared, spec.datatype, classes), folder / "pictures.npy"
        placed: list[Placed] = []
        with opened(self.path, self.field, _EXPECTED) as archive:
            right = labels_of(archive, self.names, self.field) if labels is not None else None
            write_array(target, shape, dtype, self._decoded(archive, pipeline, placed if labels is BOXES else None))
        samples: NDArray[Any] = np.load(target, mmap_mode="r", allow_pickle=False)
        found = {declared.input: samples}
        if labels is not None:
            known = right if right is not None else {name: folder_of(name, self.field) for name in self.names}
            found[LABELS] = array_of(labels, {name: known[name] for name in self.names}, placed, classes, self.field)
        return found

    def _room(self, declared: Picture, spec: TensorSpec) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """The shape and the type of all samples.

        Raises:
            DatasetInvalid: where they would take too much.
        """
        sizes = {"C": declared.depth, "H": declared.height, "W": declared.width}
        shape = (len(self.names), *(sizes[axis] for axis in declared.layout if axis != "N"))
        dtype = DTYPES[spec.datatype]
        total = math.prod(shape) * dtype.itemsize
        if total > DATASET:
            raise DatasetInvalid(
                f"{self.field} holds {len(self.names)} pictures, which take {size_text(total)} as the model's input "
                f"{spec.name!r}; at most {size_text(DATASET)} were expected"
            )
        return shape, dtype

    def _decoded(
        self, archive: zipfile.ZipFile, pipeline: Pipeline, placed: list[Placed] | None
    ) -> Iterator[NDArray[Any]]:
        """The model's input of each picture.

        Args:
            archive: The set.
            pipeline: What makes it.
            placed: Takes where each picture lies in it; None: nobody asks.
        """
        infos = {path_of(info.filename): info for info in archive.infolist()}
        for name in self.names:
            data = memoryview(archive.read(infos[name]))
            doing = f"its picture {name[:NAMED]!r} was decoded"
            with in_hand(self.field, doing, "a picture that is read", "DatasetInvalid"):
                prepared = self._prepared(pipeline, name, data)
            if placed is not None:
                placed.append(prepared.placed)
            yield prepared.feed[pipeline.picture.input]

    def _prepared(self, pipeline: Pipeline, name: str, data: memoryview) -> Prepared:
        """One picture as the model takes it.

        Raises:
            DatasetInvalid: where it is none, or too large.
        """
        try:
            return pipeline.prepare(data, largest=LARGEST)
        except TooLarge as error:
            size = read_container(data)
            raise DatasetInvalid(
                f"{self.field} holds {name[:NAMED]!r} of {size.width} x {size.height} pixels; at most "
                f"{LARGEST // _PER_PIXEL / 1e6:g} million were expected"
            ) from error
        except RequestError as error:
            raise DatasetInvalid(
                f"{self.field} holds {name[:NAMED]!r}, which is not read ({error}); a JPEG or PNG was expected"
            ) from error


def holds_pictures(path: Path) -> bool:
    """Whether a file is a zip with a picture in it, and no array."""
    try:
        with opened_zip(path) as archive:
            names = (path_of(info.filename) for info in archive.infolist())
            suffixes = {_suffix(name) for name in names if not _is_litter(name)}
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
        found = members(archive, field, kind="pictures", most=PICTURES_LIMIT, limit=DATASET, path=path_of)
    names = []
    for name, info in found.items():
        if name == FILE or _is_litter(name):
            continue
        if _suffix(name) not in _SUFFIXES:
            raise DatasetInvalid(
                f"{field} holds {name[:NAMED]!r}; pictures .jpg, .jpeg and .png and one {FILE} alone were expected"
            )
        if info.file_size > PICTURE_LIMIT:
            raise DatasetInvalid(
                f"{field} holds {name[:NAMED]!r} of {size_text(info.file_size)}; "
                f"at most {size_text(PICTURE_LIMIT)} were expected"
            )
        names.append(name)
    if not names:
        raise DatasetInvalid(f"{field} holds no picture; files .jpg, .jpeg and .png were expected")
    return PictureSet(path, field, tuple(sorted(names)))


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _is_litter(name: str) -> bool:
    """Whether it is what a file manager leaves in a folder: `__MACOSX/…`, `.DS_Store`, `Thumbs.db`."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1:] == ("Thumbs.db",)
