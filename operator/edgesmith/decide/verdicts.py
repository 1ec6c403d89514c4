"""Which finalist of a trial is rolled out, and why the others are not: what a device measured in, sentences out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.trial_status import FinalistStatus
from edgesmith.api.units import parse_bytes
from edgesmith.decide.criteria import Accuracy, AsMeasured, Criterion, Size, Speed, milliseconds, p95

Objective = Literal["Latency", "Size", "Accuracy"]

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
            milliseconds(gates.max_latency) if gates.max_latency else None,
            parse_bytes(gates.max_memory) if gates.max_memory else None,
        )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What came of a trial."""

    winner: str | None
    """The candidate that is rolled out; None where every finalist is out."""
    said: dict[str, str] = field(default_factory=dict)
    """By candidate: why it is rolled out or not, in one sentence."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one criterion made of those who were left."""

    criterion: Criterion
    kept: list[FinalistStatus]
    """Whom nobody beats."""
    beaten: list[FinalistStatus]


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
    best, rounds = _choose(left, _order(objective, left))
    said |= {one.name: _won(rounds) if one is best else _lost(one, best, rounds) for one in left}
    return Verdicts(best.name, said)


def _out(one: FinalistStatus, bounds: Bounds) -> str | None:
    """Why a finalist cannot be rolled out to such devices."""
    if one.reason != PASSED:
        return (one.message or f"Its self-test ended with {one.reason}").rstrip(".") + "."
    if bounds.latency_ms is not None and p95(one) > bounds.latency_ms:
        return f"Its p95 latency is {one.latency}; gates.maxLatency allows {bounds.latency_ms:g}ms."
    if bounds.memory is not None and (one.memory or 0) > bounds.memory:
        return f"Its server's memory reached {one.memory} bytes; gates.maxMemory allows {bounds.memory}."
    return None


def _order(objective: Objective, left: Sequence[FinalistStatus]) -> tuple[Criterion, ...]:
    """What is asked one after the other: the objective, then what a user is left with beside it."""
    speed, accuracy, size = Speed(left), Accuracy(), Size()
    asked: dict[Objective, tuple[Criterion, ...]] = {
        "Latency": (speed, accuracy, size),
        "Size": (size, accuracy, speed),
        "Accuracy": (accuracy, speed, size),
    }
    return (*asked[objective], AsMeasured())


def _choose(left: list[FinalistStatus], asked: Sequence[Criterion]) -> tuple[FinalistStatus, list[Round]]:
    """Ask one criterion after the other of those that nobody beat before; of equals, the first of the ladder."""
    rounds: list[Round] = []
    for criterion in asked:
        beaten = [one for one in left if any(criterion.beats(other, one) for other in left)]
        left = [one for one in left if one not in beaten]
        rounds.append(Round(criterion, left, beaten))
    return left[0], rounds


def _won(rounds: Sequence[Round]) -> str:
    """What the winner was chosen by: the objective, and what told it apart from those that are equal by that."""
    first, *others = rounds
    names = [first.criterion.name, *(one.criterion.name for one in others if one.beaten)]
    return f"It was chosen by {', then by '.join(names)}."


def _lost(one: FinalistStatus, best: FinalistStatus, rounds: Sequence[Round]) -> str:
    """Why a finalist was not chosen, in words that are true of it and of those that they name."""
    alike: list[str] = []
    for asked in rounds:
        criterion = asked.criterion
        if one not in asked.beaten:
            alike.append(criterion.equal(best, one))
        elif criterion.beats(best, one):
            return f"{best.name} is {_listed([*alike, criterion.better(best, one)])}."
        else:  # it loses to one that lost to the best itself, by something else
            other = next(other for other in (*asked.kept, *asked.beaten) if criterion.beats(other, one))
            return f"{other.name} is {criterion.better(other, one)}; {best.name} was chosen over that one."
    return f"{best.name} is {_listed([*alike, 'before it in the ladder'])}."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])}, and {words[-1]}"
