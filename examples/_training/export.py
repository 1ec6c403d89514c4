"""Stores a trained network as ONNX."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import helper, numpy_helper

from examples._training.network import Convolution, Network, Trained

INPUT = "image"
"""Name of the models' input: grey levels, float32, shape (batch, 1, size, size)."""
OUTPUT = "probabilities"
"""Name of the models' output: one probability a class, float32, shape (batch, classes)."""

_OPSET = 17
_IR_VERSION = 8


def _convolution(number: int, layer: Convolution, source: str) -> list[onnx.NodeProto]:
    name = f"conv{number}"
    return [
        helper.make_node(
            "Conv",
            [source, f"{name}.weight", f"{name}.bias"],
            [f"{name}.out"],
            name=name,
            kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            pads=[layer.padding] * 4,
            group=layer.channels if layer.depthwise else 1,
        ),
        helper.make_node("Relu", [f"{name}.out"], [f"{name}.relu"], name=f"relu{number}"),
    ]


def _pooling(network: Network, source: str, target: str) -> onnx.NodeProto:
    if network.pooling == "average":
        return helper.make_node("GlobalAveragePool", [source], [target], name="pool")
    # MaxPool over everything rather than GlobalMaxPool: quantisers know it, and keep it in int8.
    return helper.make_node("MaxPool", [source], [target], name="pool", kernel_shape=[network.last_size] * 2)


def description(example: str, version: str, labels: Sequence[str]) -> dict[str, str]:
    """What a model says of itself; Edgesmith's builder reads the names of the classes from ``labels``, a JSON list."""
    return {"example": example, "version": version, "labels": json.dumps(list(labels))}


def to_onnx(network: Network, trained: Trained, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Builds the ONNX model of a trained network.

    Args:
        network: What was trained.
        trained: Its numbers.
        metadata: What the model says of itself.

    Returns:
        A checked model with a dynamic first dimension ``batch``; equal arguments give equal bytes.
    """
    nodes, stored, source = [], [], INPUT
    for number, (layer, (weight, bias)) in enumerate(zip(network.layers, trained.filters, strict=True)):
        nodes += _convolution(number, layer, source)
        stored += [
            numpy_helper.from_array(weight, f"conv{number}.weight"),
            numpy_helper.from_array(bias, f"conv{number}.bias"),
        ]
        source = f"conv{number}.relu"
    nodes += [
        _pooling(network, source, "pool.out"),
        helper.make_node("Flatten", ["pool.out"], ["flatten.out"], name="flatten", axis=1),
        helper.make_node("Gemm", ["flatten.out", "dense.weight", "dense.bias"], ["dense.out"], name="dense"),
        helper.make_node("Softmax", ["dense.out"], [OUTPUT], name="softmax", axis=1),
    ]
    stored += [
        numpy_helper.from_array(trained.dense[0], "dense.weight"),
        numpy_helper.from_array(trained.dense[1], "dense.bias"),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info(INPUT, kind, ["batch", 1, network.size, network.size])],
        [helper.make_tensor_value_info(OUTPUT, kind, ["batch", network.classes])],
        stored,
    )
    model = helper.make_model(
        graph,
        producer_name="edgesmith-examples",
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model, full_check=True)
    return model


def write_model(path: Path, model: onnx.ModelProto) -> None:
    """Writes a model, the same bytes for the same model."""
    path.write_bytes(model.SerializeToString(deterministic=True))


def write_labels(path: Path, labels: Sequence[str]) -> None:
    """Writes one class name a line, in the order of the model's output."""
    path.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
