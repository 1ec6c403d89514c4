"""A gate that so few samples cannot tell is held by the value that was measured, and a sentence says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from candidates import FLOAT, built, made, node, numbers

from edgesmith_builder.contract import BuildReport, Candidate, Gates
from edgesmith_builder.gates import doubts, rejection

RMSE: dict[str, Any] = {"metric": "RMSE", "higher": False}


def measured(metric: dict[str, Any] | None = None, **facts: Any) -> tuple[BuildReport, Candidate]:
    candidate = Candidate(precision="int8", agreement_where="y", agreement_samples=8, **facts)
    return BuildReport(precision="int8", size=1, samples=400, candidates=(candidate,), **(metric or {})), candidate


def accurate(value: float, error: float | None, **metric: Any) -> tuple[BuildReport, Candidate]:
    return measured(metric, accuracy=value, accuracy_error=error)


def agreeing(value: float, error: float | None) -> tuple[BuildReport, Candidate]:
    return measured(agreement=value, agreement_error=error)


LEAST, MOST, AGREE = Gates(min_accuracy=0.96), Gates(max_error=0.75), Gates(min_agreement=0.9)


@pytest.mark.parametrize(
    ("found", "gates", "words"),
    [
        pytest.param(
            accurate(0.9675, 0.012),
            LEAST,
            "accuracy is 0.9675 ± 0.0120 over 400 samples, which cannot tell whether it is at least 0.9600, as is "
            "asked by spec.gates.minAccuracy",
            id="accuracy",
        ),
        pytest.param(
            accurate(0.74, 0.02, **RMSE),
            MOST,
            "RMSE is 0.7400 ± 0.0200 over 400 samples, which cannot tell whether it is at most 0.7500, as is "
            "allowed by spec.gates.maxError",
            id="error",
        ),
        pytest.param(
            agreeing(0.95, 0.2),
            AGREE,
            "agreement with the source is 0.9500 ± 0.2000 over 8 samples, which cannot tell whether it is at least "
            "0.9000, as is asked by spec.gates.minAgreement",
            id="agreement",
        ),
        pytest.param(accurate(0.9675, 0.007), LEAST, None, id="told"),
        pytest.param(accurate(0.9675, None), LEAST, None, id="a report that says no error"),
        pytest.param(accurate(0.74, 0.02, **RMSE), LEAST, None, id="a gate for other metrics"),
        pytest.param(accurate(0.9675, 0.012), Gates(), None, id="no gate"),
        pytest.param(agreeing(0.1, 0.9), Gates(min_agreement=0.0), None, id="agreement is not asked"),
    ],
)
def test_a_gate_that_is_kept_by_less_than_the_value_is_known_to_is_told(
    found: tuple[BuildReport, Candidate], gates: Gates, words: str | None
) -> None:
    assert rejection(*found, gates) is None
    assert doubts(*found, gates) == ((words,) if words else ())


@pytest.mark.parametrize(
    ("found", "gates", "words"),
    [
        (accurate(0.95, 0.012), LEAST, "minAccuracy, and over 400 samples it is known to 0.0120 either way only"),
        (accurate(0.95, 0.009), LEAST, "accuracy is 0.9500; at least 0.9600 is asked by spec.gates.minAccuracy"),
        (agreeing(0.85, 0.2), AGREE, "minAgreement, and over 8 samples it is known to 0.2000 either way only"),
        (agreeing(0.85, 0.04), AGREE, "in y; at least 0.9000 is asked by spec.gates.minAgreement"),
    ],
)
def test_a_gate_that_is_missed_by_less_than_that_is_told_too(
    found: tuple[BuildReport, Candidate], gates: Gates, words: str
) -> None:
    assert (rejection(*found, gates) or "").endswith(words)


def test_several_gates_may_say_little() -> None:
    found = measured(
        accuracy=0.965, accuracy_error=0.01, accuracy_drop=0.0, accuracy_drop_error=0.02, agreement=0.9,
        agreement_error=0.15,
    )  # fmt: skip
    fields = ("maxAccuracyDrop is 0", "spec.gates.minAccuracy", "spec.gates.minAgreement")
    said = doubts(*found, Gates(max_accuracy_drop=0.0, min_accuracy=0.96))
    assert len(said) == len(fields)
    assert all(field in words for field, words in zip(fields, said, strict=True))


def test_a_build_says_how_well_it_knows_what_it_measured(tmp_path: Path) -> None:
    x, first, second = numbers(400, 16, seed=5), numbers(16, 256, seed=1), numbers(256, 4, seed=2)
    nodes = [node("MatMul", ["x", "a"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "b"], ["y"])]
    weights = {"a": first, "b": second}
    source = made(nodes, [("x", FLOAT, ["n", 16])], [("y", FLOAT, ["n", 4])], weights)
    labels = (np.maximum(x @ first, 0) @ second + 20 * numbers(400, 4, seed=2)).argmax(axis=1)
    whole = built(tmp_path, source, {"x": x[:64]}, {"x": x, "labels": labels}, gates=Gates(min_accuracy=0.01))
    (tmp_path / "few").mkdir()
    few = built(tmp_path / "few", source, {"x": x[:64]}, {"x": x[:40], "labels": labels[:40]})
    for many, less in zip(whole.candidates, few.candidates, strict=True):
        assert 0 < (many.accuracy_error or 0) < (less.accuracy_error or 0) < 0.3
    (int8, source_itself), (less_int8, _) = whole.candidates, few.candidates
    assert 0 < (int8.agreement_error or 0) < (less_int8.agreement_error or 0)
    assert source_itself.agreement_error is None
    assert all(one.warnings == () for one in whole.finalists)
