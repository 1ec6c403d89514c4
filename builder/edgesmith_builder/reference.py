"""The model that an alternative may stand in for: what it takes and answers, and how good it is on the same samples.

Clients send one kind of request whichever of them a node runs, so an alternative that takes or answers otherwise is
refused before anything is computed: there is no image of it that a node could be given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgesmith_builder.errors import InterfaceMismatch, ModelInvalid
from edgesmith_builder.format import ModelFacts
from edgesmith_builder.metric import Evaluation, Metric, Score
from edgesmith_builder.progress import step
from edgesmith_builder.score import ScoreFailed
from edgesmith_runtime.engine import Engine
from edgesmith_runtime.tensors import TensorSpec, shape_text

_SHOWN = 200
"""Characters of what is named in a message."""


def check_interface(what: str, ours: Engine, reference: Engine) -> None:
    """Refuse an alternative whose inputs or outputs are not those of the reference: names, types and shapes.

    Their order means nothing, since requests name them; but the first output is the one that is scored where none is
    named, so that must be the same. A size that is open must be open in both.

    Args:
        what: What messages call the alternative: `spec.optimize.alternatives[gru].source.uri s3://…`.
        ours: The alternative, loaded.
        reference: What it may stand in for, loaded.

    Raises:
        InterfaceMismatch: naming the first difference.
    """
    for verb, found, wanted in (
        ("takes", ours.inputs, reference.inputs),
        ("answers", ours.outputs, reference.outputs),
    ):
        if {*found} != {*wanted} or (verb == "answers" and found[0] != wanted[0]):
            raise InterfaceMismatch(
                f"{what} {verb} {_specs(found)}; {_specs(wanted)} was expected, as the model of spec.source {verb}: "
                "clients send one kind of request whichever of them a node runs"
            )


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
        current.say(f"{found.samples} samples, {metric.name} {found.value:.4f} ± {found.error:.4f},")
    metric.check_source(found, evaluation)
    return found


def _specs(specs: Sequence[TensorSpec]) -> str:
    return _shown(", ".join(f"{spec.name} {spec.datatype}{shape_text(spec.shape)}" for spec in specs))


def _names(names: Sequence[str]) -> str:
    return _shown(", ".join(map(repr, names)))


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
