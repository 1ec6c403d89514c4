"""What the status says: one entry per variant, the nodes counted, and a finding for every area."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from edgesmith.api.conditions import ConditionType, Reason
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.history import HistoryEntry, RequestStatus
from edgesmith.api.revision_status import RevisionStatus
from edgesmith.api.status import EdgeModelStatus, NodeCounts, PendingNode, PendingReason
from edgesmith.api.trial_status import TrialStatus
from edgesmith.decide.builds import BuildState
from edgesmith.decide.conditions import SENTENCES, Finding, Said, Severity, changed, conditions, summarise, was_ready
from edgesmith.decide.contestants import out_of
from edgesmith.decide.drift import Drifting
from edgesmith.decide.entries import listed
from edgesmith.decide.plan import Event, Pending
from edgesmith.decide.profiles import Assignment, Resolved
from edgesmith.decide.retry import requested
from edgesmith.decide.sources import Looks
from edgesmith.decide.variant_status import VariantFacts, rollout_finding, settled, variant_status
from edgesmith.decide.words import some

PENDING_SHOWN = 16
"""How many pending nodes the status names: 20 at most for one variant with those that its message names."""

_WARNING_STATES = {"BuildFailed", "TrialFailed", "RollingBack", "RolledBack", "Degraded"}


def status_of(
    model: EdgeModel,
    resolved: Resolved,
    assignment: Assignment,
    *,
    variants: Sequence[VariantFacts],
    pending: Sequence[Pending],
    revisions: tuple[RevisionStatus, ...],
    requests: tuple[RequestStatus, ...],
    troubles: Sequence[Finding],
    history: tuple[HistoryEntry, ...],
    trials: tuple[TrialStatus, ...],
    looks: Looks,
    unreadable: Sequence[str],
    drift: Drifting | None,
    now: datetime,
) -> EdgeModelStatus:
    """The whole status of an EdgeModel; `pending` is in the order of the nodes' names.

    `troubles` is what `spec.rollout` asks for and cannot be had.
    """
    nodes = total(facts.counted for facts in variants)
    areas = {
        ConditionType.PROFILES_RESOLVED: summarise(_profile_findings(model, resolved, assignment, unreadable)),
        ConditionType.SOURCE_RESOLVED: looks.finding,
        ConditionType.BUILDS_READY: summarise(_build_findings(variants)),
        ConditionType.ROLLOUT_COMPLETE: summarise([*_rollout_findings(variants, nodes), *troubles]),
    }
    waiting = sorted((*pending[:PENDING_SHOWN], *_left_alone(assignment)), key=lambda one: one.node)[:PENDING_SHOWN]
    return EdgeModelStatus(
        observed_generation=model.metadata.generation,
        last_handled_retry=requested(model) or None,
        conditions=conditions(
            areas,
            settled(nodes),
            generation=model.metadata.generation,
            previous=model.status,
            now=now,
            beside=_drifted(drift),
        ),
        variants=tuple(variant_status(facts, model.status) for facts in variants),
        revisions=revisions,
        requests=requests,
        history=history,
        trials=trials,
        sources=looks.entries,
        nodes=nodes,
        drift=drift.status if drift else None,
        pending=tuple(PendingNode(name=one.node, reason=one.reason, message=one.message) for one in waiting),
    )


def _drifted(drift: Drifting | None) -> list[Said]:
    """The condition on drift; it makes nothing unready, since what runs is what was asked for."""
    if drift is None:
        return []
    return [(ConditionType.DRIFTED, drift.condition, Finding(Severity.FINE, drift.reason, drift.message))]


def events_of(status: EdgeModelStatus, previous: Mapping[str, Any]) -> tuple[Event, ...]:
    """One event for every condition and variant that is not as it was, and for devices that changed.

    `Reconciling`, `Stalled` and `Ready` repeat what an area said, so the areas and the variants speak. `Ready` does so
    only when it becomes True: that a node went away or came back is no event of the EdgeModel. `Stalled` does so where
    no variant says the same. A look that fails changes nothing but keeps changes from being seen, so it is one.
    """
    variants = _variant_events(status, previous)
    told = [event.message for event in variants if event.type == "Warning"]
    found: list[Event] = []
    for condition in changed(status.conditions, previous):
        if condition.type == ConditionType.READY and condition.status == "True" and not was_ready(previous):
            found.append(Event("Normal", condition.reason, condition.message))
        elif (
            (condition.type == ConditionType.DRIFTED and condition.status == "True")
            or condition.reason == Reason.LOOK_FAILED
            or (condition.type == ConditionType.STALLED and not any(condition.message in message for message in told))
        ):
            found.append(Event("Warning", condition.reason, condition.message))
    return (*found, *variants, *_recompiled_events(status, previous))


STATUS_UNREADABLE = "StatusUnreadable"
"""The reason of an event about a status with something in it that no status has."""


def unread_events(model: EdgeModel) -> tuple[Event, ...]:
    """An event where something in the status could not be read: what was kept there is not known any more."""
    if not model.unread:
        return ()
    said = f"The status has what cannot be read and was left out: {'; '.join(model.unread)}."
    return (Event("Warning", STATUS_UNREADABLE, said),)


def _variant_events(status: EdgeModelStatus, previous: Mapping[str, Any]) -> list[Event]:
    """One event for every variant whose state is not as it was; the message names its profile."""
    before = {one.get("profile"): one.get("state") for one in listed(previous, "variants")}
    found: list[Event] = []
    for variant in status.variants:
        if variant.state != before.get(variant.profile):
            kind: Literal["Normal", "Warning"] = "Warning" if variant.state in _WARNING_STATES else "Normal"
            message = variant.message or variant.state
            named = message if f"for {variant.profile}" in message else f"{variant.profile}: {message}"
            found.append(Event(kind, variant.state, named))
    return found


RECOMPILED = "Recompiled"
"""The reason of an event about devices that compile a model anew."""


def _recompiled_events(status: EdgeModelStatus, previous: Mapping[str, Any]) -> Iterable[Event]:
    """One event for every change that no node of the variant told before, however many more follow."""
    before = {
        (one.get("profile"), change.get("change"))
        for one in listed(previous, "variants")
        for change in listed(one, "recompiled")
    }
    for variant in status.variants:
        for one in variant.recompiled:
            if (variant.profile, one.change) not in before:
                yield Event("Normal", RECOMPILED, f"{variant.profile}: {one.sentence}")


def total(parts: Iterable[NodeCounts]) -> NodeCounts:
    """All variants' nodes together."""
    listed = list(parts)
    return NodeCounts(**{name: sum(getattr(part, name) for part in listed) for name in NodeCounts.model_fields})


