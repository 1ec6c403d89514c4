"""The boxes of an answer: what a server would answer by ``spec.picture``, or the rows of an output that has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.errors import DatasetMismatch, RequestInvalid
from edgesmith_builder.metric.interface import Evaluation
from edgesmith_builder.score.asking import Answer, ScoreFailed, answers
from edgesmith_runtime.engine import Engine
from edgesmith_runtime.errors import AnswerFailed
from edgesmith_runtime.picture import Picture
from edgesmith_runtime.picture.detecting import boxes_of
from edgesmith_runtime.picture.placing import Placed
from edgesmith_runtime.tensors import shape_text

COLUMNS = 6
"""Of a box: left, top, right, bottom, score, class."""

SCORE, CLASS = 4, 5

_SIDES = ("left", "top", "right", "bottom")


def boxes_in(engine: Engine, evaluation: Evaluation, *, source: bool) -> Iterator[NDArray[np.float64]]:
    """What an engine finds in each sample, in order.

    Args:
        engine: Whom to ask.
        evaluation: What to ask, and how boxes are answered.
        source: Whether it is what candidates are held against.

    Yields:
        `[boxes, 6]`: left, top, right, bottom, score, class.

    Raises:
        ScoreFailed: where it does not answer with boxes.
        DatasetMismatch: where nothing is declared of an output that has no such rows.
        RequestInvalid: where the source answers otherwise than is declared.
    """
    declared = declared_for(evaluation)
    outputs = declared.outputs if declared is not None else (evaluation.output,)
    for answer in answers(engine, evaluation.samples, outputs, evaluation.field):
        if declared is None:
            yield _rows(answer[evaluation.output], evaluation)
            continue
        try:
            yield _served(declared, answer)
        except AnswerFailed as error:
            said = f"spec.picture.detection is not what the model answers for {evaluation.field}: {error}"
            raise (RequestInvalid if source else ScoreFailed)(said) from error


def declared_for(evaluation: Evaluation) -> Picture | None:
    """The declaration that the scored output's boxes are read by; None where it says nothing of that output."""
    declared = evaluation.picture
    if declared is None or declared.detection is None or evaluation.output not in declared.outputs:
        return None
    return declared


def _served(declared: Picture, answer: Answer) -> NDArray[np.float64]:
    """What a server would answer to a sample, in pixels of the model's input."""
    found = boxes_of(declared, answer, _unmoved(declared), ())
    rows = [[*(one["box"][side] for side in _SIDES), one["score"], one["index"]] for one in found]
    return np.array(rows, np.float64).reshape(-1, COLUMNS)


def _unmoved(declared: Picture) -> Placed:
    """Of a sample, which is an input already, all lies where it is."""
    size = (declared.width, declared.height)
    return Placed((0.0, 0.0, float(size[0]), float(size[1])), size, (0, 0), (1.0, 1.0), (0.0, 0.0), size)


def _rows(answer: NDArray[Any], evaluation: Evaluation) -> NDArray[np.float64]:
    """The rows of an output that score above 0."""
    if answer.dtype.kind != "f" or answer.shape[-1:] != (COLUMNS,) or answer.size != answer.shape[-2:][0] * COLUMNS:
        raise DatasetMismatch(
            f"the model's output {evaluation.output!r} answers {shape_text(answer.shape)} for {evaluation.field}; "
            "[boxes, 6] was expected: left, top, right, bottom, score and class of each, or spec.picture.detection, "
            "which says where they are"
        )
    boxes = answer.reshape(-1, COLUMNS).astype(np.float64)
    found = boxes[boxes[:, SCORE] > 0]
    if not np.isfinite(found).all():
        raise ScoreFailed(
            f"the output {evaluation.output!r} has minus infinity in a box for a sample of {evaluation.field}"
        )
    return found
