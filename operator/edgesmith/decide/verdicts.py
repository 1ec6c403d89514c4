"""Which finalist of a trial is rolled out, and why the others are not: what a device measured in, sentences out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.trial_status import FinalistStatus
from edgesmith.api.units import parse_bytes, parse_duration

Objective = Literal["Latency", "Size", "Accuracy"]

NOISE = 0.10
"""The share by which two p95 latencies of the same model on the same device may differ."""

DIED = "Died"
"""The reason of a finalist whose self-test left no finding."""
PASSED = "Passed"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The gates that are judged on a device."""

    latency_ms: float | None = None
    memory: int | None = None

    @classmethod
    def of(cls, model: EdgeModel) -> Bounds:
        """Those of an EdgeModel."""
        gates = model.spec.gates
        return cls(
            _milliseconds(gates.max_latency) if gates.max_latency else None,
            parse_bytes(gates.max_memory) if gates.max_memory else None,
        )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What came of a trial."""

    winner: str | None
    """The candidate that is rolled out; None where every finalist is out."""
    said: dict[str, str] = field(default_factory=dict)
    """By candidate: why it is rolled out or not, in one sentence."""


def judge_trial(finalists: Sequence[FinalistStatus], objective: Objective, bounds: Bounds) -> Verdicts:
    """Choose among finalists that have all been tried on one device.

    Args:
        finalists: In the ladder's order, each with what was measured of it.
        objective: What to choose by.
        bounds: What each must keep.
    """
    said = {one.name: why for one in finalists if (why := _out(one, bounds)) is not None}
    left = [one for one in finalists if one.name not in said]
    if not left:
        return Verdicts(None, said)
    best = {"Latency": _fastest, "Size": _smallest, "Accuracy": _most_accurate}[objective](left)
    for one in left:
        said[one.name] = _why(one, best, objective)
    return Verdicts(best.name, said)


def _out(one: FinalistStatus, bounds: Bounds) -> str | None:
    """Why a finalist cannot be rolled out to such devices."""
    if one.reason != PASSED:
        return (one.message or f"Its self-test ended with {one.reason}").rstrip(".") + "."
    if bounds.latency_ms is not None and _p95(one) > bounds.latency_ms:
        return f"Its p95 latency is {one.latency}; gates.maxLatency allows {bounds.latency_ms:g}ms."
    if bounds.memory is not None and (one.memory or 0) > bounds.memory:
        return f"Its server's memory reached {one.memory} bytes; gates.maxMemory allows {bounds.memory}."
    return None


def _fastest(left: Sequence[FinalistStatus]) -> FinalistStatus:
    """The most accurate of those that are about as fast as the fastest; of equals, the first of the ladder."""
    return max(_about_as_fast(left), key=_goodness)


def _about_as_fast(left: Sequence[FinalistStatus]) -> list[FinalistStatus]:
    limit = min(map(_p95, left)) * (1 + NOISE)
    return [one for one in left if _p95(one) <= limit]


def _smallest(left: Sequence[FinalistStatus]) -> FinalistStatus:
    return min(left, key=lambda one: one.size)


def _most_accurate(left: Sequence[FinalistStatus]) -> FinalistStatus:
    """Of those that are equally accurate, the fastest."""
    return min(left, key=lambda one: (-_goodness(one), _p95(one)))


def _why(one: FinalistStatus, best: FinalistStatus, objective: Objective) -> str:
    if one is best:
        return f"It was chosen by {objective.lower()}."
    other = best.name
    if objective == "Size":
        return f"{other} is as small or smaller: {best.size} bytes where it has {one.size}."
    if objective == "Accuracy":
        better = _goodness(best) > _goodness(one)
        return f"{other} is {'more accurate' if better else 'as accurate and no slower'}."
    if _p95(one) > _p95(best) * (1 + NOISE):
        return f"{other} is faster: p95 {best.latency} where it has {one.latency}."
    better = _goodness(best) > _goodness(one)
    tie = "more accurate" if better else "as accurate and comes before it in the ladder"
    return f"{other} is about as fast, p95 {best.latency} where it has {one.latency}, and {tie}."


def _goodness(one: FinalistStatus) -> float:
    """What is not lost against the source; where there are no labels, how far it agrees with the source."""
    if one.accuracy_drop is not None:
        return -_percentage(one.accuracy_drop)
    return _percentage(one.agreement) if one.agreement is not None else 100.0


def _percentage(text: str) -> float:
    return float(text.rstrip("%"))


def _p95(one: FinalistStatus) -> float:
    """Milliseconds; endless where it was not measured."""
    return _milliseconds(one.latency) if one.latency else float("inf")


def _milliseconds(text: str) -> float:
    return parse_duration(text).total_seconds() * 1000
