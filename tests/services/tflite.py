"""Writes small TFLite files with LiteRT's own classes of the schema: no converter is needed for a few operators."""

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

_NEW_CODES = 127
"""Where older readers look, the codes of newer operators read so."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a model.

    Attributes:
        name: Its name.
        shape: Its sizes; -1 is any.
        dtype: Its element type, as the schema calls it, in any case: ``float32``.
        values: Its elements, where it is a constant.
        scale: What one step of a quantised element is worth.
        zero: The quantised element that means 0.
        buffer: Another buffer than its own, to be wrong.
    """

    name: str
    shape: Sequence[int]
    dtype: str = "float32"
    values: NDArray[Any] | None = None
    scale: float | None = None
    zero: int = 0
    buffer: int | None = None


@dataclass(frozen=True)
class Operator:
    """An operator of a model.

    Attributes:
        kind: What it does, as the schema calls it: ``ADD``; ``CUSTOM`` has a name of its own.
        inputs: The names of its inputs; None is one that is left out.
        outputs: The names of its outputs.
        options: The kind and values of its options, where the kernel reads them.
        custom: The name of a custom operator.
        custom_options: What it is told.
    """

    kind: str
    inputs: Sequence[str | None]
    outputs: Sequence[str]
    options: tuple[int, Any] = (0, None)
    custom: str | None = None
    custom_options: bytes | None = None


def tflite_file(
    tensors: Sequence[Tensor],
    operators: Sequence[Operator],
    inputs: Sequence[str | int],
    outputs: Sequence[str | int],
) -> bytes:
    """Make a file.

    Args:
        tensors: All tensors.
        operators: What happens, in this order.
        inputs: The names of the model's inputs; a number that is no tensor's is wrong.
        outputs: The names of the model's outputs.
    """
    index: dict[Any, int] = {tensor.name: number for number, tensor in enumerate(tensors)}
    index[None] = -1
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    graph.tensors = [_tensor(tensor, model.buffers) for tensor in tensors]
    model.operatorCodes = [_code(operator) for operator in operators]
    graph.operators = [_operator(operator, number, index) for number, operator in enumerate(operators)]
    graph.inputs, graph.outputs = ([index.get(name, name) for name in ends] for ends in (inputs, outputs))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def write_tflite(path: Path, *content: Any) -> Path:
    """Write what `tflite_file` makes."""
    path.write_bytes(tflite_file(*content))
    return path


def _tensor(tensor: Tensor, buffers: list[Any]) -> Any:
    made = schema.TensorT()
    made.name = tensor.name
    made.type = getattr(schema.TensorType, tensor.dtype.upper())
    made.shape = [abs(size) for size in tensor.shape]
    if any(size < 0 for size in tensor.shape):
        made.shapeSignature = list(tensor.shape)
    if tensor.values is not None:
        made.buffer = len(buffers)
        buffers.append(schema.BufferT())
        buffers[-1].data = np.frombuffer(tensor.values.tobytes(), np.uint8)
    if tensor.buffer is not None:
        made.buffer = tensor.buffer
    if tensor.scale is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [tensor.scale], [tensor.zero]
    return made


def _code(operator: Operator) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator.kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, _NEW_CODES)
    code.version = 1
    code.customCode = operator.custom
    return code


def _operator(operator: Operator, code: int, index: dict[Any, int]) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex = code
    made.inputs = [index[name] for name in operator.inputs]
    made.outputs = [index[name] for name in operator.outputs]
    made.builtinOptionsType, made.builtinOptions = operator.options
    if operator.custom_options is not None:
        made.customOptions = list(operator.custom_options)
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


def add(source: str, target: str) -> Operator:
    """A tensor added to itself."""
    return Operator("ADD", [source, source], [target], options("AddOptions"))


def fully_connected(weights: NDArray[np.float32], dtype: str = "float32") -> bytes:
    """`y = x W`, `x` of one sample; in int8 its numbers have the scale 1/16."""
    rows, columns = weights.shape
    turned = np.ascontiguousarray(weights.T)
    scale = None if dtype == "float32" else 1 / 16
    values = turned if scale is None else np.clip(np.rint(turned / scale), -127, 127).astype(np.int8)
    tensors = [
        Tensor("x", (1, rows), dtype, scale=scale),
        Tensor("w", (columns, rows), dtype, values, scale=scale),
        Tensor("y", (1, columns), dtype, scale=scale),
    ]
    operator = Operator("FULLY_CONNECTED", ["x", "w", None], ["y"], options("FullyConnectedOptions"))
    return tflite_file(tensors, [operator], ["x"], ["y"])


def crashing_detector() -> bytes:
    """A detector whose last operator is told nothing, on which LiteRT reads what is not there."""
    tensors = [Tensor("boxes", (1, 4, 4)), Tensor("scores", (1, 4, 3))]
    tensors += [Tensor("anchors", (4, 4), values=np.ones((4, 4), np.float32))]
    found = [Tensor("found", (1, 4, 4)), Tensor("of", (1, 4)), Tensor("sure", (1, 4)), Tensor("count", (1,))]
    names = [tensor.name for tensor in found]
    last = Operator("CUSTOM", ["boxes", "scores", "anchors"], names, custom="TFLite_Detection_PostProcess")
    return tflite_file([*tensors, *found], [last], ["boxes", "scores"], names)
