"""From an output with a score for each class to the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgesmith_runtime.errors import AnswerFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgesmith_runtime.picture.declaration import Activation, Classification

__all__ = ["activated", "classes_of", "named"]


def activated(values: NDArray[Any], activation: Activation) -> NDArray[np.float64]:
    """Make scores of numbers, along the last axis."""
    numbers = values.astype(np.float64)
    if activation == "Softmax":
        with np.errstate(invalid="ignore"):
            powers = np.exp(numbers - numbers.max(axis=-1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    if activation == "Sigmoid":
        return np.asarray(0.5 + 0.5 * np.tanh(numbers / 2))
    return numbers


def classes_of(asked: Classification, output: NDArray[Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Name the best classes, best first; of equals, the one with the lower number.

    Args:
        asked: What is declared of the output.
        output: What the model answered to one picture.
        labels: The names of classes, or nothing.

    Raises:
        AnswerFailed: A score is infinity or NaN.
    """
    scores = activated(output.reshape(-1) * asked.scale, asked.activation)
    if not (np.isfinite(scores) | np.isneginf(scores)).all():  # the logarithm of 0 is a score like others
        raise AnswerFailed(f"output {asked.output!r} holds infinity or NaN; expected scores")
    best = np.argsort(-scores, kind="stable")[: asked.top_k]
    return [named(int(index), float(scores[index]), labels) for index in best if np.isfinite(scores[index])]


def named(index: int, score: float, labels: Sequence[str]) -> dict[str, Any]:
    """One class as it is answered; without a label where nobody named it."""
    label = {"label": labels[index]} if index < len(labels) else {}
    return label | {"index": index, "score": round(score, 6)}
