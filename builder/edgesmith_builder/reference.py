"""The model that an alternative may stand in for: what its answers mean, and how good it is on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgesmith_builder.contract import number_text
from edgesmith_builder.errors import InterfaceMismatch, ModelInvalid
from edgesmith_builder.format import ModelFacts
from edgesmith_builder.metric import Evaluation, Metric, Score
from edgesmith_builder.pairing import shown
from edgesmith_builder.progress import step
from edgesmith_builder.score import ScoreFailed
from edgesmith_runtime.engine import Engine


def named_alike(what: str, facts: ModelFacts, reference: ModelFacts) -> ModelFacts:
    """An alternative with the reference's names of classes, by which clients know what an answer means.

    Raises:
        InterfaceMismatch: where it has names of its own and they are others.
    """
    ours, theirs = facts.labels, reference.labels
    if ours is not None and theirs is not None and ours != theirs:
        raise InterfaceMismatch(
            f"{what} names its classes {_names(ours)}; {_names(theirs)} was expected, as the model of spec.source "
            "names them, or no names at all"
        )
    return replace(facts, labels=theirs)


def score_reference(metric: Metric[Any], engine: Engine, evaluation: Evaluation) -> Score:
    """How good the reference is on the evaluation set.

    Raises:
        ModelInvalid: where it does not answer with numbers.
        DatasetMismatch: where the labels do not fit it, or it is no better than guessing.
    """
    with step("spec.source: scored") as current:
        try:
            found: Score = metric.score(engine, evaluation)
        except ScoreFailed as error:
            raise ModelInvalid(
                f"spec.source does not answer its samples: {error}; finite numbers were expected"
            ) from error
        current.say(f"{found.samples} samples, {metric.name} {number_text(found.value)} ± {number_text(found.error)},")
    metric.check_source(found, evaluation)
    return found


def _names(names: Sequence[str]) -> str:
    return shown(", ".join(map(repr, names)))
