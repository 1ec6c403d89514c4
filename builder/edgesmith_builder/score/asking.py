"""Asks an engine what it will be asked on a device: one sample at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_runtime.engine import Engine, EngineError

BATCH = 32
"""Samples at once, where that changes nothing."""

Answer = dict[str, NDArray[Any]]
"""What a model answers to one sample, by output; the first axis is of size one where the model takes batches."""


class ScoreFailed(Exception):  # noqa: N818 - an outcome of the ladder, turned into a sentence there
    """The candidate does not answer, or answers with NaN."""


def answers(engine: Engine, samples: Samples, outputs: Sequence[str], field: str) -> Iterator[Answer]:
    """What an engine answers to each sample, in order, as it answers a client that sends one sample.

    Several samples at once are quicker and can give other answers: a dynamically quantised model takes its ranges from
    all of them. So they are asked together only where the first batch gives bit by bit what its samples give alone.

    Args:
        engine: Whom to ask.
        samples: What to ask.
        outputs: The outputs wanted.
        field: Where the request names the samples, for messages.

    Raises:
        ScoreFailed: where a sample is not answered, or an answer holds NaN or infinity. Minus infinity, the logarithm
            of a probability of zero, is a number here.
    """
    count = BATCH if samples.batches and len(samples) > 1 and _same_together(engine, samples, outputs) else 1
    for first in range(0, len(samples), count):
        size = min(count, len(samples) - first)
        found = _together(engine, samples, first, size, outputs) if size > 1 else None
        for index in range(first, first + size):
            answer = found[index - first] if found else alone(engine, samples, index, outputs, field)
            for name, array in answer.items():
                check_numbers(array, name, f"sample {index} of {field}")
            yield answer


def check_numbers(answer: NDArray[Any], name: str, what: str) -> None:
    """Refuse what is no number.

    Args:
        answer: What was answered.
        name: The output.
        what: What was asked, for the message.

    Raises:
        ScoreFailed: where NaN or infinity is in it.
    """
    if answer.dtype.kind == "f" and not (np.isfinite(answer) | np.isneginf(answer)).all():
        raise ScoreFailed(f"the output {name!r} has NaN or infinity for {what}")


def _same_together(engine: Engine, samples: Samples, outputs: Sequence[str]) -> bool:
    size = min(BATCH, len(samples))
    together = _together(engine, samples, 0, size, outputs)
    if together is None:
        return False
    try:
        alone = [engine.infer(samples.feed(index), outputs) for index in range(size)]
    except EngineError:
        return False  # asked again alone, and told with its number
    return all(_same(a[name], b[name]) for a, b in zip(together, alone, strict=True) for name in outputs)


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    if a.dtype.kind == "O":
        return bool(a.tolist() == b.tolist())
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _together(engine: Engine, samples: Samples, first: int, size: int, outputs: Sequence[str]) -> list[Answer] | None:
    """The answers to some samples asked at once; None where that cannot be done."""
    try:
        found = engine.infer(samples.feed(first, size), outputs)
    except EngineError:
        return None  # a free first axis that the graph inside does not keep to
    if any(array.shape[:1] != (size,) for array in found.values()):
        return None
    return [{name: array[index : index + 1] for name, array in found.items()} for index in range(size)]


def alone(engine: Engine, samples: Samples, index: int, outputs: Sequence[str], field: str) -> Answer:
    """What an engine answers to one sample, by its number.

    Raises:
        ScoreFailed: where it does not answer.
    """
    try:
        return engine.infer(samples.feed(index), outputs)
    except EngineError as error:
        raise ScoreFailed(f"sample {index} of {field} is not answered: {error}") from error
