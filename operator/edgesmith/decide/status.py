"""What the status says: one entry per variant, the nodes counted, and a finding for every area."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from edgesmith.api.conditions import ConditionType, Reason
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.api.status import EdgeModelStatus, NodeCounts, PendingNode, PendingReason, VariantStatus
from edgesmith.decide.builds import BuildState
from edgesmith.decide.conditions import Finding, Severity, changed, conditions, summarise
from edgesmith.decide.plan import Event, Hold
from edgesmith.decide.profiles import Assignment, Resolved
from edgesmith.decide.retry import requested
from edgesmith.decide.rollout import Course, Health, NodeState, Phase

PENDING_SHOWN = 20
"""How many pending nodes the status names."""

_WARNING_STATES = {"BuildFailed", "RollingBack", "RolledBack", "Degraded"}


@dataclass(frozen=True, slots=True)
class VariantFacts:
    """What is known of one variant after the decisions of a pass."""

    profile: str
    build: BuildState | None
    """None where the profile is missing or may not be used."""
    course: Course
    nodes: tuple[NodeState, ...]
    latency_ms: float | None
    """Worst p95 that a device measured for the revision shown."""
    not_allowed: bool = False
    """Whether the EdgeModel's namespace may not use the profile."""


def status_of(
    model: EdgeModel,
    resolved: Resolved,
    assignment: Assignment,
    *,
    variants: Sequence[VariantFacts],
    holds: Iterable[Hold],
    now: datetime,
) -> EdgeModelStatus:
    """The whole status of an EdgeModel."""
    nodes = total(counts(facts) for facts in variants)
    areas = {
        ConditionType.PROFILES_RESOLVED: summarise(_profile_findings(model, resolved, assignment)),
        ConditionType.BUILDS_READY: summarise(_build_findings(variants)),
        ConditionType.ROLLOUT_COMPLETE: summarise(_rollout_findings(variants, nodes)),
    }
    return EdgeModelStatus(
        observed_generation=model.metadata.generation,
        last_handled_retry=requested(model) or None,
        conditions=conditions(
            areas, settled(nodes), generation=model.metadata.generation, previous=model.status, now=now
        ),
        variants=tuple(_variant(facts, model.status) for facts in variants),
        nodes=nodes,
        pending=_pending(variants, assignment, holds),
    )


def _pending(
    variants: Sequence[VariantFacts], assignment: Assignment, holds: Iterable[Hold]
) -> tuple[PendingNode, ...]:
    """The first nodes, by name, that were not moved."""
    states = {node.name: node for facts in variants for node in facts.nodes}
    found = sorted((*holds, *_ambiguous(assignment)), key=lambda hold: hold.node)
    return tuple(
        PendingNode(name=hold.node, reason=_pending_reason(states.get(hold.node)), message=hold.reason)
        for hold in found[:PENDING_SHOWN]
    )


def _pending_reason(node: NodeState | None) -> PendingReason:
    """A node without a state is of no single profile."""
    if node is None:
        return PendingReason.NODE_MATCHES_TWO_PROFILES
    if node.closed:
        return PendingReason.TAINTED
    return PendingReason.WAITING if node.online else PendingReason.NOT_READY


def events_of(status: EdgeModelStatus, previous: Mapping[str, Any]) -> tuple[Event, ...]:
    """One event for every condition and variant that is not as it was.

    `Reconciling`, `Stalled` and `Ready` repeat what an area said, so the areas and the variants speak, and `Ready` only
    when it becomes True.
    """
    found: list[Event] = []
    for condition in changed(status.conditions, previous):
        if condition.type == ConditionType.READY and condition.status == "True":
            found.append(Event("Normal", condition.reason, condition.message))
        elif condition.type == ConditionType.STALLED:
            found.append(Event("Warning", condition.reason, condition.message))
    variants = previous.get("variants")
    before = {one.get("profile"): one.get("state") for one in variants} if isinstance(variants, list) else {}
    for variant in status.variants:
        if variant.state != before.get(variant.profile):
            kind: Literal["Normal", "Warning"] = "Warning" if variant.state in _WARNING_STATES else "Normal"
            found.append(Event(kind, variant.state, f"{variant.profile}: {variant.message or variant.state}"))
    return tuple(found)


