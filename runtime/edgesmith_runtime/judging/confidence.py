"""How sure a model is of its answers: the score of the best class, where its answers are probabilities of classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgesmith_runtime.engine import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgesmith_runtime.engine import Engine
    from edgesmith_runtime.golden import Golden

__all__ = ["confidence_of", "probabilities", "with_numbers"]

_SAMPLES: Final = 3
"""Golden samples that are looked at; each takes a run."""
_NEAR: Final = 0.02
"""How far a row of probabilities may be from adding up to 1: int8 has 256 steps for each."""
_ROWS: Final = 2
"""Axes of an output of classes: the batch and the classes."""


def probabilities(engine: Engine, golden: Golden) -> str | None:
    """Find the output whose rows are probabilities of classes: numbers from 0 that add up to 1 in golden samples.

    Scores of another kind (logits, independent labels, regressions) have no such output, and no confidence.

    Args:
        engine: The engine that serves.
        golden: The golden samples.

    Returns:
        The output's name; None where there is none.
    """
    found = {spec.name for spec in engine.outputs if spec.datatype in {"FP16", "FP32", "FP64"}}
    for feed in golden.samples(engine)[:_SAMPLES]:
        try:
            answers = engine.infer(feed)
        except EngineError:
            return None
        found = {name for name in found if _adds_up(answers[name])}
    return next((spec.name for spec in engine.outputs if spec.name in found), None)


def confidence_of(scores: NDArray[Any]) -> float | None:
    """The mean over a request's samples of the best class's score, from 0 to 1; None without a sample or a number."""
    if not scores.size:
        return None
    best = scores.max() if scores.ndim < _ROWS or len(scores) == 1 else scores.max(axis=-1).mean()
    return min(1.0, max(0.0, float(best))) if math.isfinite(best) else None


def with_numbers(engine: Engine, golden: Golden) -> tuple[str, ...]:
    """The outputs of floats whose golden answers are all numbers: an infinity or NaN of theirs is a failure.

    Where the build recorded one, it belongs to the model: the logarithm of a probability that is 0, say.
    """
    return tuple(
        spec.name
        for spec in engine.outputs
        if spec.datatype in {"FP16", "FP32", "FP64"}
        and spec.name in golden.outputs
        and bool(np.isfinite(golden.outputs[spec.name].values.astype(np.float64)).all())
    )


def _adds_up(scores: NDArray[Any]) -> bool:
    if not 0 < scores.ndim <= _ROWS or scores.shape[-1] < _ROWS:
        return False
    rows = scores.astype(np.float64)
    return bool((rows >= -_NEAR).all() and (np.abs(rows.sum(axis=-1) - 1) <= _NEAR).all())
