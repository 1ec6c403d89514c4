"""From outputs with boxes and scores to the boxes in the picture's own pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.errors import AnswerFailed
from edgesmith_runtime.picture.classifying import activated, named
from edgesmith_runtime.picture.suppressing import suppressed
from edgesmith_runtime.tensors import shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.picture.declaration import Detection, Picture
    from edgesmith_runtime.picture.placing import Placed

__all__ = ["boxes_of", "corners_of", "rows_of", "scores_of"]

_SIDES: Final = 4
_MATRIX: Final = 2


def boxes_of(
    picture: Picture, outputs: Mapping[str, NDArray[Any]], placed: Placed, labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Find the boxes, best first.

    Args:
        picture: The declaration, with a detection.
        outputs: What the model answered to one picture.
        placed: Where the picture lies in the input.
        labels: The names of classes, or nothing.

    Returns:
        One object for each: ``label``, ``index``, ``score`` and ``box`` with ``left``, ``top``, ``right`` and
        ``bottom`` in the picture's pixels.

    Raises:
        AnswerFailed: The outputs do not have the declared shapes, or a score is infinity.
    """
    sought = picture.detection
    if sought is None:
        raise ValueError("the declaration has no detection; expected one")
    rows = rows_of(sought, sought.boxes, outputs[sought.boxes])
    scores, classes = scores_of(sought, rows, outputs)
    near = np.nonzero(scores >= sought.score_threshold)[0]
    if np.isposinf(scores[near]).any():
        raise AnswerFailed(f"output {sought.scores or sought.boxes!r} holds infinity; expected scores")
    corners = corners_of(sought, rows[near, :_SIDES].astype(np.float64), (picture.width, picture.height))
    finite = np.isfinite(corners).all(axis=1)
    near, corners = near[finite], corners[finite]
    kept = _kept(sought, corners, scores[near], classes[near])
    found = []
    for number, box in zip(near[kept], placed.back(corners[kept]), strict=True):
        left, top, right, bottom = (round(float(side), 2) for side in box)
        if right > left and bottom > top:
            sides = {"left": left, "top": top, "right": right, "bottom": bottom}
            found.append(named(int(classes[number]), float(scores[number]), labels) | {"box": sides})
    return found


def rows_of(sought: Detection, name: str, output: NDArray[Any]) -> NDArray[Any]:
    """An output as ``[boxes, numbers]``, for one picture.

    Raises:
        AnswerFailed: It has another number of axes, or too few numbers for a box.
    """
    rows = output
    while rows.ndim > _MATRIX and 1 in rows.shape:
        rows = rows.squeeze(axis=rows.shape.index(1))
    if rows.ndim == 1:
        rows = rows[:, None]
    if rows.ndim != _MATRIX:
        raise AnswerFailed(f"output {name!r} has shape {shape_text(output.shape)}; expected boxes and their numbers")
    rows = rows.T if sought.order == "ChannelsFirst" else rows
    least = _SIDES + (sought.scores is None) if name == sought.boxes else 1
    if rows.shape[1] < least:
        raise AnswerFailed(
            f"output {name!r} has shape {shape_text(output.shape)}, {rows.shape[1]} numbers for each box in the order "
            f"{sought.order}; expected {least} at least"
        )
    return rows


def scores_of(
    sought: Detection, rows: NDArray[Any], outputs: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The best score of each box, and whose class it is.

    Args:
        sought: What is declared.
        rows: The output with the boxes, as `rows_of` has it.
        outputs: All outputs.

    Raises:
        AnswerFailed: Outputs differ in their number of boxes, or have no class.
    """
    if sought.classes is not None:
        scores = activated(_flat(sought.scores or sought.boxes, outputs, rows), sought.activation)
        numbers = _flat(sought.classes, outputs, rows).astype(np.float64)
        classes = np.where(np.isfinite(numbers), np.rint(numbers), -1).astype(np.int64) - sought.background
        return np.where(classes >= 0, scores, -np.inf), classes
    behind = rows[:, _SIDES:] if sought.scores is None else rows_of(sought, sought.scores, outputs[sought.scores])
    if len(behind) != len(rows):
        raise AnswerFailed(f"output {sought.scores!r} has {len(behind)} boxes; expected {len(rows)}")
    if sought.objectness:
        own, behind = activated(behind[:, :1], _alone(sought)), behind[:, 1:]
    every = activated(behind, sought.activation)[:, int(sought.background) :]
    if not every.shape[1]:
        raise AnswerFailed(f"output {sought.scores or sought.boxes!r} has no scores of classes; expected one at least")
    every = every * own if sought.objectness else every
    with np.errstate(invalid="ignore"):
        every = np.where(np.isnan(every), -np.inf, every)
    classes = every.argmax(axis=1)
    return every[np.arange(len(every)), classes], classes.astype(np.int64)


def corners_of(sought: Detection, numbers: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Boxes as left, top, right and bottom in the input's pixels.

    Args:
        sought: What is declared.
        numbers: ``[boxes, 4]``.
        size: The input's width and height.
    """
    a, b, c, d = numbers.T if len(numbers) else np.zeros((_SIDES, 0))
    if sought.form == "CornersYX":
        a, b, c, d = b, a, d, c
    elif sought.form == "CornerSize":
        c, d = a + c, b + d
    elif sought.form == "CentreSize":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    sides = np.stack([a, b, c, d], axis=1)
    return sides * np.array([*size, *size], np.float64) if sought.unit == "Normalised" else sides


def _kept(
    sought: Detection, corners: NDArray[np.float64], scores: NDArray[np.float64], classes: NDArray[np.int64]
) -> NDArray[np.int64]:
    if sought.suppression == "None":
        return np.argsort(-scores, kind="stable")[: sought.max_boxes]
    groups = classes if sought.suppression == "PerClass" else None
    return suppressed(corners, scores, groups, threshold=sought.iou_threshold, most=sought.max_boxes)


def _flat(name: str, outputs: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> NDArray[Any]:
    """An output with one number for each box."""
    numbers = outputs[name].reshape(-1)
    if len(numbers) != len(rows):
        raise AnswerFailed(
            f"output {name!r} has shape {shape_text(outputs[name].shape)}; expected one number for each of "
            f"{len(rows)} boxes"
        )
    return numbers


def _alone(sought: Detection) -> Any:
    """What makes a score of a number that stands alone."""
    return "None" if sought.activation == "None" else "Sigmoid"
