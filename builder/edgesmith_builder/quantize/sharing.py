"""Gives a weight that several operators read along different axes a copy for each axis.

A weight's channels lie along one axis or another, depending on who reads it: a Gemm reads them along the last, one with
`transB` along the first. The quantiser keeps one scale a channel for each weight, of whichever reader comes last, and
the other readers' kernels would take these numbers for scales of their own channels.
"""

from __future__ import annotations

import onnx

from edgesmith_builder.quantize.graph import QUANTISED, attribute_of, initializers

_WEIGHT = 1


def own_weights(graph: onnx.GraphProto) -> None:
    """Copy what is read along more than one axis, in place."""
    constants = initializers(graph)
    copies: dict[tuple[str, int], str] = {}
    for node in graph.node:
        if node.op_type not in QUANTISED or len(node.input) <= _WEIGHT or node.input[_WEIGHT] not in constants:
            continue
        name, axis = node.input[_WEIGHT], _axis(node)
        if (name, axis) not in copies:
            copies[name, axis] = name if not any(of == name for of, _ in copies) else f"{name}/axis{axis}"
            if copies[name, axis] != name:
                copy = graph.initializer.add()
                copy.CopyFrom(constants[name])
                copy.name = copies[name, axis]
        node.input[_WEIGHT] = copies[name, axis]


def _axis(node: onnx.NodeProto) -> int:
    """Where the channels of a node's weight are, as ONNX Runtime's quantiser has it (1.32, `QDQConv`, `QDQGemm`)."""
    if node.op_type == "Gemm":
        return 0 if attribute_of(node, "transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1
