"""ONNX models in fp16: what is in the file, what cannot be, and that the stand-in rounds at every value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from candidates import FLOAT, INT64, made, node, numbers
from halves import FINE, Array, X, Y, answers, branching, converted, f32
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.format.onnx.nesting import subgraphs
from edgesmith_builder.format.onnx.weights import tensors
from edgesmith_builder.toolchain.half import in_half, types_of
from edgesmith_builder.toolchain.rounded import rounded

HALF, BOOL = TensorProto.FLOAT16, TensorProto.BOOL


def number_types(model: onnx.ModelProto) -> set[int]:
    """Of all constants."""
    return {tensor.data_type for _, tensor in tensors(model.graph)}


def wide() -> onnx.ModelProto:
    """Two products of matrices and what lies between them."""
    weights: dict[str, Array] = {
        "a": numbers(4, 256, seed=1),
        "c": numbers(256, seed=2),
        "b": numbers(256, 4, seed=3) / 16,
    }
    nodes = [
        node("MatMul", ["x", "a"], ["h"]),
        node("Add", ["h", "c"], ["s"]),
        node("Sigmoid", ["s"], ["r"]),
        node("MatMul", ["r", "b"], ["y"]),
    ]
    return made(nodes, X, Y, weights)


def steps() -> onnx.ModelProto:
    """Steps that IEEE 754 gives one right result each: rounding the fp32 one to fp16 is computing in fp16."""
    weights = {"big": f32([1000, 3, 0.1, 77]), "two": f32([3.1])}
    nodes = [
        node("Add", ["x", "big"], ["s"]),
        node("Sub", ["s", "big"], ["d"]),
        node("Mul", ["d", "two"], ["m"]),
        node("Div", ["m", "big"], ["q"]),
        node("Abs", ["q"], ["p"]),
        node("Sqrt", ["p"], ["r"]),
        node("Concat", ["r", "d"], ["both"], axis=0),
        node("Add", ["both", "two"], ["y"]),
    ]
    return made(nodes, X, [("y", FLOAT, ["m", 4])], weights)


def check_branches(model: onnx.ModelProto, folder: Path) -> None:
    """Both branches of `branching` are computed as ONNX describes it, number by number."""
    half, stand_in = converted(model, folder)
    for which in (True, False):
        feeds = {"x": FINE, "which": np.array(which)}
        expected: Any = ReferenceEvaluator(half).run(None, feeds)
        np.testing.assert_array_equal(answers(stand_in, **feeds), expected)


def looping() -> onnx.ModelProto:
    """A loop that adds what lies outside to what it carries."""
    body = helper.make_graph(
        [node("Add", ["carried", "step"], ["next"]), node("Identity", ["go"], ["on"])],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("go", BOOL, []),
            helper.make_tensor_value_info("carried", FLOAT, ["n", 4]),
        ],
        [
            helper.make_tensor_value_info("on", BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, ["n", 4]),
        ],
    )
    nodes = [node("Mul", ["x", "c"], ["step"]), node("Loop", ["times", "always", "x"], ["y"], body=body)]
    return made(nodes, [*X, ("times", INT64, [])], Y, {"c": f32([0.37]), "always": np.array(True)})


def test_constants_and_values_are_fp16_and_inputs_and_outputs_stay(tmp_path: Path) -> None:
    model = wide()
    half, _ = converted(model, tmp_path)
    assert number_types(half) == {HALF}
    assert [(one.domain, one.version) for one in half.opset_import] == [("", 17)]
    assert half.ir_version == model.ir_version
    ends = [value.type.tensor_type.elem_type for value in (*half.graph.input, *half.graph.output)]
    assert ends == [FLOAT, FLOAT]
    assert [value.name for value in (*half.graph.input, *half.graph.output)] == ["x", "y"]
    assert [one.op_type for one in half.graph.node if one.op_type == "Cast"] == ["Cast"] * 2
    types = types_of(half)
    assert {types[name] for one in half.graph.node for name in one.output} == {HALF, FLOAT}
    assert [name for one in half.graph.node for name in one.output if types[name] == FLOAT] == ["y"]


def test_a_file_in_fp16_has_half_the_bytes_and_the_same_ones_each_time(tmp_path: Path) -> None:
    onnx.save(wide(), tmp_path / "source.onnx")
    first, second = (in_half(tmp_path / "source.onnx", tmp_path / f"{name}.onnx").file for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    assert 0.5 < first.stat().st_size / (tmp_path / "source.onnx").stat().st_size < 0.6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.onnx", "source.onnx", "two.onnx"]


@pytest.mark.parametrize(
    ("model", "more"),
    [
        pytest.param(steps(), [{}], id="steps"),
        pytest.param(branching(), [{"which": np.array(True)}, {"which": np.array(False)}], id="If"),
        pytest.param(looping(), [{"times": np.array(count)} for count in (0, 1, 7)], id="Loop"),
    ],
)
def test_the_stand_in_rounds_at_every_value(
    model: onnx.ModelProto, more: Sequence[dict[str, Array]], tmp_path: Path
) -> None:
    """It answers bit by bit as ONNX's own evaluator, which computes these steps in numpy's fp16."""
    half, stand_in = converted(model, tmp_path)
    oracle = ReferenceEvaluator(half)
    for feeds in more:
        expected: Any = oracle.run(None, {"x": FINE, **feeds})
        np.testing.assert_array_equal(answers(stand_in, x=FINE, **feeds), expected)


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_ALL"])
def test_no_optimisation_takes_the_rounding_out(level: str, tmp_path: Path) -> None:
    half, stand_in = converted(steps(), tmp_path)
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    session = ort.InferenceSession(str(stand_in), options, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": FINE}), ReferenceEvaluator(half).run(None, {"x": FINE}))


def test_onnx_runtime_itself_does_not_round_between_fp16_s_nodes(tmp_path: Path) -> None:
    """Why there is a stand-in: the day that this fails, the file can be asked itself."""
    half, stand_in = converted(steps(), tmp_path)
    assert not np.array_equal(answers(half, x=FINE)[0], answers(stand_in, x=FINE)[0])


def test_numbers_above_fp16_become_infinite_in_the_stand_in(tmp_path: Path) -> None:
    model = made([node("Mul", ["x", "x"], ["y"])], X, Y, {})
    _, stand_in = converted(model, tmp_path)
    x = f32([[255, 256, -300, 1 + 2**-11]])
    assert answers(stand_in, x=x)[0].tolist() == [[float(np.float16(65025.0)), np.inf, np.inf, 1]]


def test_casts_of_whole_numbers_round_as_fp16_does(tmp_path: Path) -> None:
    nodes = [node("Cast", ["x"], ["f"], to=FLOAT), node("Add", ["f", "c"], ["s"]), node("Cast", ["s"], ["y"], to=INT64)]
    model = made(nodes, [("x", INT64, ["n"])], [("y", INT64, ["n"])], {"c": f32([1])})
    half, stand_in = converted(model, tmp_path)
    assert [one.attribute[0].i for one in half.graph.node if one.op_type == "Cast"] == [HALF, INT64]
    x = np.array([5, 2047, 2049, 4099])
    assert answers(stand_in, x=x)[0].tolist() == [6, 2048, 2048, 4100]


def test_a_model_that_came_in_fp16_keeps_the_types_of_its_inputs_and_outputs(tmp_path: Path) -> None:
    weights: dict[str, Array] = {"a": numbers(4, seed=1).astype(np.float16)}
    model = made([node("Mul", ["x", "a"], ["y"])], [("x", HALF, ["n", 4])], [("y", HALF, ["n", 4])], weights)
    half, stand_in = converted(model, tmp_path)
    assert {value.type.tensor_type.elem_type for value in (*half.graph.input, *half.graph.output)} == {HALF}
    x = FINE.astype(np.float16)
    (found,) = answers(stand_in, x=x)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, x * weights["a"])


def test_the_ends_of_fp16_and_infinity_stay_what_they_are(tmp_path: Path) -> None:
    kept = f32([65504, -65504, -np.inf, 2**-24])
    half, _ = converted(made([node("Add", ["x", "m"], ["y"])], X, Y, {"m": kept}), tmp_path)
    assert numpy_helper.to_array(half.graph.initializer[0]).tolist() == kept.tolist()


def test_a_small_constant_does_not_become_zero(tmp_path: Path) -> None:
    half, _ = converted(made([node("Div", ["x", "e"], ["y"])], X, Y, {"e": f32([1e-12])}), tmp_path)
    assert numpy_helper.to_array(half.graph.initializer[0]).tolist() == [2**-24]


def test_batch_normalisation_is_folded_before_anything_is_rounded(tmp_path: Path) -> None:
    """A variance of 1e-9 is 0 in fp16, and one of 1e6 has no number there."""
    picture = [("x", FLOAT, ["n", 2, 5, 5])]
    weights = {"w": numbers(2, 2, 3, 3, seed=1), "mean": np.zeros(2, np.float32), "bias": f32([0.5, 0.25])}
    weights |= {"var": f32([1e-3, 1e6]), "scale": f32([0.1, 1000])}
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["y"]),
    ]
    model = made(nodes, picture, [("y", FLOAT, ["n", 2, 3, 3])], weights)
    half, stand_in = converted(model, tmp_path)
    assert [one.op_type for one in half.graph.node] == ["Cast", "Conv", "Cast"]
    x = numbers(3, 2, 5, 5, seed=9)
    np.testing.assert_allclose(answers(stand_in, x=x)[0], answers(model, x=x)[0], atol=0.02, rtol=4e-3)


def test_what_onnx_has_no_fp16_form_of_stays_in_fp32_with_constants_of_its_own(tmp_path: Path) -> None:
    """The threshold is one constant with what is multiplied; boxes in fp16 are compared in fp32, beyond fp16 too."""
    weights = {"most": np.array([8]), "half": f32([0.3]), "least": f32([-1e9])}
    nodes = [
        node("Mul", ["boxes", "half"], ["b"]),
        node("NonMaxSuppression", ["b", "scores", "most", "half", "least"], ["picked"]),
        node("Cast", ["picked"], ["y"], to=FLOAT),
    ]
    inputs = [("boxes", FLOAT, [1, 6, 4]), ("scores", FLOAT, [1, 1, 6])]
    half, stand_in = converted(made(nodes, inputs, [("y", FLOAT, ["k", 3])], weights), tmp_path)
    (picker,) = (one for one in half.graph.node if one.op_type == "NonMaxSuppression")
    constants = {one.name: one for one in half.graph.initializer}
    assert numpy_helper.to_array(constants[picker.input[3]]).tolist() == [float(np.float32(0.3))]
    assert numpy_helper.to_array(constants[picker.input[4]]).tolist() == [-1e9]
    assert set(constants) <= {name for one in half.graph.node for name in one.input}, "no copy that nobody reads"
    types = types_of(half)
    assert [types[name] for name in picker.input] == [FLOAT, FLOAT, INT64, FLOAT, FLOAT]
    (scaled,) = (one for one in half.graph.node if one.op_type == "Mul")
    assert [types[name] for name in scaled.input] == [HALF, HALF]
    corners = np.sort(numbers(1, 6, 2, 2, seed=2), axis=2).reshape(1, 6, 4)
    feeds = {"boxes": corners, "scores": np.abs(numbers(1, 1, 6, seed=4))}
    found, expected = answers(stand_in, **feeds)[0], answers(tmp_path / "source.onnx", **feeds)[0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("opset", "place"), [(10, 1), (13, 2), (19, 2)])
def test_resize_takes_fp16_and_scales_in_fp32(opset: int, place: int, tmp_path: Path) -> None:
    inputs = ["x", "scales"] if opset == 10 else ["x", "", "scales"]
    model = made(
        [node("Resize", inputs, ["r"], mode="nearest"), node("Mul", ["r", "factor"], ["y"])],
        [("x", FLOAT, [1, 1, 5, 5])],
        [("y", FLOAT, None)],
        {"scales": f32([1, 1, 1.6, 1.6]), "factor": f32([1.5])},
    )
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    half, _ = converted(model, tmp_path)
    (resize,) = (one for one in half.graph.node if one.op_type == "Resize")
    types = types_of(half)
    assert types[resize.input[0]] == types[resize.output[0]] == HALF
    assert types[resize.input[place]] == FLOAT
    constants = {one.name: one for one in half.graph.initializer}
    assert numpy_helper.to_array(constants[resize.input[place]])[2] == np.float32(1.6)


def test_what_stays_in_fp32_inside_a_branch_is_refused(tmp_path: Path) -> None:
    model = branching()
    for attribute in model.graph.node[1].attribute:
        attribute.g.node.insert(0, node("Range", ["from", "to", "by"], ["row"]))
        attribute.g.node[1].input[1] = "row"
    model.graph.input.extend(helper.make_tensor_value_info(name, FLOAT, []) for name in ("from", "to", "by"))
    with pytest.raises(CompileFailed, match=r"^inside If it has the operator Range, which has no form in fp16$"):
        converted(model, tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("y", "it has the operator com.microsoft.QuickGelu, which ONNX does not describe"),
        ("g", "the type of 'g', which com.microsoft's QuickGelu makes, cannot be told"),
    ],
)
def test_an_operator_that_onnx_does_not_describe_is_refused_by_name(name: str, said: str, tmp_path: Path) -> None:
    nodes = [helper.make_node("QuickGelu", ["x"], [name], domain="com.microsoft")]
    model = made([*nodes, *([] if name == "y" else [node("Relu", [name], ["y"])])], X, Y, {})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(CompileFailed) as caught:
        converted(model, tmp_path)
    assert str(caught.value) == said


def test_what_onnx_has_in_fp16_is_in_fp16_though_a_processor_has_it_in_fp32_only(tmp_path: Path) -> None:
    nodes = [
        node("Max", ["x", "c"], ["m"]),
        node("TopK", ["m", "k"], ["best", "where"], axis=1),
        node("CumSum", ["best", "axis"], ["y"]),
    ]
    weights = {"c": f32([0.3]), "k": np.array([3]), "axis": np.array(1)}
    half, stand_in = converted(made(nodes, X, [("y", FLOAT, ["n", 3])], weights), tmp_path)
    assert [one.op_type for one in half.graph.node] == ["Cast", "Max", "TopK", "CumSum", "Cast"]
    expected: Any = ReferenceEvaluator(half).run(None, {"x": FINE})
    np.testing.assert_allclose(answers(stand_in, x=FINE)[0], expected[0], rtol=2**-10)


def test_the_stand_in_of_any_file_in_fp16_keeps_its_inputs_and_outputs(tmp_path: Path) -> None:
    weights: dict[str, Array] = {"a": FINE[0].astype(np.float16), "c": FINE[1].astype(np.float16)}
    nodes = [node("Mul", ["x", "a"], ["y"]), node("Add", ["y", "x"], ["z"])]
    outputs = [("y", HALF, ["n", 4]), ("z", HALF, ["n", 4]), ("c", HALF, [4])]
    model = made(nodes, [("x", HALF, ["n", 4])], outputs, weights)
    onnx.save(model, tmp_path / "half.onnx")
    stand_in, x = rounded(tmp_path / "half.onnx", tmp_path / "rounded.onnx"), FINE.astype(np.float16)
    expected: Any = ReferenceEvaluator(model).run(None, {"x": x})
    for found, wanted in zip(answers(stand_in, x=x), expected, strict=True):
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, wanted)


def test_functions_are_written_out(tmp_path: Path) -> None:
    function = helper.make_function(
        "ours", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = made([helper.make_node("Twice", ["x"], ["y"], domain="ours")], X, Y, {})
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("ours", 1))
    half, stand_in = converted(model, tmp_path)
    assert [one.op_type for one in half.graph.node] == ["Cast", "Add", "Cast"]
    np.testing.assert_array_equal(answers(stand_in, x=FINE)[0], 2 * FINE.astype(np.float16).astype(np.float32))


def test_constants_that_an_old_file_lists_as_inputs_are_fp16_too(tmp_path: Path) -> None:
    model = wide()
    model.ir_version = 3
    model.graph.input.extend(
        helper.make_tensor_value_info(one.name, FLOAT, list(one.dims)) for one in model.graph.initializer
    )
    half, _ = converted(model, tmp_path)
    assert number_types(half) == {HALF}
    assert [value.name for value in half.graph.input] == ["x"]


def test_names_that_two_branches_share_are_told_apart(tmp_path: Path) -> None:
    half, _ = converted(branching(), tmp_path)
    values = [name for graph in subgraphs(half.graph) for one in graph.node for name in one.output]
    assert len(values) == len(set(values))


def test_what_the_converter_gets_wrong_is_refused(tmp_path: Path) -> None:
    """Scales of Resize that are computed inside a branch: its cast goes to the outer graph, where they are not."""
    scaled = [("y", FLOAT, None)]
    branches = {}
    for kind, factor in (("then_branch", 1.0), ("else_branch", 2.0)):
        nodes = [node("Mul", ["by", "f"], ["s"]), node("Resize", ["x", "", "s"], ["u"], mode="nearest")]
        constant = numpy_helper.from_array(f32([factor]), "f")
        outputs = [helper.make_tensor_value_info("u", FLOAT, None)]
        branches[kind] = helper.make_graph(nodes, kind, [], outputs, [constant])
    inputs = [("x", FLOAT, [1, 1, 4, 4]), ("by", FLOAT, [4]), ("which", BOOL, [])]
    with pytest.raises(CompileFailed, match=r"^it has no form in fp16 \(.*s.*\)$"):
        converted(made([node("If", ["which"], ["y"], **branches)], inputs, scaled, {}), tmp_path)


def test_constants_of_the_stand_in_are_those_of_the_file(tmp_path: Path) -> None:
    """Inside branches too, as nodes and filled into a shape that is only known when it is asked."""
    model = branching()
    for attribute in model.graph.node[1].attribute:
        fill = helper.make_tensor("value", FLOAT, [1], [0.1])
        attribute.g.node.extend(
            [
                node("Shape", ["x"], ["shape"]),
                node("ConstantOfShape", ["shape"], ["filled"], value=fill),
                node("Constant", [], ["one"], value_float=0.7),
                node("Mul", ["filled", "one"], ["part"]),
                node("Add", ["part", "u"], ["v"]),
            ]
        )
        attribute.g.output[0].name = "v"
    check_branches(model, tmp_path)


def test_a_branch_may_give_out_a_constant(tmp_path: Path) -> None:
    model = branching()
    for attribute in model.graph.node[1].attribute:
        if attribute.name == "else_branch":
            del attribute.g.node[:]
            del attribute.g.initializer[:]
            attribute.g.node.append(node("Constant", [], ["u"], value_float=0.1))
    check_branches(model, tmp_path)


def test_an_output_may_be_a_constant_or_an_input(tmp_path: Path) -> None:
    nodes = [node("Constant", [], ["c"], value_float=0.1), node("Identity", ["x"], ["y"]), node("Relu", ["x"], ["z"])]
    outputs = [("c", FLOAT, []), *Y, ("z", FLOAT, ["n", 4])]
    half, stand_in = converted(made(nodes, X, outputs, {}), tmp_path)
    expected: Any = ReferenceEvaluator(half).run(None, {"x": FINE})
    for found, wanted in zip(answers(stand_in, x=FINE), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
