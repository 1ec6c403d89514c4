"""Sizes of inputs, for compilers that compile a model for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from edgesmith_builder.failures import CompileFailed


def check_sizes(file: Path, compiler: str) -> None:
    """Check that sizes of inputs are known, but for a batch.

    Args:
        file: An ONNX model.
        compiler: What compiles it, for the message.

    Raises:
        CompileFailed: naming the input.
    """
    for value in _inputs(onnx.load(file, load_external_data=False).graph):
        free = [axis for axis, size in enumerate(value.type.tensor_type.shape.dim) if not size.HasField("dim_value")]
        if set(free) - {0}:
            raise CompileFailed(
                f"input {value.name!r} has no known size on axis {max(free)}; known sizes were expected on every axis "
                f"but the first, since {compiler} compiles a model for its sizes"
            )


def one_sample(source: Path, target: Path) -> Path:
    """Write a model that takes one sample: an open first axis of its inputs has the size 1, all else follows.

    Args:
        source: An ONNX model.
        target: The file to write.
    """
    model = onnx.load(source)
    graph = model.graph
    for value in _inputs(graph):
        sizes = value.type.tensor_type.shape.dim
        if sizes and not sizes[0].HasField("dim_value"):
            sizes[0].dim_value = 1
    for value in graph.output:
        for size in value.type.tensor_type.shape.dim:
            size.ClearField("dim_param")
    del graph.value_info[:]
    onnx.save(model, target)
    return target


def _inputs(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in graph.initializer}
    return (value for value in graph.input if value.name not in constants)
