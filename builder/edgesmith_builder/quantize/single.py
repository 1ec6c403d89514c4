"""Brings a model in float16, bfloat16 or double to fp32, which is what ONNX Runtime's quantiser knows weights in."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgesmith_builder.format.onnx.nesting import subgraphs
from edgesmith_builder.format.onnx.weights import model_tensors
from edgesmith_builder.quantize.failures import QuantizationFailed

_OTHERS = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})

_TYPE_ATTRIBUTES = {"to": ("Cast",), "dtype": None, "output_datatype": None}
"""Attributes that name a type, and which operators they do it for; None: all that have one of this name."""


def to_single(model: onnx.ModelProto) -> None:
    """Turn every constant, cast and value of the model into fp32, in place; its inputs and outputs keep their types.

    Raises:
        QuantizationFailed: where a double is too large for fp32.
    """
    values = (*model.graph.input, *model.graph.output)
    wide = any(tensor.data_type in _OTHERS for _, tensor in model_tensors(model))
    if not wide and not any(_other(value) for value in values):
        return
    for name, tensor in model_tensors(model):
        if tensor.data_type in _OTHERS:
            tensor.CopyFrom(_converted(tensor, name))
    for graph in subgraphs(model.graph):
        del graph.value_info[:]
        for node in graph.node:
            _retype(node)
        if graph is not model.graph:
            for value in (*graph.input, *graph.output):
                if _other(value):
                    value.type.tensor_type.elem_type = TensorProto.FLOAT
    _cast_ends(model.graph)


def _converted(tensor: TensorProto, name: str) -> TensorProto:
    array: Any = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        single = np.asarray(array).astype(np.float32)
    if bool((np.isinf(single) & np.isfinite(array.astype(np.float64))).any()):
        raise QuantizationFailed(f"the tensor {name!r} has values beyond fp32's, which int8 is made from")
    return numpy_helper.from_array(single, tensor.name)


def _retype(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name not in _TYPE_ATTRIBUTES or attribute.type != onnx.AttributeProto.INT:
            continue
        operators = _TYPE_ATTRIBUTES[attribute.name]
        if attribute.i in _OTHERS and (operators is None or node.op_type in operators):
            attribute.i = TensorProto.FLOAT


def _cast_ends(graph: onnx.GraphProto) -> None:
    """Put a Cast behind each input and before each output of another float type."""
    wide = {value.name: f"{value.name}/fp32" for value in graph.input if _other(value)}
    narrow = {value.name: f"{value.name}/out32" for value in graph.output if _other(value)}
    before = [helper.make_node("Cast", [name], [inner], to=TensorProto.FLOAT) for name, inner in wide.items()]
    after = [
        helper.make_node("Cast", [narrow[value.name]], [value.name], to=value.type.tensor_type.elem_type)
        for value in graph.output
        if value.name in narrow
    ]
    inner_names = wide | narrow
    for inner in subgraphs(graph):
        for node in inner.node:
            node.input[:] = [inner_names.get(name, name) for name in node.input]
    for node in graph.node:
        node.output[:] = [narrow.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = narrow.get(tensor.name, tensor.name)
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)


def _other(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type in _OTHERS
