"""Which tensor of an alternative stands for which of the model of spec.source, whatever each calls it.

Exports of two architectures nearly always differ in these names, and clients know those of spec.source alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgesmith_builder.errors import InterfaceMismatch
from edgesmith_builder.format import Renames
from edgesmith_runtime.engine import Engine
from edgesmith_runtime.tensors import TensorSpec, shape_text

_SHOWN = 200
"""Characters of what is named in a message."""

_Kind = tuple[str, tuple[int, ...]]


def paired(what: str, ours: Engine, reference: Engine) -> Renames:
    """The names that an alternative's inputs and outputs get to be those of the reference.

    What agrees in name, type and shape belongs together. Of the others, what alone is of its type and shape does. Order
    tells nothing: two exporters need not list the same outputs in the same order, and what is paired wrongly answers
    without an error. A size that is open must be open in both. The first output is the one that is scored where none is
    named, so that must be the same.

    Args:
        what: What messages call the alternative: `spec.optimize.alternatives[gru].source.uri s3://…`.
        ours: The alternative, loaded.
        reference: What it may stand in for, loaded.

    Raises:
        InterfaceMismatch: where they differ in more than names, or names would be needed to tell.
    """
    inputs = _paired(what, "takes", ours.inputs, reference.inputs)
    outputs = _paired(what, "answers", ours.outputs, reference.outputs)
    first = ours.outputs[0].name
    if outputs.get(first, first) != reference.outputs[0].name:
        raise _mismatch(what, "answers", ours.outputs, reference.outputs)
    return Renames(inputs, outputs)


def _paired(what: str, verb: str, ours: Sequence[TensorSpec], theirs: Sequence[TensorSpec]) -> dict[str, str]:
    """The new names of inputs or of outputs, without those that stay."""
    if Counter(map(_kind, ours)) != Counter(map(_kind, theirs)):
        raise _mismatch(what, verb, ours, theirs)
    alike = {*ours} & {*theirs}
    left = [spec for spec in theirs if spec not in alike]
    found = {}
    for spec in ours:
        if spec in alike:
            continue
        fitting = [other for other in left if _kind(other) == _kind(spec)]
        if len(fitting) > 1:
            several = [one for one in ours if one not in alike and _kind(one) == _kind(spec)]
            raise InterfaceMismatch(
                f"{what} {verb} {_specs(several)}, and spec.source {verb} {_specs(fitting)}, all of one type and "
                "shape, so that nothing tells which stands for which; the names of spec.source were expected"
            )
        found[spec.name] = fitting[0].name
    return found


def _kind(spec: TensorSpec) -> _Kind:
    return spec.datatype, tuple(spec.shape)


def _mismatch(what: str, verb: str, ours: Sequence[TensorSpec], theirs: Sequence[TensorSpec]) -> InterfaceMismatch:
    return InterfaceMismatch(
        f"{what} {verb} {_specs(ours)}; {_specs(theirs)} was expected, as the model of spec.source {verb}: "
        "clients send one kind of request whichever of them a node runs"
    )


def _specs(specs: Sequence[TensorSpec]) -> str:
    return shown(", ".join(f"{spec.name} {spec.datatype}{shape_text(spec.shape)}" for spec in specs))


def shown(text: str) -> str:
    """The beginning of what a message names."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
