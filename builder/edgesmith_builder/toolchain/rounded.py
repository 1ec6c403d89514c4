"""What a model in fp16 answers: a form of it that computes so on a processor, for measuring and not for serving."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgesmith_builder.format.onnx.nesting import subgraphs
from edgesmith_builder.toolchain.half import types_of

_HALF, _FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def rounded(source: Path, target: Path) -> Path:
    """Write a model that carries each value in fp16 as an fp32 number which is rounded to fp16.

    It runs on any processor, and computes as a GPU does that keeps fp16 in memory and adds in fp32. Numbers above 65504
    become infinite, as they would there. ONNX Runtime's kernels for processors take most of fp16's nodes in fp32 and
    leave out the casts between them, so that the file itself would answer with what was never rounded.

    Args:
        source: An ONNX model in fp16, as `in_half` writes it; values in fp32 in it are not rounded.
        target: The file to write.

    Raises:
        CompileFailed: The type of one of its values cannot be told.
    """
    model = onnx.load(source)
    types = types_of(model)
    ends = {value.name: f"{value.name}/float" for value in (*model.graph.input, *model.graph.output) if _is_half(value)}
    for graph in subgraphs(model.graph):
        _carry(graph, types, ends)
        if graph is not model.graph:
            for value in (*graph.input, *graph.output):
                _widen(value.type)
        del graph.value_info[:]
    _cast_ends(model.graph, ends)
    onnx.save(model, target)
    return target


def _carry(graph: onnx.GraphProto, types: Mapping[str, int], ends: Mapping[str, str]) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
        tensor.name = ends.get(tensor.name, tensor.name)
    nodes = []
    for node in graph.node:
        node.input[:] = [ends.get(name, name) for name in node.input]
        nodes.append(node)
        for place, name in enumerate(node.output):
            if types.get(name) != _HALF:
                continue
            # Of float, or of float16 still where the node says what it makes: a Cast, a constant.
            node.output[place] = f"{name}/wide"
            nodes.append(helper.make_node("Cast", [f"{name}/wide"], [f"{name}/half"], to=_HALF))
            nodes.append(helper.make_node("Cast", [f"{name}/half"], [ends.get(name, name)], to=_FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == _HALF:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _widen(of: onnx.TypeProto) -> None:
    """Make fp32 of fp16 in a type: of a tensor, of a sequence, of what may be absent."""
    kind = of.WhichOneof("value")
    if kind == "tensor_type" and of.tensor_type.elem_type == _HALF:
        of.tensor_type.elem_type = _FLOAT
    elif kind == "sequence_type":
        _widen(of.sequence_type.elem_type)
    elif kind == "optional_type":
        _widen(of.optional_type.elem_type)


def _cast_ends(graph: onnx.GraphProto, ends: Mapping[str, str]) -> None:
    """Keep the types of the model's inputs and outputs."""
    before = [
        helper.make_node("Cast", [value.name], [ends[value.name]], to=_FLOAT)
        for value in graph.input
        if value.name in ends
    ]
    after = [
        helper.make_node("Cast", [ends[value.name]], [value.name], to=_HALF)
        for value in graph.output
        if value.name in ends
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)


def _is_half(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == _HALF
