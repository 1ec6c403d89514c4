"""A model's constants: where they are kept, and whether they are numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgesmith_builder.errors import ModelHasNaN, ModelInvalid
from edgesmith_builder.format.onnx.nesting import inner_graphs, subgraphs
from edgesmith_builder.limits import MODEL
from edgesmith_builder.progress import size_text

_LEAST_BYTES = 4
"""Of a value of a sparse tensor once it is unpacked: sparse weights are floats."""

_FLOATS = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
)
_ARITHMETIC = frozenset(
    {
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "DequantizeLinear",
        "Gemm",
        "GRU",
        "InstanceNormalization",
        "LayerNormalization",
        "LSTM",
        "MatMul",
        "Mul",
        "PRelu",
        "QuantizeLinear",
        "RNN",
    }
)
"""What a weight goes into. Elsewhere infinity has its uses: bounds of Clip, masks that are added before a softmax."""

_SPREADING = _ARITHMETIC | {"Add", "Sub", "Sum", "Div"}
"""Where NaN makes all that comes out NaN. Elsewhere it has its uses too: Where puts it for values that are missing."""


def tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every constant of a graph with its name: initialisers, Constant nodes, and those of the graphs inside it."""
    for initializer in graph.initializer:
        yield initializer.name, initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, sparse.values
        yield sparse.values.name, sparse.indices
    for node in graph.node:
        yield from _attributes(node)


def _attributes(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    name = node.output[0] if node.output else node.name
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield name, attribute.t
        if attribute.HasField("sparse_tensor"):
            yield name, attribute.sparse_tensor.values
            yield name, attribute.sparse_tensor.indices
        for tensor in attribute.tensors:
            yield name, tensor
    for graph in inner_graphs(node):
        yield from tensors(graph)


def model_tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every constant of a model, those of its functions included."""
    yield from tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _attributes(node)


def _nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Every node, in the graphs inside nodes and in functions too."""
    within = [node for graph in subgraphs(model.graph) for node in graph.node]
    return [*within, *(node for function in model.functions for node in function.node)]


def _read_by(model: onnx.ModelProto, operators: frozenset[str]) -> set[str]:
    """Names of the tensors that such operators read, in the graphs inside nodes and in functions too."""
    return {name for node in _nodes(model) if node.op_type in operators for name in node.input}


def check_embedded(model: onnx.ModelProto, what: str) -> None:
    """Refuse weights outside the file: a model is one file here, and a path in it could point anywhere.

    Raises:
        ModelInvalid: naming the first such tensor.
    """
    for name, tensor in model_tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelInvalid(
                f"{what} keeps the tensor {name!r} in another file; "
                "a single file was expected (onnx.save_model with save_as_external_data=False)"
            )


def check_sparse(model: onnx.ModelProto, what: str) -> None:
    """Refuse weights that a few bytes in the file describe and that no builder's memory holds: engines unpack them.

    Raises:
        ModelInvalid: naming the first such tensor.
    """
    for sparse in _sparse(model):
        if math.prod(max(1, size) for size in sparse.dims) * _LEAST_BYTES > MODEL:
            raise ModelInvalid(
                f"{what} has the sparse tensor {sparse.values.name!r} of shape {list(sparse.dims)}; at most "
                f"{size_text(MODEL)} were expected once it is unpacked"
            )


def _sparse(model: onnx.ModelProto) -> Iterator[onnx.SparseTensorProto]:
    yield from (sparse for graph in subgraphs(model.graph) for sparse in graph.sparse_initializer)
    for node in _nodes(model):
        yield from (attribute.sparse_tensor for attribute in node.attribute if attribute.HasField("sparse_tensor"))


def check_weights(model: onnx.ModelProto, what: str) -> None:
    """Refuse weights that are not numbers.

    Raises:
        ModelHasNaN: naming the first tensor with NaN where it is added or multiplied, or infinity where multiplied.
        ModelInvalid: naming a tensor whose data does not match its shape.
    """
    multiplied, spread = _read_by(model, _ARITHMETIC), _read_by(model, _SPREADING)
    for name, tensor in model_tensors(model):
        if tensor.data_type not in _FLOATS:
            continue
        try:
            array: Any = numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            raise ModelInvalid(
                f"{what} has a malformed tensor {name!r} ({error}); one value for each element was expected"
            ) from error
        finite = np.isfinite(array)
        if finite.all():
            continue
        nans = int(np.isnan(array).sum())
        if (nans and name in spread) or name in multiplied:
            kind, count = ("NaN", nans) if nans else ("infinity", int((~finite).sum()))
            raise ModelHasNaN(
                f"{what} has {kind} in {count} of the {array.size} values of the tensor {name!r}; "
                "finite weights were expected"
            )
