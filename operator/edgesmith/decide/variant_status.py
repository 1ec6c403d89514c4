"""What the status says of one variant: its nodes counted, its state, and a sentence; nothing changes by time alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgesmith.api.conditions import Reason
from edgesmith.api.names import RETRY_ANNOTATION
from edgesmith.api.recompiled import Recompiled
from edgesmith.api.status import NodeCounts, PartitionStatus, TransferStatus, VariantStatus
from edgesmith.decide.build_status import known, made_builds
from edgesmith.decide.builds import BuildState
from edgesmith.decide.conditions import Finding, Severity
from edgesmith.decide.contestants import Contestants
from edgesmith.decide.fleet import NodeState, RevisionState, RolloutPhase, ServerState
from edgesmith.decide.rollout import Course
from edgesmith.decide.transfer import Transfer


@dataclass(frozen=True, slots=True)
class VariantFacts:
    """What is known of one variant after the decisions of a pass."""

    profile: str
    build: BuildState | None
    """None where the profile is missing or refused, or the digest of a file is not known."""
    course: Course
    counted: NodeCounts
    """As `counts` found them."""
    latency_ms: float | None
    """Worst p95 that a device measured for the revision shown."""
    contestants: Contestants | None = None
    """All of its builds, `build` among them."""
    unbuilt: Finding | None = None
    """Why nothing is built for the profile; None where something is, or where there is no such profile."""
    warnings: Mapping[str, Collection[str]] = field(default_factory=dict)
    """What devices that run the revision shown say is not as it should be, and the nodes that say so."""
    recompiled: Mapping[str, Collection[str]] = field(default_factory=dict)
    """What is another of devices that compile that revision anew, and the nodes that say so."""
    opens: str = ""
    """When the next window opens, in one sentence; empty where one is open."""
    unmatched: int = 0
    """Nodes that spec.nodeSelector picks and that are of no profile."""
    transfer: Transfer | None = None
    """What the target still moves to nodes; None where that is not known."""
    for_sites: bool = False
    """Whether it is built for clusters at sites, so that nothing is wrong where no node is of the profile."""

    @property
    def done(self) -> bool:
        """Whether it is built for sites, and nothing is left to do here."""
        nobody = self.course.phase is RolloutPhase.NO_NODES
        return self.for_sites and nobody and self.build is not None and self.build.phase in ("Built", "Trial")


def counts(course: Course) -> NodeCounts:
    """One variant's nodes, as they stood before this pass moved any."""
    variant, shown = course.variant, shown_revision(course)
    movable = [node for node in variant.unwell if node.movable]
    well = len(variant.nodes) - len(variant.unwell)
    not_ready = sum(not node.ready for node in variant.unwell)
    lacking = sum(node.shortage is not None and node.ready and not node.taint for node in variant.unwell)
    return NodeCounts(
        desired=len(variant.nodes),
        updated=sum(node.movable and node.beside is None for node in variant.on(shown)) if shown else 0,
        ready=well + sum(node.serving or node.beside_serving for node in movable),
        not_ready=not_ready,
        tainted=len(variant.unwell) - len(movable) - not_ready - lacking,
        device_missing=lacking,
        disk_full=sum(bool(_lacks_room(course, node)) for node in movable),
        failed=sum(node.server is ServerState.FAILED for node in movable),
    )


def _lacks_room(course: Course, node: NodeState) -> str:
    """What a node's disk lacks for what it is to try, or to be given: the revision before, where it runs nothing."""
    if node.untried:
        return node.untried
    asked = [shown_revision(course), course.stable.revision if course.stable and node.bare else None]
    return next((note for one in asked if one and (note := node.lack_of_room(one))), "")


def settled(nodes: NodeCounts) -> Finding:
    """What there is to say when all is as it should be."""
    if not nodes.desired:
        return Finding(Severity.FINE, Reason.BUILT_FOR_SITES, "Built for clusters at sites; no node here is to run it.")
    serving = f"Serving on {nodes.ready} of {nodes.desired} {_nodes(nodes.desired)}"
    absent = (
        (nodes.not_ready, Reason.NODES_NOT_READY),
        (nodes.tainted, Reason.NODES_TAINTED),
        (nodes.device_missing, Reason.DEVICE_MISSING),
        (nodes.disk_full, Reason.DISK_FULL),
    )
    for count, reason in absent:
        if count:
            return Finding(Severity.FINE, reason, f"{serving}{_away(nodes)}.")
    return Finding(Severity.FINE, Reason.SUCCEEDED, f"{serving}.")


