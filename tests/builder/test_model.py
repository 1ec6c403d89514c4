"""Models as they come: what is read of them, what is refused, and what is left to the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import FLOAT, answers, model_of, node, numbers, quantised, weights_of
from onnxruntime.quantization import QuantType, quantize_dynamic

from edgesmith_builder.errors import ModelHasNaN, ModelInvalid
from edgesmith_builder.format import ModelFacts
from edgesmith_builder.format.onnx import read_model, shaped
from edgesmith_runtime.engine import EngineError, load_engine

N = 64
X: Any = [("x", FLOAT, ["N", N])]
Y: Any = [("y", FLOAT, ["N", N])]
W, ROW = numbers(N, N), numbers(N)
FEEDS = {"x": numbers(4, N)}
NAN = np.array(np.nan, np.float32)


def read(folder: Path, model: onnx.ModelProto) -> ModelFacts:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return read_model(folder / "model.onnx", "spec.source.uri s3://m/model.onnx")


def plain(**changes: Any) -> onnx.ModelProto:
    nodes = [node("MatMul", ["x", "w"], ["t"]), node("MatMul", ["t", "v"], ["y"])]
    return model_of(nodes, X, Y, {"w": W, "v": W}, **changes)


NORMALISED = model_of([node("LayerNormalization", ["x", "s"], ["y"])], X, Y, {"s": ROW}, opset=13)
OWN = model_of([node("Gelu", ["x"], ["y"], domain="com.microsoft")], X, Y, {})
MISSING = model_of(
    [node("IsNaN", ["x"], ["gone"]), node("Where", ["gone", "nan", "x"], ["y"])], X, Y, {"nan": NAN}
)  # fmt: skip


UNTYPED, UNSHAPED, UNSORTED = plain(), plain(), plain()
UNTYPED.graph.output[0].ClearField("type")
UNSHAPED.graph.output[0].type.tensor_type.ClearField("shape")
UNSORTED.graph.node.insert(0, UNSORTED.graph.node.pop())
RUNS = {
    "normalised-in-opset-13": NORMALISED, "not-imported": OWN, "nan-for-missing": MISSING,
    "output-without-type": UNTYPED, "output-without-shape": UNSHAPED, "not-in-order": UNSORTED,
}  # fmt: skip


@pytest.mark.parametrize("model", list(RUNS.values()), ids=list(RUNS))
def test_what_the_engine_runs_is_read(tmp_path: Path, model: onnx.ModelProto) -> None:
    assert read(tmp_path, model).precision == "fp32"
    assert answers(tmp_path / "model.onnx", FEEDS)["y"].shape == (4, N)


@pytest.mark.parametrize("model", [UNTYPED, UNSHAPED, UNSORTED], ids=["without-type", "without-shape", "not-in-order"])
def test_what_the_engine_runs_becomes_int8(tmp_path: Path, model: onnx.ModelProto) -> None:
    assert len(weights_of(quantised(tmp_path, model, FEEDS))) == 2


@pytest.mark.parametrize("operator", ["Add", "Mul", "Div", "Sub"])
def test_nan_that_reaches_the_answer_is_named(tmp_path: Path, operator: str) -> None:
    with pytest.raises(ModelHasNaN, match="has NaN in 1 of the 1 values of the tensor 'nan'"):
        read(tmp_path, model_of([node(operator, ["x", "nan"], ["y"])], X, Y, {"nan": NAN}))


def test_nan_inside_a_branch_is_named(tmp_path: Path) -> None:
    then = onnx.helper.make_graph(
        [node("Constant", [], ["c"], value_float=1.0), node("Mul", ["x", "nan"], ["a"])],
        "then", [], [onnx.helper.make_tensor_value_info("a", FLOAT, None)],
        [onnx.numpy_helper.from_array(NAN, "nan")],
    )  # fmt: skip
    other = onnx.helper.make_graph(
        [node("Neg", ["x"], ["b"])], "else", [], [onnx.helper.make_tensor_value_info("b", FLOAT, None)]
    )
    nodes = [node("If", ["yes"], ["y"], then_branch=then, else_branch=other)]
    with pytest.raises(ModelHasNaN, match="'nan'"):
        read(tmp_path, model_of(nodes, X, Y, {"yes": np.array(True)}))


def test_an_input_without_a_shape_gets_the_axes_of_the_set(tmp_path: Path) -> None:
    model = plain()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    facts = read(tmp_path, model)
    assert facts.shapeless == ("x",)
    after = shaped(facts, {"x": 2, "other": 3}, "the model")
    assert (after.shapeless, after.size) == ((), facts.path.stat().st_size)
    engine = load_engine("onnxruntime", facts.path, threads=1)
    assert [(spec.name, spec.shape) for spec in engine.inputs] == [("x", (-1, -1))]
    engine.close()


def test_an_input_without_a_shape_that_no_set_has_is_named(tmp_path: Path) -> None:
    model = plain()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    facts = read(tmp_path, model)
    with pytest.raises(ModelInvalid, match=r"input 'x' without a shape; an array of that name in spec.calibration or"):
        shaped(facts, {"other": 2}, "the model")


def another_ir(model: onnx.ModelProto) -> None:
    model.ir_version = 99


@pytest.mark.parametrize(
    "spoil", [lambda m: m.graph.initializer[0].dims.append(2), lambda m: m.graph.input.pop(), another_ir]
)
def test_what_the_engine_does_not_load_is_said_without_a_path(tmp_path: Path, spoil: Any) -> None:
    model = plain()
    spoil(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EngineError) as caught:
        load_engine("onnxruntime", tmp_path / "model.onnx", threads=1)
    assert str(tmp_path) not in str(caught.value)
    assert "onnxruntime_src" not in str(caught.value)


# Quantised before ---------------------------------------------------------------------------------------------------


def test_what_we_quantise_is_known_as_int8(tmp_path: Path) -> None:
    made = quantised(tmp_path, plain(), FEEDS)
    assert read_model(made, "x").precision == "int8"


def test_dynamic_quantisation_is_known_as_int8(tmp_path: Path) -> None:
    onnx.save_model(plain(), tmp_path / "plain.onnx")
    quantize_dynamic(tmp_path / "plain.onnx", tmp_path / "dynamic.onnx", weight_type=QuantType.QUInt8)
    assert read_model(tmp_path / "dynamic.onnx", "x").precision == "int8"


SCALE, ZERO = np.array(0.1, np.float32), np.array(0, np.int8)
EIGHT = (W * 20).astype(np.int8)
QUANTISERS = {"s": SCALE, "z": ZERO}


@pytest.mark.parametrize(
    ("nodes", "weights", "precision"),
    [
        pytest.param([("DequantizeLinear", "e s z", "w"), ("MatMul", "x w", "y")], {"e": EIGHT}, "int8", id="weights"),
        pytest.param(
            [("QuantizeLinear", "v s z", "q"), ("DequantizeLinear", "q s z", "w"), ("MatMul", "x w", "y")],
            {"v": W}, "int8", id="quantisation-aware-training",
        ),
        pytest.param(
            [("QuantizeLinear", "x s z", "q"), ("DequantizeLinear", "q s z", "d"), ("MatMul", "d w", "y")],
            {"w": W}, "fp32", id="an-input-only",
        ),
        pytest.param(
            [("DequantizeLinear", "t s z", "d"), ("MatMul", "x w", "m"), ("Add", "m d", "y")],
            {"t": EIGHT[:1], "w": W}, "fp32", id="a-table-only",
        ),
        pytest.param(
            [("QuantizeLinear", "x s z", "q"), ("DequantizeLinear", "q s z", "d"), ("Relu", "d", "y")],
            {}, "fp32", id="no-weights",
        ),
        pytest.param([("Cast", "e", "w"), ("MatMul", "x w", "y")], {"e": EIGHT}, "fp32", id="bytes-that-are-cast"),
    ],
)  # fmt: skip
def test_weights_decide(tmp_path: Path, nodes: Any, weights: Any, precision: str) -> None:
    made = [
        node(kind, reads.split(), [writes], **({"to": FLOAT} if kind == "Cast" else {}))
        for kind, reads, writes in nodes
    ]
    assert read(tmp_path, model_of(made, X, Y, QUANTISERS | weights)).precision == precision
    assert answers(tmp_path / "model.onnx", FEEDS)["y"].shape == (4, N)


def test_weights_in_a_constant_node_decide_too(tmp_path: Path) -> None:
    constant = node("Constant", [], ["e"], value=onnx.numpy_helper.from_array(EIGHT))
    nodes = [constant, node("DequantizeLinear", ["e", "s", "z"], ["w"]), node("MatMul", ["x", "w"], ["y"])]
    assert read(tmp_path, model_of(nodes, X, Y, QUANTISERS)).precision == "int8"
