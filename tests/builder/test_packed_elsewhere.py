"""Sets of pictures as other programs pack them: the names in a zip are written in more ways than one."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgesmith_builder.dataset import CLASSES, holds_pictures, read_pictures
from edgesmith_builder.errors import DatasetInvalid
from edgesmith_runtime.picture import Picture
from edgesmith_runtime.tensors import TensorSpec

FIELD = "spec.evaluation.uri s3://m/set.zip"
PATH = "Öl/b.png"
DECOMPOSED = unicodedata.normalize("NFD", PATH)

DECLARED = Picture(
    input="image", layout="NCHW", width=4, height=4, resize="Stretch", shorter_side=None, fill=0,
    interpolation="Bilinear", channels="RGB", scale=1.0, mean=(0.0,), deviation=(1.0,), labels=(),
    classification=None, detection=None,
)  # fmt: skip


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def packed(folder: Path, files: dict[bytes, bytes]) -> Path:
    """A zip with these bytes as names, none of them marked as UTF-8."""
    buffer = io.BytesIO()
    places = {name: f"{number}".ljust(len(name), "_") for number, name in enumerate(files)}
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(places[name], content)
    data = buffer.getvalue()
    for name, place in places.items():
        data = data.replace(place.encode(), name)
    (folder / "set.zip").write_bytes(data)
    return folder / "set.zip"


def read(path: Path, classes: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    assert holds_pictures(path)
    spec = TensorSpec("image", "FP32", (-1, 3, 4, 4))
    return read_pictures(path, field=FIELD).arrays(DECLARED, spec, classes, CLASSES, path.parent)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("said", [None, PATH, DECOMPOSED, PATH.replace("/", "\\")])
@pytest.mark.parametrize(
    "name",
    [PATH.encode(), DECOMPOSED.encode(), PATH.encode("cp437"), PATH.replace("/", "\\").encode()],
    ids=["utf-8", "decomposed", "cp437", "backslash"],
)
def test_names_are_read_as_they_were_meant(tmp_path: Path, name: bytes, said: str | None, form: Any) -> None:
    files = {b"Kratzer/a.png": png(1), name[: -len("b.png")]: b"", name: png(2)}
    if said is not None:
        files[b"labels.json"] = json.dumps({"Kratzer/a.png": "Kratzer", said: DECOMPOSED.partition("/")[0]}).encode()
    found = read(packed(tmp_path, files), ("Kratzer", unicodedata.normalize(form, "Öl")))
    assert found["labels"].tolist() == [0, 1]
    assert found["image"][:, 0, 0, 0].tolist() == [1, 2]


def test_a_backslash_beside_a_slash_is_a_letter(tmp_path: Path) -> None:
    path = packed(tmp_path, {b"a\\b/1.png": png(1), b"c/1.png": png(2)})
    assert read(path, ("c", "a\\b"))["labels"].tolist() == [1, 0]


def test_what_file_managers_leave_is_passed_over_with_backslashes_too(tmp_path: Path) -> None:
    assert not holds_pictures(packed(tmp_path, {b"__MACOSX\\._a.png": b"litter"}))


def test_two_names_of_one_path_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path, {b"a\\1.png": png(1), b"a/1.png": png(2)})
    with pytest.raises(DatasetInvalid, match=r"holds 'a/1\.png' twice"):
        read(path, ("a",))
    labels = json.dumps({PATH: 0, DECOMPOSED: 1}).encode()
    path = packed(tmp_path, {PATH.encode(): png(1), b"labels.json": labels})
    with pytest.raises(DatasetInvalid, match=r"two entries for 'Öl/b\.png' in labels\.json; one for each picture"):
        read(path, ("a", "b"))
