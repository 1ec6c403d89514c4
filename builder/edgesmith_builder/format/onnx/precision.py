"""Tells whether a model came quantised: by quantisation-aware training, or by a tool before us."""

from __future__ import annotations

import math
import re

import onnx

from edgesmith_builder.contract import Precision

_QUANTISED = re.compile(
    r"QuantizeLinear|DequantizeLinear|DynamicQuantize\w+|QLinear\w+|(Conv|MatMul)Integer\w*|QGemm|QAttention"
)
"""Operators over 8-bit numbers, of ONNX (`Operators.md`) and of ONNX Runtime (`ContribOperators.md`)."""

_EIGHT = frozenset({onnx.TensorProto.INT8, onnx.TensorProto.UINT8})
_FLOATS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16})


def precision_of(model: onnx.ModelProto) -> Precision:
    """`int8` where at least half of the weights are of 8 bits, or in float on their way into a QuantizeLinear.

    A model that turns pictures of bytes into numbers with DequantizeLinear, or a few of its tables, is not quantised:
    its weights, the constants with two axes and more, are what counts.
    """
    weights = _weights(model.graph)
    eight: set[str] = set()
    for node in model.graph.node:
        if _QUANTISED.fullmatch(node.op_type):
            eight.update(name for name in node.input if name in weights and weights[name].data_type in _EIGHT)
            if node.op_type == "QuantizeLinear":
                eight.update(name for name in node.input[:1] if name in weights)  # trained so
    small = sum(math.prod(weights[name].dims) for name in eight)
    wide = sum(
        math.prod(tensor.dims) for name, tensor in weights.items() if tensor.data_type in _FLOATS and name not in eight
    )
    return "int8" if small and small >= wide else "fp32"


def _weights(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Constants with two axes and more by name."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants.update((name, node.attribute[0].t) for name in node.output[:1])
    return {name: tensor for name, tensor in constants.items() if len(tensor.dims) > 1}
