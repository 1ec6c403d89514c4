"""Graphs as exporters write them: each has its right int8 form, or a sentence why it has none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import FLOAT, answers, decibels, model_of, node, numbers, quantised, weights_of
from onnx import TensorProto, helper, numpy_helper

from edgesmith_builder.dataset import Samples
from edgesmith_builder.quantize import QuantizationFailed

N = 64
X: Any = [("x", FLOAT, ["N", N])]
Y: Any = [("y", FLOAT, ["N", N])]
FEEDS = {"x": numbers(48, N)}
W, V = numbers(N, N), numbers(N, N)
BIAS = numbers(N) * 20  # as large as what it is added to


def two_gemms(bias: Any, **attributes: Any) -> onnx.ModelProto:
    """Two with one bias, behind each other, the second with its weight transposed."""
    nodes = [
        node("Gemm", ["x", "w", "b"], ["t"], name="one", **attributes),
        node("Relu", ["t"], ["r"]),
        node("Gemm", ["r", "v", "b"], ["y"], name="two", transB=1, **attributes),
    ]
    return model_of(nodes, X, Y, {"w": W, "v": V, "b": bias})


@pytest.mark.parametrize("shape", [(N,), (1, N), (1,), (), (1, 1)], ids=str)
def test_a_bias_of_any_shape_that_two_share(tmp_path: Path, shape: tuple[int, ...]) -> None:
    bias = BIAS.reshape(shape) if N in shape else np.full(shape, 12.0, np.float32)
    made = quantised(tmp_path, two_gemms(bias), FEEDS)
    assert len(weights_of(made)) == 2
    assert decibels(tmp_path / "source.onnx", made, FEEDS) > 30


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 1.0), (1.0, 2.0), (1.0, 0.5), (1.0, 0.0), (0.3, -1.7)])
def test_alpha_and_beta_are_folded(tmp_path: Path, alpha: float, beta: float) -> None:
    made = quantised(tmp_path, two_gemms(BIAS, alpha=alpha, beta=beta), FEEDS)
    assert len(weights_of(made)) == 2
    assert decibels(tmp_path / "source.onnx", made, FEEDS) > 30


def test_alpha_of_one_of_two_that_share_a_weight(tmp_path: Path) -> None:
    nodes = [
        node("Gemm", ["x", "w", "b"], ["t"], alpha=0.25),
        node("Gemm", ["x", "w", "b"], ["u"]),
        node("Sub", ["t", "u"], ["s"]),
        node("MatMul", ["s", "v"], ["y"]),
    ]
    made = quantised(tmp_path, model_of(nodes, X, Y, {"w": W, "v": V, "b": BIAS}), FEEDS)
    assert decibels(tmp_path / "source.onnx", made, FEEDS) > 25


def test_a_bias_for_each_sample_of_a_batch(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "w", "b"], ["t"]), node("Gemm", ["t", "v", "c"], ["y"])]
    weights = {"w": W, "v": V, "b": numbers(4, N) * 20, "c": numbers(4, 1) * 20}
    model = model_of(nodes, [("x", FLOAT, [4, N])], [("y", FLOAT, [4, N])], weights)
    batches = numbers(12, 4, N)
    made = quantised(tmp_path, model, Samples({"x": batches}, {"x": 2}, batches=False))
    assert {"w_quantized", "v_quantized"} <= set(weights_of(made))
    assert decibels(tmp_path / "source.onnx", made, {"x": batches[0]}) > 30


def test_matmul_and_add_of_a_bias_that_two_share(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["t"]), node("Add", ["t", "b"], ["u"]),
        node("MatMul", ["u", "v"], ["s"]), node("Add", ["s", "b"], ["y"]),
    ]  # fmt: skip
    made = quantised(tmp_path, model_of(nodes, X, Y, {"w": W, "v": V, "b": BIAS[None]}), FEEDS)
    assert len(weights_of(made)) == 2
    assert decibels(tmp_path / "source.onnx", made, FEEDS) > 30


def test_a_weight_that_is_read_both_ways(tmp_path: Path) -> None:
    """Rows and columns of very different sizes: a scale of one for the other is as good as none."""
    uneven = W * np.arange(1, N + 1, dtype=np.float32)[:, None]
    nodes = [node("Gemm", ["x", "w", "b"], ["t"]), node("Gemm", ["t", "w", "b"], ["y"], transB=1)]
    made = quantised(tmp_path, model_of(nodes, X, Y, {"w": uneven, "b": BIAS}), FEEDS)
    assert decibels(tmp_path / "source.onnx", made, FEEDS) > 30


@pytest.mark.parametrize("group", [1, 2, 16])
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions_in_groups(tmp_path: Path, group: int, bias: Any) -> None:
    names = ["x", "w", "b"] if bias else ["x", "w"]
    nodes = [
        node("ConvTranspose", names, ["t"], group=group, name="up"),
        node("Relu", ["t"], ["r"]),
        node("Conv", ["r", "v"], ["y"], name="last"),
    ]
    model = model_of(
        nodes,
        [("x", FLOAT, ["N", 16, 6, 6])],
        [("y", FLOAT, ["N", 8, "h", "w"])],
        {"w": numbers(16, 32 // group, 3, 3), "v": numbers(8, 32, 3, 3), "b": numbers(32) * 9},
    )
    if not bias:
        del model.graph.initializer[-1]
    feeds = {"x": numbers(12, 16, 6, 6)}
    made = quantised(tmp_path, model, feeds)
    assert len(weights_of(made)) == 2
    assert decibels(tmp_path / "source.onnx", made, feeds) > 27


@pytest.mark.parametrize(
    ("dtype", "ends"),
    [("float16", True), ("float16", False), ("double", True), ("double", False), ("bfloat16", False)],
)
def test_a_source_in_another_float_type(tmp_path: Path, dtype: str, ends: Any) -> None:
    """With inputs and outputs of its own type, and with casts behind and before those of fp32."""
    kind = {"float16": TensorProto.FLOAT16, "double": TensorProto.DOUBLE, "bfloat16": TensorProto.BFLOAT16}[dtype]
    outer = kind if ends else FLOAT
    nodes = [
        node("Cast", ["x"], ["i"], to=kind),
        node("MatMul", ["i", "w"], ["t"]),
        node("Relu", ["t"], ["r"]),
        node("MatMul", ["r", "v"], ["o"]),
        node("Cast", ["o"], ["y"], to=outer),
    ]
    model = model_of(nodes, [("x", outer, ["N", N])], [("y", outer, ["N", N])], {})
    if ends:
        nodes = [node("MatMul", ["x", "w"], ["t"]), node("Relu", ["t"], ["r"]), node("MatMul", ["r", "v"], ["y"])]
        model = model_of(nodes, [("x", outer, ["N", N])], [("y", outer, ["N", N])], {})
    for name, array in (("w", W), ("v", V)):
        model.graph.initializer.append(helper.make_tensor(name, kind, array.shape, array.ravel()))
    feeds: Any = {"x": FEEDS["x"].astype({"float16": "f2", "double": "f8"}[dtype] if ends else "f4")}
    made = quantised(tmp_path, model, feeds)
    assert len(weights_of(made)) == 2
    assert made.stat().st_size < 0.8 * (tmp_path / "source.onnx").stat().st_size
    if dtype == "bfloat16":
        return  # ONNX Runtime's processor has no kernel for the source itself
    assert decibels(tmp_path / "source.onnx", made, feeds) > 30
    assert answers(made, feeds)["y"].dtype == feeds["x"].dtype


def test_functions_are_written_out(tmp_path: Path) -> None:
    layer = helper.make_function(
        "local", "Layer", ["a", "k"], ["z"], [node("MatMul", ["a", "k"], ["p"]), node("Relu", ["p"], ["z"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [node("Layer", ["x", "w"], ["t"], domain="local"), node("Layer", ["t", "v"], ["y"], domain="local")]
    model = model_of(nodes, X, Y, {"w": W, "v": V}, domains=[("local", 1)], functions=[layer])
    made = quantised(tmp_path, model, FEEDS)
    assert len(weights_of(made)) == 2
    assert decibels(tmp_path / "source.onnx", made, FEEDS) > 30


def test_functions_with_casts_of_their_own(tmp_path: Path) -> None:
    layer = helper.make_function(
        "local", "Layer", ["a", "k"], ["z"],
        [node("Cast", ["a"], ["b"], to=TensorProto.FLOAT16), node("MatMul", ["b", "k"], ["p"]),
         node("Cast", ["p"], ["z"], to=FLOAT)],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [node("Layer", ["x", "w"], ["t"], domain="local"), node("Layer", ["t", "v"], ["y"], domain="local")]
    halves = {"w": W.astype(np.float16), "v": V.astype(np.float16)}
    model = model_of(nodes, X, Y, halves, domains=[("local", 1)], functions=[layer])
    made = quantised(tmp_path, model, FEEDS)
    assert len(weights_of(made)) == 2
    assert decibels(tmp_path / "source.onnx", made, FEEDS) > 30


@pytest.mark.parametrize("own", [True, False])
def test_an_opset_from_before_int8_is_raised(tmp_path: Path, own: Any) -> None:
    middle = node("Gelu", ["t"], ["g"], domain="com.microsoft") if own else node("Relu", ["t"], ["g"])
    nodes = [node("MatMul", ["x", "w"], ["t"]), middle, node("MatMul", ["g", "v"], ["y"])]
    made = quantised(tmp_path, model_of(nodes, X, Y, {"w": W, "v": V}, opset=11), FEEDS)
    assert len(weights_of(made)) == 2
    imported = {entry.domain: entry.version for entry in onnx.load_model(made).opset_import}
    assert imported == {"": 13} | ({"com.microsoft": 1} if own else {}), "what is used: an older server has no more"
    assert decibels(tmp_path / "source.onnx", made, FEEDS) > 24


def test_an_operator_of_onnx_runtime_that_is_not_imported(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["t"]),
        node("Gelu", ["t"], ["g"], domain="com.microsoft"),
        node("MatMul", ["g", "v"], ["y"]),
    ]
    made = quantised(tmp_path, model_of(nodes, X, Y, {"w": W, "v": V}), FEEDS)
    assert len(weights_of(made)) == 2


def test_a_decoder_that_is_calibrated_on_its_first_step(tmp_path: Path) -> None:
    """Its cache is empty then: a tensor of no values has the range of zero."""
    nodes = [
        node("MatMul", ["x", "w"], ["k"]),
        node("Concat", ["past", "k"], ["present"], axis=1),
        node("ReduceMean", ["present"], ["mean"], axes=[1], keepdims=0),
        node("MatMul", ["mean", "v"], ["y"]),
    ]
    inputs = [("x", FLOAT, ["N", 1, N]), ("past", FLOAT, ["N", "P", N])]
    outputs = [("y", FLOAT, ["N", N]), ("present", FLOAT, ["N", "Q", N])]
    feeds = {"x": numbers(32, 1, N), "past": np.zeros((32, 0, N), np.float32)}
    made = quantised(tmp_path, model_of(nodes, inputs, outputs, {"w": W, "v": V}), feeds)
    assert len(weights_of(made)) == 2
    assert decibels(tmp_path / "source.onnx", made, feeds) > 24


def test_a_mask_of_minus_infinity_stays_in_float(tmp_path: Path, caplog: Any) -> None:
    mask = np.where(np.arange(N) < N // 2, 0.0, -np.inf).astype(np.float32)
    nodes = [
        node("MatMul", ["x", "w"], ["t"]),
        node("Relu", ["t"], ["r"]),
        node("Add", ["r", "mask"], ["m"]),
        node("Softmax", ["m"], ["s"]),
        node("MatMul", ["s", "v"], ["y"]),
    ]
    made = quantised(tmp_path, model_of(nodes, X, Y, {"w": W / 8, "v": V, "mask": mask}), FEEDS)
    assert len(weights_of(made)) == 2
    assert decibels(tmp_path / "source.onnx", made, FEEDS) > 24
    assert caplog.text == "", "it was left out at once, not found out by trying"


SERIES = {"x": numbers(8, 10, 8)}


def recurrent(kind: str, gates: int) -> onnx.ModelProto:
    nodes = [node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node(kind, ["t", "w", "r"], ["", "y"], hidden_size=32)]
    weights = {"w": numbers(1, gates * 32, 8), "r": numbers(1, gates * 32, 32)}
    return model_of(nodes, [("x", FLOAT, ["N", 10, 8])], [("y", FLOAT, [1, "N", 32])], weights)


def tree() -> onnx.ModelProto:
    one = node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, nodes_falsenodeids=[2, 0, 0],
        nodes_truenodeids=[1, 0, 0], nodes_featureids=[0, 0, 0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_nodeids=[0, 1, 2], nodes_treeids=[0, 0, 0], nodes_values=[0.5, 0.0, 0.0], target_ids=[0, 0],
        target_nodeids=[1, 2], target_treeids=[0, 0], target_weights=[1.0, 2.0],
    )  # fmt: skip
    return model_of([one], X, [("y", FLOAT, ["N", 1])], {}, domains=[("ai.onnx.ml", 3)])


def linear() -> onnx.ModelProto:
    one = node(
        "LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=list(map(float, numbers(N))), targets=1
    )
    return model_of([one], X, [("y", FLOAT, ["N", 1])], {}, domains=[("ai.onnx.ml", 3)])


def mostly_recurrent() -> onnx.ModelProto:
    """A recurrence with a small dense layer behind it."""
    model = recurrent("LSTM", 4)
    model.graph.node[-1].output[1] = "h"
    model.graph.node.append(node("MatMul", ["h", "last"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(numbers(32, 32), "last"))
    return model


@pytest.mark.parametrize(
    ("model", "feeds", "sentence"),
    [
        pytest.param(mostly_recurrent(), SERIES, "little to quantise: 17% of its weights have an int8", id="little"),
        pytest.param(recurrent("LSTM", 4), SERIES, "nothing to quantise: .* the model has LSTM", id="lstm"),
        pytest.param(recurrent("GRU", 3), SERIES, "nothing to quantise: .* the model has GRU", id="gru"),
        pytest.param(tree(), FEEDS, "nothing to quantise: .* TreeEnsembleRegressor", id="tree"),
        pytest.param(linear(), FEEDS, "nothing to quantise: .* LinearRegressor", id="linear"),
        pytest.param(
            model_of([node("MatMul", ["x", "w"], ["y"])], X, [("y", FLOAT, ["N", 1])], {"w": numbers(N, 1)}),
            FEEDS, r"nothing to gain: in int8 it has \d+ bytes, as it came \d+; fewer were expected", id="small",
        ),
        pytest.param(
            model_of([node("MatMul", ["x", "x"], ["y"])], [("x", FLOAT, ["N", 4, 4])], [("y", FLOAT, ["N", 4, 4])], {}),
            {"x": numbers(8, 4, 4)}, "nothing to quantise: int8 is for 32 constant weights and more of Conv", id="none",
        ),
    ],
)  # fmt: skip
def test_a_model_with_nothing_to_quantise(tmp_path: Path, model: Any, feeds: Any, sentence: str) -> None:
    with pytest.raises(QuantizationFailed) as caught:
        quantised(tmp_path, model, feeds)
    assert re.search(sentence, str(caught.value))
