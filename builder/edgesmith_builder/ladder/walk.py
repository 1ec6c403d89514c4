"""The walk down the ladder. Knows nothing of models: a rung is tried by whoever is given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgesmith_builder.contract import Candidate, Precision
from edgesmith_builder.errors import GatesFailed
from edgesmith_builder.ladder.rung import Attempt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who won, and what became of each rung."""

    winner: Attempt
    candidates: tuple[Candidate, ...]
    """In the ladder's order; rungs below the winner carry their name only."""


def walk(ladder: Sequence[Precision], attempt: Callable[[Precision], Attempt], metric: str = "value") -> Outcome:
    """Try each rung, best first; the first that is not rejected wins.

    Args:
        ladder: The rungs.
        attempt: Tries one.
        metric: What the log calls a candidate's score.

    Raises:
        GatesFailed: where all are rejected, with all that was measured.
    """
    tried: list[Candidate] = []
    for number, precision in enumerate(ladder):
        result = attempt(precision)
        tried.append(result.candidate)
        log.info("%s", verdict(result.candidate, metric))
        if result.candidate.rejected is None:
            rest = [Candidate(precision=below) for below in ladder[number + 1 :]]
            return Outcome(result, (*tried, *rest))
    reasons = "; ".join(f"{candidate.precision}: {candidate.rejected}" for candidate in tried)
    raise GatesFailed(f"no candidate passed: {reasons}", tuple(tried))


def verdict(candidate: Candidate, metric: str) -> str:
    """One line for the log: `int8: accuracy 0.9710, drop 0.0040 ± 0.0062, agreement 0.9840: wins`."""
    numbers = []
    if candidate.accuracy is not None:
        numbers.append(f"{metric} {candidate.accuracy:.4f}")
    if candidate.accuracy_drop is not None:
        error = f" ± {candidate.accuracy_drop_error:.4f}" if candidate.accuracy_drop_error is not None else ""
        numbers.append(f"drop {candidate.accuracy_drop:.4f}{error}")
    if candidate.agreement is not None:
        numbers.append(f"agreement {candidate.agreement:.4f}")
    measured = ", ".join(numbers) or "not scored"
    outcome = "wins" if candidate.rejected is None else f"rejected, {candidate.rejected}"
    return f"{candidate.precision}: {measured}: {outcome}"
