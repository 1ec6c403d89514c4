"""What a model answers when every number in it has the 16 bits of fp16: a form of it for measuring, not for serving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgesmith_builder.failures import CompileFailed


def in_half(source: Path, target: Path) -> Path:
    """Write a model whose constants and results are rounded to fp16 and carried in fp32.

    It runs wherever the source does, and computes as a GPU does that keeps fp16 in memory and adds in fp32. Numbers
    above 65504 become infinite, as they would there.

    Args:
        source: An ONNX model in fp32.
        target: The file to write.

    Raises:
        CompileFailed: Its types cannot be told.
    """
    model = onnx.load(source)
    try:
        known = onnx.shape_inference.infer_shapes(model, strict_mode=False).graph
    except onnx.shape_inference.InferenceError as error:
        raise CompileFailed(f"the types of the model's values cannot be told: {error}") from error
    graph = model.graph
    floats = {
        value.name
        for value in (*known.value_info, *known.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            with np.errstate(over="ignore"):  # what becomes infinite shows in the answers
                rounded = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in floats:
                node.output[place] = f"{name}/wide"
                nodes += _rounding(f"{name}/wide", name)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, target)
    return target


def _rounding(source: str, target: str) -> list[onnx.NodeProto]:
    half = f"{target}/half"
    return [
        helper.make_node("Cast", [source], [half], to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [target], to=TensorProto.FLOAT),
    ]
