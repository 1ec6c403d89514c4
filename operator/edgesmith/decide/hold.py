"""What keeps a rollout from moving nodes forward: a pause, or windows that are closed. Nodes go back all the same."""

from __future__ import annotations

from typing import NamedTuple

from edgesmith.api.status import PendingReason
from edgesmith.decide.fleet import RolloutPhase, Rules
from edgesmith.decide.judge import Judgement

_PAUSED = "spec.rollout.paused is true, so it keeps what it runs."


class Hold(NamedTuple):
    """Why no node that serves is given another revision now."""

    reason: PendingReason
    message: str
    """Of a node that waits."""
    phase: RolloutPhase
    """Of a variant with nodes that wait."""


def hold_of(rules: Rules, *, overridden: bool = False) -> Hold | None:
    """What holds a rollout up; None where it may go on.

    Args:
        rules: The rules.
        overridden: Whether windows do not count. A pause always does: it is the later word of a person.
    """
    if rules.paused:
        return Hold(PendingReason.PAUSED, _PAUSED, RolloutPhase.PAUSED)
    if rules.opening.open or overridden:
        return None
    message = f"No window of spec.rollout.windows is open, so it keeps what it runs. {rules.opening.message}"
    return Hold(PendingReason.WINDOW_CLOSED, message, RolloutPhase.WAITING_FOR_WINDOW)


def hold_for(judged: Judgement, rules: Rules) -> Hold | None:
    """What holds a variant up; an override is for its target alone, not for what nodes get once that was rolled back.

    Args:
        judged: The variant.
        rules: The rules.
    """
    target = judged.target
    return hold_of(rules, overridden=judged.variant.overridden and target is not None and target.rolled_back is None)


def hold_for_trial(judged: Judgement, rules: Rules) -> Hold | None:
    """What keeps a node from giving up its server for a trial; an override of a build is for its trial, too.

    Args:
        judged: The variant.
        rules: The rules.
    """
    return hold_for(judged, rules) if judged.target else hold_of(rules, overridden=judged.variant.overridden)
