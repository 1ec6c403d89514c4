"""Pictures of a few kinds and a network that tells them apart, one of whose channels is much louder than the others.

In floating point that changes nothing. In int8, whose steps are taken over a whole tensor, the others are lost, and
with them what the network says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from graphs import FLOAT, model_of, node

CHANNELS, LAYERS, SIDE = 24, 6, 12
PATTERNS = np.random.default_rng(7).normal(size=(7, 3, SIDE, SIDE))


def pictures(count: int) -> Any:
    """One of a few patterns each, with noise."""
    some = np.arange(count) % len(PATTERNS)
    return {
        "x": (PATTERNS[some] + np.random.default_rng(count).normal(size=(count, 3, SIDE, SIDE)) / 4).astype(np.float32)
    }


def seeded(*shape: int) -> Any:
    """Weights of a shape, the same each time."""
    return (np.random.default_rng(sum(shape)).normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def network(outlier: float, after: int = 1, *, layers: int = LAYERS, depthwise: bool = False) -> onnx.ModelProto:
    """Convolutions in a row. One channel that convolution number `after` answers is larger than the others by a factor,
    and the next brings it down again: in floating point that changes nothing."""
    loud = np.ones(CHANNELS, np.float32)
    loud[3] = outlier
    weights = {"k0": seeded(CHANNELS, 3, 3, 3), "dense": seeded(CHANNELS * 16, 10)}
    weights |= {f"k{number}": seeded(CHANNELS, CHANNELS, 3, 3) for number in range(1, layers)}
    weights[f"k{after}"] *= loud[:, None, None, None]
    nodes, last = [], "x"
    for number in range(layers):
        if depthwise and number == after + 1:
            weights["kd"] = 1 + np.abs(seeded(CHANNELS, 1, 3, 3))
            nodes.append(node("Conv", [last, "kd"], ["d"], pads=[1] * 4, group=CHANNELS, name="depthwise"))
            last = "d"
        nodes.append(node("Conv", [last, f"k{number}"], [f"c{number}"], pads=[1] * 4, name=f"conv{number}"))
        nodes.append(node("Relu", [f"c{number}"], [f"r{number}"], name=f"relu{number}"))
        last = f"r{number}"
    weights[f"k{after + 1}"] /= loud[None, :, None, None]
    nodes += [node("AveragePool", [last], ["p"], kernel_shape=[3, 3], strides=[3, 3]), node("Flatten", ["p"], ["f"]),
              node("MatMul", ["f", "dense"], ["y"], name="last")]  # fmt: skip
    return model_of(nodes, [("x", FLOAT, ["N", 3, SIDE, SIDE])], [("y", FLOAT, ["N", 10])], weights)


def taught(outlier: float) -> onnx.ModelProto:
    """The network with a last layer that tells the patterns apart, fitted by least squares."""
    model = network(outlier)
    inner = onnx.ModelProto()
    inner.CopyFrom(model)
    del inner.graph.node[-1]
    inner.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("f", FLOAT, None))
    session: Any = ort.InferenceSession(inner.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = session.run(None, pictures(210))[0].astype(np.float64)
    rows /= rows.std()
    wanted = np.eye(len(PATTERNS))[np.arange(210) % len(PATTERNS)]
    fitted = np.linalg.solve(rows.T @ rows + np.eye(rows.shape[1]), rows.T @ wanted).astype(np.float32)
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(fitted, "dense"))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", FLOAT, ["N", len(PATTERNS)]))
    return model
