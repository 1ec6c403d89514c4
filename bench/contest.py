"""Models against each other, in turns: rounds of all of them, so that a slow moment of the machine meets every one."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgesmith_runtime.engine import Engine

ROUNDS = 9
SECONDS = 0.15
"""Of one model in one round."""
FEWEST = 20
"""Runs of one model in one round."""


@dataclass(frozen=True)
class Pace:
    """How fast a model was, round by round."""

    p95: tuple[float, ...]
    """Milliseconds of wall-clock time."""
    cost: tuple[float, ...]
    """Milliseconds of processor time for one inference, the mean of the round."""

    @property
    def latency(self) -> float:
        """The p95 of the round that the machine disturbed least."""
        return min(self.p95)

    @property
    def work(self) -> float:
        """The processor time in a round in the middle."""
        return statistics.median(self.cost)

    def against(self, other: Pace) -> float:
        """This processor time over another's, within a round, in the middle."""
        return statistics.median(ours / theirs for ours, theirs in zip(self.cost, other.cost, strict=True))


def contest(engines: Mapping[str, Engine], feeds: Sequence[Mapping[str, Any]]) -> dict[str, Pace]:
    """Measure loaded engines, on one thread each, with the same inputs.

    Args:
        engines: By name.
        feeds: What to ask, in turn.
    """
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for engine in engines.values():
        _round(engine, feeds)
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            rounds[name].append(_round(engine, feeds))
    return {
        name: Pace(tuple(p95 for p95, _ in found), tuple(cost for _, cost in found)) for name, found in rounds.items()
    }


def _round(engine: Engine, feeds: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    taken: list[float] = []
    begun, end = time.process_time(), time.perf_counter() + SECONDS
    while len(taken) < FEWEST or time.perf_counter() < end:
        start = time.perf_counter()
        engine.infer(feeds[len(taken) % len(feeds)])
        taken.append(time.perf_counter() - start)
    spent = time.process_time() - begun
    return float(np.percentile(taken, 95)) * 1000, spent * 1000 / len(taken)
