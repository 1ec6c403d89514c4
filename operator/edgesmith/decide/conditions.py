"""The one funnel that every condition goes through: findings in, conditions out, `Ready` derived."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Literal

from edgesmith.api.conditions import ConditionType, Reason
from edgesmith.api.status import Condition
from edgesmith.decide.entries import listed, past_text

SENTENCES = 3
"""How many findings of one severity a message names; a fleet can have thousands."""


class Severity(IntEnum):
    """What a finding asks of the user; of an area, the most severe one is said."""

    FINE = 0
    ABSENT = 1
    """Only nodes that are away are missing; what can be reached is as it should be, so nobody waits for them."""
    AWAITED = 2
    """Not there yet because another area is not; that area says why."""
    RECONCILING = 3
    STALLED = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say."""

    severity: Severity
    reason: Reason
    message: str


Said = tuple[ConditionType, Literal["True", "False", "Unknown"], Finding]
"""A condition, its status, and why."""


def summarise(findings: Sequence[Finding]) -> Finding:
    """The most severe findings of an area as one: the first one's reason, the first few's sentences."""
    worst = max(finding.severity for finding in findings)
    severest = [finding for finding in findings if finding.severity is worst]
    sentences = list(dict.fromkeys(finding.message for finding in severest))
    more = f" And {len(sentences) - SENTENCES} more." if len(sentences) > SENTENCES else ""
    return Finding(worst, severest[0].reason, " ".join(sentences[:SENTENCES]) + more)


def conditions(
    areas: Mapping[ConditionType, Finding],
    ready: Finding,
    *,
    generation: int,
    previous: Mapping[str, Any],
    now: datetime,
    beside: Sequence[Said] = (),
) -> tuple[Condition, ...]:
    """Every condition of an EdgeModel.

    Args:
        areas: What is to be said of each area.
        ready: What `Ready` says when no area objects.
        beside: Conditions that change nothing about the others.
        generation: The generation of the spec that was looked at.
        previous: The status as it stands; a condition whose status did not change keeps its transition time.
        now: The time.
    """
    stalled = [finding for finding in areas.values() if finding.severity is Severity.STALLED]
    under_way = [finding for finding in areas.values() if finding.severity is Severity.RECONCILING]
    awaited = [finding for finding in areas.values() if finding.severity is Severity.AWAITED]
    spoken = (stalled or under_way or awaited)[:1]
    said: list[Said] = [(ConditionType.READY, "False", spoken[0]) if spoken else (ConditionType.READY, "True", ready)]
    # kstatus reads Reconciling first: beside it nobody would learn of Stalled.
    said += [(ConditionType.RECONCILING, "True", finding) for finding in under_way[:1] if not stalled]
    said += [(ConditionType.STALLED, "True", finding) for finding in stalled[:1]]
    said += [
        (kind, "True" if finding.severity is Severity.FINE else "False", finding) for kind, finding in areas.items()
    ]
    said += beside
    before = {condition.get("type"): condition for condition in listed(previous, "conditions")}
    return tuple(
        _condition(kind, status, finding, before=before.get(kind), generation=generation, now=now)
        for kind, status, finding in said
    )


def changed(conditions: Iterable[Condition], previous: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Conditions whose status or reason is not what it was."""
    before = {condition.get("type"): condition for condition in listed(previous, "conditions")}
    return tuple(
        condition
        for condition in conditions
        if (was := before.get(condition.type)) is None
        or (was.get("status"), was.get("reason")) != (condition.status, condition.reason)
    )


def was_ready(previous: Mapping[str, Any]) -> bool:
    """Whether a status says `Ready`."""
    return any(
        one.get("type") == ConditionType.READY and one.get("status") == "True" for one in listed(previous, "conditions")
    )


def _condition(
    kind: ConditionType,
    status: Literal["True", "False", "Unknown"],
    finding: Finding,
    *,
    before: Mapping[str, Any] | None,
    generation: int,
    now: datetime,
) -> Condition:
    kept = before.get("lastTransitionTime") if before and before.get("status") == status else None
    return Condition(
        type=kind.value,
        status=status,
        reason=finding.reason.value,
        message=finding.message[:32768],
        last_transition_time=past_text(kept, now),
        observed_generation=generation,
    )
