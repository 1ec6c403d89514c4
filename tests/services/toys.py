"""The same small models for every engine, in the form that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tflite import Tensor, convolution, relu, softmax, write_tflite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_FIRST, _SECOND = np.ones((16, 3, 1, 1), np.float32), np.ones((1, 16, 1, 1), np.float32)


def onnx_file(path: Path, nodes: Sequence[Any], inputs: Any, outputs: Any, weights: Sequence[Any] = ()) -> Path:
    """Write an ONNX model; inputs and outputs are a type and a shape by name, weights are called ``w0`` and so on."""
    constants = [numpy_helper.from_array(array, f"w{index}") for index, array in enumerate(weights)]
    first, last = (
        [helper.make_tensor_value_info(name, *kind) for name, kind in some.items()] for some in (inputs, outputs)
    )
    graph = helper.make_graph(list(nodes), "test", first, last, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def ir_file(source: Path) -> Path:
    """Write an ONNX file as OpenVINO's representation beside it."""
    from edgesmith_runtime.engine.openvino import ov  # noqa: PLC0415 - importing it takes a second

    target = source.with_suffix(".xml")
    ov.save_model(ov.Core().read_model(source), target, compress_to_fp16=False)
    return target


def _onnx_toy(folder: Path) -> Path:
    nodes = [helper.make_node("Relu", ["x"], ["relu"]), helper.make_node("Softmax", ["x"], ["softmax"], axis=1)]
    kind = TensorProto.FLOAT, ("n", 4)
    return onnx_file(folder / "model.onnx", nodes, {"x": kind}, {"relu": kind, "softmax": kind})


def _tflite_toy(folder: Path) -> Path:
    tensors = [Tensor(name, [-1, 4]) for name in ("x", "relu", "softmax")]
    operators = [relu("x", "relu"), softmax("x", "softmax")]
    return write_tflite(folder / "model.tflite", tensors, operators, ["x"], ["relu", "softmax"])


TOLD = {"edgetpu": {"twin": "model.tflite"}}
"""What an engine is told, where it must be told something. The Edge TPU's serves the twin of a model where there is no
such device."""

TOYS: dict[str, Callable[[Path], Path]] = {
    "edgetpu": _tflite_toy,
    "litert": _tflite_toy,
    "onnxruntime": _onnx_toy,
    "openvino": lambda folder: ir_file(_onnx_toy(folder)),
}
"""``x`` FP32 [-1,4] to its ``relu`` and its ``softmax``."""


def _onnx_layers(folder: Path) -> Path:
    nodes = [helper.make_node("Conv", ["x", "w0"], ["a"]), helper.make_node("Conv", ["a", "w1"], ["y"])]
    inputs = {"x": (TensorProto.FLOAT, ["n", 3, "h", "w"])}
    return onnx_file(folder / "model.onnx", nodes, inputs, {"y": (TensorProto.FLOAT, None)}, (_FIRST, _SECOND))


def _tflite_layers(folder: Path) -> Path:
    kinds = {"x": 3, "a": 16, "y": 1}
    weights = [np.moveaxis(array, 1, -1).copy() for array in (_FIRST, _SECOND)]
    tensors = [
        *(Tensor(name, [-1, -1, -1, channels]) for name, channels in kinds.items()),
        *(Tensor(f"w{index}", array.shape, values=array) for index, array in enumerate(weights)),
        *(Tensor(f"b{index}", [len(array)], values=array[:, 0, 0, 0] * 0) for index, array in enumerate(weights)),
    ]
    operators = [convolution("x", "w0", "b0", "a"), convolution("a", "w1", "b1", "y")]
    return write_tflite(folder / "model.tflite", tensors, operators, ["x"], ["y"])


LAYERS: dict[str, tuple[Callable[[Path], Path], Callable[[int], tuple[int, ...]]]] = {
    "edgetpu": (_tflite_layers, lambda size: (1, size, size, 3)),
    "litert": (_tflite_layers, lambda size: (1, size, size, 3)),
    "onnxruntime": (_onnx_layers, lambda size: (1, 3, size, size)),
    "openvino": (lambda folder: ir_file(_onnx_layers(folder)), lambda size: (1, 3, size, size)),
}
"""Images ``x`` of any size with three channels to sixteen channels to one, and the shape of an image of a size."""