def counts(facts: VariantFacts) -> NodeCounts:
    """One variant's nodes, as they stood before this pass moved any."""
    online = [node for node in facts.nodes if node.online]
    shown = _shown(facts.course)
    return NodeCounts(
        desired=len(facts.nodes),
        updated=sum(node.label == shown for node in online) if shown else 0,
        ready=sum(node.health is Health.SERVING for node in online),
        not_ready=sum(not node.online and not node.closed for node in facts.nodes),
        tainted=sum(node.closed for node in facts.nodes),
        failed=sum(node.health is Health.FAILED for node in online),
    )


def total(parts: Iterable[NodeCounts]) -> NodeCounts:
    """All variants' nodes together."""
    listed = list(parts)
    return NodeCounts(**{name: sum(getattr(part, name) for part in listed) for name in NodeCounts.model_fields})


def settled(nodes: NodeCounts) -> Finding:
    """What there is to say when all is as it should be."""
    if not nodes.desired:
        return Finding(Severity.FINE, Reason.NO_NODES, "No node is of any of the profiles; new ones are picked up.")
    serving = f"Serving on {nodes.ready} of {nodes.desired} {_nodes(nodes.desired)}"
    if nodes.not_ready or nodes.tainted:
        reason = Reason.NODES_OFFLINE if nodes.not_ready else Reason.NODES_CLOSED
        return Finding(Severity.FINE, reason, f"{serving}{_away(nodes)}.")
    return Finding(Severity.FINE, Reason.SUCCEEDED, f"{serving}.")


def _profile_findings(model: EdgeModel, resolved: Resolved, assignment: Assignment) -> list[Finding]:
    found = [
        Finding(
            Severity.STALLED,
            Reason.PROFILE_NOT_FOUND,
            f"spec.deviceProfiles.names has {name!r}, but there is no DeviceProfile of that name.",
        )
        for name in resolved.missing
    ]
    namespace = model.metadata.namespace
    found += [
        Finding(
            Severity.STALLED,
            Reason.PROFILE_NOT_ALLOWED,
            f"spec.deviceProfiles.names has {name!r}, but spec.allowedNamespaces of that DeviceProfile does not have "
            f"the namespace {namespace!r}; its nodes keep what they run.",
        )
        for name in resolved.not_allowed
    ]
    if not resolved.profiles and not resolved.unusable:
        message = (
            f"spec.deviceProfiles.selector picks no DeviceProfile that the namespace {namespace!r} may use; "
            "label one, allow it the namespace, or change the selector."
        )
        found.append(Finding(Severity.STALLED, Reason.PROFILE_NOT_FOUND, message))
    found += [
        Finding(Severity.STALLED, Reason.NODE_MATCHES_TWO_PROFILES, f"Node {hold.node}: {hold.reason}")
        for hold in _ambiguous(assignment)
    ]
    if not resolved.unusable:
        found += [
            Finding(
                Severity.STALLED,
                Reason.NODE_MATCHES_NO_PROFILE,
                f"Node {name} has the labels of spec.nodeSelector but is of none of the profiles; "
                "label it for one, add its profile, or narrow spec.nodeSelector.",
            )
            for name in assignment.unmatched
        ]
    fine = f"{len(resolved.profiles)} of {len(resolved.profiles)} profiles found."
    return found or [Finding(Severity.FINE, Reason.SUCCEEDED, fine)]


def _ambiguous(assignment: Assignment) -> list[Hold]:
    return [
        Hold(
            node,
            f"It is of {len(names)} profiles, {' and '.join(names)}, and is left alone; "
            "make their spec.nodeSelector exclusive or name only one of them.",
        )
        for node, names in sorted(assignment.ambiguous.items())
    ]


_BUILD_SEVERITY = {
    "Built": Severity.FINE,
    "Building": Severity.RECONCILING,
    "Waiting": Severity.RECONCILING,
    "Failed": Severity.STALLED,
}


