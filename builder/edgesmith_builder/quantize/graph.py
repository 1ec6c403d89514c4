"""Small questions about an ONNX graph that several steps of quantisation ask."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx

from edgesmith_builder.format.onnx.nesting import subgraphs

QUANTISED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose weights are quantised; almost all of a network's time and bytes are theirs."""

LIGHT = 32
"""Weights of an operator below which quantising it saves nothing: the layer that turns distributions into distances in
YOLOv8's head, for one, is a convolution of 16."""


def initializers(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The graph's constants by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def size_of(tensor: onnx.TensorProto) -> int:
    """Values in a tensor."""
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def attribute_of(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value, or the default where the node has none."""
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default


def set_attribute(node: onnx.NodeProto, name: str, value: float) -> None:
    """Set an attribute, once."""
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def uses(graph: onnx.GraphProto) -> Counter[str]:
    """How many nodes' inputs, and outputs of graphs, name each tensor; graphs inside nodes count too."""
    counted: Counter[str] = Counter()
    for inner in subgraphs(graph):
        counted.update(name for node in inner.node for name in node.input)
        counted.update(output.name for output in inner.output)
    return counted


def is_heavy(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether a node multiplies enough to be worth quantising."""
    if node.op_type not in QUANTISED:
        return False
    weights = [constants[name] for name in node.input[:2] if name in constants]
    return all(size_of(weight) >= LIGHT for weight in weights)


def has_weights(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether a node has weights in fp32 that can become int8."""
    return is_heavy(node, constants) and any(
        name in constants and constants[name].data_type == onnx.TensorProto.FLOAT for name in node.input[:2]
    )


def told(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> str:
    """A node as a person finds it in a viewer: its operator, its name, its weights' shape."""
    shapes = [str(list(constants[name].dims)) for name in node.input[:2] if name in constants]
    name = f" {node.name!r}" if node.name else ""
    return f"{node.op_type}{name}" + (f" with weights {' and '.join(shapes)}" if shapes else "")
