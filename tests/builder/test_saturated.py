"""Constants beyond fp16: masks and bounds are cut off at its end, and others are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from candidates import FLOAT, made, node
from halves import FINE, Array, X, Y, answers, branching, converted, f32
from onnx import helper, numpy_helper

from edgesmith_builder.failures import CompileFailed
from edgesmith_builder.format.onnx.nesting import subgraphs
from edgesmith_builder.toolchain.half import in_half
from edgesmith_builder.toolchain.saturated import warnings_of

SCALED: dict[str, Array] = {"m": f32([1, 1e6, 1, 1])}


@pytest.mark.parametrize(
    ("nodes", "weights", "said"),
    [
        ([node("Div", ["x", "m"], ["y"])], SCALED, "the constant 'm' has the value 1e+06, and fp16 ends at 65504"),
        (
            [node("Constant", [], ["k"], value_float=65505.0), node("Pow", ["x", "k"], ["y"])],
            {},
            "the constant 'k' has the value 65505, and fp16 ends at 65504",
        ),
        (
            [
                node("Shape", ["x"], ["s"]),
                node("ConstantOfShape", ["s"], ["k"], value=helper.make_tensor("value", FLOAT, [1], [-1e6])),
                node("Transpose", ["k"], ["t"]),
                node("MatMul", ["x", "t"], ["z"]),
                node("Add", ["x", "k"], ["w"]),
                node("Add", ["z", "w"], ["y"]),
            ],
            {},
            "the constant 'k' has the value -1e+06, and fp16 ends at 65504",
        ),
        (
            [node("Identity", ["m"], ["y"])],
            SCALED,
            "the constant 'y/constant' has the value 1e+06, and fp16 ends at 65504",
        ),
    ],
)
def test_a_constant_beyond_fp16_that_is_no_mask_and_no_bound_is_refused_by_name(
    nodes: list[onnx.NodeProto], weights: dict[str, Array], said: str, tmp_path: Path
) -> None:
    with pytest.raises(CompileFailed) as caught:
        converted(made(nodes, X, Y, weights), tmp_path)
    assert str(caught.value) == said


def test_a_constant_inside_a_branch_is_refused_too(tmp_path: Path) -> None:
    model = branching()
    tensor = model.graph.node[1].attribute[0].g.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(f32([1e5]), tensor.name))
    for each in subgraphs(model.graph):
        for one in each.node:
            if tensor.name in one.input:
                one.op_type = "Div"
    with pytest.raises(CompileFailed, match=r"^the constant 'b' has the value 100000, and fp16 ends at 65504$"):
        converted(model, tmp_path)


ENDS = f32([-3.4e38, 3.4e38])


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([node("Add", ["x", "m"], ["w"]), node("Softmax", ["w"], ["y"])], id="added"),
        pytest.param([node("Sub", ["x", "o"], ["w"]), node("Softmax", ["w"], ["y"])], id="taken off"),
        pytest.param(
            [
                node("Greater", ["x", "zero"], ["p"]),
                node("Where", ["p", "x", "few"], ["w"]),
                node("Softmax", ["w"], ["y"]),
            ],
            id="put in the place of others",
        ),
        pytest.param(
            [
                node("Greater", ["x", "zero"], ["p"]),
                node("Cast", ["p"], ["f"], to=FLOAT),
                node("Mul", ["f", "few"], ["q"]),
                node("Add", ["x", "q"], ["w"]),
                node("Softmax", ["w"], ["y"]),
            ],
            id="multiplied by 0 and 1",
        ),
        pytest.param([node("Clip", ["x", "least", "most"], ["y"])], id="bounds"),
        pytest.param([node("Max", ["x", "least"], ["w"]), node("Min", ["w", "most"], ["y"])], id="least and most"),
        pytest.param(
            [
                node("Expand", ["m", "four"], ["e"]),
                node("Add", ["x", "e"], ["w"]),
                node("Softmax", ["w"], ["y"]),
            ],
            id="spread out",
        ),
    ],
)
def test_a_mask_or_a_bound_beyond_fp16_means_the_same_at_its_end(nodes: list[onnx.NodeProto], tmp_path: Path) -> None:
    weights: dict[str, Array] = {
        "m": f32([0, -1e9, 0, 0]),
        "o": f32([0, 1e9, 0, 0]),
        "few": f32(-3.4e38),
        "zero": f32(0),
        "least": ENDS[0],
        "most": ENDS[1],
        "four": np.array([64, 4]),
    }
    taken = {name for one in nodes for name in one.input}
    model = made(nodes, X, Y, {name: value for name, value in weights.items() if name in taken})
    half, stand_in = converted(model, tmp_path)
    assert np.isfinite([np.abs(numpy_helper.to_array(one)).max() for one in half.graph.initializer]).all()
    for form in (half, stand_in):
        np.testing.assert_allclose(answers(form, x=FINE)[0], answers(model, x=FINE)[0], atol=2e-3, rtol=2e-3)


def test_what_is_cut_off_is_said_once(tmp_path: Path) -> None:
    nodes = [node("Add", ["x", "m"], ["w"]), node("Min", ["w", "n"], ["y"])]
    weights: dict[str, Array] = {"m": f32([0, -1e9, 1e6, 0]), "n": f32(1e5)}
    onnx.save(made(nodes, X, Y, weights), tmp_path / "source.onnx")
    found = in_half(tmp_path / "source.onnx", tmp_path / "half.onnx").cut_off
    assert warnings_of(found) == (
        "The constant 'm' has the value -1e+09, which is -65504 in fp16; 2 constants are cut off so.",
    )
    assert warnings_of(found[:1]) == ("The constant 'm' has the value -1e+09, which is -65504 in fp16.",)
    assert warnings_of(()) == ()
