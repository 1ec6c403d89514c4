"""Agreement with the source, without labels: what eight bits lost shows, in each channel of each output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, INT64, Value, asked, built, made, node, numbers

from edgesmith_builder.contract import Gates
from edgesmith_builder.score import Agreement, ScoreFailed, agreement, ask_source
from edgesmith_builder.score.channels import layout_of
from edgesmith_runtime.engine import load_engine

ANCHORS = 64


def yolo(*, steps: bool = False, factor: float = 1.0) -> onnx.ModelProto:
    """Four coordinates in hundreds of pixels and two scores in one output, as YOLO's head has it.

    With `steps` the output goes through 256 values from 0 to 640, as an int8 output does; `factor` is the scores'.
    """
    weights: dict[str, Any] = {
        "box": np.abs(numbers(8, 4 * ANCHORS, seed=1)) * 30,
        "score": numbers(8, 2 * ANCHORS, seed=2),
        "bias": np.full(2 * ANCHORS, -3, np.float32),
        "boxes": np.array([-1, ANCHORS, 4]),
        "scores": np.array([-1, ANCHORS, 2]),
        "factor": np.array(factor, np.float32),
        "scale": np.array(640 / 255, np.float32),
        "zero": np.array(0, np.uint8),
    }
    nodes = [
        node("MatMul", ["x", "box"], ["b0"]),
        node("Abs", ["b0"], ["b1"]),
        node("Reshape", ["b1", "boxes"], ["b"]),
        node("Gemm", ["x", "score", "bias"], ["s0"]),
        node("Sigmoid", ["s0"], ["s1"]),
        node("Mul", ["s1", "factor"], ["s2"]),
        node("Reshape", ["s2", "scores"], ["s"]),
        node("Concat", ["b", "s"], ["plain" if steps else "y"], axis=2),
    ]
    if steps:
        nodes += [
            node("QuantizeLinear", ["plain", "scale", "zero"], ["q"]),
            node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ]
    return made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", ANCHORS, 6])], weights)


def held_against(folder: Path, source: onnx.ModelProto, candidate: onnx.ModelProto, **sets: Any) -> Agreement:
    """The agreement of one model with another over 40 samples."""
    _, inputs = asked(folder, source, sets or {"x": numbers(200, 8, seed=5)})
    (folder / "candidate.onnx").write_bytes(candidate.SerializeToString())
    engine = load_engine("onnxruntime", folder / "candidate.onnx", threads=1)
    return agreement(engine, inputs.answers)


def test_scores_that_are_lost_beside_boxes_in_pixels_are_no_agreement(tmp_path: Path) -> None:
    found = held_against(tmp_path, yolo(), yolo(steps=True))
    assert found.value < 0.1
    assert found.where in {"channel 4 of output 'y'", "channel 5 of output 'y'"}
    assert found.samples == 40


def test_a_model_agrees_with_itself(tmp_path: Path) -> None:
    assert held_against(tmp_path, yolo(), yolo()).value == 1.0


def test_what_is_off_by_a_tenth_of_its_own_spread_agrees_to_nine_tenths(tmp_path: Path) -> None:
    assert 0.85 < held_against(tmp_path, yolo(), yolo(factor=1.1)).value < 0.95


def test_a_class_that_never_occurs_does_no_harm(tmp_path: Path) -> None:
    """Its scores are all but zero, and eight bits make zero of them."""

    def scores(scale: float) -> onnx.ModelProto:
        weights = {
            "w": numbers(8, 2 * ANCHORS, seed=2),
            "s": np.array([-1, ANCHORS, 2]),
            "k": np.array([1, scale], "f4"),
        }
        nodes = [
            *(node("MatMul", ["x", "w"], ["t"]), node("Sigmoid", ["t"], ["u"])),
            *(node("Reshape", ["u", "s"], ["v"]), node("Mul", ["v", "k"], ["y"])),
        ]
        return made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", ANCHORS, 2])], weights)

    assert held_against(tmp_path, scores(1e-4), scores(0.0)).value > 0.9
    (tmp_path / "b").mkdir()
    assert held_against(tmp_path / "b", scores(1.0), scores(0.0)).value == 0.0


@pytest.mark.parametrize(("classes", "least", "most"), [(64, 0.99, 1.0), (8, 0.0, 0.0)])
def test_one_of_many_scores_that_hardly_varies_is_held_against_the_others(
    tmp_path: Path, classes: int, least: float, most: float
) -> None:
    def scores(scale: float, other: float = 1.0) -> onnx.ModelProto:
        weights = {"w": numbers(8, classes, seed=1)}
        weights["w"][:, 3] *= scale
        weights["w"][:, 4] *= other
        return made(
            [node("MatMul", ["x", "w"], ["y"])], [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", classes])], weights
        )

    assert least <= held_against(tmp_path, scores(1e-3), scores(0.0)).value <= most
    (tmp_path / "b").mkdir()
    assert held_against(tmp_path / "b", scores(1.0), scores(1.0, other=0.0)).value < 0.4


def two_outputs(second: str, *, shift: float = 0.0) -> onnx.ModelProto:
    """`y`, a product, and `z`: what an operator makes of it."""
    weights = {"w": numbers(8, 5, seed=1), "shift": np.array([shift] + [0.0] * 4, np.float32)}
    nodes = [node("MatMul", ["x", "w"], ["y"]), node("Add", ["y", "shift"], ["moved"])]
    kind = FLOAT
    if second == "ArgMax":
        nodes.append(node("ArgMax", ["moved"], ["z"], axis=1))
        kind = INT64
    elif second == "NonZero":
        nodes += [node("Relu", ["moved"], ["r"]), node("NonZero", ["r"], ["z"])]
        kind = INT64
    else:
        nodes.append(node(second, ["moved"], ["z"]))
    shapes: dict[str, list[str | int]] = {"ArgMax": ["n", 1], "NonZero": [2, "k"]}
    outputs: list[Value] = [("y", FLOAT, ["n", 5]), ("z", kind, shapes.get(second, ["n", 5]))]
    return made(nodes, [("x", FLOAT, ["n", 8])], outputs, weights)


@pytest.mark.parametrize(
    ("second", "bounds", "where"),
    [
        pytest.param("Softmax", (0.6, 0.95), "the class of output 'z'", id="probabilities-say-a-class"),
        pytest.param("ArgMax", (0.6, 0.95), "the elements of output 'z'", id="a-class-number"),
        pytest.param("NonZero", (0.5, 0.99), "the number of elements of output 'z'", id="findings"),
        pytest.param("Tanh", (0.0, 0.3), "channel 0 of output 'z'", id="numbers"),
        pytest.param("LogSoftmax", (0.0, 0.6), "channel 0 of output 'z'", id="logarithms"),
    ],
)
def test_every_output_counts_and_the_worst_is_named(
    tmp_path: Path, second: str, bounds: tuple[float, float], where: str
) -> None:
    found = held_against(tmp_path, two_outputs(second), two_outputs(second, shift=2.0))
    assert bounds[0] <= found.value <= bounds[1]
    assert found.where == where


def test_class_names_make_scores_a_class(tmp_path: Path) -> None:
    weights = {"w": numbers(8, 5, seed=1)}
    x, y = ("x", FLOAT, ("n", 8)), ("y", FLOAT, ("n", 5))
    named = made([node("MatMul", ["x", "w"], ["y"])], [x], [y], weights, labels='["a","b","c","d","e"]')
    doubled = made([node("MatMul", ["x", "w"], ["y"])], [x], [y], {"w": weights["w"] * 2})
    assert held_against(tmp_path, named, doubled) == Agreement(1.0, "the class of output 'y'", 40, 0.0876)


def test_a_channel_that_never_changes_is_held_against_its_value(tmp_path: Path) -> None:
    def with_temperature(value: float) -> onnx.ModelProto:
        nodes = [node("MatMul", ["x", "w"], ["y"]), node("Identity", ["t"], ["temperature"])]
        outputs: list[Value] = [("y", FLOAT, ["n", 5]), ("temperature", FLOAT, [1])]
        weights = {"w": numbers(8, 5, seed=1), "t": np.array([value], np.float32)}
        return made(nodes, [("x", FLOAT, ["n", 8])], outputs, weights)

    assert held_against(tmp_path, with_temperature(70.0), with_temperature(70.001)).value > 0.9
    (tmp_path / "b").mkdir()
    assert held_against(tmp_path / "b", with_temperature(70.0), with_temperature(71.0)).value == 0.0


def test_a_candidate_that_answers_nan_is_refused(tmp_path: Path) -> None:
    def root(bias: float) -> onnx.ModelProto:
        weights = {"w": np.eye(8, dtype=np.float32), "b": np.full(8, bias, np.float32)}
        nodes = [node("Gemm", ["x", "w", "b"], ["s"]), node("Sqrt", ["s"], ["y"])]
        return made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 8])], weights)

    with pytest.raises(ScoreFailed, match=r"output 'y' has NaN or infinity for sample 0 of spec\.calibration"):
        held_against(tmp_path, root(9.0), root(0.0))
    with pytest.raises(ScoreFailed, match="NaN"):
        ask_source(load_engine("onnxruntime", tmp_path / "candidate.onnx", threads=1),
                   asked(tmp_path, root(9.0), {"x": numbers(20, 8)})[1].answers.samples, "f")  # fmt: skip


def logarithms(least: float) -> onnx.ModelProto:
    """The logarithm of each number, or of `least` where that is more."""
    nodes = [node("Max", ["x", "least"], ["m"]), node("Log", ["m"], ["y"])]
    weights = {"least": np.array(least, np.float32)}
    return made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 8])], weights)


@pytest.mark.parametrize("swapped", [False, True])
def test_minus_infinity_for_a_number_is_no_agreement(tmp_path: Path, *, swapped: bool) -> None:
    x = np.abs(numbers(200, 8, seed=5)) + 0.1
    x[4::100, 3] = -1  # two of those that are held back
    models = [logarithms(0.05), logarithms(0.0)]
    found = held_against(tmp_path, *models[:: -1 if swapped else 1], x=x)
    assert (found.value, found.where) == (0.0, "channel 3 of output 'y'")
    assert found.error > 0.5, "most samples are answered alike"


def test_minus_infinity_for_minus_infinity_agrees(tmp_path: Path) -> None:
    assert held_against(tmp_path, logarithms(0.0), logarithms(0.0)).value == 1.0


def test_at_most_128_samples_are_compared_and_fewer_where_answers_are_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = {"x": numbers(700, 8)}
    _, inputs = asked(tmp_path, two_outputs("Tanh"), calibration)
    assert len(inputs.answers.answers) == 128
    for memory, count in ((1000, 25), (10, 8)):  # two outputs of five floats each
        monkeypatch.setattr("edgesmith_builder.score.source.MEMORY", memory)
        assert len(asked(tmp_path, two_outputs("Tanh"), calibration)[1].answers.answers) == count


def test_the_classes_of_the_evaluated_output_are_compared_over_the_whole_set(tmp_path: Path) -> None:
    x, w, v = numbers(300, 8), numbers(8, 256, seed=1), numbers(256, 5, seed=2)
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"])]
    model = made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 5])], {"w": w, "v": v})
    evaluation = {"x": x, "labels": (np.maximum(x @ w, 0) @ v).argmax(axis=1)}
    winner = built(tmp_path, model, {"x": x[:50]}, evaluation).winner.candidate
    assert (winner.precision, winner.agreement_samples) == ("int8", 300)
    assert winner.agreement_where == "the class of output 'y'"
    assert winner.agreement == pytest.approx(winner.accuracy, abs=1e-4), "the source is always right here"


def test_without_an_evaluation_set_every_fifth_calibration_sample_is_held_back(tmp_path: Path) -> None:
    calibration = {"x": numbers(50, 8, seed=5)}
    _, inputs = asked(tmp_path, two_outputs("Tanh"), calibration)
    assert inputs.calibration is not None
    held, used = inputs.answers.samples, inputs.calibration
    assert (len(used), len(held)) == (40, 10)
    seen = {used.feed(i)["x"].tobytes() for i in range(40)} | {held.feed(i)["x"].tobytes() for i in range(10)}
    assert len(seen) == 50
    weights = {"a": numbers(8, 256, seed=1), "b": numbers(256, 4, seed=2)}
    nodes = [node("MatMul", ["x", "a"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "b"], ["y"])]
    outcome = built(tmp_path, made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 4])], weights), calibration)
    assert (outcome.winner.candidate.precision, outcome.winner.candidate.agreement_samples) == ("int8", 10)
    assert 0.9 < (outcome.winner.candidate.agreement or 0) < 1
    for count in (1, 2, 3):
        _, few = asked(tmp_path, two_outputs("Tanh"), {"x": numbers(count, 8)})
        assert few.calibration is not None
        assert (len(few.calibration), len(few.answers.samples)) == (max(1, count - 1), 1)


def test_a_candidate_below_the_gate_is_passed_over_for_the_source(tmp_path: Path) -> None:
    """An outlier in the weights: what eight bits make of the rest is noise."""
    weights = {"w": numbers(8, 64, seed=1), "i": np.eye(64, dtype=np.float32), "v": np.eye(64, dtype=np.float32)}
    weights["w"][:, 1] *= 1e-3
    weights["v"][1, 1] = 1000
    nodes = [
        *(node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"])),
        *(node("MatMul", ["r", "i"], ["g"]), node("Relu", ["g"], ["q"]), node("MatMul", ["q", "v"], ["y"])),
    ]
    model = made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 64])], weights)
    outcome = built(tmp_path, model, {"x": numbers(100, 8)})
    assert outcome.winner.candidate.precision == "fp32"
    assert outcome.candidates[0].rejected is not None
    assert "agrees with the source to 0." in outcome.candidates[0].rejected
    assert "in channel 1 of output 'y'; at least 0.8000 is asked by spec.gates.minAgreement" in (
        outcome.candidates[0].rejected
    )
    assert outcome.winner.candidate.agreement is None, "the source itself"
    (tmp_path / "again").mkdir()
    lenient = built(tmp_path / "again", model, {"x": numbers(100, 8)}, gates=Gates(min_agreement=0.0))
    assert lenient.winner.candidate.precision == "int8"


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        ([(1, 10)], (1,)),
        ([(1,)], ()),
        ([(1, 1)], ()),
        ([(10,)], (0,)),
        ([(8, 1)], (0,)),
        ([(1, 8400, 85)], (2,)),
        ([(1, 85, 8400)], (1,)),
        ([(1, 21, 512, 512)], (1,)),
        ([(1, 512, 512, 21)], (3,)),
        ([(1, 512, 7, 7)], (1,)),
        ([(1, 480, 640, 3)], (3,)),
        ([(1, 3, 80, 80, 85)], (1, 4)),
        ([(3, 4), (0, 4)], (1,)),
        ([(2, 3), (2, 9)], (0,)),
        ([(3,), (2, 2)], ()),
    ],
)
def test_channels_are_told_from_positions(shapes: list[tuple[int, ...]], axes: tuple[int, ...]) -> None:
    layout = layout_of(shapes)
    assert layout.axes == axes
    for shape in shapes:
        if all(axis < len(shape) for axis in axes):
            whole = layout.numbers(shape).reshape(shape)
            assert np.array_equal(layout.rows(whole), np.arange(layout.channels)[:, None] + 0 * layout.rows(whole))


@pytest.mark.parametrize(
    ("shape", "named", "axes"),
    [
        ((1, 1, 160, 320), (-1, 1, -1, -1), ()),
        ((1, 21, 160, 320), (-1, 21, -1, -1), (1,)),
        ((1, 40, 6625), (-1, -1, 6625), (2,)),
        ((1, 84, 50), (-1, 84, -1), (1,)),
        ((2, 1, 128), (-1, -1, -1), (0,)),
        ((1, 10), (-1, -1), (1,)),
        ((1, 40, 60), (-1, 40, 60), (1,)),
    ],
)
def test_axes_that_the_model_leaves_open_count_positions(
    shape: tuple[int, ...], named: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    assert layout_of([shape, shape], named).axes == axes


LETTERS, RARE = 6, 5


def reader(*, penalty: float = 0.0, axis: int = 2, last: str = "Softmax") -> onnx.ModelProto:
    """Probabilities of letters at each of several places; the last letter loses by `penalty`."""
    bias = np.zeros(LETTERS, np.float32)
    bias[RARE] = -2 - penalty
    nodes = [
        *(node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "bias"], ["s"]), node(last, ["s"], ["p"], axis=2)),
        node("Transpose", ["p"], ["y"], perm=[0, 1, 2] if axis == 2 else [0, 2, 1]),
    ]
    shape = ["n", "t", LETTERS] if axis == 2 else ["n", LETTERS, "t"]
    weights = {"w": numbers(8, LETTERS, seed=3), "bias": bias}
    return made(nodes, [("x", FLOAT, ["n", "t", 8])], [("y", FLOAT, shape)], weights)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_letter_at_each_place_is_compared_as_a_class_and_rare_ones_count_as_much_as_others(
    axis: int, tmp_path: Path
) -> None:
    source, lines = reader(axis=axis), numbers(200, 30, 8, seed=4)
    same = held_against(tmp_path, source, reader(axis=axis), x=lines)
    assert (same.value, same.where) == (1.0, "the class at each place of output 'y'")
    lost = held_against(tmp_path, source, reader(penalty=50, axis=axis), x=lines)
    assert lost.value == pytest.approx(1 - 1 / LETTERS, abs=0.001), "one letter of six is never read"
    held = [answer["y"].argmax(axis) for answer in asked(tmp_path, source, {"x": lines})[1].answers.answers]
    assert 0 < np.mean(np.array(held) == RARE) < 0.1, "and few places have it"


def test_scores_at_each_place_that_do_not_add_up_to_one_are_numbers(tmp_path: Path) -> None:
    found = held_against(
        tmp_path, reader(last="LogSoftmax"), reader(penalty=1, last="LogSoftmax"), x=numbers(40, 30, 8)
    )
    assert found.where == "channel 5 of output 'y'"


def test_probabilities_at_each_place_share_the_range_of_golden_samples(tmp_path: Path) -> None:
    known = asked(tmp_path, reader(), {"x": numbers(40, 30, 8)})[1].answers.outputs["y"]
    assert known.places == 2
    assert known.spans.shape == (1,)
    assert known.spans[0] == pytest.approx(1, abs=0.1)
