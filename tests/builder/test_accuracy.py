"""Accuracy: what an output says of classes, how labels are read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, INT64, asked, built, made, node, numbers
from onnx import TensorProto

from edgesmith_builder.contract import Gates
from edgesmith_builder.errors import DatasetInvalid, DatasetMismatch, RequestInvalid
from edgesmith_builder.metric import Change
from edgesmith_builder.metric.proportion import change_of, changed, share_error
from edgesmith_builder.score import ScoreFailed
from edgesmith_runtime.engine import load_engine

X = numbers(96, 16, seed=7)
W = numbers(16, 4, seed=8)
CLASSES = (X @ W).argmax(axis=1)
ABOVE = ((X @ W[:, :1]).ravel() > 0).astype(np.int64)
NAMES = '["a","b","c","d"]'


def model(
    nodes: list[onnx.NodeProto], *outs: tuple[str, int, list[Any]], labels: str | None = None, **weights: Any
) -> onnx.ModelProto:
    return made(nodes, [("x", FLOAT, ["n", 16])], outs, weights, labels)


LOGITS = node("MatMul", ["x", "w"], ["y"])
ONE: dict[str, Any] = {"w": W[:, :1]}
BOTH = [node("MatMul", ["x", "e"], ["embedding"]), node("MatMul", ["x", "w"], ["logits"])]
TWO = model(
    BOTH, ("embedding", FLOAT, ["n", 64]), ("logits", FLOAT, ["n", 4]), w=W, e=numbers(16, 64, seed=9)
)  # fmt: skip
SCORES = model([LOGITS], ("y", FLOAT, ["n", 4]), w=W)
NAMED = model([LOGITS], ("y", FLOAT, ["n", 4]), labels=NAMES, w=W)
SIGMOID = model([node("MatMul", ["x", "w"], ["t"]), node("Sigmoid", ["t"], ["y"])], ("y", FLOAT, ["n", 1]), **ONE)
DECISION = model([LOGITS], ("y", FLOAT, ["n", 1]), **ONE)
FLAT = model(
    [node("MatMul", ["x", "w"], ["t"]), node("Sigmoid", ["t"], ["s"]), node("Squeeze", ["s", "a"], ["y"])],
    ("y", FLOAT, ["n"]), a=np.array([1]), **ONE,
)  # fmt: skip
TRUTH = model(
    [node("MatMul", ["x", "w"], ["t"]), node("Greater", ["t", "z"], ["y"])],
    ("y", TensorProto.BOOL, ["n", 1]), z=np.array(0, np.float32), **ONE,
)  # fmt: skip
SIGN = model(
    [node("MatMul", ["x", "w"], ["t"]), node("Sign", ["t"], ["s"]), node("Cast", ["s"], ["y"], to=INT64)],
    ("y", INT64, ["n", 1]), **ONE,
)  # fmt: skip
NUMBER = model([node("MatMul", ["x", "w"], ["t"]), node("ArgMax", ["t"], ["y"], axis=1)], ("y", INT64, ["n", 1]), w=W)
LAST = model([LOGITS, node("Transpose", ["y"], ["z"], perm=[1, 0])], ("z", FLOAT, [4, "n"]), w=W)
INFINITE = model(
    [
        *(node("MatMul", ["x", "w"], ["t"]), node("Mul", ["t", "k"], ["u"])),
        *(node("Softmax", ["u"], ["v"]), node("Log", ["v"], ["y"])),
    ],
    ("y", FLOAT, ["n", 4]), w=W, k=np.array(100, np.float32),
)  # fmt: skip


def text_model() -> onnx.ModelProto:
    """Class names as text, as converters from scikit-learn have them."""
    encoder = onnx.helper.make_node(
        "LabelEncoder", ["i"], ["y"], domain="ai.onnx.ml", keys_int64s=[0, 1, 2, 3], values_strings=list("abcd")
    )
    said = model(
        [node("MatMul", ["x", "w"], ["t"]), node("ArgMax", ["t"], ["i"], axis=1, keepdims=0), encoder],
        ("y", TensorProto.STRING, ["n"]), w=W,
    )  # fmt: skip
    said.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 2))
    return said


LETTERS = np.array(list("abcd"))[CLASSES]

READ: dict[str, tuple[onnx.ModelProto, Any]] = {
    "scores": (SCORES, CLASSES),
    "scores, labels in a column of bytes": (SCORES, CLASSES.astype(np.uint8)[:, None]),
    "scores, labels are names": (NAMED, LETTERS),
    "classes first, samples second": (LAST, CLASSES),
    "a class number": (NUMBER, CLASSES),
    "text": (text_model(), LETTERS),
    "a sigmoid": (SIGMOID, ABOVE),
    "a sigmoid without an axis": (FLAT, ABOVE),
    "a sigmoid, labels are -1 and 1": (SIGMOID, ABOVE * 2 - 1),
    "a decision function": (DECISION, ABOVE),
    "a decision function, labels are -1 and 1": (DECISION, ABOVE * 2 - 1),
    "a truth value": (TRUTH, ABOVE.astype(bool)),
    "minus one or one": (SIGN, ABOVE * 2 - 1),
    "logarithms of which some are minus infinity": (INFINITE, CLASSES),
}


@pytest.mark.parametrize(("source", "labels"), READ.values(), ids=READ)
def test_an_answer_is_read_as_the_class_it_says(tmp_path: Path, source: onnx.ModelProto, labels: Any) -> None:
    _, inputs = asked(tmp_path, source, None, {"x": X, "labels": labels})
    assert inputs.scored is not None
    assert (inputs.scored.value, inputs.scored.samples) == (1.0, 96)


def wide() -> onnx.ModelProto:
    """A segmentation: four classes for each of four places."""
    nodes = [node("MatMul", ["x", "w"], ["t"]), node("Reshape", ["t", "s"], ["y"])]
    return model(nodes, ("y", FLOAT, ["n", 4, 2, 2]), w=numbers(16, 16), s=np.array([-1, 4, 2, 2]))


BACKGROUND = model(
    [node("MatMul", ["x", "w"], ["t"]), node("Pad", ["t", "p", "v"], ["y"])],
    ("y", FLOAT, ["n", 5]), w=W, p=np.array([0, 1, 0, 0]), v=np.array(-1e3, np.float32),
)  # fmt: skip

REFUSED: dict[str, tuple[onnx.ModelProto, Any, str]] = {
    "an embedding first": (TWO, CLASSES, r"'embedding' is right for 0 of the 96 .* no better than guessing one of 4"),
    "labels shifted by one": (BACKGROUND, CLASSES, r"is right for 0 of the 96 .* spec\.evaluation\.output"),
    "a regression": (DECISION, np.arange(96) % 5, "answers one number, and the labels are 5 classes"),
    "a regression, one label": (DECISION, np.zeros(96, int), "no better than guessing one of 2"),
    "a segmentation": (wide(), CLASSES, r"answers \[1,4,2,2\] for spec\.evaluation; one value for each class"),
    "a label too many": (SCORES, np.where(CLASSES == 3, 4, CLASSES), "has the label 4; .* has 4 classes"),
    "-1 among four classes": (SCORES, ABOVE * 2 - 1, "has the label -1; .* has 4 classes, counted from 0"),
    "text and no names": (SCORES, LETTERS, r"the label 'a'; class numbers, or names .* \(it has none\)"),
    "text that is no name": (NAMED, np.where(LETTERS == "d", "x", LETTERS), "the label 'x'.*a, b, c, d"),
    "numbers where the model says text": (text_model(), CLASSES, "labels that are numbers; .* labels of text"),
}


@pytest.mark.parametrize(("source", "labels", "words"), REFUSED.values(), ids=REFUSED)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, source: onnx.ModelProto, labels: Any, words: str) -> None:
    with pytest.raises(DatasetMismatch, match=words):
        asked(tmp_path, source, None, {"x": X, "labels": labels})


@pytest.mark.parametrize("labels", [CLASSES - 2, CLASSES.astype(np.float32), np.stack([CLASSES, CLASSES], 1)])
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, labels: Any) -> None:
    with pytest.raises(DatasetInvalid, match=r"(was|were) expected$"):
        asked(tmp_path, SCORES, None, {"x": X, "labels": labels})


def test_the_output_that_says_the_class_is_named(tmp_path: Path) -> None:
    _, inputs = asked(tmp_path, TWO, None, {"x": X, "labels": CLASSES}, output="logits")
    assert inputs.scored is not None
    assert inputs.scored.value == 1.0
    with pytest.raises(RequestInvalid, match=r"spec\.evaluation\.output is 'probs'.*expected: embedding, logits"):
        asked(tmp_path, TWO, None, {"x": X, "labels": CLASSES}, output="probs")


def test_a_source_that_quantises_as_it_runs_is_scored_as_it_is_served(tmp_path: Path) -> None:
    """Its ranges are those of all samples that it is asked at once: beside a large one the others are nothing."""
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("MatMul", ["d", "w"], ["y"]),
    ]
    source = model(nodes, ("y", FLOAT, ["n", 4]), w=W)
    inputs = X.copy()
    inputs[::32] *= 1e4
    _, found = asked(tmp_path, source, None, {"x": inputs, "labels": CLASSES})
    assert found.scored is not None
    assert found.scored.value > 0.95
    together = load_engine("onnxruntime", tmp_path / "source.onnx", threads=1).infer({"x": inputs})["y"]
    assert (together.argmax(axis=1) == CLASSES).mean() < 0.6


def test_a_free_first_axis_that_the_graph_does_not_keep_to_is_asked_one_by_one(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "s"], ["r"]), node("MatMul", ["r", "w"], ["y"])]
    source = model(nodes, ("y", FLOAT, ["n", 4]), w=W, s=np.array([1, 16]))
    _, found = asked(tmp_path, source, {"x": X}, {"x": X, "labels": CLASSES})
    assert found.scored is not None
    assert found.scored.value == 1.0


def test_answers_that_are_nan_are_no_score(tmp_path: Path) -> None:
    source = model([LOGITS, node("Sqrt", ["y"], ["z"])], ("z", FLOAT, ["n", 4]), w=W)
    with pytest.raises(ScoreFailed, match=r"the output 'z' has NaN or infinity for sample 0 of spec\.evaluation"):
        asked(tmp_path, source, None, {"x": X, "labels": CLASSES})


def test_a_candidate_s_one_number_is_read_with_the_source_s_threshold(tmp_path: Path) -> None:
    """A sigmoid whose int8 form goes a little beyond 1 is a sigmoid still."""
    _, inputs = asked(tmp_path, SIGMOID, None, {"x": X, "labels": ABOVE})
    beyond = model(
        [node("MatMul", ["x", "w"], ["t"]), node("Sigmoid", ["t"], ["s"]), node("Mul", ["s", "k"], ["y"])],
        ("y", FLOAT, ["n", 1]), k=np.array(1.004, np.float32), **ONE,
    )  # fmt: skip
    (tmp_path / "beyond.onnx").write_bytes(beyond.SerializeToString())
    engine = load_engine("onnxruntime", tmp_path / "beyond.onnx", threads=1)
    assert inputs.evaluation is not None
    assert inputs.metric.score(engine, inputs.evaluation, inputs.scored).value > 0.95


def test_a_candidate_s_decision_function_is_read_by_its_sign_however_small_it_is(tmp_path: Path) -> None:
    _, inputs = asked(tmp_path, DECISION, None, {"x": X, "labels": ABOVE})
    small = model([LOGITS], ("y", FLOAT, ["n", 1]), w=W[:, :1] * np.float32(1e-3))
    (tmp_path / "small.onnx").write_bytes(small.SerializeToString())
    engine = load_engine("onnxruntime", tmp_path / "small.onnx", threads=1)
    assert inputs.evaluation is not None
    assert inputs.metric.score(engine, inputs.evaluation, inputs.scored).value == 1.0


def paired(lost: int, gained: int, samples: int = 400) -> Change:
    right = np.arange(samples) < samples - 10
    after = right.copy()
    after[:lost] = False
    after[samples - 10 : samples - 10 + gained] = True
    return changed(right, after)


def test_changed_answers_are_counted_both_ways_with_the_error_of_the_drop() -> None:
    change = paired(1, 2)
    assert (change.lost, change.gained, change.drop) == (1, 2, -0.0025)
    # (1.5 + 2.5 - 1 / 402) ** 0.5 / 402 * 1.96, by hand
    assert change.error == pytest.approx(0.009748, abs=1e-6)
    assert paired(0, 0).error > 0, "no changed answer is no certainty"
    assert paired(0, 0).error < paired(3, 3).error < paired(30, 3).error


def test_the_interval_holds_the_drop_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(2000):
        lost, gained, _ = rng.multinomial(400, [0.02, 0.01, 0.97])
        change = change_of(int(lost), int(gained), 400)
        held += abs(change.drop - 0.01) <= change.error
    assert 0.93 <= held / 2000 <= 0.98


def test_a_value_of_few_samples_is_known_to_little() -> None:
    assert share_error(np.ones(10, bool)) > 0.1, "10 of 10 is no certainty"
    # Wilson's interval of 45 of 50 is 0.7864 to 0.9565 (by hand).
    assert share_error(np.arange(50) < 45) == pytest.approx(0.9 - 0.7864, abs=1e-4), "to its further end"


def test_a_drop_that_so_few_samples_cannot_tell_is_held_to_the_gate_by_its_upper_bound(tmp_path: Path) -> None:
    first, second = numbers(16, 256, seed=1), numbers(256, 4, seed=2)
    nodes = [node("MatMul", ["x", "a"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "b"], ["y"])]
    source = model(nodes, ("y", FLOAT, ["n", 4]), a=first, b=second)
    evaluation = {"x": X, "labels": (np.maximum(X @ first, 0) @ second).argmax(axis=1)}
    outcome = built(tmp_path, source, {"x": X}, evaluation, gates=Gates(max_accuracy_drop=0.015))
    int8, winner = outcome.candidates[0], outcome.winner.candidate
    assert winner.precision == "fp32", "which loses nothing, and that is known"
    assert int8.lost is not None
    assert int8.gained == 0
    assert int8.accuracy_drop is not None
    assert int8.accuracy_drop == pytest.approx(int8.lost / 96, abs=1e-6)
    assert int8.accuracy_drop < 0.015 < (int8.accuracy_drop_error or 0)
    assert "either way only over 96 samples" in (int8.rejected or "")
    (tmp_path / "b").mkdir()
    lenient = built(tmp_path / "b", source, {"x": X}, evaluation, gates=Gates(max_accuracy_drop=0.2))
    assert lenient.winner.candidate.precision == "int8"
    assert lenient.winner.warnings == ()