_FINDINGS = {
    RolloutPhase.CANARY: (Severity.RECONCILING, Reason.CANARY),
    RolloutPhase.ROLLING_OUT: (Severity.RECONCILING, Reason.ROLLING_OUT),
    RolloutPhase.ROLLING_BACK: (Severity.RECONCILING, Reason.ROLLING_BACK),
    RolloutPhase.ROLLED_BACK: (Severity.STALLED, Reason.ROLLED_BACK),
    RolloutPhase.NONE_LEFT: (Severity.STALLED, Reason.NO_REVISION_LEFT),
    RolloutPhase.DEGRADED: (Severity.STALLED, Reason.NODES_FAILED),
    RolloutPhase.PAUSED: (Severity.AWAITED, Reason.PAUSED),
    RolloutPhase.WAITING_FOR_WINDOW: (Severity.AWAITED, Reason.WAITING_FOR_WINDOW),
}


def rollout_finding(facts: VariantFacts, nodes: NodeCounts) -> Finding:
    """What one variant's rollout has to say.

    Args:
        facts: The variant.
        nodes: The nodes of all variants.
    """
    own, phase = facts.counted, facts.course.phase
    message = sentence(facts, own)
    if phase is RolloutPhase.COMPLETE:
        finding = settled(nodes)
        return replace(finding, severity=Severity.ABSENT) if _awaits_absent(facts) else finding
    if facts.done:
        return Finding(Severity.FINE, Reason.BUILT_FOR_SITES, message)
    if phase is RolloutPhase.NO_NODES and facts.for_sites:
        return _awaited(facts, message)
    if phase is RolloutPhase.NO_NODES:
        empty = Severity.FINE if nodes.desired else Severity.RECONCILING
        return Finding(empty, Reason.NO_NODES, message)
    if phase is RolloutPhase.WAITING:
        return _awaited(facts, message)
    severity, reason = _FINDINGS[phase]
    pulling = any(node.pull_failed for node in facts.course.variant.unwell if node.movable)
    if pulling and phase in {RolloutPhase.CANARY, RolloutPhase.ROLLING_OUT, RolloutPhase.DEGRADED}:
        reason = Reason.IMAGE_PULL_FAILED
    elif phase is RolloutPhase.ROLLING_OUT and _waits_for_nodes(facts):
        reason = _awaited_nodes(facts)
    return Finding(severity, reason, message)


def _awaits_absent(facts: VariantFacts) -> bool:
    """Whether a node that is away has not been given the revision; one that has it and is away does not count."""
    target = facts.course.target
    return target is not None and any(
        node.no_room(target.revision) or (not node.movable and node.label != target.revision)
        for node in facts.course.variant.unwell
    )


def _awaited_nodes(facts: VariantFacts) -> Reason:
    """What the nodes that cannot be given the revision lack."""
    if facts.counted.device_missing:
        return Reason.DEVICE_MISSING
    return Reason.DISK_FULL if facts.counted.disk_full else Reason.WAITING_FOR_NODES


def _awaited(facts: VariantFacts, message: str) -> Finding:
    """A variant without a revision, or with one and no node to give it to."""
    if facts.build and facts.build.image:
        return Finding(Severity.RECONCILING, _awaited_nodes(facts), message)
    if facts.build and facts.build.phase in _TRIALS:
        return Finding(_TRIALS[facts.build.phase], facts.build.reason or Reason.TRIAL, message)
    reason = facts.build.reason if facts.build and facts.build.reason else _absence(facts)
    return Finding(Severity.AWAITED, reason, message)


_TRIALS = {"Trial": Severity.RECONCILING, "TrialFailed": Severity.STALLED}


def _absence(facts: VariantFacts) -> Reason:
    """Why a variant has no build."""
    return facts.unbuilt.reason if facts.unbuilt else Reason.PROFILE_NOT_FOUND


def _waits_for_nodes(facts: VariantFacts) -> bool:
    """Whether every node that can be given the target serves it, and the others cannot be given it."""
    target = facts.course.target
    return target is not None and all(
        node.serves(target.revision)
        for node in facts.course.variant.nodes
        if node.movable and not node.no_room(target.revision)
    )


