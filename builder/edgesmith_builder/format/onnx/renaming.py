"""Tensors of a graph under other names: everywhere in it, the graphs inside its nodes included.

One rule for all names keeps a graph what it is, wherever a name is seen from: no two tensors come to share one. So
what has a name already that another is to get steps aside first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import onnx

from edgesmith_builder.errors import InterfaceMismatch
from edgesmith_builder.format.facts import ModelFacts
from edgesmith_builder.format.onnx.domains import STANDARD
from edgesmith_builder.format.onnx.nesting import subgraphs
from edgesmith_builder.format.renames import Renames

_IDENTITY = 13
"""The version of the standard operators that is imported where a graph has none of them yet."""


class NameShared(Exception):  # noqa: N818 - turned into a sentence by whoever asks for names
    """Two tensors of a graph would have one name."""

    def __init__(self, new: str, *olds: str) -> None:
        super().__init__(new, *olds)
        self.new = new
        self.olds = olds


def renamed(facts: ModelFacts, renames: Renames, what: str) -> ModelFacts:
    """Give inputs and outputs other names, in the file.

    Args:
        facts: The model; its file is written anew.
        renames: The names.
        what: What messages call it.

    Raises:
        InterfaceMismatch: where an input and an output would be called alike.
    """
    model = onnx.load_model(facts.path, load_external_data=False)
    try:
        rename(model, renames)
    except NameShared as error:
        first, second = error.olds
        raise InterfaceMismatch(
            f"{what} has two tensors, {first!r} and {second!r}, for what spec.source calls {error.new!r} both where it "
            "takes and where it answers, and an ONNX model has each name once; two names were expected in spec.source"
        ) from None
    onnx.save_model(model, facts.path)
    return replace(facts, size=facts.path.stat().st_size)


def rename(model: onnx.ModelProto, renames: Renames) -> None:
    """As `renamed`, of a model in memory.

    Raises:
        NameShared: where an input and an output would be called alike.
    """
    taken = {*_names(model.graph), *renames.inputs.values(), *renames.outputs.values()}
    ends = _ends(model, renames, taken)
    wanted: dict[str, str] = {}
    for old, new in ends.items():
        if new in wanted:
            raise NameShared(new, wanted[new], old)
        wanted[new] = old
    aside = {name: _fresh(name, taken) for name in sorted({*_names(model.graph)} & {*wanted} - {*ends})}
    _apply(model.graph, ends | aside)


def _ends(model: onnx.ModelProto, renames: Renames, taken: set[str]) -> dict[str, str]:
    """The new name of each input and output, those that keep theirs included.

    An input that is an output as well is one tensor: where it is to have two names, it becomes two.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    ends = {
        value.name: renames.inputs.get(value.name, value.name) for value in graph.input if value.name not in constants
    }
    for value in graph.output:
        old, new = value.name, renames.outputs.get(value.name, value.name)
        if ends.get(old, new) != new:
            value.name = _fresh(old, taken)
            graph.node.append(onnx.helper.make_node("Identity", [old], [value.name]))
            if not any(one.domain in STANDARD for one in model.opset_import):
                model.opset_import.append(onnx.helper.make_opsetid("", _IDENTITY))
        ends[value.name] = new
    return ends


def _fresh(name: str, taken: set[str]) -> str:
    """A name that nothing has, made of another; it is taken from here on."""
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    taken.add(f"{name}_{number}")
    return f"{name}_{number}"


def _names(whole: onnx.GraphProto) -> Iterator[str]:
    """The name of every tensor of a graph and of the graphs inside it."""
    for graph in subgraphs(whole):
        yield from (value.name for value in (*graph.input, *graph.output, *graph.value_info))
        yield from (tensor.name for tensor in graph.initializer)
        yield from (sparse.values.name for sparse in graph.sparse_initializer)
        for node in graph.node:
            yield from (*node.input, *node.output)


def _apply(whole: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for graph in subgraphs(whole):
        for value in (*graph.input, *graph.output, *graph.value_info):
            value.name = names.get(value.name, value.name)
        for tensor in graph.initializer:
            tensor.name = names.get(tensor.name, tensor.name)
        for sparse in graph.sparse_initializer:
            sparse.values.name = names.get(sparse.values.name, sparse.values.name)
        for node in graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        for note in graph.quantization_annotation:
            note.tensor_name = names.get(note.tensor_name, note.tensor_name)
            for entry in note.quant_parameter_tensor_names:
                entry.value = names.get(entry.value, entry.value)
