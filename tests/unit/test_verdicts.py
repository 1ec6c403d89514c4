"""Which finalist a trial chooses, and the sentence that each of the others gets."""

from __future__ import annotations

from random import Random
from typing import Any, get_args

import pytest
from snapshots import model

from edgesmith.api.trial_status import FinalistStatus
from edgesmith.decide.criteria import Accuracy, p95
from edgesmith.decide.verdicts import Bounds, Objective, judge_trial


def one(
    precision: str, latency: float | None = 10.0, *, drop: str | None = "0.00%", error: str | None = None, **more: Any
) -> FinalistStatus:
    said = {
        "size": 100,
        "memory": 2**20,
        "reason": "Passed",
        "latency": None if latency is None else f"{latency:.3f}ms",
        "accuracy_drop": drop,
        "accuracy_drop_error": error,
        **more,
    }
    return FinalistStatus(precision=precision, image=f"r/m@sha256:{precision}", **said)


OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
OUT = one("int8", None, reason="GoldenMismatch", message="3 of 8 golden samples differ")

CASES: dict[str, tuple[list[FinalistStatus], Objective, Bounds, str | None, str, str]] = {
    "slower is never chosen for being first": (
        [one("int8", 10.0), one("fp32", 5.0)], "Latency", Bounds(), "fp32", "int8",
        "fp32 is faster: p95 5.000ms where it has 10.000ms.",
    ),
    "within the noise the more accurate is taken": (
        [one("int8", 10.0, drop="0.20%"), one("fp32", 10.9)], "Latency", Bounds(), "fp32", "int8",
        "is about as fast, p95 10.900ms where it has 10.000ms, and more accurate: drop 0.00% where it has drop 0.20%.",
    ),
    "more than 10 % are no noise": (
        [one("int8", 10.0, drop="0.20%"), one("fp32", 11.1)], "Latency", Bounds(), "int8", "fp32",
        "int8 is faster: p95 10.000ms where it has 11.100ms.",
    ),
    "of runs that are all alike less is noise": (
        [one("int8", 10.0, drop="0.20%", median="9.900ms"), one("fp32", 10.9, median="10.800ms")], "Latency", Bounds(),
        "int8", "fp32", "int8 is faster: p95 10.000ms where it has 10.900ms.",
    ),
    "but 5 % are": (
        [one("int8", 10.0, drop="0.20%", median="9.900ms"), one("fp32", 10.4, median="10.400ms")], "Latency", Bounds(),
        "fp32", "int8", "more accurate: drop 0.00% where it has drop 0.20%.",
    ),
    "the most uneven runs say what is noise": (
        [one("int8", 10.0, drop="0.20%", median="9.300ms"), one("fp32", 10.6, median="10.600ms")], "Latency", Bounds(),
        "fp32", "int8", "more accurate: drop 0.00% where it has drop 0.20%.",
    ),
    "a slower one is not taken for being first": (
        [one("int8", 10.5), one("fp32", 10.0)], "Latency", Bounds(), "fp32", "int8",
        "10.500ms, as accurate, as small, and faster as measured, p95 10.000ms where it has 10.500ms.",
    ),
    "but for being smaller": (
        [one("fp32", 10.0, size=400), one("int8", 10.5)], "Latency", Bounds(), "int8", "fp32",
        "is about as fast, p95 10.500ms where it has 10.000ms, as accurate, and smaller: 100 bytes where it has 400.",
    ),
    "an accuracy that the samples cannot tell apart decides nothing": (
        [one("int8", 10.5, drop="-0.34%", error="0.57%"), one("fp32", 10.0)], "Latency", Bounds(), "fp32", "int8",
        "where it has drop -0.34% ± 0.57%), as small, and faster as measured, p95 10.000ms where it has 10.500ms.",
    ),
    "one that they can does": (
        [one("int8", 10.0, drop="0.58%", error="0.57%", size=50), one("fp32", 10.5)], "Latency", Bounds(), "fp32",
        "int8", "more accurate: drop 0.00% where it has drop 0.58% ± 0.57%.",
    ),
    "both errors count": (
        [one("int8", 10.0, drop="1.30%", error="1.00%", size=50), one("fp32", 10.0, error="1.00%")],
        "Accuracy", Bounds(), "int8", "fp32",
        "± 1.00%), about as fast, p95 10.000ms where it has 10.000ms, and smaller: 50 bytes where it has 100.",
    ),
    "of equals the first of the ladder": (
        [one("int8"), one("fp32")], "Latency", Bounds(), "int8", "fp32",
        "10.000ms, as accurate, as small, as fast as measured, and before it in the ladder.",
    ),
    "a candidate better than its source is the more accurate": (
        [one("int8", 10.0, drop="-0.50%", error="0.40%"), one("fp32", 9.9)], "Latency", Bounds(), "int8", "fp32",
        "more accurate: drop -0.50% ± 0.40% where it has drop 0.00%.",
    ),
    "without labels the agreement says which": (
        [one("int8", 10.0, drop=None, agreement="97.00%"), one("fp32", 10.0, drop=None)], "Latency", Bounds(),
        "fp32", "int8", "more accurate: the source's own answers where it has agreement 97.00%.",
    ),
    "as far as it can": (
        [one("int8", 9.9, drop=None, agreement="97.00%", agreement_error="3.10%"), one("fp32", 10.0, drop=None)],
        "Latency", Bounds(), "int8", "fp32", "as small, and faster as measured, p95 9.900ms where it has 10.000ms.",
    ),
    "the smallest": (
        [one("fp32", 5.0, size=400), one("int8", 50.0, size=100)], "Size", Bounds(), "int8", "fp32",
        "int8 is smaller: 100 bytes where it has 400.",
    ),
    "of equal size the more accurate": (
        [one("int8", 5.0, drop="0.20%"), one("fp32", 50.0)], "Size", Bounds(), "fp32", "int8",
        "fp32 is as small, and more accurate: drop 0.00% where it has drop 0.20%.",
    ),
    "the most accurate": (
        [one("int8", 5.0, drop="0.20%"), one("fp32", 50.0)], "Accuracy", Bounds(), "fp32", "int8",
        "fp32 is more accurate: drop 0.00% where it has drop 0.20%.",
    ),
    "as accurate and faster": (
        [one("int8", 50.0), one("fp32", 5.0)], "Accuracy", Bounds(), "fp32", "int8",
        "fp32 is as accurate, and faster: p95 5.000ms where it has 50.000ms.",
    ),
    "what was not measured is not faster": (
        [one("int8", None), one("fp32", 5.0)], "Latency", Bounds(), "fp32", "int8",
        "fp32 is faster: p95 5.000ms where it has none.",
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
        assert found.said[winner].startswith(f"It was chosen by {objective.lower()}")


WON: dict[str, tuple[list[FinalistStatus], Objective]] = {
    "latency.": ([one("int8", 10.0), one("fp32", 12.0)], "Latency"),
    "latency, then by accuracy.": ([one("int8", 10.0, drop="0.20%"), one("fp32", 10.9)], "Latency"),
    "latency, then by size.": ([one("int8", 10.0, size=50), one("fp32", 10.9)], "Latency"),
    "latency, then by latency as measured.": ([one("int8", 10.9), one("fp32", 10.0)], "Latency"),
    "latency, then by accuracy, then by size.": (
        [one("fp16", 10.0, drop="0.20%"), one("int8", 10.1, size=50), one("fp32", 10.2)], "Latency"
    ),
    "size, then by latency.": ([one("int8", 12.0), one("fp32", 10.0)], "Size"),
    "accuracy, then by size.": ([one("int8", 10.0, size=50), one("fp32", 10.0)], "Accuracy"),
}  # fmt: skip


@pytest.mark.parametrize("words", WON)
def test_the_winner_says_what_told_it_apart(words: str) -> None:
    finalists, objective = WON[words]
    found = judge_trial(finalists, objective, Bounds())
    assert found.winner
    assert found.said[found.winner] == f"It was chosen by {words}"


def test_what_the_samples_cannot_tell_apart_is_said_to_be_so() -> None:
    said = judge_trial([one("int8", 9.0, drop="0.30%", error="0.50%"), one("fp32", 10.0)], "Accuracy", Bounds()).said
    told = "as accurate as the samples can tell (drop 0.30% ± 0.50% where it has drop 0.00%)"
    assert said["fp32"] == f"int8 is {told}, and faster: p95 9.000ms where it has 10.000ms."


def test_who_loses_to_a_loser_is_told_of_that_one() -> None:
    """The winner is within the noise of the fastest, and of one that is not itself within it."""
    three = [one("fp16", 11.3), one("int8", 10.0, drop="0.20%"), one("fp32", 10.9)]
    said = judge_trial(three, "Latency", Bounds()).said
    assert said["fp16"] == "int8 is faster: p95 10.000ms where it has 11.300ms; fp32 was chosen over that one."
    assert said["fp32"] == "It was chosen by latency, then by accuracy."


def test_neither_a_place_in_the_list_nor_a_slower_and_no_better_one_wins() -> None:
    chance = Random(20)  # noqa: S311 - the same dice each time
    for _ in range(100):
        tried = [_any(chance, name) for name in ("int8", "int8-mixed", "fp16", "fp32")]
        objective = chance.choice(OBJECTIVES)
        found = judge_trial(tried, objective, Bounds())
        again = judge_trial(chance.sample(tried, len(tried)), objective, Bounds())
        assert found.winner == again.winner, tried
        assert set(found.said) == {one.precision for one in tried}
        best = next(one for one in tried if one.precision == found.winner)
        assert not any(_is_better_in_all(other, best) for other in tried), (best, tried)
        if objective == "Size":
            assert best.size == min(one.size for one in tried)
        if objective == "Latency":
            assert p95(best) <= 1.1 * min(map(p95, tried))


def _any(chance: Random, name: str) -> FinalistStatus:
    latency = chance.uniform(9, 12)
    drop, error = chance.uniform(-1, 2), chance.uniform(0, 1)
    return one(
        name,
        latency,
        drop=f"{drop:.2f}%",
        error=chance.choice([f"{error:.2f}%", None]),
        median=f"{latency * chance.uniform(0.8, 1):.3f}ms",
        size=chance.randrange(100, 104),
    )


def _is_better_in_all(one: FinalistStatus, other: FinalistStatus) -> bool:
    return p95(one) < p95(other) and one.size < other.size and Accuracy().beats(one, other)


def test_the_bounds_are_the_gates_that_are_measured_on_devices() -> None:
    assert Bounds.of(model()) == Bounds()
    assert Bounds.of(model(gates={"maxLatency": "50ms", "maxMemory": "1Mi"})) == Bounds(50.0, 2**20)
