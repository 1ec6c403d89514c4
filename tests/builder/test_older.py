"""ONNX models as an older ONNX Runtime reads them, or why there is no such form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import FLOAT, answers, model_of, node, numbers
from onnx import TensorProto, helper

from edgesmith_builder import lastwords
from edgesmith_builder.contract import READS, Release
from edgesmith_builder.format import Reader, TooNew, read_source, read_there, reader
from edgesmith_builder.format.onnx.older import Older, for_release

X, Y = [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 4])]

Write = Callable[..., Older]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """The form of a model for a release of ONNX Runtime."""

    def write(model: onnx.ModelProto, release: Release = (1, 19), ir_version: int = 13) -> Older:
        model.ir_version = ir_version
        onnx.save_model(model, tmp_path / "source.onnx")
        before = (tmp_path / "source.onnx").read_bytes()
        made = for_release(tmp_path / "source.onnx", release, READS[release], tmp_path / "older")
        assert (tmp_path / "source.onnx").read_bytes() == before
        return made

    return write


def opsets(made: Older) -> dict[str, int]:
    return {one.domain: one.version for one in onnx.load_model(made.file).opset_import}


def relu(opset: int) -> onnx.ModelProto:
    return model_of([node("Relu", ["x"], ["y"])], X, Y, {}, opset=opset)


def test_what_is_read_stays_the_file_that_it_is(written: Write, tmp_path: Path) -> None:
    made = written(relu(21), ir_version=10)
    assert made == Older(tmp_path / "source.onnx")
    assert not (tmp_path / "older").exists()


def test_a_newer_ir_version_is_another_number(written: Write) -> None:
    made = written(relu(21), ir_version=13)
    model = onnx.load_model(made.file)
    assert (model.ir_version, made.converted) == (10, None)
    assert opsets(made) == {"": 21}


def test_operators_that_are_alike_are_another_number(written: Write) -> None:
    made = written(relu(26))
    assert (opsets(made), made.converted) == ({"": 21}, None)
    assert onnx.load_model(made.file).ir_version == 10


def test_operators_that_differ_are_rewritten_and_answer_the_same(written: Write, tmp_path: Path) -> None:
    nodes = [node("Flatten", ["x"], ["f"]), node("Relu", ["f"], ["y"])]
    made = written(model_of(nodes, X, Y, {}, opset=26))
    assert (opsets(made), made.converted) == ({"": 21}, (26, 21))
    feeds = {"x": numbers(2, 4)}
    assert np.array_equal(answers(made.file, feeds)["y"], answers(tmp_path / "source.onnx", feeds)["y"])


def test_what_operators_are_inside_of_is_looked_into(written: Write) -> None:
    branches = {
        name: helper.make_graph(
            [node("Swish", ["x"], [name])], name, [], [helper.make_tensor_value_info(name, 1, None)]
        )
        for name in ("then_branch", "else_branch")
    }
    inputs = [("c", TensorProto.BOOL, []), *X]
    model = model_of([node("If", ["c"], ["y"], **branches)], inputs, Y, {}, opset=24)
    with pytest.raises(TooNew, match=r"^opset 24, and its operator Swish is not in opset 21; opset 21 or less was"):
        written(model)


def with_function(opset: int, inside: int) -> onnx.ModelProto:
    twice = helper.make_function(
        "ours", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", inside)]
    )
    nodes = [node("Twice", ["x"], ["y"], domain="ours")]
    return model_of(nodes, X, Y, {}, opset=opset, domains=[("ours", 1)], functions=[twice])


def test_functions_are_written_out(written: Write) -> None:
    made = written(with_function(26, 26))
    found = onnx.load_model(made.file)
    assert [one.op_type for one in found.graph.node] == ["Add"]
    assert (opsets(made)[""], list(found.functions)) == (21, [])
    assert answers(made.file, {"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[2] * 4]


def test_a_function_that_is_newer_than_its_model_is_seen(written: Write) -> None:
    with pytest.raises(TooNew, match=r"^opset 26, and its function Twice is in another opset than the model and cann"):
        written(with_function(21, 26))


def scaling(opset: int, inside: int, ml: int) -> onnx.ModelProto:
    """A model that scales in a function, where it is asked to."""
    scale = node("Scaler", ["a"], ["b"], domain="ai.onnx.ml", offset=[1.0], scale=[2.0])
    branches = {
        name: helper.make_graph([scale], name, [], [helper.make_tensor_value_info("b", FLOAT, None)])
        for name in ("then_branch", "else_branch")
    }
    imports = [helper.make_opsetid("", inside), helper.make_opsetid("ai.onnx.ml", ml)]
    function = helper.make_function(
        "ours", "Scaled", ["c", "a"], ["d"], [node("If", ["c"], ["d"], **branches)], imports
    )
    nodes = [node("Scaled", ["c", "x"], ["y"], domain="ours")]
    domains = [("ours", 1), ("ai.onnx.ml", ml)]
    inputs = [("c", TensorProto.BOOL, []), *X]
    return model_of(nodes, inputs, Y, {}, opset=opset, domains=domains, functions=[function])


def test_functions_of_another_opset_stay_where_ai_onnx_ml_alone_is_too_new(written: Write) -> None:
    made = written(scaling(17, 16, 5), (1, 17))
    found = onnx.load_model(made.file)
    (function,) = found.functions
    assert (opsets(made), made.converted) == ({"": 17, "ours": 1, "ai.onnx.ml": 4}, None)
    assert {one.domain: one.version for one in function.opset_import} == {"": 16, "ai.onnx.ml": 4}
    feeds = {"c": np.array(True), "x": np.full((1, 4), 3, np.float32)}
    assert answers(made.file, feeds)["y"].tolist() == [[4] * 4]


def test_what_functions_are_made_of_is_looked_into_for_ai_onnx_ml(written: Write) -> None:
    model = scaling(17, 16, 5)
    for branch in model.functions[0].node[0].attribute:
        branch.g.node[0].op_type = "TreeEnsemble"
    with pytest.raises(TooNew, match=r"^ai\.onnx\.ml opset 5, and its operator TreeEnsemble is another in opset 4"):
        written(model, (1, 17))


def test_a_model_is_in_hand_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save_model(relu(26), tmp_path / "source.onnx")
    facts = read_source(tmp_path / "source.onnx", "a")
    seen: list[lastwords.Note] = []

    def looking(*given: Any) -> Older:
        seen.extend(lastwords.read().notes)
        return for_release(*given)

    monkeypatch.setattr(reader, "for_release", looking)
    read_there(facts, Reader("1.19.0", "as a test says", READS[1, 19]), "a")
    assert [(one.what, one.doing) for one in seen] == [("a", "it was written in an older form")]
    assert lastwords.read().notes == ()


@pytest.mark.parametrize(
    ("model", "release", "says"),
    [
        pytest.param(
            model_of([node("RMSNormalization", ["x", "s"], ["y"])], X, Y, {"s": numbers(4)}, opset=23), (1, 22),
            "opset 23, and its operator RMSNormalization is not in opset 22; opset 22 or less was expected",
            id="an operator that is not there",
        ),
        pytest.param(
            model_of([node("Cast", ["x"], ["y"], to=FLOAT, round_mode="up")], X, Y, {}, opset=25), (1, 19),
            "opset 25, and its operator Cast has no round_mode in opset 21; opset 21 or less was expected",
            id="an attribute that is not there",
        ),
        pytest.param(
            model_of([node("GridSample", ["x", "g"], ["y"], mode="linear")],
                     [("x", FLOAT, [1, 1, 4, 4]), ("g", FLOAT, [1, 2, 2, 2])], [("y", FLOAT, None)], {}, opset=20),
            (1, 16),
            "opset 20, and ONNX's converter does not write it in opset 19 (No Adapter From Version $20 for GridSample)"
            "; opset 19 or less was expected",
            id="an operator that the converter does not know to write",
        ),
        pytest.param(
            model_of([node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml")], X, Y, {}, domains=[("ai.onnx.ml", 5)]),
            (1, 17),
            "ai.onnx.ml opset 5, and its operator TreeEnsemble is another in opset 4, or not there; "
            "ai.onnx.ml opset 4 or less was expected",
            id="an operator of ai.onnx.ml",
        ),
        pytest.param(
            model_of([node("PagedAttention", ["x"], ["y"], domain="com.microsoft")], X, Y, {},
                     domains=[("com.microsoft", 1)]),
            (1, 22),
            "the operator com.microsoft:PagedAttention, and it came with ONNX Runtime 1.23; a model without it was "
            "expected",
            id="an operator of ONNX Runtime's own",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_written_in_an_older_form(
    model: onnx.ModelProto, release: Release, says: str, written: Write
) -> None:
    with pytest.raises(TooNew) as caught:
        written(model, release)
    assert str(caught.value) == says


def test_an_older_ai_onnx_ml_is_another_number(written: Write) -> None:
    nodes = [node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[2.0])]
    made = written(model_of(nodes, X, Y, {}, domains=[("ai.onnx.ml", 5)]), (1, 16))
    assert (opsets(made), made.converted) == ({"": 17, "ai.onnx.ml": 3}, None)


def test_a_constant_of_a_newer_ir_version_s_type(written: Write) -> None:
    model = relu(25)
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.INT2, [4], [0, 1, 0, 1]))
    with pytest.raises(TooNew) as caught:
        written(model)
    assert str(caught.value) == (
        "IR version 13, and it has values of type INT2, which IR version 10 does not have; "
        "IR version 10 or less was expected"
    )


def test_a_cast_to_a_newer_ir_version_s_type(written: Write) -> None:
    model = relu(23)
    model.graph.node.append(node("Cast", ["x"], ["z"], to=TensorProto.INT2))
    with pytest.raises(TooNew, match=r"^IR version 13, and it has values of type INT2, which IR version 11 does not"):
        written(model, (1, 23))
