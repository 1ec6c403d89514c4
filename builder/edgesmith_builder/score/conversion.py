"""Holds a converted model against what it was before, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format import Original
from edgesmith_builder.progress import step
from edgesmith_builder.score.asking import answers
from edgesmith_runtime.engine import Engine

TOLERANCE = 1e-4
"""By how much a number may differ, as a share of the largest of its column, and of 1 at least for probabilities: the
model computes in 32 bits what its library computes in 64."""

_BLOCK = 1024
"""Rows that the library is asked at once."""


def check_conversion(engine: Engine, original: Original, samples: Samples, field: str, what: str) -> None:
    """Ask both every sample of a set.

    What is said as a class, text or whole number must be equal, save where the library itself has two classes within
    twice the tolerance. Numbers must be within the tolerance, and what is not finite the same.

    Args:
        engine: The converted model.
        original: What it was.
        samples: A set.
        field: Where the request names it, for messages.
        what: What messages call the model.

    Raises:
        ModelInvalid: with the number of rows that are answered otherwise.
        ScoreFailed: where the converted model does not answer with numbers.
    """
    with step(f"held against {original.library}") as current:
        wanted = _asked(original, samples, field, what)
        rows = list(answers(engine, samples, tuple(wanted), field))
        found = {name: np.concatenate([row[name] for row in rows]) for name in wanted}
        wrong = _wrong(found, wanted)
        current.say(f"{len(samples)} samples of {field},")
    if not wrong.any():
        return
    first = int(np.argmax(wrong))
    shown = ", ".join(f"{name} {_text(found[name][first])} for {_text(wanted[name][first])}" for name in wanted)
    raise ModelInvalid(
        f"{what} answers otherwise once it is converted to ONNX, for {int(wrong.sum())} of the {len(samples)} samples "
        f"of {field} (the first is sample {first}: {shown}); the answers of {original.library} were expected, numbers "
        f"to {TOLERANCE:g} of their column's largest"
    )


def _asked(original: Original, samples: Samples, field: str, what: str) -> Mapping[str, NDArray[Any]]:
    """The original's answers to all samples, by output."""
    found: list[Mapping[str, NDArray[Any]]] = []
    for first, feed in samples.feeds(_BLOCK):
        (rows,) = feed.values()
        try:
            found.append(original.answers(rows))
        except MemoryError:
            raise
        except Exception as error:  # whatever the library raises
            raise ModelInvalid(
                f"{what} does not take sample {first} of {field} or one after it: {type(error).__name__}: "
                f"{str(error)[:300]}; rows that {original.library} predicts for were expected"
            ) from error
    return {name: np.concatenate([answer[name] for answer in found]) for name in found[0]}


def _wrong(found: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Which rows are answered otherwise."""
    count = len(next(iter(wanted.values())))
    exact, close = np.zeros(count, bool), np.zeros(count, bool)
    undecided = np.zeros(count, bool)
    for name, array in wanted.items():
        right = array.reshape(count, -1)
        given = found[name].reshape(count, -1)
        if right.dtype.kind != "f":
            exact |= _other(given, right)
            continue
        if given.shape != right.shape:
            return np.ones(count, bool)
        finite = np.isfinite(right)
        largest = np.abs(np.where(finite, right, 0)).max(axis=0)
        scale = TOLERANCE * np.maximum(1.0 if name == "probabilities" else 0.0, largest)
        close |= ~_near(given, right, np.where(finite, scale, 0)).all(axis=1)
        undecided |= _gap(right) <= 2 * float(scale.max())
    return close | (exact & ~undecided)


def _near(given: NDArray[Any], right: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.bool_]:
    """Which numbers lie within a scale; what is not finite has no distance, and has to be the same."""
    with np.errstate(invalid="ignore"):
        near = (np.abs(given - right) <= scale) | (given == right)
    found: NDArray[np.bool_] = near | (np.isnan(given) & np.isnan(right))
    return found


def _other(given: NDArray[Any], right: NDArray[Any]) -> NDArray[np.bool_]:
    if right.dtype.kind in "OUS":
        given, right = _strings(given), _strings(right)
    found: NDArray[np.bool_] = (given != right).any(axis=1) if given.shape == right.shape else np.ones(len(right), bool)
    return found


def _strings(array: NDArray[Any]) -> NDArray[Any]:
    return np.array([[_text(value) for value in row] for row in array.tolist()])


def _gap(scores: NDArray[Any]) -> NDArray[Any]:
    """Between the two largest of each row; of one score alone, from 0."""
    ordered = np.sort(scores, axis=1)
    with np.errstate(invalid="ignore"):  # two that are infinite have none
        gap: NDArray[Any] = np.abs(ordered[:, -1] - (ordered[:, -2] if scores.shape[1] > 1 else 0.0))
    return gap


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"[{', '.join(_text(one) for one in value.ravel()[:4].tolist())}{', …' if value.size > 4 else ''}]"  # noqa: PLR2004 - enough to see it
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
