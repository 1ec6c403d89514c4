"""Reads a graph for channels: who makes them, who mixes them, and who only passes each of them on.

What an operator does is known of those in `passing`; channels that reach any other operator, or an output of the graph,
are kept whole.
"""

from __future__ import annotations

import math

import onnx

from edgesmith_builder.prune.layout import Layout
from edgesmith_builder.prune.passing import PASSING
from edgesmith_builder.prune.reading import BIAS, WEIGHT, Mixer, Passing, Reading, Shapes, Slice
from edgesmith_builder.quantize.graph import attribute_of, initializers


def read_graph(graph: onnx.GraphProto, shapes: Shapes) -> Reading:
    """Read a prepared graph, whose nodes are in order and whose constants are initialisers."""
    found = Reading(initializers(graph), shapes)
    for node in graph.node:
        rule = PASSING.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") and not node.domain:
            _weighted(found, node)
        elif rule is None or not rule(found, node):
            found.pin(node)
    found.groups.pin(found.layout(output.name) for output in graph.output)
    return found


def _weighted(found: Reading, node: onnx.NodeProto) -> None:
    """A convolution or a product: a mixer, a depthwise convolution, or one whose channels are kept."""
    work = _multiplications(found, node)
    bias = node.input[BIAS] if len(node.input) > BIAS and node.op_type != "MatMul" else ""
    weight = found.constants.get(node.input[WEIGHT])
    if weight is None or weight.data_type != onnx.TensorProto.FLOAT or (bias and bias not in found.constants):
        found.other += work
        found.pin(node)
        return
    dims = weight.dims
    into, groups = found.layout(node.input[0]), attribute_of(node, "group", 1)
    if node.op_type == "Conv" and groups == dims[0] and dims[1] == 1 and groups > 1:
        _depthwise(found, node, into, work)
    elif groups > 1 or not _fits(found, node):
        found.other += work
        found.pin(node)
    else:
        _mixer(found, node, into, work)


def _fits(found: Reading, node: onnx.NodeProto) -> bool:
    """Whether a product is one of rows of channels with a matrix."""
    if node.op_type == "Gemm":
        plain = attribute_of(node, "alpha", 1.0) == 1.0 and attribute_of(node, "beta", 1.0) == 1.0
        bias = len(found.constants[node.input[BIAS]].dims) <= 1 if len(node.input) > BIAS and node.input[BIAS] else True
        return plain and bias and not attribute_of(node, "transA", 0)
    return node.op_type != "MatMul" or len(found.constants[node.input[WEIGHT]].dims) == 2  # noqa: PLR2004 - a matrix


def _mixer(found: Reading, node: onnx.NodeProto, into: Layout | None, work: int) -> None:
    first = node.op_type == "Conv" or (node.op_type == "Gemm" and attribute_of(node, "transB", 0))
    out_axis, in_axis = (0, 1) if first else (1, 0)
    rank = len(found.shapes.get(node.output[0], ()))
    axis = 1 if node.op_type.startswith("Conv") else rank - 1
    if into is not None and into.axis != axis:
        found.groups.pin([into])
        into = None
    out = found.groups.new(found.constants[node.input[WEIGHT]].dims[out_axis])
    found.mixers.append(Mixer(node, into, out, in_axis, out_axis, work))
    if rank:
        found.layouts[node.output[0]] = Layout(axis, (out,))
    else:
        found.groups.pin([Layout(0, (out,))])


def _depthwise(found: Reading, node: onnx.NodeProto, into: Layout | None, work: int) -> None:
    if into is None or into.axis != 1 or into.repeat != 1:
        found.other += work
        found.groups.pin([into])
        return
    found.depthwise.append(Passing(node, into, work))
    for index in range(WEIGHT, len(node.input)):
        if node.input[index]:
            found.slices.append(Slice(node, index, 0, into))
    found.layouts[node.output[0]] = into


def _multiplications(found: Reading, node: onnx.NodeProto) -> int:
    """Of one sample: values of the output times weights that each is a sum over."""
    shape = found.shapes.get(node.output[0], ())
    weight = found.constants.get(node.input[WEIGHT])
    dims = tuple(weight.dims) if weight is not None else found.shapes.get(node.input[WEIGHT], (1, 1))
    if node.op_type == "Conv":
        return math.prod(shape) * math.prod(dims[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(found.shapes.get(node.input[0], ())) * math.prod(dims[1:])
    inner = dims[1] if attribute_of(node, "transB", 0) else dims[-2] if len(dims) > 1 else dims[0]
    return math.prod(shape) * inner
