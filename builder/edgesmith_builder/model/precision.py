"""Tells whether a model came quantised: by quantisation-aware training, or by a tool before us."""

from __future__ import annotations

import re

import onnx

from edgesmith_builder.contract import Precision

_QUANTISED = re.compile(
    r"QuantizeLinear|DequantizeLinear|DynamicQuantize\w+|QLinear\w+|(Conv|MatMul)Integer\w*|QGemm|QAttention"
)
"""Operators over 8-bit numbers, of ONNX (`Operators.md`) and of ONNX Runtime (`ContribOperators.md`)."""

_WEIGHTS = frozenset({onnx.TensorProto.INT8, onnx.TensorProto.UINT8})


def precision_of(model: onnx.ModelProto) -> Precision:
    """`int8` where weights are of 8 bits, or in float on their way into a QuantizeLinear; `fp32` for all else.

    A model that turns pictures of bytes into numbers with DequantizeLinear, and does nothing else in 8 bits, is not
    quantised: its weights are what counts.
    """
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            types[node.output[0]] = node.attribute[0].t.data_type
            ranks[node.output[0]] = len(node.attribute[0].t.dims)
    for node in model.graph.node:
        if not _QUANTISED.fullmatch(node.op_type):
            continue
        trained = node.op_type == "QuantizeLinear" and ranks.get(node.input[0], 0) > 1
        if trained or any(types.get(name) in _WEIGHTS and ranks[name] > 1 for name in node.input):
            return "int8"
    return "fp32"
