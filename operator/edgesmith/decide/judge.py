"""What a variant's revisions have shown themselves to be: the first of the planner's three steps.

Everything is read from the nodes as the variant has them sorted, once per pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from edgesmith.decide.fleet import NodeState, RevisionState, Rules, ServerState, Step, Variant
from edgesmith.decide.losses import Others, lost_at_once, lost_in_time, nodes_lost
from edgesmith.decide.partitions import Opened, advance
from edgesmith.decide.words import some


@dataclass(frozen=True, slots=True)
class Judgement:
    """One variant with its revisions as they are after this pass."""

    variant: Variant
    revisions: Mapping[str, RevisionState]
    target: RevisionState | None
    stable: RevisionState | None
    """The revision proven last before the target."""
    step: Step | None
    """The step that the target is in; None where it is proven, rolled back or not known."""
    missing: int
    """How many more nodes that step wants."""
    opened: Opened | None = None
    """How far the target may go; None where partitions do not keep it from any node."""

    @property
    def approved(self) -> RevisionState | None:
        """What any node may run: the target once it is proven, until then the one before it."""
        target = self.target
        return target if target and target.proven and not target.rolled_back else self.stable

    @property
    def instead(self) -> str | None:
        """The target where `spec.rollout.rollbackTo` puts it in the place of another one: no pause keeps it up."""
        target = self.target
        return target.revision if self.variant.left and target and not target.rolled_back else None

    @property
    def rolled_back(self) -> Mapping[str, str]:
        """Why revisions were rolled back, in one sentence each."""
        return {one.revision: one.rolled_back for one in self.revisions.values() if one.rolled_back}

    def closed(self, node: NodeState) -> bool:
        """Whether a node is of a partition that the target may not go to yet."""
        return self.opened is not None and not self.opened.has(node)

    def fallback(self, node: NodeState) -> str | None:
        """What a node goes back to: what is approved, the revision before, or what it served before where that exists.

        One that failed on it is the last choice, and so is the target where its partition is not open.
        """
        choices = [one.revision for one in (self.approved, self.stable) if one]
        before = self.revisions.get(node.previous or "")
        if node.previous and (node.previous in self.variant.usable or (before and not before.rolled_back)):
            choices.append(node.previous)
        if self.closed(node) and self.target:
            choices.sort(key=self.target.revision.__eq__)
        choices = [one for one in choices if one != node.label]
        return next((one for one in choices if one not in node.failures), choices[0] if choices else None)

    def leaves(self, node: NodeState) -> bool:
        """Whether a node that runs what was rolled back is to leave it: not where all else failed and it serves."""
        return node.movable and not (node.has_server and self.fallback(node) in node.failures)


class _OnStep(NamedTuple):
    """The nodes that carry the target in a step."""

    carriers: tuple[NodeState, ...]
    held: list[NodeState]
    away: list[NodeState]
    """Those that are gone and had not held it when they went, or have come and gone for too long."""


@dataclass(frozen=True, slots=True)
class _Case:
    """The target of a variant, and what speaks for and against it."""

    target: RevisionState
    stable: RevisionState | None
    variant: Variant
    own: tuple[NodeState, ...]
    """Nodes whose label names the target."""
    rules: Rules
    now: datetime
    after: datetime
    """A time after every one at which a revision of the variant was proven."""

    def steady(self, node: NodeState, step: Step) -> bool:
        """Whether a node has served for a step's bake and was heard of after that.

        A node that dies is taken for ready until the grace period is over, so the last part of what was seen says
        nothing; nor does what happens while the node is NotReady.
        """
        if step.promoted and node.ready and node.serving:
            return True
        seen_until = self.now if node.ready else node.away or self.now
        return node.serving and node.since is not None and seen_until - node.since >= step.bake + self.rules.grace

    def on_step(self, step: Step) -> _OnStep:
        """The nodes in a step's scope that carry the target, by how they do."""
        carriers = step.scope(self.own)
        held = [node for node in carriers if self.steady(node, step)]
        away = [node for node in carriers if (node.gone or self.overdue(node, step)) and not self.steady(node, step)]
        return _OnStep(carriers, held, away)

    def stays_away(self, node: NodeState) -> bool:
        """Whether a node has been gone for the whole progressDeadline."""
        return node.away is not None and self.now - node.away >= self.rules.deadline

    def overdue(self, node: NodeState, step: Step) -> bool:
        """Whether a node has come and gone for so long that it could have held a step, had it stayed.

        One that failed is judged for that, and one that is staged waits for others.
        """
        if node.unsteady is None or node.staged or (node.ready and node.server is ServerState.FAILED):
            return False
        bake = step.bake + self.rules.grace if node.serving else timedelta(0)
        return self.now - node.unsteady >= self.rules.deadline + bake

    def waited(self, node: NodeState, step: Step) -> bool:
        """Whether nobody waits for a canary any longer that has not held its step."""
        return self.stays_away(node) or self.overdue(node, step)


