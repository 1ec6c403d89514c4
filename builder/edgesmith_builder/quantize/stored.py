"""Weights of 8 bits that are computed with in fp32: what has no operator over whole numbers takes fewer bytes at least.

A weight is kept as whole numbers from -127 to 127 with a scale for each of its rows, symmetric around zero. A table of
tokens is read row by row, and its rows are scaled after they were read, so that nothing of its size is made in fp32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgesmith_builder.quantize.graph import LIGHT, attribute_of, initializers, size_of, uses

RECURRENT_IN_FLOAT = ("GRU", "RNN")
"""Recurrences without an operator over whole numbers (onnxruntime 1.32, `OperatorKernels.md`)."""

_WEIGHTS = (1, 2)
"""Inputs of a recurrence that are weights: of what it reads, `[directions, gates, inputs]`, and of what it remembers,
`[directions, gates, units]` (onnx, `Operators.md`)."""

_STEPS = 127
_GATES = 1
"""The axis of a recurrence's weights along which each row has a scale."""


def store_in_eight_bits(graph: onnx.GraphProto) -> tuple[str, ...]:
    """Keep the weights of recurrences without an integer form, and of tables of tokens, in 8 bits; in place.

    Returns:
        The recurrences that were found, by operator.
    """
    constants, used = initializers(graph), uses(graph)
    nodes: list[onnx.NodeProto] = []
    found: set[str] = set()
    for node in graph.node:
        if node.op_type in RECURRENT_IN_FLOAT:
            for place in _WEIGHTS:
                if _may(constants.get(node.input[place])):
                    nodes.append(_restored(graph, node, place, constants))
                    found.add(node.op_type)
            nodes.append(node)
        elif node.op_type == "Gather" and _is_table(node, constants, used):
            nodes.extend(_looked_up(graph, node, constants))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unread(graph)
    return tuple(sorted(found))


def _may(tensor: TensorProto | None) -> bool:
    return tensor is not None and tensor.data_type == TensorProto.FLOAT and size_of(tensor) >= LIGHT


def _is_table(node: onnx.NodeProto, constants: dict[str, TensorProto], used: dict[str, int]) -> bool:
    """Whether rows of a constant are read that nothing else reads."""
    table = constants.get(node.input[0])
    rows_and_columns = 2
    return (
        table is not None
        and _may(table)
        and len(table.dims) == rows_and_columns
        and not attribute_of(node, "axis", 0)
        and used[node.input[0]] == 1
        and node.input[1] not in constants
    )


def _rounded(weights: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers, and the scale of each row along an axis."""
    others = tuple(number for number in range(weights.ndim) if number != axis)
    scales = (np.abs(weights).max(axis=others) / np.float32(_STEPS)).astype(np.float32)
    scales = np.where(scales > 0, scales, np.float32(1))
    shape = [-1 if number == axis else 1 for number in range(weights.ndim)]
    whole = np.rint(weights / scales.reshape(shape)).clip(-_STEPS, _STEPS).astype(np.int8)
    return whole, scales


def _kept(graph: onnx.GraphProto, name: str, array: NDArray[Any]) -> str:
    if all(tensor.name != name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def _restored(
    graph: onnx.GraphProto, node: onnx.NodeProto, place: int, constants: dict[str, TensorProto]
) -> onnx.NodeProto:
    """Have a recurrence read a weight through a DequantizeLinear of its own."""
    name, output = node.input[place], f"{node.name}/weights{place}"
    whole, scales = _rounded(numpy_helper.to_array(constants[name]), _GATES)
    reads = [
        _kept(graph, f"{name}/int8", whole),
        _kept(graph, f"{name}/scale", scales),
        # Absent would be zero too; but where ONNX Runtime makes weights unsigned, it would add one of a single value,
        # and refuse that beside a scale for each row.
        _kept(graph, f"{name}/zero", np.zeros(len(scales), np.int8)),
    ]
    node.input[place] = output
    return helper.make_node("DequantizeLinear", reads, [output], name=f"{output}/DequantizeLinear", axis=_GATES)


def _looked_up(graph: onnx.GraphProto, node: onnx.NodeProto, constants: dict[str, TensorProto]) -> list[onnx.NodeProto]:
    """Read rows of whole numbers and their scales, and multiply."""
    name, numbers, output = node.input[0], node.input[1], node.output[0]
    whole, scales = _rounded(numpy_helper.to_array(constants[name]), 0)
    table = _kept(graph, f"{name}/int8", whole)
    column = _kept(graph, f"{name}/scale", scales.reshape(-1, 1))
    rows, wide, factors = f"{output}/int8", f"{output}/wide", f"{output}/scale"
    return [
        helper.make_node("Gather", [table, numbers], [rows], name=f"{node.name}/int8", axis=0),
        helper.make_node("Cast", [rows], [wide], name=f"{node.name}/wide", to=TensorProto.FLOAT),
        helper.make_node("Gather", [column, numbers], [factors], name=f"{node.name}/scale", axis=0),
        helper.make_node("Mul", [wide, factors], [output], name=node.name),
    ]


def _drop_unread(graph: onnx.GraphProto) -> None:
    read = uses(graph)
    kept = [tensor for tensor in graph.initializer if read[tensor.name]]
    del graph.initializer[:]
    graph.initializer.extend(kept)
