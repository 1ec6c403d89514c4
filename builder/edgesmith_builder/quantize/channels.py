"""Channels of tensors: where they lie, and how much each of them counts for what the model answers.

A channel counts by what multiplies it: of the noise in it, a layer passes on the squares of its weights (noise that is
alike everywhere, and layers taken as linear), so the squares are taken backwards through the graph. Beside one channel
of large values that small weights bring down again, the noise in all others is then seen for what it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgesmith_builder.quantize.graph import QUANTISED, attribute_of, initializers

Floats = NDArray[np.float64]

_WEIGHT = 1

_THROUGH = frozenset(
    {"Add", "AveragePool", "BatchNormalization", "Clip", "Dropout", "Flatten", "Gelu", "GlobalAveragePool", "HardSwish",
     "Identity", "LayerNormalization", "LeakyRelu", "MaxPool", "PRelu", "Relu", "Sigmoid", "Squeeze", "Tanh"}
)  # fmt: skip
"""Operators that leave each channel where it is."""


@dataclass(frozen=True, slots=True)
class Channels:
    """What is known of the channels of tensors, by name."""

    counts: dict[str, int] = field(default_factory=dict)
    last: set[str] = field(default_factory=set)
    """Tensors whose channels lie along the last axis; of the others along the second, one sample being the first."""
    weights: dict[str, Floats] = field(default_factory=dict)
    """`[channels]`, how much each counts, against the others of the same tensor."""

    def energy(self, name: str, array: NDArray[Any]) -> Floats:
        """`[channels]`, the sum of squares in each; of one channel where they are not known."""
        squares = np.square(array.astype(np.float64).reshape(-1))
        count = self.counts.get(name, 1)
        if squares.size % count:
            return np.array([squares.sum()])
        rows = squares.reshape(-1, count).T if name in self.last else squares.reshape(count, -1)
        return np.asarray(rows.sum(1), np.float64)

    def counted(self, name: str, count: int) -> Floats:
        """`[count]`, how much each channel of a tensor counts; all alike where nothing is known."""
        found = self.weights.get(name)
        if found is None or found.size % count or not found.any():
            return np.ones(count)
        return np.asarray(found.reshape(count, -1).sum(1), np.float64)


def channels_of(graph: onnx.GraphProto) -> Channels:
    """Read the channels off a graph whose nodes stand in the order in which they can run."""
    constants, found = initializers(graph), Channels()
    for node in graph.node:
        matrix = rows_of(node, constants)
        if matrix is not None:
            groups, outs, ins, _ = matrix.shape
            for name, count in ((node.input[0], groups * ins), (node.output[0], groups * outs)):
                found.counts[name] = count
                if node.op_type in ("MatMul", "Gemm"):
                    found.last.add(name)
        elif node.op_type in _THROUGH and node.input[0] in found.counts:
            found.counts.setdefault(node.output[0], found.counts[node.input[0]])
            if node.input[0] in found.last:
                found.last.add(node.output[0])
    for node in reversed(graph.node):
        _take_back(node, rows_of(node, constants), found)
    return found


def _take_back(node: onnx.NodeProto, matrix: Floats | None, found: Channels) -> None:
    """Add what a node's inputs count for through it."""
    if matrix is not None:
        groups, outs, ins, _ = matrix.shape
        counted = found.counted(node.output[0], groups * outs).reshape(groups, outs)
        own = np.einsum("goir,go->gi", np.square(matrix), counted).reshape(-1)
        names, passed = [node.input[0]], own / max(float(own.sum()), 1e-30) * ins
    elif node.op_type in _THROUGH and node.output[0] in found.weights:
        names, passed = [name for name in node.input if name], found.weights[node.output[0]]
    else:
        return
    for name in names:
        before = found.weights.get(name)
        found.weights[name] = passed if before is None or before.shape != passed.shape else before + passed


def rows_of(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> Floats | None:
    """The weights of a node as `[groups, outputs, inputs, the rest]`; None where it does not multiply by constants."""
    if node.op_type not in QUANTISED or len(node.input) <= _WEIGHT or node.input[_WEIGHT] not in constants:
        return None
    return as_rows(node, numpy_helper.to_array(constants[node.input[_WEIGHT]]))


def as_rows(node: onnx.NodeProto, weight: NDArray[Any]) -> Floats | None:
    """A weight of a node in the same form."""
    groups = int(attribute_of(node, "group", 1))
    array = weight.astype(np.float64)
    if array.ndim < 2:  # noqa: PLR2004 - a vector has no rows
        return None
    if node.op_type == "Conv":
        return array.reshape(groups, array.shape[0] // groups, array.shape[1], -1)
    if node.op_type == "ConvTranspose":
        return array.reshape(groups, array.shape[0] // groups, array.shape[1], -1).swapaxes(1, 2)
    if attribute_of(node, "transB", 0):
        return array[None, :, :, None]
    return np.moveaxis(array.reshape(-1, *array.shape[-2:]), 0, -1).swapaxes(0, 1)[None]
