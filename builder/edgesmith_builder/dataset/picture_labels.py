"""What is right for each picture of a set: a file beside them says it, or the folder that each is in.

The file, `labels.json`, is an object with an entry for each picture, by its path in the zip: a class, by number or
name; a number or a list of them; or a list of boxes as a server answers them, in the picture's own pixels, upright:
``{"label": "scratch", "box": {"left": 4, "top": 8, "right": 40, "bottom": 36}}``.
"""

from __future__ import annotations

import json
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset.labels import BOXES, CLASSES, CORNERS, Labels
from edgesmith_builder.errors import DatasetInvalid
from edgesmith_builder.progress import size_text
from edgesmith_runtime.picture.placing import Placed

FILE = "labels.json"
"""The member of a set of pictures that says what is right for each."""

FILE_LIMIT = 48 * 1000**2
"""Bytes of it; as Python's objects they take six times as many of memory."""

BOXES_LIMIT = 512 * 1000**2
"""Bytes of all boxes as an array, in which each picture has room for as many as the one with the most."""

_SIDES = ("left", "top", "right", "bottom")
_NUMBERS = np.iinfo(np.int64)
_DIGITS = len(str(_NUMBERS.max))
_LONGEST = 200
"""Letters of a class's name: as an array, each name takes as many as the longest."""
_FARTHEST = 1e9
"""Pixels that a box's side may be from the picture's corner: none has so many, and what is less stays finite."""
NAMED = 100
"""Letters of what somebody wrote that a sentence has room for."""
_FORM = '{"label": NAME or "index": NUMBER, "box": {"left", "top", "right", "bottom"}}'


def path_of(name: str) -> str:
    """A picture's path, whoever packed it: `/` between folders, and letters with their accents (Unicode's NFC).

    Old programs on Windows write backslashes in place of `/`, and macOS writes accents beside their letters.

    Args:
        name: As the zip has it, or the file.
    """
    name = _composed(name)
    return name if "/" in name else name.replace("\\", "/")


def labels_of(archive: zipfile.ZipFile, names: Sequence[str], field: str) -> Mapping[str, Any] | None:
    """What the file says of each picture; None where there is no such file.

    Args:
        archive: The set.
        names: The paths of its pictures.
        field: Where the request names the set, for messages.

    Raises:
        DatasetInvalid: where it is no JSON object, or has not one entry for each picture.
    """
    if FILE not in archive.namelist():
        return None
    size = archive.getinfo(FILE).file_size
    if size > FILE_LIMIT:
        raise DatasetInvalid(
            f"{field} has a {FILE} of {size_text(size)}; at most {size_text(FILE_LIMIT)} were expected"
        )
    try:
        found = json.loads(archive.read(FILE))
    except (ValueError, RecursionError) as error:
        raise DatasetInvalid(f"{field} has a {FILE} that is no JSON ({error}); an object was expected") from error
    if not isinstance(found, dict):
        raise DatasetInvalid(f"{field} has a {FILE} that is no object; an entry for each picture was expected")
    said = {path_of(name): right for name, right in found.items()}
    if len(said) < len(found):
        ((twice, _),) = Counter(map(path_of, found)).most_common(1)
        raise DatasetInvalid(
            f"{field} has two entries for {twice[:NAMED]!r} in {FILE}; one for each picture was expected"
        )
    if missing := sorted(set(names) - said.keys()):
        raise DatasetInvalid(f"{field} has no entry for {missing[0]!r} in {FILE}; one for each picture was expected")
    if unknown := sorted(said.keys() - set(names)):
        raise DatasetInvalid(
            f"{field} has an entry for {unknown[0][:NAMED]!r} in {FILE} and no such picture; the paths of its pictures "
            "alone were expected"
        )
    return said


def folder_of(name: str, field: str) -> str:
    """The folder that a picture is in, which names its class.

    Raises:
        DatasetInvalid: where it is in none.
    """
    parents = PurePosixPath(name).parent.parts
    if not parents:
        raise DatasetInvalid(
            f"{field} holds {name!r} in no folder and has no {FILE}; what is right for each picture was expected in "
            "one of them"
        )
    return parents[-1]


