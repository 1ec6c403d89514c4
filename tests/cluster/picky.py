"""A model that passes every test of a build and of a device, and refuses what its predecessor answers."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgesmith_stage import surface

_BRIGHT = 1000.0
"""Brighter than any picture that the example's sets have; its cameras are said to end at 255."""


def picky() -> bytes:
    """The example's newer model; it looks a picture's brightness up in a table that ends before `_BRIGHT`."""
    model = onnx.load(surface.FOLDER / "model-v2.onnx")
    graph = model.graph
    softmax = graph.node[-1]
    answer = softmax.output[0]
    softmax.output[0] = "before"
    graph.initializer.extend(
        (
            numpy_helper.from_array(np.array(1 / 600, np.float32), "per_row"),
            numpy_helper.from_array(np.zeros((1, 1), np.float32), "table"),
        )
    )
    graph.node.extend(
        (
            helper.make_node("ReduceMax", ["image"], ["brightest"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Mul", ["brightest", "per_row"], ["row"]),
            helper.make_node("Cast", ["row"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["nothing"]),
            helper.make_node("Add", ["before", "nothing"], [answer]),
        )
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def bright() -> str:
    """A request with such a picture."""
    picture = {"name": "image", "datatype": "FP32", "shape": [1, 1, 64, 64], "data": [_BRIGHT] * 64 * 64}
    return json.dumps({"inputs": [picture]})
