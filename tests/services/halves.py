"""Models for fp16, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from candidates import FLOAT, made, node
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgesmith_builder.toolchain.half import in_half
from edgesmith_builder.toolchain.rounded import rounded

X, Y = [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 4])]
Array = NDArray[Any]

FINE = np.random.default_rng(7).normal(size=(64, 4)).astype(np.float32)
"""Numbers that fp16 has not."""


def f32(values: Any) -> Array:
    return np.array(values, np.float32)


def converted(model: onnx.ModelProto, folder: Path) -> tuple[onnx.ModelProto, Path]:
    """A model in fp16, checked by ONNX, and the file of its stand-in."""
    onnx.save(model, folder / "source.onnx")
    half = in_half(folder / "source.onnx", folder / "half.onnx").file
    onnx.checker.check_model(half, full_check=True)
    return onnx.load(half), rounded(half, folder / "rounded.onnx")


def answers(model: onnx.ModelProto | Path, **feeds: Array) -> list[Array]:
    content = model.read_bytes() if isinstance(model, Path) else model.SerializeToString()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    found: list[Array] = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, feeds)
    return found


def branching(*, shared: str = "b") -> onnx.ModelProto:
    """A condition whose branches take what lies outside; a value has one name in both, as ONNX allows."""

    def branch(name: str, factor: float) -> onnx.GraphProto:
        constant = numpy_helper.from_array(f32([factor]), shared)
        nodes = [node("Mul", ["h", shared], ["t"]), node("Add", ["t", "x"], ["u"])]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info("u", FLOAT, None)], [constant])

    nodes = [
        node("Add", ["x", "c"], ["h"]),
        node("If", ["which"], ["y"], then_branch=branch("one", 1.7), else_branch=branch("other", 0.3)),
    ]
    return made(nodes, [*X, ("which", TensorProto.BOOL, [])], Y, {"c": f32([100.0])})
