"""The input of a model that came without names: it is called as the sets call it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import onnx

from edgesmith_builder.errors import ModelInvalid
from edgesmith_builder.format.facts import ModelFacts
from edgesmith_builder.format.onnx.nesting import subgraphs


def named(facts: ModelFacts, names: Collection[str], what: str) -> ModelFacts:
    """Give the one input the name of the sets' one array, in the file; where they have several, it keeps its own.

    Args:
        facts: The model; its file is written anew.
        names: The arrays of the sets, without labels.
        what: What messages call it.

    Raises:
        ModelInvalid: where something else in the graph has that name.
    """
    model = onnx.load_model(facts.path, load_external_data=False)
    if len(names) != 1 or len(model.graph.input) != 1:
        return facts
    (new,), old = names, model.graph.input[0].name
    nodes = [node for graph in subgraphs(model.graph) for node in graph.node]
    if new != old and any(new in (*node.input, *node.output) for node in nodes):
        raise ModelInvalid(
            f"{what} has an output or a step {new!r}, as the sets' array is called; another name for the array was "
            "expected"
        )
    model.graph.input[0].name = new
    for node in nodes:
        node.input[:] = [new if name == old else name for name in node.input]
    onnx.save_model(model, facts.path)
    return replace(facts, size=facts.path.stat().st_size)
