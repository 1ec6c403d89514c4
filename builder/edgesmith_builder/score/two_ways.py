"""How far apart two right ways of computing a model are, over more samples than the golden ones.

A quantised network answers a sample alike in both ways or not, as a number deep in it falls on one step or the next:
that the few golden samples are answered alike says little of a device that computes in a third way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.score.asking import Answer
from edgesmith_builder.score.spread import spread
from edgesmith_runtime.engine import Engine, EngineError

SAMPLES = 32
"""How many are asked at most."""

_ROOM = 64 * 2**20
"""Bytes that their answers may have."""

OtherWay = Callable[[Samples], "Sequence[Answer] | None"]
"""Answers in another way, None where there is none."""


def apart(
    engine: Engine, other: OtherWay, samples: Samples, answer: Answer
) -> Mapping[str, Sequence[NDArray[np.float64]]]:
    """Ask for samples spread over a set, in both ways.

    Args:
        engine: The one way.
        other: The other.
        samples: The set.
        answer: One answer, which says how large answers are.

    Returns:
        For each output of numbers the absolute differences, an array for each sample that both ways answered in the
        same shape. Empty where there is no other way, or a sample is not answered.
    """
    size = sum(array.nbytes for array in answer.values())
    count = min(SAMPLES, len(samples), max(1, _ROOM // max(1, size)))
    asked = samples.take(spread(count, len(samples), samples.classes))
    theirs = other(asked)
    if theirs is None:
        return {}
    try:
        ours = [engine.infer(asked.feed(index)) for index in range(len(asked))]
    except EngineError:  # a sample of the set, which the yardstick has told of
        return {}
    return {
        name: [
            difference(one[name], another[name])
            for one, another in zip(ours, theirs, strict=True)
            if one[name].shape == another[name].shape
        ]
        for name, array in answer.items()
        if array.dtype.kind in "biuf"
    }


def difference(one: NDArray[Any], another: NDArray[Any]) -> NDArray[np.float64]:
    """By how much two answers of one shape differ, element by element."""
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = np.abs(one.astype(np.float64) - another.astype(np.float64))
    return found