def variant_status(facts: VariantFacts, previous: Mapping[str, Any]) -> VariantStatus:
    """One variant's entry.

    Args:
        facts: The variant.
        previous: The EdgeModel's status as it stands.
    """
    build, course = facts.build, facts.course
    own, strategy, opened = facts.counted, course.variant.strategy, course.opened
    measured = known(facts.contestants.states if facts.contestants else (build,), build, previous) if build else {}
    return VariantStatus(
        profile=facts.profile,
        build_key=build.build.key if build else None,
        image=build.image if build else None,
        latency=f"{facts.latency_ms:.1f}ms" if facts.latency_ms is not None else None,
        revision=shown_revision(course),
        strategy=strategy.name if strategy else None,
        strategy_message=(strategy.why or None) if strategy else None,
        transfer=_transfer(facts.transfer),
        partition=PartitionStatus(open=opened.last, following=opened.following) if opened else None,
        state=state_of(facts),
        reason=_reason(facts, own),
        message=sentence(facts, own),
        nodes=own,
        device_warnings=tuple(_device_warnings(facts.warnings))[:_WARNINGS],
        recompiled=tuple(_recompiled(facts.recompiled))[:_WARNINGS],
        made=made_builds(facts.profile, facts.contestants.states if facts.contestants else (), previous),
        **measured,
    )


_WARNINGS = 8
"""Kinds of warnings of devices that are told, and of changes."""


def _device_warnings(warnings: Mapping[str, Collection[str]]) -> Iterable[str]:
    """One sentence for each kind of warning, whatever the number of nodes."""
    for warning, nodes in sorted(warnings.items()):
        first, more = min(nodes), len(nodes) - 1
        yield f"On {first}{f' and {more} more {_nodes(more)}' if more else ''} the model {warning.rstrip('.')}"


def _recompiled(changes: Mapping[str, Collection[str]]) -> Iterable[Recompiled]:
    """One entry for each kind of change, whatever the number of nodes."""
    for change, nodes in sorted(changes.items()):
        yield Recompiled(change=change, node=min(nodes), nodes=len(nodes))


def _reason(facts: VariantFacts, own: NodeCounts) -> Reason:
    """Why one variant stands where it does, in one word."""
    if facts.build is None:
        return _absence(facts)
    if facts.build.image is None and facts.build.reason and not _awaits_nodes(facts):
        return facts.build.reason
    return rollout_finding(facts, own).reason


def shown_revision(course: Course) -> str | None:
    """The revision that nodes are being moved to, or that they went back to."""
    if course.target and not course.target.rolled_back:
        return course.target.revision
    return course.stable.revision if course.stable else None


def _awaits_nodes(facts: VariantFacts) -> bool:
    """Whether a build is there and only its trial is missing, for want of nodes."""
    build = facts.build
    return build is not None and build.phase == "Trial" and facts.course.phase is RolloutPhase.NO_NODES


def state_of(facts: VariantFacts) -> str:
    """The variant's `state`."""
    phase = facts.course.phase
    if facts.unbuilt and facts.unbuilt.severity is Severity.AWAITED:
        return "Waiting"
    if facts.done:
        return "Built"
    if facts.build and facts.build.image is None and not _awaits_nodes(facts):
        return {"Failed": "BuildFailed"}.get(facts.build.phase, facts.build.phase)
    return "RolledBack" if phase is RolloutPhase.NONE_LEFT else phase.value


def sentence(facts: VariantFacts, own: NodeCounts) -> str:
    """Where one variant stands, in one sentence."""
    if facts.build is None:
        missing = f"DeviceProfile {facts.profile!r} does not exist or cannot be read; its nodes keep what they run."
        return facts.unbuilt.message if facts.unbuilt else missing
    if facts.done:
        return f"The build for {facts.profile} is in the registry for clusters at sites; no node here is to run it."
    if facts.build.image is None and not _awaits_nodes(facts):
        return facts.build.message
    target = facts.course.target
    if target and target.rolled_back and facts.course.phase is not RolloutPhase.NO_NODES:
        return _rolled_back(facts, target, own)
    return _going_on(facts, target.revision if target else "", own)


