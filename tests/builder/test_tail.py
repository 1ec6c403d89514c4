"""A model's end stays in floating point: what it answers is as fine as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import FLOAT, answers, decibels, model_of, node, numbers, quantised, weights_of

from edgesmith_builder.quantize.tail import tail_of

CHANNELS, SIDE = 24, 16
PICTURES = {"x": np.abs(numbers(8, 3, SIDE, SIDE))}


def detector() -> onnx.ModelProto:
    """YOLOv8's head over a small trunk: distributions of distances and logits leave one convolution each, travel in one
    tensor, and end as boxes in pixels and scores in one output."""
    cells = SIDE * SIDE
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["t0"], name="trunk", pads=[1] * 4),
        node("Relu", ["t0"], ["t1"], name="relu"),
        node("Conv", ["t1", "wd"], ["d"], name="distances"),
        node("Conv", ["t1", "ws", "bs"], ["s"], name="logits"),
        node("Concat", ["d", "s"], ["all"], axis=1),
        node("Reshape", ["all", "flat"], ["cells"]),
        node("Split", ["cells", "parts"], ["dist", "logit"], axis=1),
        node("Reshape", ["dist", "bins"], ["binned"]),
        node("Transpose", ["binned"], ["turned"], perm=[0, 2, 1, 3]),
        node("Softmax", ["turned"], ["shares"], axis=1),
        node("Conv", ["shares", "ramp"], ["lengths"], name="ramp"),
        node("Reshape", ["lengths", "four"], ["sides"]),
        node("Mul", ["sides", "stride"], ["boxes"]),
        node("Sigmoid", ["logit"], ["scores"]),
        node("Concat", ["boxes", "scores"], ["y"], axis=1),
    ]
    weights = {
        "w0": numbers(CHANNELS, 3, 3, 3), "b0": numbers(CHANNELS), "wd": numbers(64, CHANNELS, 1, 1) / 5,
        "ws": numbers(16, CHANNELS, 1, 1) / 5, "bs": numbers(16), "flat": np.array([0, 80, cells]),
        "parts": np.array([64, 16]), "bins": np.array([0, 4, 16, cells]), "four": np.array([0, 4, cells]),
        "ramp": np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1), "stride": np.array(32.0, np.float32),
    }  # fmt: skip
    return model_of(nodes, [("x", FLOAT, ["N", 3, SIDE, SIDE])], [("y", FLOAT, ["N", 20, cells])], weights)


def distinct(values: Any) -> int:
    return len(np.unique(values))


def test_scores_beside_boxes_in_pixels_stay_as_fine_as_they_were(tmp_path: Path) -> None:
    made = quantised(tmp_path, detector(), PICTURES)
    before, after = answers(tmp_path / "source.onnx", PICTURES)["y"], answers(made, PICTURES)["y"]
    boxes, scores = slice(0, 4), slice(4, 20)
    assert before[:, boxes].max() > 300
    assert before[:, scores].max() <= 1
    assert distinct(before[:, scores]) > 30_000
    assert distinct(after[:, scores]) > 0.9 * distinct(before[:, scores])
    assert distinct(after[:, boxes]) > 0.9 * distinct(before[:, boxes])
    assert np.abs(after - before)[:, scores].max() < 0.1
    assert sorted(weights_of(made)) == ["w0_quantized", "wd_quantized", "ws_quantized"]


def names(nodes: list[onnx.NodeProto], weights: Any) -> tuple[set[str], set[str]]:
    model = model_of(nodes, [("x", FLOAT, ["N", 8])], [("y", FLOAT, None)], weights)
    tail = tail_of(model.graph)
    return set(tail.nodes), set(tail.tensors)


W = numbers(8, 8)


@pytest.mark.parametrize(
    ("nodes", "tail", "tensors"),
    [
        pytest.param([("MatMul", "x w", "y")], "", "y", id="a-multiplication-answers"),
        pytest.param([("MatMul", "x w", "a"), ("Softmax", "a", "y")], "Softmax", "a", id="then-a-softmax"),
        pytest.param([("Relu", "x", "a"), ("MatMul", "a w", "y")], "", "y", id="what-is-before-is-not-in-it"),
        pytest.param([("MatMul", "x w", "a"), ("Relu", "a", "b"), ("MatMul", "b w", "y"), ("Neg", "a", "z")],
                     "Neg", "y", id="an-answer-from-the-middle"),
        pytest.param([("MatMul", "x w", "a"), ("MatMul", "a light", "y")], "MatMul", "a", id="a-light-one-is-no-work"),
        pytest.param([("MatMul", "x w", "a"), ("MatMul", "a a", "y")], "", "y", id="without-weights-it-is"),
        pytest.param([("Conv", "x k", "a"), ("GlobalAveragePool", "a", "b"), ("Softmax", "b", "y")],
                     "Softmax", "b", id="behind-the-average"),
        pytest.param([("MatMul", "x w", "a"), ("LSTM", "a r r", "y")], "", "y", id="what-leads-to-a-recurrence"),
        pytest.param([("Relu", "x", "y")], "Relu", "", id="no-multiplication"),
    ],
)  # fmt: skip
def test_where_the_tail_begins(nodes: list[tuple[str, str, str]], tail: str, tensors: str) -> None:
    made = [node(kind, reads.split(), [writes], name=f"{kind}/{writes}") for kind, reads, writes in nodes]
    weights = {"w": W, "light": numbers(8, 2), "k": numbers(8, 8, 3, 3), "r": numbers(1, 8, 8)}
    found, kept = names(made, weights)
    assert {name.partition("/")[0] for name in found} == set(tail.split())
    assert kept == set(tensors.split())


def test_a_branch_inside_a_node_leads_where_its_nodes_read(tmp_path: Path) -> None:
    """The multiplication that the branch of an If does is not quantised; what the If answers to is."""
    inner = onnx.helper.make_graph(
        [node("Relu", ["b"], ["inside"])], "inner", [], [onnx.helper.make_tensor_value_info("inside", FLOAT, None)]
    )
    other = onnx.helper.make_graph(
        [node("Neg", ["b"], ["outside"])], "other", [], [onnx.helper.make_tensor_value_info("outside", FLOAT, None)]
    )
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Greater", ["m", "zero"], ["c"]),
        node("If", ["c"], ["d"], then_branch=inner, else_branch=other),
        node("MatMul", ["d", "v"], ["y"]),
    ]
    weights = {"w": numbers(64, 64), "v": numbers(64, 64), "zero": np.array(0, np.float32)}
    feeds = {"x": numbers(16, 64)}
    model = model_of(nodes, [("x", FLOAT, ["N", 64])], [("y", FLOAT, ["N", 64])], weights)
    assert tail_of(model.graph).tensors == {"y"}
    made = quantised(tmp_path, model, feeds)
    assert len(weights_of(made)) == 2
    assert decibels(tmp_path / "source.onnx", made, feeds) > 28
