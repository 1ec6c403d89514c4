"""ONNX models that somebody wrote by hand: each is refused in one sentence, and no build is tried again for it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from graphs import FLOAT, model_of, node, numbers

from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import ModelInvalid, RequestInvalid
from edgesmith_builder.format.onnx import functions, read_model
from edgesmith_builder.interface import check_servable
from edgesmith_builder.metric import Evaluation, metric_of
from edgesmith_builder.score import ScoreFailed, golden_inputs
from edgesmith_runtime.engine import Engine
from edgesmith_runtime.tensors import TensorSpec

WHAT = "spec.source.uri s3://m/model.onnx"
X: Any = [("x", FLOAT, ["N", 4])]
Y: Any = [("y", FLOAT, ["N", 4])]


def written(folder: Path, data: bytes) -> Path:
    (folder / "model.onnx").write_bytes(data)
    return folder / "model.onnx"


def product() -> onnx.ModelProto:
    return model_of([node("MatMul", ["x", "w"], ["y"])], X, Y, {"w": numbers(4, 4)})


@pytest.mark.parametrize(
    ("text", "field"),
    [(b"MatMul", "op_type"), (b"\x01w", "input"), (b"\x01y", "output"), (b"N", "dim_param")],
)
def test_names_that_are_not_utf_8_are_refused(tmp_path: Path, text: bytes, field: str) -> None:
    data = product().SerializeToString().replace(text, text[:-1] + b"\xff")
    with pytest.raises(ModelInvalid, match=f"has bytes in a field '{field}' that are not UTF-8; text was expected"):
        read_model(written(tmp_path, data), WHAT)


def test_names_in_a_branch_are_looked_at_too(tmp_path: Path) -> None:
    model = product()
    inner = onnx.helper.make_graph([node("Identity", ["x"], ["inside"])], "branch", [], [])
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("then_branch", inner))
    data = model.SerializeToString().replace(b"inside", b"insid\xff")
    with pytest.raises(ModelInvalid, match="'output' that are not UTF-8"):
        read_model(written(tmp_path, data), WHAT)


@pytest.mark.parametrize("labels", ["[" * 200_000, '["\\ud800", "b"]', "5", '[""'])
def test_class_names_that_cannot_be_written_are_left_out(tmp_path: Path, labels: str) -> None:
    model = product()
    onnx.helper.set_model_props(model, {"labels": labels})
    assert read_model(written(tmp_path, model.SerializeToString()), WHAT).labels is None


@pytest.mark.parametrize("of", ["QuantizeLinear", "Constant"])
def test_an_operator_without_inputs_and_outputs_is_the_engines_to_refuse(tmp_path: Path, of: str) -> None:
    model = product()
    bare = onnx.helper.make_node(of, [], [])
    if of == "Constant":
        bare.attribute.append(onnx.helper.make_attribute("value", model.graph.initializer[0]))
    model.graph.node.insert(0, bare)
    assert read_model(written(tmp_path, model.SerializeToString()), WHAT).precision == "fp32"


@pytest.mark.parametrize("place", ["initializer", "attribute", "branch"])
def test_a_sparse_tensor_that_unpacks_to_more_than_a_model_is_refused(tmp_path: Path, place: str) -> None:
    values = onnx.numpy_helper.from_array(np.ones(1, np.float32), "holes")
    places = onnx.numpy_helper.from_array(np.zeros(1, np.int64))
    sparse = onnx.helper.make_sparse_tensor(values, places, [2**15, 2**15])
    constant = onnx.helper.make_node("Constant", [], ["c"], sparse_value=sparse)
    model = product()
    if place == "initializer":
        model.graph.sparse_initializer.append(sparse)
    elif place == "attribute":
        model.graph.node.append(constant)
    else:
        inner = onnx.helper.make_graph([constant], "branch", [], [])
        model.graph.node[0].attribute.append(onnx.helper.make_attribute("then_branch", inner))
    with pytest.raises(
        ModelInvalid, match=r"sparse tensor 'holes' of shape \[32768, 32768\]; at most 2\.1 GB were exp"
    ):
        read_model(written(tmp_path, model.SerializeToString()), WHAT)


def engine(inputs: list[str], outputs: list[str]) -> Engine:
    specs = [tuple(TensorSpec(name, "FP32", (-1, 4)) for name in names) for names in (inputs, outputs)]
    return cast("Engine", SimpleNamespace(inputs=specs[0], outputs=specs[1]))


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ([], ["y"], "has no input; at least one was expected"),
        (["x"], [], "has no output; at least one was expected"),
        (["x"], ["y", "z", "y"], "has the output 'y' twice; names that differ were expected"),
        (["a\0b"], ["y"], r"has an input 'a\\x00b', a name of 3 characters; 1 to 200 without control"),
        (["x"], ["a\nb"], r"has an output 'a\\nb', a name of 3 characters"),
        (["x", ""], ["y"], "has an input '', a name of 0 characters"),
        (["x" * 201], ["y"], "has an input 'x{100}', a name of 201 characters"),
    ],
)
def test_what_no_request_can_name_is_refused(inputs: list[str], outputs: list[str], words: str) -> None:
    with pytest.raises(ModelInvalid, match=f"^{WHAT} {words}"):
        check_servable(WHAT, engine(inputs, outputs))


def test_an_input_and_an_output_may_share_a_name_of_any_letters() -> None:
    check_servable(WHAT, engine(["x" * 200, "serving/default:0"], ["x" * 200, "日本"]))


@pytest.mark.parametrize("shape", [(1, 2**40), (1, 2**62, 2**62), (1, 0, 2**62), (2**24,), (-1, 2**23 + 1)])
def test_samples_of_any_size_are_not_made_up(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestInvalid, match="at most 8388608 values were expected to make samples up, or a data"):
        golden_inputs(None, [TensorSpec("x", "FP32", shape)], 1)


@pytest.mark.parametrize(("datatype", "most"), [("FP32", 256), ("INT64", 2)])
def test_samples_that_are_made_up_are_the_same_numbers_one_by_one(datatype: str, most: int) -> None:
    (found,) = golden_inputs(None, [TensorSpec("x", datatype, (1, 5, 7))], 1).inputs.values()
    wanted = np.random.Generator(np.random.PCG64(0)).integers(0, most, (8, 5, 7))
    assert np.array_equal(found, wanted / (256 if datatype == "FP32" else 1))


def test_a_box_without_end_is_no_answer() -> None:
    box = np.array([[[0, 0, 1, 1, 0.9, -np.inf]]], np.float32)
    answering = SimpleNamespace(infer=lambda *_: {"y": box})
    labels = np.array([[[0, 0, 1, 1, 0.0]]])
    samples = Samples({"x": np.zeros((1, 4), np.float32)}, {"x": 2}, batches=False, labels=labels)
    with pytest.raises(ScoreFailed, match="the output 'y' has minus infinity in a box"):
        metric_of("MeanAveragePrecision", {}).score(cast("Engine", answering), Evaluation(samples, "y"))


def tower(deep: int, times: int = 2, first: str = "Relu") -> onnx.ModelProto:
    """Functions that each call the one before some times in a row."""
    imports = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("f", 1)]

    def function(number: int) -> onnx.FunctionProto:
        values = ["a", *(f"m{place}" for place in range(times - 1)), "b"]
        called = (first, "") if number == 0 else (f"F{number - 1}", "f")
        nodes = [node(called[0], [a], [b], domain=called[1]) for a, b in pairwise(values)]
        return onnx.helper.make_function("f", f"F{number}", ["a"], ["b"], nodes, imports)

    made = [function(number) for number in reversed(range(deep))]
    return model_of([node(f"F{deep - 1}", ["x"], ["y"], domain="f")], X, Y, {}, domains=[("f", 1)], functions=made)


@pytest.mark.parametrize(
    ("deep", "times", "most"), [(26, 2, 50_000), (20_000, 2, 50_000), (3, 4, 63), (5, 2, 31)], ids=str
)
def test_functions_that_come_to_too_much_are_counted_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deep: int, times: int, most: int
) -> None:
    monkeypatch.setattr(functions, "MOST", most)
    words = f"comes to more than {most} operators with its functions written out; at most {most} were expected"
    path = written(tmp_path, tower(deep, times).SerializeToString())
    with pytest.raises(ModelInvalid, match=f"^{WHAT} {words}$"):
        read_model(path, WHAT)
    if times**deep == most + 1:
        monkeypatch.setattr(functions, "MOST", most + 1)
        assert read_model(path, WHAT).engine == "onnxruntime"


@pytest.mark.parametrize(("inside", "called", "total"), [(False, "F1", 4 + 1 + 4), (True, "F0", 4 + 1 + 2)])
def test_calls_in_a_branch_are_counted_too(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inside: bool,  # noqa: FBT001 - a parameter of the test
    called: str,
    total: int,
) -> None:
    model = tower(2)
    branch = onnx.helper.make_graph([node(called, ["x"], ["z"], domain="f")], "branch", [], [])
    holder = onnx.helper.make_node("If", ["x"], ["i"], then_branch=branch)
    (model.functions[0] if inside else model.graph).node.append(holder)
    path = written(tmp_path, model.SerializeToString())
    monkeypatch.setattr(functions, "MOST", total)
    assert read_model(path, WHAT).format == "ONNX"
    monkeypatch.setattr(functions, "MOST", total - 1)
    with pytest.raises(ModelInvalid, match=f"comes to more than {total - 1} operators"):
        read_model(path, WHAT)


@pytest.mark.parametrize("domain", ["f", ""])
def test_a_function_that_calls_itself_is_refused(tmp_path: Path, domain: str) -> None:
    model = tower(2, first="F1")
    for function in model.functions:
        function.domain = domain
        for call in function.node:
            call.domain = domain or "ai.onnx"
    with pytest.raises(ModelInvalid, match=r"has the function 'F[01]', which calls itself; functions that come to"):
        read_model(written(tmp_path, model.SerializeToString()), WHAT)


@pytest.mark.parametrize(("overload", "refused"), [("", True), ("b", False)])
def test_a_function_is_known_by_its_overload_too(tmp_path: Path, overload: str, refused: bool) -> None:  # noqa: FBT001 - a parameter of the test
    model = tower(1, first="F0")
    for one in model.functions[0].node:
        one.domain, one.overload = "f", overload
    if refused:
        with pytest.raises(ModelInvalid, match="which calls itself"):
            read_model(written(tmp_path, model.SerializeToString()), WHAT)
    else:
        assert read_model(written(tmp_path, model.SerializeToString()), WHAT).format == "ONNX"
