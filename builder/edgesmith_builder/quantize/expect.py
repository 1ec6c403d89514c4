"""What an int8 form must have to be worth its name: weights of 8 bits, most of them, in a smaller file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import onnx
from onnx import TensorProto

from edgesmith_builder.format.onnx.nesting import subgraphs
from edgesmith_builder.quantize.failures import QuantizationFailed
from edgesmith_builder.quantize.graph import LIGHT, QUANTISED, has_weights, initializers, size_of

_EIGHT_BITS = frozenset({TensorProto.INT8, TensorProto.UINT8})

_FEW = 6
"""Operators that a sentence names: enough to know a model by."""


def expect_weights(graph: onnx.GraphProto) -> None:
    """Refuse a model without a weight that static quantisation has an int8 form of.

    Raises:
        QuantizationFailed: naming the operators that it has.
    """
    constants = initializers(graph)
    if any(has_weights(node, constants) for node in graph.node):
        return
    inside = ", and what is inside graphs of its nodes stays as it is" if len([*subgraphs(graph)]) > 1 else ""
    raise QuantizationFailed(
        f"there is nothing to quantise: int8 is for {LIGHT} constant weights and more of "
        f"{', '.join(QUANTISED)}; the model has {operators_of(graph)}{inside}"
    )


def operators_of(graph: onnx.GraphProto) -> str:
    """The operators of a graph, for a sentence: the first few of them."""
    found = sorted({node.op_type for node in graph.node})
    return ", ".join(found[:_FEW]) + (" and others" if len(found) > _FEW else "")


def expect_int8(made: Path, source: Path) -> None:
    """Refuse a file that is no int8 form of the source: few weights of 8 bits, or no fewer bytes.

    Raises:
        QuantizationFailed: in numbers.
    """
    graph = onnx.load_model(made).graph
    eight = sum(size_of(tensor) for tensor in _read(graph) if tensor.data_type in _EIGHT_BITS)
    wide = sum(
        size_of(tensor)
        for inner in subgraphs(graph)
        for tensor in inner.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1
    )
    if not eight:
        raise QuantizationFailed("there is nothing to quantise: no weight of the model has an int8 form")
    if eight < wide:
        share = eight / (eight + wide)
        raise QuantizationFailed(
            f"there is little to quantise: {share:.0%} of its weights have an int8 form; half was expected"
        )
    before, after = source.stat().st_size, made.stat().st_size
    if after >= before:
        raise QuantizationFailed(
            f"there is nothing to gain: in int8 it has {after} bytes, as it came {before}; fewer were expected"
        )


def _read(graph: onnx.GraphProto) -> Collection[TensorProto]:
    """The constants of some size that nodes read."""
    constants = initializers(graph)
    names = {name for node in graph.node for name in node.input}
    return [tensor for name, tensor in constants.items() if name in names and size_of(tensor) >= LIGHT]
