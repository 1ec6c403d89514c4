"""An ONNX model in fp16: its constants and what its nodes pass on are float16, its inputs and outputs stay as they are.

TensorRT 11 takes the number type of each value from the graph and from nothing else: "Strongly Typed Networks Are Now
Required" in https://docs.nvidia.com/deeplearning/tensorrt/latest/api/migration/tensorrt-10x-to-11x.html.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgesmith_builder.failures import CompileFailed, machine_failed
from edgesmith_builder.format.onnx.folding import folded
from edgesmith_builder.format.onnx.nesting import inner_graphs, subgraphs
from edgesmith_builder.format.onnx.read import opset_of
from edgesmith_builder.quantize.failures import words
from edgesmith_builder.quantize.graph import uses
from edgesmith_builder.toolchain.saturated import Saturated, saturated

_LEAST_IR = 4
"""From here on a constant is no input (onnx, `IR.md`, "Graphs")."""

_HALF = "tensor(float16)"

_FLOATS = frozenset({"value", "value_float", "value_floats"})
"""Attributes by which a Constant says a tensor or floats (onnx, `Operators.md`)."""


@dataclass(frozen=True, slots=True)
class Half:
    """A model in fp16."""

    file: Path
    cut_off: tuple[Saturated, ...]
    """Its masks and bounds that are beyond fp16."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What of a node stays in fp32."""

    whole: bool
    """The node itself, with casts around it."""
    inputs: frozenset[int]
    """The places of its inputs."""


def in_half(source: Path, target: Path) -> Half:
    """Write a model in fp16.

    What ONNX has no fp16 form of stays in fp32 with casts around it: NonMaxSuppression, the scales of Resize. Batch
    normalisation is folded into convolutions before anything is rounded. Constants nearer to 0 than fp16's least number
    become that number, so that none of them becomes 0; masks and bounds beyond fp16 become its largest or least.

    Args:
        source: An ONNX model in fp32.
        target: The file to write; its folder takes files in between.

    Raises:
        CompileFailed: Another constant is beyond fp16, or the model has no such form; in one sentence.
    """
    try:
        model = _plain(source, target.parent)
        types = types_of(model)
        kept = {node.name: _kept(node, types, model) for graph in subgraphs(model.graph) for node in graph.node}
        _check_nested(model.graph, kept)
        _own_constants(model.graph, kept)
        cut_off = saturated(model.graph, _rounded_constants(model.graph, kept))
        blocked = [node.name for node in model.graph.node if kept[node.name].whole]
        made = convert_float_to_float16(model, keep_io_types=True, op_block_list=[], node_block_list=blocked)
        _sort(made.graph)
        onnx.checker.check_model(made, full_check=True)
    except CompileFailed:
        raise
    # ONNX's and ONNX Runtime's own errors share no base class.
    except Exception as error:
        if machine_failed(error):
            raise
        raise CompileFailed(f"it has no form in fp16 ({words(error)})") from error
    onnx.save(made, target)
    return Half(target, cut_off)


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """The number type of each value that is a tensor, by name, those of inner graphs too; 0 of what is no tensor.

    Raises:
        CompileFailed: naming the first value whose type cannot be told.
    """
    known = onnx.shape_inference.infer_shapes(model)
    found: dict[str, int] = {}
    for graph in subgraphs(known.graph):
        found |= {one.name: one.data_type for one in graph.initializer}
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.WhichOneof("value"):
                found[value.name] = value.type.tensor_type.elem_type
    for graph in subgraphs(model.graph):
        for node in graph.node:
            for name in filter(None, node.output):
                if name not in found:
                    raise CompileFailed(
                        f"the type of {name!r}, which {node.domain or 'ONNX'}'s {node.op_type} makes, cannot be told"
                    )
    return found


def _plain(source: Path, folder: Path) -> onnx.ModelProto:
    """The model with its functions written out, what follows from constants computed, and each node named."""
    model = folded(onnx.load(source), folder, least_ir=_LEAST_IR)
    _own_names(model.graph, set(), {})
    for graph in subgraphs(model.graph):
        _gather_constants(graph)
        for node in graph.node:
            node.name = f"{node.op_type} of {next(filter(None, node.output), '')}"
    return model


def _own_names(graph: onnx.GraphProto, taken: set[str], outer: Mapping[str, str]) -> None:
    """Give each value of the graphs inside a name of its own.

    Two branches may use one name, and the converter looks for a name in all graphs.
    """
    names = dict(outer)

    def own(name: str) -> str:
        found, number = name, 1
        while found in taken:
            found, number = f"{name} {number}", number + 1
        taken.add(found)
        names[name] = found
        return found

    del graph.value_info[:]
    for tensor in graph.initializer:
        tensor.name = own(tensor.name)
    for value in graph.input:
        value.name = own(value.name)
    for node in graph.node:
        node.output[:] = [own(name) if name else "" for name in node.output]
    for value in graph.output:
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for inner in inner_graphs(node):
            _own_names(inner, taken, names)


