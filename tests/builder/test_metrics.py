"""Metrics besides accuracy: against numbers worked out by hand, or by scikit-learn, and how well each is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, asked, built, made, node, numbers
from sklearn import metrics as sklearn_metrics

from edgesmith_builder.contract import BuildRequest, Gates
from edgesmith_builder.errors import DatasetInvalid, DatasetMismatch, RequestInvalid
from edgesmith_builder.interval import drawn, half_width
from edgesmith_builder.metric.detection import overlaps
from edgesmith_builder.metric.registry import METRICS, metric_of
from edgesmith_builder.request import check_request

X = numbers(200, 6, seed=5)


def identity(shape: list[Any]) -> onnx.ModelProto:
    """A model whose answers are its inputs: what is asked is what is said."""
    return made([node("Identity", ["x"], ["y"])], [("x", FLOAT, shape)], [("y", FLOAT, shape)], {})


def scored(folder: Path, said: Any, labels: Any, metric: str, **changes: Any) -> Any:
    """The score of answers, and the metric."""
    shape = ["n", *said.shape[1:]]
    _, inputs = asked(folder, identity(shape), None, {"x": said, "labels": labels}, metric=metric, **changes)
    return inputs.scored


NOISE = numbers(200, 6, seed=6)
CLASSES = (X + 0.9 * NOISE).argmax(axis=1)
SURE = X[:, :2] + 0.5 * NOISE[:, :2]


def test_top_k_is_scikit_learn_s(tmp_path: Path) -> None:
    found = scored(tmp_path, X, CLASSES, "TopK", metric_options={"k": "3"})
    assert found.value == pytest.approx(sklearn_metrics.top_k_accuracy_score(CLASSES, X, k=3, labels=range(6)))
    assert found.value > scored(tmp_path, X, CLASSES, "Accuracy").value


def test_of_classes_that_score_alike_those_with_lower_numbers_come_first(tmp_path: Path) -> None:
    """A quantised model ties often: that must not make it right about all of them."""
    level = np.zeros((4, 6), np.float32)
    level[3, 5] = 1
    found = scored(tmp_path, level, np.array([0, 1, 2, 5]), "TopK", metric_options={"k": "2"})
    assert found.right.tolist() == [True, True, False, True]


def test_macro_f1_is_scikit_learn_s(tmp_path: Path) -> None:
    found = scored(tmp_path, X, CLASSES, "MacroF1")
    assert found.value == pytest.approx(sklearn_metrics.f1_score(CLASSES, X.argmax(axis=1), average="macro"), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("RMSE", lambda right, said: sklearn_metrics.mean_squared_error(right, said) ** 0.5),
        ("MAE", sklearn_metrics.mean_absolute_error),
        ("R2", sklearn_metrics.r2_score),
    ],
)
@pytest.mark.parametrize("several", [False, True], ids=["one-number", "two-numbers"])
def test_errors_are_scikit_learn_s(tmp_path: Path, name: str, reference: Any, *, several: bool) -> None:
    said, right = X[:, : 1 + several], SURE[:, : 1 + several]
    found = scored(tmp_path, said, right if several else right[:, 0], name)
    assert found.value == pytest.approx(reference(right, said), abs=1e-6)


def boxes(*rows: tuple[float, ...]) -> list[list[float]]:
    return [list(row) for row in rows]


def padded(samples: list[list[list[float]]], fill: list[float]) -> Any:
    most = max(len(sample) for sample in samples)
    return np.array([[*sample, *([fill] * (most - len(sample)))] for sample in samples], np.float32)


RIGHT = padded(
    [boxes((0, 0, 10, 10, 0), (20, 20, 30, 30, 0)), boxes((0, 0, 10, 10, 1)), boxes((5, 5, 9, 9, 0))],
    [0, 0, 0, 0, -1],
)
SAID = padded(
    [
        # found; far off; a second one for the first box
        boxes((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 0), (0, 0, 10, 9, 0.7, 0)),
        boxes((0, 0, 10, 6, 0.9, 1)),  # overlaps by 0.6
        boxes((5, 5, 9, 9, 0.6, 0), (5, 5, 9, 9, 0.5, 1)),  # found; of another class
    ],
    [0, 0, 0, 0, 0, 0],
)


def test_map_is_what_comes_out_by_hand(tmp_path: Path) -> None:
    """Class 0 has three boxes; by falling score: right, wrong, wrong, right. Precision is 1 up to a third, then 2/4 up
    to two thirds: 1/3 + 1/2 * 1/3 = 1/2. Class 1: right, wrong, and all found: 1. The mean is 3/4."""
    assert scored(tmp_path, SAID, RIGHT, "MeanAveragePrecision").value == 0.75


def test_boxes_that_score_alike_are_taken_together(tmp_path: Path) -> None:
    right = padded([boxes((0, 0, 10, 10, 0))], [0, 0, 0, 0, -1])
    wrong, good = (50, 50, 60, 60, 0.5, 0), (0, 0, 10, 10, 0.5, 0)
    values = {scored(tmp_path, padded([boxes(*rows)], []), right, "MeanAveragePrecision").value
              for rows in ((wrong, good), (good, wrong))}  # fmt: skip
    assert values == {0.5}


def test_overlap_is_the_intersection_as_a_share_of_the_union() -> None:
    box = np.array([0.0, 0, 10, 10])
    others = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]])
    assert overlaps(box, others).tolist() == [1.0, 50 / 150, 0.0, 0.0]


@pytest.mark.parametrize(
    "case",
    [
        (X, CLASSES, "TopK", {"k": "6"}, DatasetMismatch, "has 6 classes and build.metricOptions.k is 6; fewer"),
        (X, CLASSES, "TopK", {"k": "1"}, RequestInvalid, "k is '1'; a number from 2 to 1000 was expected"),
        (X, CLASSES, "TopK", {"depth": "3"}, RequestInvalid, "build.metricOptions has depth; other options"),
        (X, CLASSES, "Accuracy", {"k": "3"}, RequestInvalid, "other options were expected with the metric Accuracy"),
        (X[:, :1], X[:, 0] + 9, "RMSE", {}, DatasetMismatch, "no better than the labels' mean; labels in the output"),
        (X[:, :1], X[:, 0], "MAE", {}, DatasetMismatch, "'y' is the labels of spec.evaluation themselves"),
        (X[:, :1], np.ones(200), "R2", {}, DatasetMismatch, "the same labels for every sample"),
        (X, X[:, 0], "RMSE", {}, DatasetMismatch, r"answers \[1,6\] and spec.evaluation has 1 numbers for each sample"),
        (X[:, :1], np.array(["a"] * 200), "RMSE", {}, DatasetInvalid, "numbers, as many for each sample as the output"),
        (X, RIGHT, "MeanAveragePrecision", {}, DatasetMismatch, "different numbers of samples"),
        (SAID[..., :5], RIGHT, "MeanAveragePrecision", {}, DatasetMismatch, r"answers \[1,3,5\] .*\[boxes, 6\]"),
        (SAID + 100, RIGHT, "MeanAveragePrecision", {}, DatasetMismatch, "finds none of the boxes of spec.evaluation"),
        (SAID, RIGHT[..., :4], "MeanAveragePrecision", {}, DatasetInvalid, r"\[samples, most boxes, 5\] was expected"),
        (SAID, RIGHT + 0.5, "MeanAveragePrecision", {}, DatasetInvalid, "a box whose class is no whole number"),
        (SAID, RIGHT * 0 - 1, "MeanAveragePrecision", {}, DatasetInvalid, "no box in any sample"),
    ],
)  # fmt: skip
def test_labels_of_another_kind_are_refused(tmp_path: Path, case: tuple[Any, ...]) -> None:
    said, labels, metric, options, error, words = case
    with pytest.raises(error, match=words):
        scored(tmp_path, said, labels, metric, metric_options=options)


CASES: dict[str, tuple[Any, Any, dict[str, str]]] = {
    "Accuracy": (X, CLASSES, {}),
    "TopK": (X, CLASSES, {"k": "2"}),
    "MacroF1": (X, CLASSES, {}),
    "RMSE": (X[:, :2], SURE, {}),
    "MAE": (X[:, :2], SURE, {}),
    "R2": (X[:, :2], SURE, {}),
    "MeanAveragePrecision": (np.tile(SAID, (20, 1, 1)), np.tile(RIGHT, (20, 1, 1)), {}),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_candidate_that_says_the_same_loses_nothing_and_a_worse_one_something(tmp_path: Path, name: str) -> None:
    said, labels, options = CASES[name]
    source = scored(tmp_path, said, labels, name, metric_options=options)
    none = source.change(scored(tmp_path, said, labels, name, metric_options=options))
    worse = said + numbers(*said.shape, seed=9) * (6 if name == "MeanAveragePrecision" else 0.4) * (said != 0)
    if name == "MeanAveragePrecision":
        worse[..., 4:] = said[..., 4:]
    lost = source.change(scored(tmp_path, worse.astype(np.float32), labels, name, metric_options=options))
    assert none.drop == 0.0
    assert lost.drop > 0.0
    assert lost.error > none.error >= 0.0
    assert 0 < source.error < 0.5
    fewer = slice(0, len(said) // 4)
    few = scored(tmp_path, said[fewer], labels[fewer], name, metric_options=options)
    assert few.error > source.error, "fewer samples know less"


def test_the_interval_of_a_mean_is_the_textbook_s() -> None:
    """Half a width of 1.96 s / sqrt(n), to the few percent that so many draws know it to."""
    values = numbers(500, seed=3).astype(np.float64)
    width = half_width(lambda weights: float(weights @ values / weights.sum()), 500)
    assert width == pytest.approx(1.96 * values.std() / 500**0.5, rel=0.12)


def test_what_is_drawn_is_the_same_everywhere() -> None:
    mask, counted = 2**64 - 1, [0.0] * 8
    for place in range(1, 9):  # as Steele, Lea and Flood have it
        mixed = place * 0x9E3779B97F4A7C15 & mask
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & mask
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & mask
        counted[(mixed ^ mixed >> 31) % 8] += 1
    assert drawn(8, 0).tolist() == counted
    assert [int(drawn(1000, turn).sum()) for turn in (0, 7)] == [1000, 1000]
    assert drawn(1000, 0).tolist() != drawn(1000, 1).tolist()


@pytest.mark.parametrize(
    ("metric", "gates", "words"),
    [
        ("RMSE", Gates(min_accuracy=0.9), "minAccuracy is 0.9 but RMSE is better the lower it is; spec.gates.maxError"),
        ("R2", Gates(max_error=0.9), "maxError is 0.9 but R2 is better the higher it is; spec.gates.minAccuracy"),
        ("MAE", Gates(max_error=2.0), None),
    ],
)
def test_a_gate_that_the_metric_cannot_be_held_to_is_refused(
    tmp_path: Path, metric: str, gates: Gates, words: str | None
) -> None:
    wanted, _ = asked(tmp_path, identity(["n", 2]), None, {"x": X[:, :2], "labels": SURE}, metric=metric)
    build = wanted.model_copy(update={"evaluation": wanted.source})
    request = BuildRequest(build=build, repository="r.example/a/b", gates=gates)
    if words is None:
        check_request(request)
        return
    with pytest.raises(RequestInvalid, match=words):
        check_request(request)


def test_a_regression_is_gated_by_the_relative_rise_of_its_error(tmp_path: Path) -> None:
    hidden, last = numbers(16, 64, seed=1), numbers(64, 1, seed=2)
    nodes = [node("MatMul", ["x", "a"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "b"], ["y"])]
    source = made(nodes, [("x", FLOAT, ["n", 16])], [("y", FLOAT, ["n", 1])], {"a": hidden, "b": last})
    inputs = numbers(400, 16, seed=3)
    right = np.maximum(inputs @ hidden, 0) @ last + numbers(400, 1, seed=4)
    sets = {"x": inputs[:64]}, {"x": inputs, "labels": right}
    for folder, gate, winner in (("a", 0.5, "int8"), ("b", 0.0001, "fp32")):
        (tmp_path / folder).mkdir()
        outcome = built(tmp_path / folder, source, *sets, metric="RMSE", gates=Gates(max_accuracy_drop=gate))
        assert outcome.winner.candidate.precision == winner
    rejected = outcome.candidates[0].rejected or ""
    assert rejected.startswith("RMSE rises by ")
    assert "of itself" in rejected


def test_every_metric_has_a_name_for_sentences() -> None:
    names = {metric_of(name, {}).name for name in METRICS}
    assert len(names) == len(METRICS)