def judge(variant: Variant, rules: Rules, now: datetime) -> Judgement:
    """Say which revisions are proven, completed or rolled back; only the target can become one of them."""
    revisions = {one.revision: one for one in variant.revisions}
    target = revisions.get(variant.target or "")
    step, missing, opened = None, 0, None
    if target and not target.rolled_back:
        target = _renewed(target, revisions, now)
        stable = stable_before(target, revisions)
        after = _after(revisions, now)
        case = _Case(target, stable, variant, variant.on(target.revision), rules, now, after)
        target, step, missing = _progress(case)
        target = _judged(replace(case, target=target), step)
        if target.rolled_back:
            step, missing = None, 0
        elif rules.partitions and not target.completed and not variant.left:
            target, opened = advance(rules.partitions, target, variant.nodes, rules.grace, now)
    if target:
        revisions[target.revision] = target
    return Judgement(variant, revisions, target, stable_before(target, revisions), step, missing, opened)


def stable_before(target: RevisionState | None, revisions: Mapping[str, RevisionState]) -> RevisionState | None:
    """The revision that was proven last and not rolled back, the target apart.

    It was proven before the target: a target that is not rolled back counts as proven last, see `_renewed`.
    """
    proven = [
        (one.proven, one.revision)
        for one in revisions.values()
        if one.proven and not one.rolled_back and (target is None or one.revision != target.revision)
    ]
    return revisions[max(proven)[1]] if proven else None


def failed_on(variant: Variant, revision: str) -> list[NodeState]:
    """The nodes on which a revision failed and that say something about it: they had not failed before it, too."""
    return [node for node in variant.unwell if (one := node.failures.get(revision)) is not None and not one.broken]


def _renewed(target: RevisionState, revisions: Mapping[str, RevisionState], now: datetime) -> RevisionState:
    """A target that was proven before others is the newest approved one again: the spec went back to it."""
    if not target.proven:
        return target
    newest = max((one.proven for one in revisions.values() if one.proven and not one.rolled_back), default=now)
    return replace(target, proven=_after(revisions, now)) if newest > target.proven else target


def _after(revisions: Mapping[str, RevisionState], now: datetime) -> datetime:
    """Now, or later where the hub's clock was set back since another revision was proven."""
    newest = [one.proven + timedelta(seconds=1) for one in revisions.values() if one.proven]
    return max((now, *newest))


def steps_of(rules: Rules, nodes: tuple[NodeState, ...]) -> Iterator[tuple[int, Step, tuple[NodeState, ...]]]:
    """The steps that pick nodes of a variant, with their numbers and the nodes they are about.

    Where none of them does, the revision still needs a canary: one node, for the bake of the first step.
    """
    found = [(number, step, scope) for number, step in enumerate(rules.steps) if (scope := step.scope(nodes))]
    if nodes and not found:
        bake = rules.steps[0].bake if rules.steps else timedelta(0)
        found = [(0, Step(1, bake), nodes)]
    yield from found


