"""Gives every Gemm the form that ONNX Runtime's quantiser takes: y = x W + b, with a bias of its own of `[N]`.

A Gemm is `alpha * x W + beta * b`, and its bias may have any shape that broadcasts to `[M, N]` (onnx, `Operators.md`,
Gemm: "unidirectional broadcastable"); the fusion of MatMul and Add makes such ones. The quantiser (onnxruntime 1.32,
`QDQGemm`) takes the first value of each bias for each output as it is, and sets beta to 1 without multiplying by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgesmith_builder.quantize.graph import attribute_of, initializers, set_attribute, uses

_WEIGHT, _BIAS = 1, 2


def plain_gemms(graph: onnx.GraphProto) -> None:
    """Fold alpha into weights and beta into biases, and give each Gemm a bias of its own, in place."""
    constants, used = initializers(graph), uses(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type == "Gemm" and not node.domain and node.input[_WEIGHT] in constants:
            nodes.extend(_plain(graph, node, constants, shared=used[node.input[_WEIGHT]] > 1))
    del graph.node[:]
    graph.node.extend(nodes)


def _plain(
    graph: onnx.GraphProto, node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], *, shared: bool
) -> Iterator[onnx.NodeProto]:
    alpha, beta = float(attribute_of(node, "alpha", 1.0)), float(attribute_of(node, "beta", 1.0))
    weight = constants[node.input[_WEIGHT]]
    if weight.data_type != onnx.TensorProto.FLOAT:
        return
    if alpha != 1.0:
        scaled = numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(alpha), weight.name)
        if shared:
            scaled.name = node.input[_WEIGHT] = f"{node.output[0]}/weight"
            graph.initializer.append(scaled)
        else:
            weight.CopyFrom(scaled)
        set_attribute(node, "alpha", 1.0)
    if len(node.input) <= _BIAS or not node.input[_BIAS]:
        return
    if node.input[_BIAS] in constants:
        values: Any = numpy_helper.to_array(constants[node.input[_BIAS]]) * np.float32(beta)
        outputs = weight.dims[0] if attribute_of(node, "transB", 0) else weight.dims[1]
        if values.size in (1, outputs) and values.shape[-1:] in ((), (1,), (outputs,)):
            own = np.ascontiguousarray(np.broadcast_to(values.reshape(-1), (outputs,)))
            node.input[_BIAS] = f"{node.output[0]}/bias"
            graph.initializer.append(numpy_helper.from_array(own, node.input[_BIAS]))
        else:
            yield _added(graph, node, values)
        set_attribute(node, "beta", 1.0)


def _added(graph: onnx.GraphProto, node: onnx.NodeProto, values: Any) -> onnx.NodeProto:
    """A bias that differs from sample to sample, as an Add of its own behind the Gemm."""
    output, product, bias = node.output[0], f"{node.output[0]}/product", f"{node.output[0]}/bias"
    del node.input[_BIAS]
    node.output[0] = product
    graph.initializer.append(numpy_helper.from_array(values, bias))
    return helper.make_node("Add", [product, bias], [output], name=f"{node.name}/bias")