def _build_findings(variants: Sequence[VariantFacts]) -> list[Finding]:
    builds = [facts.build for facts in variants if facts.build]
    if not builds:
        return [Finding(Severity.AWAITED, Reason.PROFILE_NOT_FOUND, "No profile that can be built for was found.")]
    built = Finding(Severity.FINE, Reason.SUCCEEDED, f"{len(builds)} of {len(builds)} builds are in the registry.")
    return [
        Finding(_BUILD_SEVERITY[build.phase], build.reason, _build_message(build)) if build.reason else built
        for build in builds
    ]


def _build_message(build: BuildState) -> str:
    """A build's own words; what its candidates fell short of differs by profile, so the profile is named."""
    sentence = f"{build.message.rstrip('.')}."
    return f"{build.profile.metadata.name}: {sentence}" if build.reason is Reason.GATES_FAILED else sentence


def _rollout_findings(variants: Sequence[VariantFacts], nodes: NodeCounts) -> list[Finding]:
    if not variants:
        return [Finding(Severity.AWAITED, Reason.PROFILE_NOT_FOUND, "No profile that can be rolled out to was found.")]
    return [_rollout_finding(facts, nodes) for facts in variants]


def _rollout_finding(facts: VariantFacts, nodes: NodeCounts) -> Finding:
    """What one variant's rollout has to say."""
    course, own = facts.course, counts(facts)
    message = _sentence(facts, own)
    phase = course.phase
    if phase is Phase.COMPLETE or _all_away(facts, own):
        return settled(nodes)
    if phase is Phase.NO_NODES:
        return settled(nodes) if not nodes.desired else Finding(Severity.FINE, Reason.SUCCEEDED, settled(nodes).message)
    if phase is Phase.WAITING:
        missing = Reason.PROFILE_NOT_ALLOWED if facts.not_allowed else Reason.PROFILE_NOT_FOUND
        reason = facts.build.reason if facts.build and facts.build.reason else missing
        return Finding(Severity.AWAITED, reason, message)
    pulling = any(node.pull_failed for node in facts.nodes if node.online)
    table = {
        Phase.CANARY: (Severity.RECONCILING, Reason.CANARY),
        Phase.ROLLING_OUT: (Severity.RECONCILING, Reason.ROLLING_OUT),
        Phase.ROLLING_BACK: (Severity.RECONCILING, Reason.ROLLING_BACK),
        Phase.ROLLED_BACK: (Severity.STALLED, Reason.ROLLED_BACK),
        Phase.NONE_LEFT: (Severity.STALLED, Reason.NO_REVISION_LEFT),
        Phase.DEGRADED: (Severity.STALLED, Reason.NODES_NOT_READY),
    }
    severity, reason = table[phase]
    if pulling and phase in {Phase.CANARY, Phase.ROLLING_OUT, Phase.DEGRADED}:
        reason = Reason.IMAGE_PULL_FAILED
    return Finding(severity, reason, message)


def _variant(facts: VariantFacts, previous: Mapping[str, Any]) -> VariantStatus:
    build, course = facts.build, facts.course
    own = counts(facts)
    measured: dict[str, Any] = {}
    if build and build.report:
        report = build.report
        measured = {
            "precision": report.precision,
            "accuracy": report.accuracy,
            "accuracy_drop": report.accuracy_drop,
            "size": report.size,
        }
    elif build:
        measured = _measured_before(previous, facts.profile, build.build.key)
    return VariantStatus(
        profile=facts.profile,
        build_key=build.build.key if build else None,
        image=build.image if build else None,
        latency=f"{facts.latency_ms:.1f}ms" if facts.latency_ms is not None else None,
        revision=_shown(course),
        state=_state(facts),
        reason=_reason(facts, own),
        message=_sentence(facts, own),
        nodes=own,
        **measured,
    )


def _reason(facts: VariantFacts, own: NodeCounts) -> Reason:
    """Why one variant stands where it does, in one word."""
    if facts.build is None:
        return Reason.PROFILE_NOT_ALLOWED if facts.not_allowed else Reason.PROFILE_NOT_FOUND
    if facts.build.image is None and facts.build.reason:
        return facts.build.reason
    return _rollout_finding(facts, own).reason