def _gather_constants(graph: onnx.GraphProto) -> None:
    """Make initialisers of Constant nodes in float, of which the converter leaves some forms as they are.

    What the graph itself gives out is given out by a node, which the converter can put a cast behind.
    """
    nodes = []
    for node in graph.node:
        (one,) = node.attribute if node.op_type == "Constant" else (None,)
        if one is None or one.name not in _FLOATS:
            nodes.append(node)
            continue
        value = helper.get_attribute_value(one)
        tensor = value if one.name == "value" else numpy_helper.from_array(np.array(value, np.float32))
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = node.output[0]
    outputs = {value.name for value in graph.output}
    for tensor in graph.initializer:
        if tensor.name in outputs:
            nodes.insert(0, helper.make_node("Identity", [f"{tensor.name}/constant"], [tensor.name]))
            tensor.name = f"{tensor.name}/constant"
    del graph.node[:]
    graph.node.extend(nodes)


def _kept(node: onnx.NodeProto, types: Mapping[str, int], model: onnx.ModelProto) -> _Kept:
    """What ONNX's own description of the operator gives no fp16 for."""
    versions = {one.domain or "ai.onnx": one.version for one in model.opset_import}
    domain = node.domain or "ai.onnx"
    try:
        schema = onnx.defs.get_schema(
            node.op_type, versions.get(domain, opset_of(model)), "" if domain == "ai.onnx" else domain
        )
    except onnx.defs.SchemaError as error:
        raise CompileFailed(f"it has the operator {domain}.{node.op_type}, which ONNX does not describe") from error
    allowed = {one.type_param_str: one.allowed_type_strs for one in schema.type_constraints}
    inputs = _without_half(node.input, schema.inputs, allowed, types)
    outputs = _without_half(node.output, schema.outputs, allowed, types)
    whole = bool(outputs) or (bool(inputs) and node.op_type != "Resize")
    return _Kept(whole, frozenset(range(len(node.input))) if whole else inputs)


def _without_half(names: Any, formal: Any, allowed: Mapping[str, Any], types: Mapping[str, int]) -> frozenset[int]:
    def takes_half(place: int) -> bool:
        of = formal[min(place, len(formal) - 1)].type_str
        return _HALF in allowed.get(of, (of,))

    floats = (place for place, name in enumerate(names) if types.get(name) == TensorProto.FLOAT)
    return frozenset(place for place in floats if not takes_half(place))


def _check_nested(graph: onnx.GraphProto, kept: Mapping[str, _Kept]) -> None:
    """Refuse what the converter casts in the outer graph, where the value is not.

    Raises:
        CompileFailed: naming the node.
    """
    for outer in graph.node:
        for inner in inner_graphs(outer):
            for node in (node for each in subgraphs(inner) for node in each.node):
                if kept[node.name].whole:
                    raise CompileFailed(
                        f"inside {outer.op_type} it has the operator {node.op_type}, which has no form in fp16"
                    )


def _own_constants(graph: onnx.GraphProto, kept: Mapping[str, _Kept]) -> None:
    """Give what stays in fp32 constants of its own, so that they are not rounded for the sake of others."""
    constants = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    used = uses(graph)
    for node in graph.node:
        for place in sorted(kept[node.name].inputs):
            name = node.input[place]
            if name in constants and used[name] > 1:
                copy = graph.initializer.add()
                copy.CopyFrom(constants[name])
                copy.name = node.input[place] = f"{name} of {node.name}, {place}"
                used[name] -= 1


def _rounded_constants(graph: onnx.GraphProto, kept: Mapping[str, _Kept]) -> Iterator[tuple[str, Any]]:
    for inner in subgraphs(graph):
        single = {
            name for node in inner.node for place, name in enumerate(node.input) if place in kept[node.name].inputs
        }
        for tensor in inner.initializer:
            if tensor.data_type == TensorProto.FLOAT and tensor.name not in single:
                yield tensor.name, numpy_helper.to_array(tensor)
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.t.data_type == TensorProto.FLOAT:
                    yield node.output[0], numpy_helper.to_array(attribute.t)


def _sort(graph: onnx.GraphProto) -> None:
    """Put each node behind those whose values it takes, in the order that they have otherwise."""
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    waiting: list[int] = []
    after: list[list[int]] = [[] for _ in graph.node]
    for number, node in enumerate(graph.node):
        of = {makers[name] for name in _taken(node) if name in makers}
        waiting.append(len(of))
        for maker in of:
            after[maker].append(number)
    ready = [number for number, count in enumerate(waiting) if not count]
    order: list[onnx.NodeProto] = []
    while ready:
        number = heapq.heappop(ready)
        order.append(graph.node[number])
        for follower in after[number]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, follower)
    if len(order) != len(graph.node):
        raise CompileFailed("its nodes have no order in which each follows those that it takes values of")
    del graph.node[:]
    graph.node.extend(order)


def _taken(node: onnx.NodeProto) -> set[str]:
    """Names of what a node takes, with what graphs inside it take from outside."""
    inside = [one for inner in inner_graphs(node) for graph in subgraphs(inner) for one in graph.node]
    return {name for one in (node, *inside) for name in one.input if name}
