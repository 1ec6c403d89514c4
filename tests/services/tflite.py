"""Writes small TFLite models, field by field: no converter is needed for a handful of operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SOFTMAX_OPTIONS = (schema.BuiltinOptions.SoftmaxOptions, schema.SoftmaxOptionsT)


@dataclass
class Tensor:
    """A tensor of a model.

    Attributes:
        name: Its name.
        kind: Its element type, as the schema calls it: ``FLOAT32``.
        shape: Its sizes; -1 is any.
        data: Its elements, where it is a constant.
    """

    name: str
    kind: str
    shape: Sequence[int]
    data: NDArray[Any] | None = None


@dataclass
class Operator:
    """An operator of a model.

    Attributes:
        kind: What it does, as the schema calls it: ``ADD``; ``CUSTOM`` has a name of its own.
        inputs: The names of its inputs.
        outputs: The names of its outputs.
        options: The kind and values of its options, where the kernel reads them.
        custom: The name of a custom operator.
    """

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: tuple[int, Any] = (0, None)
    custom: str | None = None


def write_tflite(
    path: Path, tensors: Sequence[Tensor], operators: Sequence[Operator], inputs: Sequence[str], outputs: Sequence[str]
) -> Path:
    """Write a model.

    Args:
        path: Where to.
        tensors: All tensors.
        operators: What happens, in this order.
        inputs: The names of the model's inputs.
        outputs: The names of the model's outputs.
    """
    index = {tensor.name: number for number, tensor in enumerate(tensors)}
    model = schema.ModelT()
    model.version = 3
    model.description = "test"
    model.buffers = [schema.BufferT() for _ in range(len(tensors) + 1)]
    model.operatorCodes = [_code(operator) for operator in operators]
    graph = schema.SubGraphT()
    graph.tensors = []
    for number, tensor in enumerate(tensors, start=1):
        if tensor.data is not None:
            model.buffers[number].data = np.frombuffer(tensor.data.tobytes(), np.uint8)
        graph.tensors.append(_tensor(tensor, number))
    graph.operators = []
    for number, operator in enumerate(operators):
        made = schema.OperatorT()
        made.opcodeIndex = number
        made.inputs = [index[name] for name in operator.inputs]
        made.outputs = [index[name] for name in operator.outputs]
        made.builtinOptionsType, made.builtinOptions = operator.options
        graph.operators.append(made)
    graph.inputs = [index[name] for name in inputs]
    graph.outputs = [index[name] for name in outputs]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def _code(operator: Operator) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator.kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)  # where older readers look
    code.version = 1
    code.customCode = operator.custom
    return code


def _tensor(tensor: Tensor, buffer: int) -> Any:
    made = schema.TensorT()
    made.name = tensor.name
    made.type = getattr(schema.TensorType, tensor.kind)
    made.shape = [abs(size) for size in tensor.shape]
    if any(size < 0 for size in tensor.shape):
        made.shapeSignature = list(tensor.shape)
    made.buffer = buffer
    return made


def options(kind: str, **values: Any) -> tuple[int, Any]:
    """The options of an operator, as the schema calls them: ``SoftmaxOptions``."""
    made = getattr(schema, f"{kind}T")()
    for name, value in values.items():
        setattr(made, name, value)
    return getattr(schema.BuiltinOptions, kind), made


def relu(source: str, target: str) -> Operator:
    """What is above zero."""
    return Operator("RELU", [source], [target])


def softmax(source: str, target: str) -> Operator:
    """A softmax over the last axis."""
    return Operator("SOFTMAX", [source], [target], options("SoftmaxOptions", beta=1.0))


def convolution(source: str, weights: str, bias: str, target: str) -> Operator:
    """A convolution with strides of one and no padding."""
    strides = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1, "padding": schema.Padding.VALID}
    return Operator("CONV_2D", [source, weights, bias], [target], options("Conv2DOptions", **strides))
