"""Inputs without a shape: exporters leave it out, and a server without one could not check a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.facts import ModelFacts

_SAMPLES = "samples"


def shaped(facts: ModelFacts, ranks: Mapping[str, int], what: str) -> ModelFacts:
    """Give each input without a shape as many open axes as a set's array has, the first for samples; in the file.

    Args:
        facts: The model; its file is written anew.
        ranks: How many axes the arrays of the sets have, by name.
        what: What messages call it.

    Raises:
        ModelInvalid: where no set has the input.
    """
    model = onnx.load_model(facts.path, load_external_data=False)
    for value in model.graph.input:
        if value.name not in facts.shapeless:
            continue
        if not ranks.get(value.name):
            raise ModelInvalid(
                f"{what} has the input {value.name!r} without a shape; an array of that name in spec.calibration or "
                "spec.evaluation was expected to tell it, or a shape in the model ('batch', 3, 'height', 'width')"
            )
        shape = value.type.tensor_type.shape
        shape.dim.add(dim_param=_SAMPLES)
        shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in range(ranks[value.name] - 1))
    onnx.save_model(model, facts.path)
    return replace(facts, size=facts.path.stat().st_size, shapeless=())