def _measured_before(previous: Mapping[str, Any], profile: str, key: str) -> dict[str, Any]:
    """What the report of the same build said when the registry last answered: a measurement does not become untrue."""
    variants = previous.get("variants")
    for one in variants if isinstance(variants, list) else ():
        if one.get("profile") == profile and one.get("buildKey") == key:
            names = {"precision": "precision", "accuracy": "accuracy", "accuracy_drop": "accuracyDrop", "size": "size"}
            return {ours: one[theirs] for ours, theirs in names.items() if theirs in one}
    return {}


def _shown(course: Course) -> str | None:
    """The revision that nodes are being moved to, or that they went back to."""
    if course.target and not course.target.withdrawn:
        return course.target.revision
    return course.stable.revision if course.stable else None


def _all_away(facts: VariantFacts, own: NodeCounts) -> bool:
    """Whether a revision is there and only its nodes are not: nothing more can be done, and nothing is wrong."""
    target = facts.course.target
    return bool(target and not target.withdrawn and own.desired and own.desired == own.not_ready + own.tainted)


def _state(facts: VariantFacts) -> str:
    phase = facts.course.phase
    if facts.build and facts.build.image is None:
        return {"Failed": "BuildFailed"}.get(facts.build.phase, facts.build.phase)
    return "RolledBack" if phase is Phase.NONE_LEFT else phase.value


def _sentence(facts: VariantFacts, own: NodeCounts) -> str:
    """Where one variant stands, in one sentence; nothing in it changes by time alone."""
    if facts.build is None:
        why = "may not be used from this namespace" if facts.not_allowed else "does not exist"
        return f"DeviceProfile {facts.profile!r} {why}; its nodes keep what they run."
    if facts.build.image is None:
        return facts.build.message
    target = facts.course.target
    if target and target.withdrawn and facts.course.phase is not Phase.NO_NODES:
        return _taken_back(facts, target.revision, target.withdrawn, own)
    return _going_on(facts, target.revision if target else "", own)


def _going_on(facts: VariantFacts, target: str, own: NodeCounts) -> str:
    name, trouble = facts.profile, _trouble(facts.nodes)
    nodes = f"{own.desired} {_nodes(own.desired)}"
    said = {
        Phase.CANARY: f"Revision {target} for {name} is tried on its canary{trouble or ' and must hold for the bake'}.",
        Phase.ROLLING_OUT: f"Revision {target} for {name} is on {own.updated} of {nodes}{trouble}.",
        Phase.DEGRADED: (
            f"Revision {target} for {name} serves on {own.ready} of {nodes}{trouble}; "
            "mend the node or publish a new source."
        ),
        Phase.NO_NODES: f"No node is of profile {name}.",
    }
    if facts.course.phase in said:
        return said[facts.course.phase]
    if own.desired == own.not_ready:
        return f"All {nodes} of profile {name} are offline."
    return f"Serving on {own.ready} of {nodes}{_away(own)}."


def _taken_back(facts: VariantFacts, target: str, why: str, own: NodeCounts) -> str:
    stable = facts.course.stable
    back = f"revision {stable.revision} serves" if stable else "there is no revision before it"
    said = f"Revision {target} for {facts.profile} was taken back because {why.rstrip('.')}; {back}"
    if facts.course.phase is Phase.ROLLING_BACK:
        return f"{said} again on {own.ready} of {own.desired} {_nodes(own.desired)}." if stable else f"{said}."
    return f"{said}; publish a new source, change the profile, or set annotation {RETRY_ANNOTATION} to a new value."


def _trouble(nodes: Iterable[NodeState]) -> str:
    """The first node in trouble, the gravest kind first, as a clause."""
    online = sorted((node for node in nodes if node.online), key=lambda node: node.name)
    for node in (
        *(node for node in online if node.health is Health.FAILED),
        *(node for node in online if node.pull_failed),
        *(node for node in online if node.health is Health.STARTING and node.note),
    ):
        return f"; {node.name} {node.note}"
    return ""


def _away(nodes: NodeCounts) -> str:
    """Nodes that cannot be reached or may not be moved, as a clause."""
    offline = f", {nodes.not_ready} offline" if nodes.not_ready else ""
    return offline + (f", {nodes.tainted} closed by a taint" if nodes.tainted else "")


def _nodes(count: int) -> str:
    return "node" if count == 1 else "nodes"
