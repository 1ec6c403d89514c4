"""Which finalist a trial chooses, and the sentence that each of the others gets."""

from __future__ import annotations

from typing import Any

import pytest
from snapshots import model

from edgesmith.api.trial_status import FinalistStatus
from edgesmith.decide.verdicts import Bounds, Objective, judge_trial


def one(precision: str, latency: float | None = 10.0, *, drop: str | None = "0.00%", **more: Any) -> FinalistStatus:
    said = {
        "size": 100,
        "memory": 2**20,
        "reason": "Passed",
        "latency": None if latency is None else f"{latency:.3f}ms",
        "accuracy_drop": drop,
        **more,
    }
    return FinalistStatus(precision=precision, image=f"r/m@sha256:{precision}", **said)


OUT = one("int8", None, reason="GoldenMismatch", message="3 of 8 golden samples differ")

CASES: dict[str, tuple[list[FinalistStatus], Objective, Bounds, str | None, str, str]] = {
    "slower is never chosen for being first": (
        [one("int8", 10.0), one("fp32", 5.0)], "Latency", Bounds(), "fp32", "int8",
        "fp32 is faster: p95 5.000ms where it has 10.000ms.",
    ),
    "10 % are noise, and the more accurate is taken": (
        [one("int8", 10.0, drop="0.20%"), one("fp32", 10.9)], "Latency", Bounds(), "fp32", "int8",
        "fp32 is about as fast, p95 10.900ms where it has 10.000ms, and more accurate.",
    ),
    "more than 10 % are none": (
        [one("int8", 10.0, drop="0.20%"), one("fp32", 11.1)], "Latency", Bounds(), "int8", "fp32",
        "int8 is faster: p95 10.000ms where it has 11.100ms.",
    ),
    "of equals the first of the ladder": (
        [one("int8", 10.5), one("fp32", 10.0)], "Latency", Bounds(), "int8", "fp32",
        "int8 is about as fast, p95 10.500ms where it has 10.000ms, and as accurate and comes before it in the ladder.",
    ),
    "a candidate better than its source is the more accurate": (
        [one("int8", 10.0, drop="-0.50%"), one("fp32", 9.9)], "Latency", Bounds(), "int8", "fp32", "more accurate.",
    ),
    "without labels the agreement says which": (
        [one("int8", 10.0, drop=None, agreement="97.00%"), one("fp32", 10.0, drop=None)], "Latency", Bounds(),
        "fp32", "int8", "more accurate.",
    ),
    "the smallest": (
        [one("fp32", 5.0, size=400), one("int8", 50.0, size=100)], "Size", Bounds(), "int8", "fp32",
        "int8 is as small or smaller: 100 bytes where it has 400.",
    ),
    "the most accurate": (
        [one("int8", 5.0, drop="0.20%"), one("fp32", 50.0)], "Accuracy", Bounds(), "fp32", "int8",
        "fp32 is more accurate.",
    ),
    "as accurate and faster": (
        [one("int8", 50.0), one("fp32", 5.0)], "Accuracy", Bounds(), "fp32", "int8",
        "fp32 is as accurate and no slower.",
    ),
    "one over the latency is out, whatever the objective": (
        [one("int8", 20.0, size=1), one("fp32", 5.0, size=2)], "Size", Bounds(latency_ms=10), "fp32", "int8",
        "Its p95 latency is 20.000ms; gates.maxLatency allows 10ms.",
    ),
    "one over the memory is out": (
        [one("int8", 1.0, memory=2**21), one("fp32", 5.0)], "Latency", Bounds(memory=2**20), "fp32", "int8",
        "Its server's memory reached 2097152 bytes; gates.maxMemory allows 1048576.",
    ),
    "one whose answers differ is out": (
        [OUT, one("fp32", 5.0)], "Latency", Bounds(), "fp32", "int8", "3 of 8 golden samples differ.",
    ),
    "all are out": ([OUT, one("fp32", 5.0)], "Latency", Bounds(latency_ms=1), None, "fp32", "allows 1ms."),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_objective_chooses_among_those_that_keep_the_gates(case: tuple[Any, ...]) -> None:
    finalists, objective, bounds, winner, loser, sentence = case
    found = judge_trial(finalists, objective, bounds)
    assert found.winner == winner
    assert found.said[loser].endswith(sentence)
    assert set(found.said) == {"int8", "fp32"}
    if winner:
        assert found.said[winner] == f"It was chosen by {objective.lower()}."


def test_the_bounds_are_the_gates_that_are_measured_on_devices() -> None:
    assert Bounds.of(model()) == Bounds()
    assert Bounds.of(model(gates={"maxLatency": "50ms", "maxMemory": "1Mi"})) == Bounds(50.0, 2**20)
