"""A calibration set of one class is refused where that is no chance, and by a classifier only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import FLOAT, model_of, node, samples_of
from onnx import TensorProto

from edgesmith_builder.contract import Artifact, Gates
from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import DatasetMismatch
from edgesmith_builder.metric import Evaluation, check_classes
from edgesmith_builder.metric.calibration import _several
from edgesmith_runtime.engine import Engine, load_engine

LARGEST: Any = ([node("Identity", ["x"], ["y"])], FLOAT, ["n", 3])
PLACE: Any = ([node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)], TensorProto.INT64, ["n"])
SIGMOID: Any = (
    [node("ReduceMean", ["x"], ["mean"], axes=[1]), node("Sigmoid", ["mean"], ["y"])],
    FLOAT,
    ["n", 1],
)
SCORE: Any = ([node("ReduceMean", ["x"], ["y"], axes=[1])], FLOAT, ["n", 1])
CLASSES = np.eye(3, dtype=np.float32)
HIGH, LOW = np.ones((1, 3), np.float32), -np.ones((1, 3), np.float32)


class Counted:
    """An engine that counts what it is asked."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.asked = engine, 0

    def infer(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        self.asked += 1
        return self.engine.infer(inputs, outputs)


def counted(folder: Path, kind: Any) -> Any:
    nodes, datatype, shape = kind
    made = model_of(nodes, [("x", FLOAT, ["n", 3])], [("y", datatype, shape)], {})
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return Counted(load_engine("onnxruntime", folder / "model.onnx", threads=1))


def evaluation(*labels: Any) -> Evaluation:
    samples = samples_of({"x": np.zeros((len(labels), 3), np.float32)})
    return Evaluation(Samples(samples.inputs, samples.ranks, samples.batches, np.array(labels)), "y")


THREE, TWO = evaluation(0, 1, 2), evaluation(0, 1)


@pytest.mark.parametrize(
    ("kind", "one", "labels"),
    [
        pytest.param(LARGEST, CLASSES[1:2], THREE, id="the largest number's place"),
        pytest.param(PLACE, CLASSES[1:2], THREE, id="a number that is the class"),
        pytest.param(SIGMOID, HIGH, TWO, id="above 0.5"),
        pytest.param(SIGMOID, LOW, TWO, id="below 0.5"),
        pytest.param(SCORE, 2 * HIGH, TWO, id="above 0"),
        pytest.param(SCORE, LOW / 2, TWO, id="below 0"),
        pytest.param(LARGEST, CLASSES[:1], evaluation("a", "b", "c"), id="labels of text"),
    ],
)
def test_one_class_for_all_samples_is_refused(tmp_path: Path, kind: Any, one: Any, labels: Evaluation) -> None:
    engine = counted(tmp_path, kind)
    noise = np.linspace(0.9, 1, 20, dtype=np.float32)[:, None]
    with pytest.raises(DatasetMismatch, match=r"^the set shows the model one class only: .* says the same for all 20 "):
        check_classes(engine, samples_of({"x": one * noise}), "the set", labels)
    assert engine.asked == 20


def test_a_large_set_of_one_class_takes_no_quadratic_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0

    def several(found: list[Any]) -> bool:
        nonlocal seen
        seen += len(found)
        return _several(found)

    monkeypatch.setattr("edgesmith_builder.metric.calibration._several", several)
    with pytest.raises(DatasetMismatch, match="says the same for all 3000 samples"):
        check_classes(counted(tmp_path, LARGEST), samples_of({"x": CLASSES[:1].repeat(3000, axis=0)}), "a", THREE)
    assert seen < 4 * 3000


def test_another_class_at_the_very_end_of_a_set_is_seen(tmp_path: Path) -> None:
    """The classes are asked for at some samples only, and again when all have answered."""
    last = int(np.random.default_rng(0).permutation(21)[-1])
    x = CLASSES[:1].repeat(21, axis=0)
    x[last] = CLASSES[1]
    engine = counted(tmp_path, LARGEST)
    check_classes(engine, samples_of({"x": x}), "the set", THREE)
    assert engine.asked == 21


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (LARGEST, (CLASSES[:1], CLASSES[1:2])),
        (PLACE, (CLASSES[:1], CLASSES[1:2])),
        (SIGMOID, (HIGH, LOW)),
        (SCORE, (2 * HIGH, LOW)),
    ],
)
def test_two_classes_are_seen_early_in_a_set_that_is_sorted(tmp_path: Path, kind: Any, other: Any) -> None:
    engine = counted(tmp_path, kind)
    check_classes(engine, samples_of({"x": np.repeat(np.concatenate(other), 50, axis=0)}), "the set", THREE)
    assert engine.asked < 20


@pytest.mark.parametrize(
    ("count", "labels"),
    [
        pytest.param(6, THREE, id="six of three classes may be alike"),
        pytest.param(500, evaluation(*[0] * 99, 1), id="nearly all samples are of one class"),
        pytest.param(500, evaluation(1, 1, 1), id="there is one class"),
    ],
)
def test_what_may_be_chance_is_not_refused(tmp_path: Path, count: int, labels: Evaluation) -> None:
    engine = counted(tmp_path, LARGEST)
    check_classes(engine, samples_of({"x": CLASSES[:1].repeat(count, axis=0)}), "the set", labels)
    assert engine.asked == 0


async def test_an_error_knows_no_classes(world: Any, sets: Any) -> None:
    """A regression whose calibration set is on one side of everything is built."""
    nodes = [node("ReduceMean", ["x"], ["y"], axes=[1])]
    source = model_of(nodes, [("x", FLOAT, ["n", 3])], [("y", FLOAT, ["n", 1])], {}).SerializeToString()
    numbers = np.random.default_rng(4).normal(size=(60, 3)).astype(np.float32)
    labels = numbers.mean(axis=1) + np.linspace(-0.1, 0.1, 60)
    places = {
        "source": source,
        "calibration": sets.npz(x=abs(numbers) + 1),
        "evaluation": sets.npz(x=numbers, labels=labels),
    }
    fields = {role: Artifact(uri=world.store.put(f"numbers/{role}", content)) for role, content in places.items()}
    built = await world.build(world.request(**fields, metric="RMSE", precisions=("fp32",), gates=Gates()))
    assert built.report.metric == "RMSE"
