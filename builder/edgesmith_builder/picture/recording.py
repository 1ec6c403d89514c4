"""What a candidate answers to the golden picture, and how far a device may be off."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.picture.sample import GoldenPicture
from edgesmith_builder.score import ScoreFailed
from edgesmith_builder.score.recording import FLOOR, FLOOR_INT, MARGIN
from edgesmith_runtime import picture as runtime
from edgesmith_runtime.engine import Engine, EngineError
from edgesmith_runtime.errors import RequestError

Outputs = Mapping[str, NDArray[Any]]

LEAST = 2.0**-8
"""The least tolerance of a score, as a share of the largest."""

_GRID = 4
"""Scores are kept in steps of the tolerance over this, so that last bits, in which processors differ, do not reach the
image."""


def recorded_picture(
    engine: Engine,
    golden: GoldenPicture,
    names: Sequence[str] | None,
    others: Callable[[Samples], Sequence[Outputs] | None],
    precision: str,
) -> runtime.Picture:
    """Ask a candidate for the golden picture, through the whole way of a server.

    Args:
        engine: The candidate.
        golden: The picture and what is declared.
        names: Names of classes that the model has.
        others: Computes the candidate's answers to samples in another way, where there is one.
        precision: Of the candidate.

    Returns:
        The declaration with the answer. A score may differ by twice what it changes by where the outputs differ by as
        much as golden answers may, or by `MARGIN` times what another way of computing makes of it.

    Raises:
        ScoreFailed: where it does not answer, or otherwise than is declared.
    """
    declared = golden.declared
    datatypes = {spec.name: spec.datatype for spec in engine.inputs}
    pipeline = runtime.Pipeline(declared, datatypes[declared.input], names or ())
    try:
        prepared = pipeline.prepare(memoryview(golden.data))
        outputs = engine.infer(prepared.feed, declared.outputs)
        answer = pipeline.answer(outputs, prepared.placed)
        _check_labels(pipeline, outputs)
        near = [pipeline.answer(one, prepared.placed) for one in _near(declared, outputs, precision)]
        elsewhere = [pipeline.answer(one, prepared.placed) for one in others(_samples(declared, prepared.feed)) or ()]
    except (EngineError, RequestError) as error:
        raise ScoreFailed(f"the golden picture is not answered as spec.picture declares: {error}") from error
    changed = [2 * _moved(answer, one) for one in near] + [MARGIN * _moved(answer, one) for one in elsewhere]
    least = LEAST * max((abs(one["score"]) for one in answer[_kind(answer)]), default=1.0)
    tolerance = 2.0 ** math.ceil(math.log2(max(least, *changed, 1e-6)))
    return replace(declared, recorded=runtime.Recorded(_kept(answer, tolerance / _GRID), tolerance))


def _samples(declared: runtime.Picture, feed: Outputs) -> Samples:
    """The golden picture's input as a set of one sample."""
    values = feed[declared.input]
    stacked = values if "N" in declared.layout else values[None]
    return Samples({declared.input: stacked}, {declared.input: values.ndim}, batches=False)


def _check_labels(pipeline: runtime.Pipeline, outputs: Outputs) -> None:
    """Hold the number of names against that of classes."""
    asked = pipeline.picture.classification
    if asked is not None and pipeline.labels and outputs[asked.output].size != len(pipeline.labels):
        raise ScoreFailed(
            f"spec.picture.classification.output {asked.output!r} has {outputs[asked.output].size} scores and there "
            f"are {len(pipeline.labels)} labels; one for each was expected"
        )


def _near(declared: runtime.Picture, outputs: Outputs, precision: str) -> list[Outputs]:
    """The outputs as far off as golden answers may be, in the ways that change scores most."""
    share = 2.0 ** FLOOR.get(precision, FLOOR_INT)
    asked, sought = declared.classification, declared.detection
    if asked is not None:
        values = outputs[asked.output].astype(np.float64)
        best = np.where(np.arange(values.size).reshape(values.shape) == values.argmax(), 1.0, -1.0)
        step = share * _span(values)
        return [{**outputs, asked.output: values + sign * step * best} for sign in (1, -1)]
    if sought is None or sought.scores is None:
        return []
    values = outputs[sought.scores].astype(np.float64)
    return [{**outputs, sought.scores: values + sign * share * _span(values)} for sign in (1, -1)]


def _span(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max() - finite.min()) if finite.size else 0.0


def _moved(answer: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """By how much scores of an answer differ at most from those of the same label or place in another."""
    kind = _kind(answer)
    if kind == "labels":
        scores = {one["index"]: one["score"] for one in other["labels"]}
        pairs = [(one["score"], scores[one["index"]]) for one in answer["labels"] if one["index"] in scores]
    else:
        pairs = [(a["score"], b["score"]) for a, b in zip(answer[kind], other[kind], strict=False)]
    return max((abs(a - b) for a, b in pairs), default=0.0)


def _kept(answer: Mapping[str, Any], grid: float) -> dict[str, Any]:
    """An answer with scores in steps, and boxes in whole pixels around themselves."""
    kind = _kind(answer)
    kept = []
    for one in answer[kind]:
        said = {name: value for name, value in one.items() if name != "label"}
        said["score"] = round(one["score"] / grid) * grid
        if "box" in one:
            box = one["box"]
            said["box"] = {side: math.floor(box[side]) for side in ("left", "top")}
            said["box"] |= {side: math.ceil(box[side]) for side in ("right", "bottom")}
        kept.append(said)
    return {kind: kept}


def _kind(answer: Mapping[str, Any]) -> str:
    return "labels" if "labels" in answer else "boxes"
