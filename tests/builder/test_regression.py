"""Errors have the labels' own unit, however small or large it is, and are counted of numbers only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from graphs import samples_of

from edgesmith_builder.contract import BuildReport, Candidate, Gates, MetricName
from edgesmith_builder.dataset import Samples, samples_for
from edgesmith_builder.errors import DatasetInvalid, DatasetMismatch
from edgesmith_builder.gates import doubts, rejection
from edgesmith_builder.metric import Evaluation
from edgesmith_builder.metric.registry import metric_of
from edgesmith_builder.score import ScoreFailed
from edgesmith_runtime.tensors import TensorSpec

SAMPLES = 64
RNG = np.random.default_rng(2)
RIGHT, NOISE = RNG.normal(size=(SAMPLES, 1)), RNG.normal(size=(SAMPLES, 1))


class Says:
    """An engine whose answer to a sample is what stands at the place that the sample says."""

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers

    def infer(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        del outputs
        return {"y": self.numbers[inputs["x"][:, 0].astype(int)]}


def evaluation(labels: Any) -> Evaluation:
    samples = samples_of({"x": np.arange(len(labels), dtype=np.float32)[:, None]})
    return Evaluation(Samples(samples.inputs, samples.ranks, samples.batches, labels), "y")


def scored(name: MetricName, said: Any, right: Any) -> Any:
    engine: Any = Says(said)
    return metric_of(name, {}).score(engine, evaluation(right))


@pytest.mark.parametrize("name", ["RMSE", "MAE", "R2"])
def test_minus_infinity_is_no_distance_from_a_label(name: MetricName) -> None:
    said = RIGHT + 0.1 * NOISE
    said[40, 0] = -np.inf
    with pytest.raises(ScoreFailed, match=r"'y' has minus infinity for a sample of spec\.evaluation, which is no dist"):
        scored(name, said, RIGHT)


def read(name: MetricName, label: float) -> Any:
    """What a metric reads of a set that has this label in one sample."""
    given: dict[str, Any] = {"x": np.arange(SAMPLES, dtype=np.float32)[:, None], "labels": np.hstack([RIGHT, RIGHT])}
    given["labels"][40, 1] = label
    spec, labels = TensorSpec("x", "FP32", (-1, 1)), metric_of(name, {}).labels
    return samples_for(given, [spec], field="spec.evaluation", labels=labels).labels


@pytest.mark.parametrize("name", ["RMSE", "MAE", "R2"])
@pytest.mark.parametrize("label", [-1.7976931348623157e308, 1e200, 2e140])
def test_labels_whose_squares_are_not_finite_are_refused(name: MetricName, label: float) -> None:
    words = rf"^spec\.evaluation has the label {re.escape(f'{label:g}')} in sample 40; numbers from -1e\+140"
    with pytest.raises(DatasetInvalid, match=words):
        read(name, label)


@pytest.mark.parametrize("name", ["RMSE", "MAE", "R2"])
@pytest.mark.parametrize("label", [1e140, -3.4028234663852886e38])
def test_labels_that_can_be_squared_are_told_in_finite_numbers(name: MetricName, label: float) -> None:
    right = read(name, label)
    found = scored(name, right + NOISE, right)
    assert np.isfinite([found.value, found.error, found.deviation]).all()


@pytest.mark.parametrize("name", ["RMSE", "MAE"])
@pytest.mark.parametrize("unit", [3e-9, 3e-6, 1.0, 3e6])
def test_an_error_is_told_as_well_in_any_unit(name: MetricName, unit: float) -> None:
    whole, found = (scored(name, scale * (RIGHT + 0.1 * NOISE), scale * RIGHT) for scale in (1.0, unit))
    assert found.value == pytest.approx(unit * whole.value, rel=1e-5)
    assert found.error == pytest.approx(unit * whole.error, rel=1e-4)
    assert found.value == float(f"{found.value:.7g}"), "the last bits of its sum are not told"
    metric_of(name, {}).check_source(found, evaluation(unit * RIGHT))


@pytest.mark.parametrize("unit", [3e-9, 1.0, 3e9])
@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_labels_that_the_model_made_are_told_in_any_unit(unit: float, noise: float) -> None:
    """Also where it computed in FP32 and they were written in FP64."""
    found = scored("RMSE", unit * (RIGHT + noise * NOISE), unit * RIGHT)
    with pytest.raises(DatasetMismatch, match=r"is the labels of spec\.evaluation themselves"):
        metric_of("RMSE", {}).check_source(found, evaluation(unit * RIGHT))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (1.2e-6, None),
        (1.2e-6 * (1 + 1e-12), None),
        (1.2001e-6, "RMSE is 1.2e-06; at most 1.2e-06 is allowed by spec.gates.maxError"),
        (1.47e-6, "RMSE is 1.47e-06; at most 1.2e-06 is allowed by spec.gates.maxError"),
    ],
)
def test_a_small_error_is_held_to_a_small_gate(error: float, words: str | None) -> None:
    candidate = Candidate(precision="int8", accuracy=error)
    report = BuildReport(precision="int8", size=1, metric="RMSE", higher=False, candidates=(candidate,))
    assert rejection(report, candidate, Gates(max_error=1.2e-6)) == words


def test_small_samples_leave_a_small_error_open() -> None:
    candidate = Candidate(precision="int8", accuracy=1.1e-6, accuracy_error=3e-7)
    report = BuildReport(precision="int8", size=1, samples=400, metric="RMSE", higher=False, candidates=(candidate,))
    (said,) = doubts(report, candidate, Gates(max_error=1.2e-6))
    assert said.startswith("RMSE is 1.1e-06 ± 3e-07 over 400 samples, which cannot tell whether it is at most 1.2e-06")