def array_of(
    kind: Labels, right: Mapping[str, Any], placed: Sequence[Placed], classes: Sequence[str], field: str
) -> NDArray[Any]:
    """Labels as a data set of arrays has them.

    Args:
        kind: Of labels.
        right: What is right for each picture, by its name.
        placed: Where each lies in the model's input; asked for boxes alone.
        classes: The names of the model's classes.
        field: Where the request names the set, for messages.

    Raises:
        DatasetInvalid: where one is of another kind.
    """
    classes = [_composed(one) for one in classes]
    if kind is BOXES:
        boxes = {name: _boxes(one, classes, field) for name, one in right.items()}
        _check_room(boxes, field)
        return _filled([_moved(some, place) for some, place in zip(boxes.values(), placed, strict=True)])
    if kind is CLASSES:
        return _numbered([_class(one, classes, field) for one in right.values()], classes, field)
    try:
        numbers = np.array(list(right.values()), np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise DatasetInvalid(
            f"{field} has labels that are not numbers; as many for each picture were expected"
        ) from error
    return numbers


def _class(said: Any, classes: Sequence[str], field: str) -> int | str:
    """A class by its number, or by a name that is not known here."""
    if isinstance(said, str):
        if _composed(said) in classes:
            return classes.index(_composed(said))
        if not (said.isascii() and said.isdigit()) and len(said) <= _LONGEST:
            return said
    # Python refuses to read a number of thousands of digits.
    number = int(said) if isinstance(said, str) and len(said) <= _DIGITS else said
    if _is_whole(number) and _NUMBERS.min <= number <= _NUMBERS.max:
        return int(number)
    raise DatasetInvalid(f"{field} has the label {_short(said)}; the number or the name of a class was expected")


def _numbered(found: Sequence[int | str], classes: Sequence[str], field: str) -> NDArray[Any]:
    """Classes as numbers; as text where the model has no names of its own."""
    unknown = sorted({one for one in found if isinstance(one, str)})
    if not unknown:
        return np.array(found, np.int64)
    if classes or len(unknown) < len(set(found)):
        expected = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")  # noqa: PLR2004 -- as many as are read
        raise DatasetInvalid(
            f"{field} has the label {unknown[0][:NAMED]!r}; a class's number was expected, or its name"
            + (f": {expected}" if classes else "")
        )
    return np.array(found)


def _boxes(said: Any, classes: Sequence[str], field: str) -> NDArray[np.float64]:
    """`[boxes, 5]`: left, top, right, bottom in the picture's pixels, and class."""
    if not isinstance(said, list):
        raise DatasetInvalid(f"{field} has the label {_short(said)}; a list of boxes was expected, each {_FORM}")
    rows = [_box(one, classes, field) for one in said]
    return np.array(rows, np.float64).reshape(-1, CORNERS + 1)


def _box(said: Any, classes: Sequence[str], field: str) -> list[float]:
    try:
        sides = [said["box"][side] for side in _SIDES]
        kind = said["index"] if "index" in said else _class(said["label"], classes, field)
    except (KeyError, TypeError) as error:
        raise DatasetInvalid(f"{field} has the box {_short(said)}; {_FORM} was expected") from error
    if not _is_whole(kind) or not 0 <= kind < (len(classes) or _NUMBERS.max):
        raise DatasetInvalid(f"{field} has a box of the class {_short(kind)}; one of the model's was expected")
    if not all(_is_side(one) for one in sides):
        raise DatasetInvalid(f"{field} has the box {_short(said)}; sides in pixels, each a number, were expected")
    if not (sides[0] < sides[2] and sides[1] < sides[3]):
        raise DatasetInvalid(
            f"{field} has the box {_short(said)}; left before right and top before bottom were expected"
        )
    return [*map(float, sides), float(kind)]


def _composed(text: str) -> str:
    """Text as most programs write it (Unicode's NFC): the same letters may be written in two ways."""
    return unicodedata.normalize("NFC", text)


def _is_whole(said: Any) -> TypeGuard[int]:
    """Whether it is a whole number; true is an int too, and none."""
    return isinstance(said, int) and not isinstance(said, bool)


def _is_side(said: Any) -> bool:
    return (_is_whole(said) or isinstance(said, float)) and abs(said) <= _FARTHEST


def _check_room(boxes: Mapping[str, NDArray[np.float64]], field: str) -> None:
    """Refuse more boxes than there is room for.

    Raises:
        DatasetInvalid: naming the picture that has the most.
    """
    worst = max(boxes, key=lambda name: len(boxes[name]))
    most = len(boxes[worst])
    total = len(boxes) * most * (CORNERS + 1) * np.dtype(np.float64).itemsize
    if total > BOXES_LIMIT:
        raise DatasetInvalid(
            f"{field} has {most} boxes in {worst[:NAMED]!r}, and {len(boxes)} pictures with room for as many take "
            f"{size_text(total)}; at most {size_text(BOXES_LIMIT)} were expected"
        )


def _moved(boxes: NDArray[np.float64], placed: Placed) -> NDArray[np.float64]:
    """Boxes in the input's pixels."""
    scale, offset = (np.array([*pair, *pair]) for pair in (placed.scale, placed.offset))
    return np.concatenate([boxes[:, :CORNERS] * scale + offset, boxes[:, CORNERS:]], axis=1)


def _filled(boxes: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """`[pictures, most, 5]`, class -1 to fill up."""
    most = max((len(one) for one in boxes), default=0)
    found = np.zeros((len(boxes), max(most, 1), CORNERS + 1))
    found[..., CORNERS] = -1
    for row, one in zip(found, boxes, strict=True):
        row[: len(one)] = one
    return found


def _short(said: Any) -> str:
    text = json.dumps(said, ensure_ascii=False, default=str)
    return text if len(text) <= NAMED else text[:NAMED] + "…"
