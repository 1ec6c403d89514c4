"""Builds that are scored by each of the metrics of numbers and of several guesses, and held to a gate on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from candidates import FLOAT, built, made, node, numbers

from edgesmith_builder.contract import Gates

X = numbers(400, 16, seed=1)
FIRST, SECOND = numbers(16, 128, seed=2), numbers(128, 6, seed=4) / np.float32(16)
COMPUTED = np.maximum(X @ FIRST, 0) @ SECOND
SEEN = COMPUTED + numbers(400, 6, seed=3)
"""What was measured: noise of 1 beside what the model computes."""
LABELS = SEEN.argmax(axis=1)
ASIDE = SEEN[:, :1] - COMPUTED[:, :1]
AMONG = float((LABELS[:, None] == np.argsort(-COMPUTED, axis=1)[:, :2]).any(axis=1).mean())
KNOWN = 1 - float(np.sum(ASIDE**2) / np.sum((SEEN[:, :1] - SEEN[:, :1].mean()) ** 2))

CASES: dict[str, tuple[int, Any, dict[str, str], Gates, Gates, float, str]] = {
    "TopK": (6, LABELS, {"k": "2"}, Gates(min_accuracy=0.7), Gates(min_accuracy=0.999), AMONG, "minAccuracy"),
    "R2": (1, SEEN[:, :1], {}, Gates(min_accuracy=0.1), Gates(min_accuracy=0.999), KNOWN, "minAccuracy"),
    "MAE": (1, SEEN[:, :1], {}, Gates(max_error=1.0), Gates(max_error=0.5), float(np.abs(ASIDE).mean()), "maxError"),
}  # fmt: skip


@pytest.mark.parametrize("metric", CASES)
def test_int8_is_scored_and_held_to_its_gate(metric: str, tmp_path: Path) -> None:
    outputs, labels, options, kept, broken, about, gate = CASES[metric]
    network = made(
        [node("MatMul", ["x", "f"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "s"], ["y"])],
        [("x", FLOAT, ["n", 16])],
        [("y", FLOAT, ["n", outputs])],
        {"f": FIRST, "s": SECOND[:, :outputs]},
    )
    evaluation = {"x": X, "labels": labels}
    found = []
    for number, gates in enumerate((kept, broken)):
        folder = tmp_path / str(number)
        folder.mkdir()
        sets = {"x": X[:100]}, evaluation
        found.append(built(folder, network, *sets, gates=gates, metric=metric, metric_options=options))
    good, bad = found
    int8, fp32 = good.candidates
    assert (good.winner.candidate.precision, int8.precision, fp32.precision) == ("int8", "int8", "fp32")
    assert fp32.accuracy == pytest.approx(about, abs=1e-4)
    assert int8.accuracy == pytest.approx(fp32.accuracy, abs=0.03)
    assert (int8.accuracy_error or 0) > 0
    assert (int8.accuracy_drop_error or 0) > 0
    assert bad.finalists == ()
    assert all(f"spec.gates.{gate}" in (one.rejected or "") for one in bad.candidates)