def _going_on(facts: VariantFacts, target: str, own: NodeCounts) -> str:
    name, trouble = facts.profile, _trouble(facts, target)
    nodes = f"{own.desired} {_nodes(own.desired)}"
    on = f"Revision {target} for {name} is on {own.updated} of {nodes}"
    said = {
        RolloutPhase.CANARY: (
            f"Revision {target} for {name} is in its first step{trouble or ' and must serve for the bake'}."
        ),
        RolloutPhase.ROLLING_OUT: f"{on}{_parted(facts)}{trouble or _absent(facts)}.",
        RolloutPhase.DEGRADED: f"{on} and {own.ready} serve{trouble}; repair the node or publish a new source.",
        RolloutPhase.PAUSED: f"{on}; spec.rollout.paused is true.",
        RolloutPhase.WAITING_FOR_WINDOW: f"{on}; no window is open. {facts.opens}",
        RolloutPhase.ROLLING_BACK: f"{on}{trouble or _absent(facts)}; spec.rollout.rollbackTo asks for it.",
        RolloutPhase.NO_NODES: (
            f"No node has the labels of DeviceProfile {name}{_picked(facts)}; nodes that get them are picked up."
        ),
        RolloutPhase.WAITING: f"Revision {target} for {name} waits for a node: {own.desired} desired{_absent(facts)}.",
    }
    left = facts.course.variant.left
    instead = f"; revision {target} takes the place of {left} as spec.rollout.rollbackTo asks" if left else ""
    return said.get(facts.course.phase, f"Serving on {own.ready} of {nodes}{_absent(facts)}{instead}.")


def _transfer(known: Transfer | None) -> TransferStatus | None:
    """What is still to be moved, as long as anything is."""
    if known is None or not known.nodes:
        return None
    return TransferStatus(each=known.each, nodes=known.nodes, total=known.total)


def _parted(facts: VariantFacts) -> str:
    """Which partition is open, as a clause."""
    opened = facts.course.opened
    return f"; {opened.words()}" if opened else ""


def _picked(facts: VariantFacts) -> str:
    """A hint where spec.nodeSelector picks nodes that are of no profile."""
    return f", though spec.nodeSelector picks {facts.unmatched} {_nodes(facts.unmatched)}" if facts.unmatched else ""


def _rolled_back(facts: VariantFacts, target: RevisionState, own: NodeCounts) -> str:
    stable = facts.course.stable
    back = f"revision {stable.revision} serves" if stable else "there is no revision before it"
    why = (target.rolled_back or "").rstrip(".")
    said = f"Revision {target.revision} for {facts.profile} was rolled back ({target.reason}): {why}; {back}"
    if facts.course.phase is RolloutPhase.ROLLING_BACK:
        return f"{said} again on {own.ready} of {own.desired} {_nodes(own.desired)}." if stable else f"{said}."
    return f"{said}; publish a new source, change the profile, or set annotation {RETRY_ANNOTATION} to a new value."


def _trouble(facts: VariantFacts, target: str) -> str:
    """The first node in trouble as a clause: one that failed, then one that cannot pull, one that is lost or starts."""
    nodes = sorted(facts.course.variant.unwell, key=lambda node: node.name)
    for node, note in _troubles(nodes, target):
        return f"; {node.name} {note}"
    return ""


def _troubles(nodes: Sequence[NodeState], target: str) -> Iterable[tuple[NodeState, str]]:
    movable = [node for node in nodes if node.movable]
    yield from ((node, node.note or "failed") for node in movable if node.server is ServerState.FAILED)
    for node in movable:
        if target in node.failures:
            yield node, f"{node.failures[target].note or 'failed'} and went back to revision {node.label}"
    yield from ((node, node.note) for node in movable if node.pull_failed)
    for node in nodes:
        if not node.ready and node.label == target and node.server is not ServerState.NONE:
            yield node, "became NotReady after it got the revision"
        elif node.gone and node.label == target and node.shortage and node.server is not ServerState.NONE:
            yield node, f"{node.shortage}, and its server is not ready"
    yield from ((node, node.note) for node in movable if node.server is ServerState.STARTING and node.note)


def _away(nodes: NodeCounts) -> str:
    """Nodes that cannot be given a revision, as a clause."""
    away = f", {nodes.not_ready} NotReady" if nodes.not_ready else ""
    away += f", {nodes.tainted} tainted" if nodes.tainted else ""
    away += f", {nodes.device_missing} without a device" if nodes.device_missing else ""
    return away + (f", {nodes.disk_full} without room on the disk" if nodes.disk_full else "")


def _absent(facts: VariantFacts) -> str:
    """Nodes of one variant that cannot be given a revision, as a clause; of a device or of room, the first without."""
    words = [
        (node.name, str(node.shortage or _lacks_room(facts.course, node)))
        for node in facts.course.variant.unwell
        if (facts.counted.device_missing and node.shortage)
        or (facts.counted.disk_full and _lacks_room(facts.course, node))
    ]
    first = min(words, default=None)
    return _away(facts.counted) + (f"; {first[0]} {first[1]}" if first else "")


def _nodes(count: int) -> str:
    return "node" if count == 1 else "nodes"