def _progress(case: _Case) -> tuple[RevisionState, Step | None, int]:
    """Go on to the step that the target has not held yet, and say how many nodes that one wants.

    Where all are held and no node has it any more, those that had it left before anybody followed: the last step that
    picks nodes is held again, by others.
    """
    target = case.target
    if target.proven:
        return target, None, 0
    before, last = 0, None
    for number, step, scope in steps_of(case.rules, case.variant.nodes):
        quota = min(step.count(len(scope)), len(scope))
        adds = bool(step.selector) or quota > before
        before = max(before, quota)
        last = (number, step, quota) if adds else last
        if number < target.steps or not adds:
            continue
        if target.steps == 0:
            target = replace(target, lost=_lost_canaries(case, step))
        held, early, missing = _measured(replace(case, target=target), number, step, quota)
        if not held:
            return target, step, missing
        target = replace(target, steps=number + 1, lost=(), promoted=target.promoted + early)
    if case.own:
        return replace(target, proven=case.after), None, 0
    if last is None or _judged(replace(case, target=target), None).rolled_back:  # by what is known of all its steps
        return target, None, 0
    number, step, quota = last
    target = replace(target, steps=min(target.steps, number), lost=())
    _, _, missing = _measured(replace(case, target=target), number, step, quota)
    return target, step, missing


def _measured(case: _Case, number: int, step: Step, quota: int) -> tuple[bool, bool, int]:
    """Whether a step is held, whether only since it was promoted, and how many more nodes it wants."""
    measure = _canaries if case.target.steps == 0 else _later
    held, missing = measure(case, step, quota)
    if held or number >= case.variant.promoted:
        return held, False, missing
    early, missing = measure(case, replace(step, promoted=True), quota)
    return early, early, missing


def _canaries(case: _Case, step: Step, quota: int) -> tuple[bool, int]:
    """Whether the first step is held, and how many more nodes it wants.

    A lost canary keeps its place for the progressDeadline. One of them is replaced; without those lost beyond it the
    step can be held once at least one node holds. Where all are lost and that says nothing yet, one more is tried.
    """
    carriers, held, away = case.on_step(step)
    expired = [node for node in away if case.waited(node, step)]
    touched = {*case.target.lost, *(node.name for node in case.own)}
    missing = min(quota - (len(carriers) - len(expired)), quota + 1 - len(touched))
    needed = max(1, min(quota, quota + 1 - len(expired)))
    settled = len(held) + len(expired) == len(carriers)
    return settled and len(held) >= needed, max(missing, int(settled and not held))


def _later(case: _Case, step: Step, quota: int) -> tuple[bool, int]:
    """Whether a later step is held, and how many more nodes it wants; a share of the nodes may be gone."""
    carriers, held, away = case.on_step(step)
    failed = [node for node in carriers if node.ready and node.server is ServerState.FAILED]
    scope = len(step.scope(case.variant.nodes))
    needed = max(1, min(quota, scope - case.rules.absent(scope)))
    excused = min(len(away), case.rules.absent(quota))
    missing = quota - (len(carriers) - len(away) - len(failed)) - excused
    settled = len(held) + len(away) + len(failed) == len(carriers)
    return settled and bool(held) and len(held) + excused >= needed, max(missing, 0)


def _lost_canaries(case: _Case, step: Step) -> tuple[str, ...]:
    """Canaries that went before their bake was over: those first that left the cluster since, as nobody else knows."""
    own = {node.name for node in case.own}
    lost = {node.name for node in case.own if node.gone and not case.steady(node, step)}
    return (*sorted({*case.target.lost} - own), *sorted(lost))


def _judged(case: _Case, step: Step | None) -> RevisionState:
    """The target, rolled back or completed where its nodes say so."""
    target, rules = case.target, case.rules
    if target.completed or not (case.own or target.steps or target.lost):
        return target
    if target.steps == 0 and not target.proven:
        failing = [node for node in case.own if node.ready and node.server is ServerState.FAILED]
        if failing:
            said = f"{failing[0].name} {_note(failing[0], target.revision)}."
            return replace(target, rolled_back=said, reason="CanaryFailed")
        return _canary_lost(case, step) if step else target
    failed = failed_on(case.variant, target.revision)
    allowed = rules.failed(len(case.variant.nodes))
    if case.stable and len(failed) > allowed:
        said = (
            f"{len(failed)} nodes failed and spec.rollout.maxFailed allows {allowed}: "
            f"{failed[0].name} {_note(failed[0], target.revision)}."
        )
        return replace(target, rolled_back=said, reason="NodesFailed")
    found = _lost_later(case, allowed) if case.stable else target
    return found if found.rolled_back else _completed(case)


