"""Models under other names: they answer as before, whatever else in the file has such a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, made, node, numbers
from onnx import helper, numpy_helper
from tflite import Tensor, add, fully_connected, relu, tflite_file

from edgesmith_builder.errors import InterfaceMismatch
from edgesmith_builder.format import ModelFacts, Renames, read_source, renamed_source
from edgesmith_runtime.engine import load_engine

WHAT = "spec.optimize.alternatives[mobile].source.uri s3://m/model"
ROWS = np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32)
W = numbers(4, 4)
IN, OUT = ("a", FLOAT, ["n", 4]), ("z", FLOAT, ["n", 4])


def read(folder: Path, data: bytes) -> ModelFacts:
    folder.mkdir(parents=True)
    (folder / "source").write_bytes(data)
    return read_source(folder / "source", WHAT)


def answers(facts: ModelFacts, *arrays: Any) -> tuple[list[str], dict[str, Any]]:
    """What a file takes, and what it answers to arrays in that order."""
    engine = load_engine(facts.engine, facts.path, threads=1)
    try:
        names = [spec.name for spec in engine.inputs]
        return names, engine.infer(dict(zip(names, arrays, strict=True)))
    finally:
        engine.close()


def same(folder: Path, data: bytes, renames: Renames, *arrays: Any) -> ModelFacts:
    """A file under other names, which answers as it did under its own."""
    plain = read(folder / "plain", data)
    taken, told = answers(plain, *arrays)
    facts = renamed_source(read(folder / "renamed", data), renames, WHAT)
    assert facts.size == facts.path.stat().st_size
    names, found = answers(facts, *arrays)
    assert names == [renames.inputs.get(name, name) for name in taken]
    assert list(found) == [renames.outputs.get(name, name) for name in told]
    for before, after in zip(told.values(), found.values(), strict=True):
        np.testing.assert_array_equal(before, after)
    return facts


def graph(*nodes: Any, inputs: Any = (IN,), outputs: Any = (OUT,), **weights: Any) -> onnx.ModelProto:
    return made(nodes, inputs, outputs, weights)


def values(name: str) -> Any:
    return helper.make_tensor_value_info(name, FLOAT, ["n", 4])


PLAIN = [node("MatMul", ["a", "w"], ["h"]), node("Relu", ["h"], ["z"])]
BRANCHES = node(
    "If",
    ["yes"],
    ["z"],
    then_branch=helper.make_graph([node("Mul", ["a", "x"], ["y"])], "then", [], [values("y")], [
        numpy_helper.from_array(np.full(1, 3, np.float32), "x")
    ]),
    else_branch=helper.make_graph([node("Neg", ["a"], ["y"])], "else", [], [values("y")]),
)  # fmt: skip
SEVERAL = [node("Add", ["a", "b"], ["z"]), node("Sub", ["a", "b"], ["d"])]
TO_XY = Renames({"a": "x"}, {"z": "y"})


@pytest.mark.parametrize(
    ("model", "renames"),
    [
        pytest.param(graph(*PLAIN, w=W), TO_XY, id="what nothing else is called"),
        pytest.param(graph(*PLAIN, w=W), Renames({"a": "w"}, {"z": "h"}), id="a weight and a step are called so"),
        pytest.param(graph(*PLAIN, w=W), Renames({"a": "z"}, {"z": "a"}), id="each as the other"),
        pytest.param(graph(*PLAIN, w=W), Renames(outputs={"z": "h"}), id="the output alone"),
        pytest.param(
            graph(node("MatMul", ["a", "x"], ["x_1"]), node("Relu", ["x_1"], ["z"]), x=W), TO_XY,
            id="what would step aside as well",
        ),
        pytest.param(graph(BRANCHES, yes=np.array([True])[0]), TO_XY, id="graphs inside a node"),
        pytest.param(graph(BRANCHES, yes=np.array([False])[0]), TO_XY, id="the other branch"),
    ],
)  # fmt: skip
def test_a_graph_answers_as_before(model: onnx.ModelProto, renames: Renames, tmp_path: Path) -> None:
    same(tmp_path, model.SerializeToString(), renames, ROWS)


def test_inputs_and_outputs_keep_their_order(tmp_path: Path) -> None:
    ends = {"inputs": (IN, ("b", FLOAT, ["n", 4])), "outputs": (OUT, ("d", FLOAT, ["n", 4]))}
    data = graph(*SEVERAL, **ends).SerializeToString()
    same(tmp_path, data, Renames({"a": "b", "b": "a"}, {"z": "d", "d": "difference"}), ROWS, ROWS + 1)


@pytest.mark.parametrize(
    "renames",
    [
        pytest.param(Renames({"a": "x"}, {"a": "y"}), id="two new names"),
        pytest.param(Renames(outputs={"a": "y"}), id="a new one as the output"),
        pytest.param(Renames({"a": "x"}), id="a new one as the input"),
        pytest.param(Renames({"a": "x"}, {"a": "x", "z": "y"}), id="one new name stays one tensor"),
    ],
)
def test_an_input_that_is_an_output_may_become_two(renames: Renames, tmp_path: Path) -> None:
    same(tmp_path, graph(*PLAIN, outputs=(OUT, IN), w=W).SerializeToString(), renames, ROWS)


def test_an_input_that_is_an_output_needs_no_operators_of_onnx_s_own(tmp_path: Path) -> None:
    scaler = helper.make_node("Scaler", ["a"], ["z"], domain="ai.onnx.ml", offset=[0.5], scale=[2.0])
    model = graph(scaler, outputs=(OUT, IN))
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    same(tmp_path, model.SerializeToString(), Renames({"a": "x"}, {"a": "y"}), ROWS)


def test_a_weight_that_is_listed_as_an_input_steps_aside(tmp_path: Path) -> None:
    """As files of IR version 3 list all of theirs."""
    model = graph(*PLAIN, inputs=(IN, ("x", FLOAT, [4, 4])), w=W)
    model.graph.node[0].input[1] = model.graph.initializer[0].name = "x"
    same(tmp_path, model.SerializeToString(), TO_XY, ROWS)


def test_a_sparse_weight_steps_aside(tmp_path: Path) -> None:
    model = graph(node("MatMul", ["a", "x"], ["z"]))
    two = numpy_helper.from_array(np.array([2.0, 5.0], np.float32), "x")
    places = numpy_helper.from_array(np.array([0, 9], np.int64), "x_places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(two, places, [4, 4]))
    same(tmp_path, model.SerializeToString(), TO_XY, ROWS)


def test_what_is_said_of_tensors_follows_them(tmp_path: Path) -> None:
    model = graph(*PLAIN, w=W)
    model.graph.value_info.extend([values("h"), values("y")])
    note = model.graph.quantization_annotation.add(tensor_name="a")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    facts = same(tmp_path, model.SerializeToString(), Renames({"a": "w"}, {"z": "h"}), ROWS)
    found = onnx.load_model(facts.path).graph
    assert [value.name for value in found.value_info] == ["h_1", "y"]
    (noted,) = found.quantization_annotation
    assert (noted.tensor_name, noted.quant_parameter_tensor_names[0].value) == ("w", "w_1")
    assert [tensor.name for tensor in found.initializer] == ["w_1"]


def test_one_name_for_two_tensors_is_refused(tmp_path: Path) -> None:
    facts = read(tmp_path / "one", graph(*PLAIN, w=W).SerializeToString())
    with pytest.raises(InterfaceMismatch, match=r"has two tensors, 'a' and 'z', for what spec.source calls 'x' both"):
        renamed_source(facts, Renames({"a": "x"}, {"z": "x"}), WHAT)
    with pytest.raises(InterfaceMismatch, match=r"'a' and 'z', for what spec.source calls 'a'"):
        renamed_source(facts, Renames(outputs={"z": "a"}), WHAT)


def test_nothing_is_written_where_nothing_is_renamed(tmp_path: Path) -> None:
    facts = read(tmp_path / "one", graph(*PLAIN, w=W).SerializeToString() + b"\xa2\x06\x00")
    before = facts.path.read_bytes()
    assert renamed_source(facts, Renames(), WHAT) is facts
    assert facts.path.read_bytes() == before


# TFLite ---------------------------------------------------------------------------------------------------------------

X, Y = Tensor("x", (1, 4)), Tensor("y", (1, 4))


@pytest.mark.parametrize("now", ["data", "ein viel längerer Name, länger als alles vorher " * 4, "y"])
def test_a_tflite_file_answers_as_before(now: str, tmp_path: Path) -> None:
    renames = Renames({"x": now}, {"y": "scores"})
    facts = same(tmp_path, fully_connected(numbers(16, 4)), renames, np.ones((1, 16), np.float32))
    again = read(tmp_path / "again", facts.path.read_bytes())
    assert (again.precision, again.parameters) == (facts.precision, facts.parameters)


def test_a_tflite_file_may_call_an_input_and_an_output_alike(tmp_path: Path) -> None:
    same(tmp_path, tflite_file([X, Y], [relu("x", "y")], ["x"], ["y"]), Renames({"x": "t"}, {"y": "t"}), ROWS[:1])


def test_one_tensor_with_two_names_is_refused_in_a_tflite_file(tmp_path: Path) -> None:
    data = tflite_file([X, Y], [add("x", "y")], ["x"], ["y", "x"])
    facts = read(tmp_path / "one", data)
    with pytest.raises(InterfaceMismatch, match=r"answers with its input 'x' itself, .* 'data' and 'x', and a tensor"):
        renamed_source(facts, Renames({"x": "data"}), WHAT)
    assert facts.path.read_bytes() == data
    same(tmp_path, data, Renames({"x": "data"}, {"x": "data"}), ROWS[:1])
