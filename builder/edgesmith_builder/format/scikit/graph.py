"""Converts an estimator with skl2onnx, and brings the graph into the form that clients meet."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

INPUT = "input"
"""The one input, rows of features, where no set names it."""

SAMPLES = "samples"

_FIRST, _SECOND = 0, 1

OPSETS: Mapping[str, int] = {"": 18, "ai.onnx.ml": 3}


def graph_of(estimator: Any, features: int, outputs: Sequence[str]) -> onnx.ModelProto:
    """An estimator as an ONNX graph over float32 rows, its outputs plain tensors under names of ours.

    The same estimator gives the same bytes.

    Raises:
        Exception: whatever skl2onnx raises for what it does not convert; its errors share no base class.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: onnx.ModelProto = to_onnx(
            estimator, initial_types=[(INPUT, FloatTensorType([None, features]))], target_opset=dict(OPSETS)
        )
    imports = sorted(model.opset_import, key=lambda entry: entry.domain)  # skl2onnx keeps them in a set
    del model.opset_import[:]
    model.opset_import.extend(imports)
    _without_maps(model.graph)
    _with_gathers(model.graph)
    if len(model.graph.output) < len(outputs):
        raise ValueError(
            f"it has the outputs {[one.name for one in model.graph.output]}; {list(outputs)} were expected"
        )
    _name(model.graph, outputs)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = SAMPLES
    return model


def shape_outputs(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Write down what shape each output has, the first axis open: skl2onnx leaves some out and has others wrong."""
    for value in model.graph.output:
        tensor = value.type.tensor_type
        shape: list[str | int | None] = [SAMPLES, *shapes[value.name][1:]]
        value.CopyFrom(helper.make_tensor_value_info(value.name, tensor.elem_type, shape))


def _with_gathers(graph: onnx.GraphProto) -> None:
    """Write ArrayFeatureExtractor, of ONNX's domain for classical models, as Gather, which more engines read."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type != "ArrayFeatureExtractor":
            graph.node.append(node)
            continue
        values, places = node.input
        if values in constants and len(constants[values].dims) == 1:  # one row, as its answer has it
            constants[values].dims.insert(0, 1)
        flat = f"inner/{node.output[0]}/places"
        graph.node.append(helper.make_node("Reshape", [places, "inner/all"], [flat]))
        graph.node.append(helper.make_node("Gather", [values, flat], node.output, axis=-1))
    if len(graph.node) > len(nodes):
        graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "inner/all"))


def one_score(model: onnx.ModelProto, output: str) -> None:
    """Of two classes' scores keep the second one's alone, `[samples, 1]`: positive is the second class.

    skl2onnx gives both, and of a support vector machine the second class's first.
    """
    graph, inner = model.graph, f"inner/{output}"
    maker = next(node for node in graph.node if output in node.output)
    maker.output[:] = [inner if name == output else name for name in maker.output]
    for node in graph.node:
        node.input[:] = [inner if name == output else name for name in node.input]
    place = _FIRST if _made_by(graph, inner) == "SVMClassifier" else _SECOND
    graph.initializer.append(numpy_helper.from_array(np.array([place], np.int64), f"{inner}/place"))
    graph.node.append(helper.make_node("Gather", [inner, f"{inner}/place"], [output], axis=1))


def _made_by(graph: onnx.GraphProto, name: str) -> str:
    """The kind of node that a tensor comes from, past those that change nothing."""
    node = next(node for node in graph.node if name in node.output)
    return _made_by(graph, node.input[0]) if node.op_type in ("Cast", "Identity") else node.op_type


def _without_maps(graph: onnx.GraphProto) -> None:
    """Take off each ZipMap: it makes a list of dictionaries of probabilities, which no protocol of inference carries.

    skl2onnx has an option for that, which some classifiers (LinearSVC) refuse.
    """
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        graph.node.remove(node)
        for output in graph.output:
            if output.name == node.output[0]:
                output.CopyFrom(helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None))


def _name(graph: onnx.GraphProto, outputs: Sequence[str]) -> None:
    """Give outputs their names; tensors that go by these already get another."""
    taken = dict(zip((value.name for value in graph.output), outputs, strict=False))
    del graph.output[len(outputs) :]
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    others = {name: f"inner/{name}" for name in outputs if name in names and name not in taken}
    renamed = others | taken
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in graph.output:
        value.name = renamed[value.name]