def _canary_lost(case: _Case, step: Step) -> RevisionState:
    """The target, rolled back where its canaries went and the other nodes did not."""
    target = case.target
    names = {node.name: node for node in case.own}
    touched = sorted({*names, *target.lost})
    others = _others([node for node in case.variant.nodes if node.name not in {*touched}])
    late = {node.name for node in case.own if case.overdue(node, step) and not case.steady(node, step)}
    lost = sorted({*target.lost, *late})
    waited = all(case.waited(names[name], step) for name in lost if name in names)
    chances = [_chance(case, others, names.get(name), comes_and_goes=name in late) for name in touched]
    at_once = lost_at_once(len(touched), len(target.lost), others)
    if not (at_once or (waited and lost_in_time(chances, len(lost)))):
        return target
    said = f"{some(lost)} {_went(case.own)} after they got it and before their bake was over."
    return replace(target, rolled_back=said, reason="CanaryLost")


def _others(nodes: Sequence[NodeState]) -> Others:
    """Nodes that did not get the revision, as the control group."""
    away = [node for node in nodes if _is_away(node)]
    return Others(len(nodes) - len(away), len(away), sorted(node.away for node in away if node.away))


def _chance(case: _Case, others: Others, node: NodeState | None, *, comes_and_goes: bool) -> float:
    """How likely a canary was to be lost by accident; None: one that left the cluster, of which nobody knows when."""
    if node is None:
        return others.chance(None, comes_and_goes=False)
    return others.chance(node.moved, comes_and_goes=comes_and_goes and not case.stays_away(node))


def _lost_later(case: _Case, allowed: int) -> RevisionState:
    """The target, rolled back where more nodes went soon after they got it than the others explain."""
    lost = [node for node in case.own if node.gone and case.rules.soon(node)]
    if len(lost) <= allowed:
        return case.target
    nodes, own = case.variant.nodes, case.own
    away = _away(nodes) - _away(own)
    if not nodes_lost(len(own), len(lost), len(nodes) - len(own), away):
        return case.target
    said = f"{len(lost)} of {len(own)} nodes {_went(lost)} soon after they got it, {lost[0].name} among them."
    return replace(case.target, rolled_back=said, reason="NodesLost")


def _away(nodes: Sequence[NodeState]) -> int:
    """How many nodes are NotReady or lack a device, whether their servers go on or not."""
    return sum(map(_is_away, nodes))


def _is_away(node: NodeState) -> bool:
    return not node.ready or node.shortage is not None


def _went(nodes: Sequence[NodeState]) -> str:
    """What happened to nodes that are gone, as the end of a clause."""
    lacking = next((node.shortage.resource for node in nodes if node.gone and node.ready and node.shortage), None)
    if lacking is None:
        return "became NotReady"
    both = any(not node.ready for node in nodes)
    return f"became NotReady or lost {lacking}" if both else f"lost {lacking}"


def _note(node: NodeState, revision: str) -> str:
    one = node.failures.get(revision)
    return ((one.note if one else "") or node.note or "failed").rstrip(".")


def _completed(case: _Case) -> RevisionState:
    """The target, completed where enough of the desired nodes serve it and none is on its way any more."""
    target = case.target
    if not target.proven:
        return target
    desired = len(case.variant.nodes)
    serving = sum(node.serving and (node.ready or not case.rules.soon(node)) for node in case.own)
    needed = max(1, desired - case.rules.absent(desired))
    awaited = any(
        node.movable
        and not node.serves(target.revision)
        and target.revision not in node.failures
        and not node.no_room(target.revision)
        and not (node.late and node.label == target.revision)
        for node in case.variant.nodes
    )
    return replace(target, completed=case.now) if serving >= needed and not awaited else target