def _profile_findings(
    model: EdgeModel, resolved: Resolved, assignment: Assignment, unreadable: Sequence[str]
) -> list[Finding]:
    found = [
        Finding(
            Severity.STALLED,
            Reason.PROFILE_NOT_FOUND,
            f"spec.deviceProfiles.names has {name!r}, but there is no DeviceProfile of that name.",
        )
        for name in resolved.missing
        if name not in unreadable
    ]
    found += [
        Finding(
            Severity.STALLED,
            Reason.UNREADABLE,
            f"DeviceProfile {name!r} cannot be read by this version of the operator; its nodes keep what they run.",
        )
        for name in resolved.missing
        if name in unreadable
    ]
    found += resolved.refused.values()
    if not resolved.profiles and not resolved.unusable:
        message = (
            f"spec.deviceProfiles.selector picks no DeviceProfile that the namespace {model.metadata.namespace!r} may "
            "use; label one, allow it the namespace, or change the selector."
        )
        found.append(Finding(Severity.STALLED, Reason.PROFILE_NOT_FOUND, message))
    reasons = {
        PendingReason.NODE_MATCHES_TWO_PROFILES: Reason.NODE_MATCHES_TWO_PROFILES,
        PendingReason.WRONG_ARCHITECTURE: Reason.WRONG_ARCHITECTURE,
    }
    found += [
        Finding(Severity.STALLED, reasons[one.reason], f"Node {one.node}: {one.message}")
        for one in _left_alone(assignment)
    ]
    fine = f"{len(resolved.profiles)} of {len(resolved.profiles)} profiles found."
    return found or [Finding(Severity.FINE, Reason.SUCCEEDED, fine)]


def _left_alone(assignment: Assignment) -> list[Pending]:
    """Nodes whose label is neither set nor removed, with what to do about it."""
    two = [
        Pending(
            node,
            PendingReason.NODE_MATCHES_TWO_PROFILES,
            f"It is of {len(names)} profiles, {some(names)}, and is left alone; "
            "make their spec.nodeSelector exclusive or name only one of them.",
        )
        for node, names in sorted(assignment.ambiguous.items())
    ]
    wrong = [
        Pending(node, PendingReason.WRONG_ARCHITECTURE, why)
        for node, why in sorted(assignment.wrong_architecture.items())
    ]
    return two + wrong


_BUILD_SEVERITY = {
    "Built": Severity.FINE,
    "Building": Severity.RECONCILING,
    "Waiting": Severity.RECONCILING,
    "Failed": Severity.STALLED,
}
"""A build that is tried, or was in vain, is built: the rollout says how it stands."""


def _build_findings(variants: Sequence[VariantFacts]) -> list[Finding]:
    builds = [facts.build for facts in variants if facts.build]
    out = [one for facts in variants if facts.contestants for one in out_of(facts.contestants)]
    count = sum(len(facts.contestants.states) if facts.contestants else 1 for facts in variants if facts.build)
    if not builds:
        awaited = [facts.unbuilt for facts in variants if facts.unbuilt and facts.unbuilt.severity is Severity.AWAITED]
        return awaited or [
            Finding(Severity.AWAITED, Reason.PROFILE_NOT_FOUND, "No profile that can be built for was found.")
        ]
    built = Finding(
        Severity.FINE, Reason.SUCCEEDED, f"{count - len(out)} of {count} builds are in the registry.{_out(out)}"
    )
    return [
        Finding(_BUILD_SEVERITY[build.phase], build.reason, _build_message(build))
        if build.reason and build.phase in _BUILD_SEVERITY
        else built
        for build in builds
    ]


def _out(builds: Sequence[BuildState]) -> str:
    """Builds that others go on without, as sentences."""
    said = [f" {one.alternative} for {one.profile.metadata.name} is out: {one.message.rstrip('.')}." for one in builds]
    more = f" And {len(said) - SENTENCES} more are out." if len(said) > SENTENCES else ""
    return "".join(said[:SENTENCES]) + more


_OF_CANDIDATES = (Reason.NO_CANDIDATE, Reason.GATES_FAILED)


def _build_message(build: BuildState) -> str:
    """A build's own words; what its candidates fell short of differs by profile, so the profile is named."""
    sentence = f"{build.message.rstrip('.')}."
    return f"{build.profile.metadata.name}: {sentence}" if build.reason in _OF_CANDIDATES else sentence


def _rollout_findings(variants: Sequence[VariantFacts], nodes: NodeCounts) -> list[Finding]:
    if not variants:
        return [Finding(Severity.AWAITED, Reason.PROFILE_NOT_FOUND, "No profile that can be rolled out to was found.")]
    return [rollout_finding(facts, nodes) for facts in variants]
