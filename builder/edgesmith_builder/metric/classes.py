"""Classes: what an answer says of them, and labels that count them as the model does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.errors import DatasetMismatch
from edgesmith_builder.metric.interface import Evaluation
from edgesmith_builder.score.asking import answers
from edgesmith_runtime.engine import Engine
from edgesmith_runtime.tensors import shape_text

_TWO = 2
_PLUS_MINUS = {-1, 1}


@dataclass(frozen=True, slots=True)
class Said:
    """What an engine says of classes."""

    chosen: NDArray[Any]
    """The class it says, for each sample."""
    wanted: NDArray[Any]
    """The class that is right, counted in the same way."""
    classes: int
    """How many it chooses between."""
    threshold: float | None
    """Above which one value says the second of two classes; None where classes are said otherwise."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each sample's class is the label."""
        found: NDArray[np.bool_] = np.asarray(self.chosen == self.wanted)
        return found


def said(engine: Engine, evaluation: Evaluation, like: Said | None = None) -> Said:
    """Find out which class an engine says for each sample.

    How an output says a class is seen from a sample's answer:

    - several numbers along one axis: the largest one's place;
    - one integer, truth value or text: the class itself, as converters from scikit-learn have it;
    - one other number: the second of two classes above a threshold, 0.5 where all answers lie from 0 to 1 (a sigmoid),
      otherwise 0 (a decision function).

    Labels are class numbers from 0, -1 and 1, or text: classes that the output says, or names of the model's classes.

    Args:
        engine: The candidate.
        evaluation: What to ask, and what is right.
        like: What the source says, whose reading of one number a candidate's must follow.

    Raises:
        ScoreFailed: where the candidate does not answer with numbers.
        DatasetMismatch: where the labels do not fit the output.
    """
    labels = evaluation.labels
    values_said, sizes = [], set()
    for answer in answers(engine, evaluation.samples, (evaluation.output,), evaluation.field):
        classes, value = class_of(answer[evaluation.output], evaluation)
        values_said.append(value)
        sizes.add(classes)
    if len(sizes) > 1:
        raise no_class(evaluation, f"answers {min(sizes)} to {max(sizes)} values from sample to sample")
    (classes,) = sizes
    values: NDArray[Any] = np.array(values_said)
    wanted = _texts(labels, evaluation) if values.dtype.kind == "U" else numbered(labels, evaluation, classes)
    threshold = None
    if classes == 1 and values.dtype.kind != "U":
        values, threshold = _decided(values, wanted, evaluation, like)
    return Said(values, wanted, classes if classes > 1 else max(_TWO, len({*wanted.tolist()})), threshold)


def check_above_chance(right: int, classes: int, evaluation: Evaluation, guesses: int = 1) -> None:
    """Refuse a source that is no better than guessing: then it is not its classes that are counted.

    Guessing is right once in as many times as there are classes among the labels, or in the output where it has fewer.
    With one class only among the labels, the output's classes count.

    Args:
        right: For how many samples it is right.
        classes: How many it chooses between.
        evaluation: The set.
        guesses: How many classes it may say for each sample.

    Raises:
        DatasetMismatch: where it is no better.
    """
    samples = len(evaluation.samples)
    kinds = len({*evaluation.labels.tolist()})
    among = min(classes, kinds) if kinds > 1 else classes
    if among > guesses and right / samples <= guesses / among:
        raise DatasetMismatch(
            f"the model's output {evaluation.output!r} is right for {right} of the "
            f"{samples} samples of {evaluation.field}, accuracy {right / samples:.4f}, no better than "
            f"guessing {'one' if guesses == 1 else guesses} of {among} classes; labels that count classes as the model "
            "does were expected, or spec.evaluation.output to name the output that says the class"
        )


def class_of(answer: NDArray[Any], evaluation: Evaluation) -> tuple[int, Any]:
    """How many values one answer has, and the class that it says: the largest one's place, or the one value."""
    if answer.size == 1:
        value = answer.reshape(-1)[0]
        if isinstance(value, bytes):
            value = value.decode()
        return 1, value.item() if isinstance(value, np.generic) else value
    # More than one axis besides the samples is an image or a sequence, whose argmax is no class.
    if answer.size == 0 or sum(size > 1 for size in answer.shape) > 1 or answer.dtype.kind in "OUS":
        raise no_class(evaluation, f"answers {shape_text(answer.shape)}")
    return answer.size, int(np.argmax(answer))


def threshold_of(values: NDArray[Any]) -> float | None:
    """Above which one value says the second of two classes, by all values; None where they are classes themselves."""
    if values.dtype.kind in "biu" or bool((values == np.rint(values)).all()):
        return None
    return 0.5 if float(values.min()) >= 0 and float(values.max()) <= 1 else 0.0


def _decided(
    values: NDArray[Any], wanted: NDArray[Any], evaluation: Evaluation, like: Said | None
) -> tuple[NDArray[np.int64], float | None]:
    """The class that one number says, and the threshold that was used."""
    threshold = threshold_of(values) if like is None else like.threshold
    if threshold is None:
        return np.rint(values.astype(np.float64)).astype(np.int64), None
    kinds = {*wanted.tolist()}
    if not (kinds <= {0, 1} or kinds <= _PLUS_MINUS):
        raise no_class(evaluation, f"answers one number, and the labels are {len(kinds)} classes")
    above = values > threshold
    return np.where(above, 1, -1 if kinds <= _PLUS_MINUS and -1 in kinds else 0), threshold


def numbered(labels: NDArray[Any], evaluation: Evaluation, classes: int) -> NDArray[Any]:
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


def no_class(evaluation: Evaluation, found: str) -> DatasetMismatch:
    """What to say of an output that says no class."""
    return DatasetMismatch(
        f"the model's output {evaluation.output!r} {found} for {evaluation.field}; "
        "one value for each class, or the class itself, was expected to count accuracy"
    )
