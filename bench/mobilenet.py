"""MobileNetV2's layers at 224x224 with random weights: as large and as slow as what is served at the edge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE = (1, 3, 224, 224)
BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
"""MobileNetV2's table 2 (https://arxiv.org/abs/1801.04381): expansion, channels, repetitions, stride."""


class Layers:
    """The nodes and weights of a network, layer by layer."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.random = np.random.default_rng(0)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and name its output."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, array: NDArray[Any]) -> str:
        """Add a constant and name it."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def conv(
        self, x: str, into: int, out: int, size: int, *, stride: int = 1, groups: int = 1, act: bool = True
    ) -> str:
        """Add a convolution with its bias and, where asked for, its ReLU6."""
        fan = into // groups * size * size
        weight = self.weight(self.random.normal(0, (2 / fan) ** 0.5, (out, into // groups, size, size)))
        bias = self.weight(np.zeros(out))
        pads, strides = [size // 2] * 4, [stride] * 2
        y = self.add("Conv", x, weight, bias, kernel_shape=[size, size], pads=pads, strides=strides, group=groups)
        return self.add("Clip", y, self.weight(np.array(0.0)), self.weight(np.array(6.0))) if act else y


def mobilenet(path: Path, rows: int | str = 1) -> None:
    """Write MobileNetV2 with random weights, for so many pictures at once: one, or a name for any number."""
    net = Layers()
    x, channels = net.conv("input", 3, 32, 3, stride=2), 32
    for expansion, out, repeats, first in BLOCKS:
        for index in range(repeats):
            stride, wide = (first if index == 0 else 1), channels * expansion
            y = net.conv(x, channels, wide, 1) if expansion > 1 else x
            y = net.conv(y, wide, wide, 3, stride=stride, groups=wide)
            y = net.conv(y, wide, out, 1, act=False)
            x = net.add("Add", x, y) if stride == 1 and channels == out else y
            channels = out
    x = net.add("Flatten", net.add("GlobalAveragePool", net.conv(x, channels, 1280, 1)))
    weight, bias = net.weight(net.random.normal(0, 0.02, (1000, 1280))), net.weight(np.zeros(1000))
    x = net.add("Gemm", x, weight, bias, transB=1)
    net.nodes.append(helper.make_node("Identity", [x], ["output"]))
    graph = helper.make_graph(
        net.nodes,
        "mobilenet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [rows, *SHAPE[1:]])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [rows, 1000])],
        net.weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
