"""Accuracy, counted with the engine that will serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import DatasetMismatch
from edgesmith_builder.score.asking import answers
from edgesmith_runtime.engine import Engine
from edgesmith_runtime.tensors import shape_text

_TWO = 2
_PLUS_MINUS = {-1, 1}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluation set, and how an answer to one of its samples says a class."""

    samples: Samples
    """With labels."""
    output: str
    """The output that says the class."""
    field: str = "spec.evaluation"
    """Where the request names the set, for messages."""
    names: Sequence[str] | None = None
    """The model's class names, where it has them."""


@dataclass(frozen=True, slots=True)
class Score:
    """Which samples a candidate is right about."""

    chosen: NDArray[Any]
    """The class it says, for each sample."""
    right: NDArray[np.bool_]
    """Whether that is the label, for each sample."""
    classes: int
    """How many it chooses between."""
    threshold: float | None
    """Above which one value says the second of two classes; None where classes are said otherwise."""

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.right)

    @property
    def accuracy(self) -> float:
        """As a fraction of 1, to six digits: enough for a million samples."""
        return round(int(self.right.sum()) / self.samples, 6)


def score(engine: Engine, evaluation: Evaluation, like: Score | None = None) -> Score:
    """Find out which samples an engine is right about.

    How an output says a class is seen from a sample's answer:

    - several numbers along one axis: the largest one's place;
    - one integer, truth value or text: the class itself, as converters from scikit-learn have it;
    - one other number: the second of two classes above a threshold, 0.5 where all answers lie from 0 to 1 (a sigmoid),
      otherwise 0 (a decision function).

    Labels are class numbers from 0, -1 and 1, or text: classes that the output says, or names of the model's classes.

    Args:
        engine: The candidate.
        evaluation: What to ask, and what is right.
        like: The score of the source, whose reading of one number a candidate's must follow.

    Raises:
        ScoreFailed: where the candidate does not answer with numbers.
        DatasetMismatch: where the labels do not fit the output.
    """
    labels = evaluation.samples.labels
    if labels is None:
        raise ValueError("samples have no labels; an evaluation set was expected")
    said, sizes = [], set()
    for answer in answers(engine, evaluation.samples, (evaluation.output,), evaluation.field):
        classes, value = _said(answer[evaluation.output], evaluation)
        said.append(value)
        sizes.add(classes)
    if len(sizes) > 1:
        raise _no_class(evaluation, f"answers {min(sizes)} to {max(sizes)} values from sample to sample")
    (classes,) = sizes
    values: NDArray[Any] = np.array(said)
    wanted = _texts(labels, evaluation) if values.dtype.kind == "U" else _numbers(labels, evaluation, classes)
    threshold = None
    if classes == 1 and values.dtype.kind != "U":
        values, threshold = _decided(values, wanted, evaluation, like)
    return Score(values, values == wanted, classes if classes > 1 else max(_TWO, len({*wanted.tolist()})), threshold)


def check_above_chance(reference: Score, evaluation: Evaluation) -> None:
    """Refuse a source that is no better than guessing: then it is not its classes that are counted.

    Guessing is right once in as many times as there are classes among the labels, or in the output where it has fewer.
    With one class only among the labels, the output's classes count.

    Raises:
        DatasetMismatch: where it is no better.
    """
    labels = evaluation.samples.labels
    kinds = len({*labels.tolist()}) if labels is not None else 0
    guesses = min(reference.classes, kinds) if kinds > 1 else reference.classes
    if guesses > 1 and reference.accuracy <= 1 / guesses:
        raise DatasetMismatch(
            f"the model's output {evaluation.output!r} is right for {int(reference.right.sum())} of the "
            f"{reference.samples} samples of {evaluation.field}, accuracy {reference.accuracy:.4f}, no better than "
            f"guessing one of {guesses} classes; labels that count classes as the model does were expected, or "
            "spec.evaluation.output to name the output that says the class"
        )


def _said(answer: NDArray[Any], evaluation: Evaluation) -> tuple[int, Any]:
    """How many values one answer has, and the class that it says: the largest one's place, or the one value."""
    if answer.size == 1:
        value = answer.reshape(-1)[0]
        if isinstance(value, bytes):
            value = value.decode()
        return 1, value.item() if isinstance(value, np.generic) else value
    # More than one axis besides the samples is an image or a sequence, whose argmax is no class.
    if answer.size == 0 or sum(size > 1 for size in answer.shape) > 1 or answer.dtype.kind in "OUS":
        raise _no_class(evaluation, f"answers {shape_text(answer.shape)}")
    return answer.size, int(np.argmax(answer))


def _decided(
    values: NDArray[Any], wanted: NDArray[Any], evaluation: Evaluation, like: Score | None
) -> tuple[NDArray[np.int64], float | None]:
    """The class that one number says, and the threshold that was used."""
    if like is None:
        whole = values.dtype.kind in "biu" or bool((values == np.rint(values)).all())
        unit = float(values.min()) >= 0 and float(values.max()) <= 1
        threshold = None if whole else 0.5 if unit else 0.0
    else:
        threshold = like.threshold
    if threshold is None:
        return np.rint(values.astype(np.float64)).astype(np.int64), None
    kinds = {*wanted.tolist()}
    if not (kinds <= {0, 1} or kinds <= _PLUS_MINUS):
        raise _no_class(evaluation, f"answers one number, and the labels are {len(kinds)} classes")
    above = values > threshold
    return np.where(above, 1, -1 if kinds <= _PLUS_MINUS and -1 in kinds else 0), threshold


def _numbers(labels: NDArray[Any], evaluation: Evaluation, classes: int) -> NDArray[Any]:
    """Labels as class numbers; what one value says itself is not bounded (`classes` is 1)."""
    if labels.dtype.kind == "U":
        places = {name: place for place, name in enumerate(evaluation.names or ())}
        if unknown := sorted({*labels.tolist()} - set(places)):
            raise DatasetMismatch(
                f"{evaluation.field} has the label {unknown[0]!r}; class numbers, or names that the model's metadata "
                f"lists under labels ({', '.join(places) or 'it has none'}) were expected"
            )
        labels = np.array([places[name] for name in labels.tolist()], np.int64)
    if classes == 1:
        return labels
    if int(labels.min()) < 0 and classes != _TWO:
        raise DatasetMismatch(
            f"{evaluation.field} has the label {int(labels.min())}; "
            f"the model's output {evaluation.output!r} has {classes} classes, counted from 0"
        )
    numbers = (labels + 1) // 2 if int(labels.min()) < 0 else labels
    if int(numbers.max()) >= classes:
        raise DatasetMismatch(
            f"{evaluation.field} has the label {int(labels.max())}; "
            f"the model's output {evaluation.output!r} has {classes} classes"
        )
    return numbers


def _texts(labels: NDArray[Any], evaluation: Evaluation) -> NDArray[Any]:
    if labels.dtype.kind != "U":
        raise DatasetMismatch(
            f"{evaluation.field} has labels that are numbers; "
            f"the model's output {evaluation.output!r} says classes as text, and labels of text were expected"
        )
    return labels


def _no_class(evaluation: Evaluation, found: str) -> DatasetMismatch:
    return DatasetMismatch(
        f"the model's output {evaluation.output!r} {found} for {evaluation.field}; "
        "one value for each class, or the class itself, was expected to count accuracy"
    )
