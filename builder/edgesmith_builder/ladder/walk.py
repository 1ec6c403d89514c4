"""The walk down the ladder. Knows nothing of models: a rung is tried by whoever is given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgesmith_builder.contract import Candidate, Form, number_text
from edgesmith_builder.errors import NoCandidate
from edgesmith_builder.ladder.rung import Attempt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which rungs work, and what became of each."""

    finalists: tuple[Attempt, ...]
    """Those that work, in the ladder's order; one at least."""
    candidates: tuple[Candidate, ...]
    """In the ladder's order."""

    @property
    def winner(self) -> Attempt:
        """What is rolled out where no gate refuses it and no device is asked: the first finalist."""
        return self.finalists[0]


def walk(
    ladder: Sequence[Form],
    attempt: Callable[[Form], Attempt],
    metric: str = "value",
) -> Outcome:
    """Try each rung, best first; all that are not rejected are finalists.

    Args:
        ladder: The rungs.
        attempt: Tries one.
        metric: What the log calls a candidate's score.

    Raises:
        NoCandidate: where all are rejected, with all that was measured.
    """
    tried: list[Candidate] = []
    finalists: list[Attempt] = []
    for precision in ladder:
        result = attempt(precision)
        tried.append(result.candidate)
        log.info("%s", verdict(result.candidate, metric))
        if result.candidate.rejected is None:
            finalists.append(result)
    if not finalists:
        reasons = "; ".join(f"{candidate.precision}: {candidate.rejected}" for candidate in tried)
        raise NoCandidate(f"no candidate can be made that works: {reasons}", tuple(tried))
    return Outcome(tuple(finalists), tuple(tried))


def verdict(candidate: Candidate, metric: str) -> str:
    """One line for the log: `int8: accuracy 0.9710 ± 0.0123, drop 0.0040 ± 0.0062: works`."""
    numbers = []
    if candidate.accuracy is not None:
        known = "" if candidate.accuracy_error is None else f" ± {number_text(candidate.accuracy_error)}"
        numbers.append(f"{metric} {number_text(candidate.accuracy)}{known}")
    if candidate.accuracy_drop is not None:
        numbers.append(f"drop {candidate.accuracy_drop:.4f}{_either_way(candidate.accuracy_drop_error)}")
    if candidate.agreement is not None:
        numbers.append(f"agreement {candidate.agreement:.4f}{_either_way(candidate.agreement_error)}")
    measured = ", ".join(numbers) or "not scored"
    outcome = "works" if candidate.rejected is None else f"rejected, {candidate.rejected}"
    return f"{candidate.precision}: {measured}: {outcome}"


def _either_way(error: float | None) -> str:
    return f" ± {error:.4f}" if error is not None else ""
