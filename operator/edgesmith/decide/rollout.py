"""Which revision each node runs next. Stateless: labels, records, pods and the status are all that is known.

The planner works in three steps, each a pure function: judge what the revisions have shown themselves to be, choose the
nodes to move, describe where each variant stands. The rules are those of docs/rollout.md:

1. A new revision goes through `spec.rollout.steps`. A node that fails in the first step rolls it back; so do lost
   canaries, where the other nodes are not lost as well.
2. Later, a node that fails goes back alone, and more than `maxFailed` of them roll the revision back. Where its server
   is ready all the same, that ends as any other.
3. A revision that was rolled back is taken off every label: at once where nothing serves, else within the budget.
4. A revision that held all steps goes to the other nodes within the budget, and is completed once it serves on enough
   of the desired ones. Only the newest revision is ever rolled back, and only to one that was proven before it.
5. A node keeps what it runs until there is something approved to take its place.
6. While the rollout is paused or no window is open, nodes go back and none that serves goes forward.
7. A revision that rollbackTo leaves is rolled back; what takes its place is the target, and goes to all others, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edgesmith.decide.absent import given_back
from edgesmith.decide.budget import budget_of, budget_within
from edgesmith.decide.choose import choose, leave
from edgesmith.decide.chosen import Chosen
from edgesmith.decide.fleet import NodeState, RevisionState, RolloutPhase, Rules, ServerState, Variant
from edgesmith.decide.hold import hold_for
from edgesmith.decide.judge import Judgement, judge
from edgesmith.decide.partitions import Opened
from edgesmith.decide.plan import Move, Pending


@dataclass(frozen=True, slots=True)
class Course:
    """What one variant does next."""

    variant: Variant
    phase: RolloutPhase
    target: RevisionState | None
    """As it is after this pass."""
    stable: RevisionState | None
    """What nodes run that do not run the target: the revision proven last before it."""
    revisions: tuple[RevisionState, ...]
    """All of them, as they are after this pass."""
    moves: tuple[Move, ...]
    pending: tuple[Pending, ...]
    look_again: float | None
    opened: Opened | None = None
    """How far the target may go; None where partitions do not keep it from any node."""

    @property
    def wanted(self) -> RevisionState | None:
        """What its nodes are to run: the target, or what was proven before where that is not there or rolled back."""
        return self.target if self.target and not self.target.rolled_back else self.stable


@dataclass(frozen=True, slots=True)
class Rollout:
    """What all variants of an EdgeModel do next."""

    courses: tuple[Course, ...]
    leaving: tuple[Move, ...]
    """Nodes of no variant any more, which lose their label."""
    pending: tuple[Pending, ...]
    """Those of them that wait."""


def plan_rollout(
    variants: Sequence[Variant],
    rules: Rules,
    now: datetime,
    leaving: Sequence[NodeState] = (),
    trying: int = 0,
) -> Rollout:
    """Decide the next step of every variant.

    A variant that fails does not hold up another; they share the budget only.

    Args:
        variants: The variants.
        rules: The rules.
        now: The hub's time.
        leaving: Nodes of no variant that still carry a revision.
        trying: How many nodes pull what they are to try.
    """
    judged = [judge(variant, rules, now) for variant in variants]
    budget = budget_of(judged, rules, now, leaving, trying)
    left = {name: why for one in judged for name, why in one.rolled_back.items()}
    parts = [budget_within(one, rules, now, budget) if len(judged) > 1 else budget for one in judged]
    courses = tuple(
        describe(one, choose(one, rules, part, now, left), rules, now, leaving)
        for one, part in zip(judged, parts, strict=True)
    )
    gone = leave(leaving, rules, budget, left)
    return Rollout(courses, _sorted_moves(gone), _sorted_pending(gone))


def describe(judged: Judgement, chosen: Chosen, rules: Rules, now: datetime, leaving: Sequence[NodeState]) -> Course:
    """Say where a variant stands; `leaving` are nodes of no variant."""
    return Course(
        judged.variant,
        _phase(judged, chosen, rules),
        judged.target,
        judged.stable,
        tuple(judged.revisions[name] for name in sorted(judged.revisions)),
        _sorted_moves(chosen),
        _sorted_pending(chosen),
        _look_again(judged, chosen, rules, now, leaving),
        judged.opened,
    )


def _sorted_moves(chosen: Chosen) -> tuple[Move, ...]:
    return tuple(chosen.moves[name] for name in sorted(chosen.moves))


def _sorted_pending(chosen: Chosen) -> tuple[Pending, ...]:
    return tuple(chosen.pending[name] for name in sorted(chosen.pending))


def _phase(judged: Judgement, chosen: Chosen, rules: Rules) -> RolloutPhase:
    nodes, target = judged.variant.nodes, judged.target
    if not nodes:
        return RolloutPhase.NO_NODES
    if target is None:
        return RolloutPhase.WAITING
    moving = bool(chosen.moves) or any(
        node.movable and node.server is ServerState.STARTING for node in judged.variant.unwell
    )
    if target.rolled_back:
        if moving or (judged.stable and any(map(judged.leaves, judged.variant.on(target.revision)))):
            return RolloutPhase.ROLLING_BACK
        return RolloutPhase.ROLLED_BACK if judged.stable else RolloutPhase.NONE_LEFT
    # Between two partitions nothing moves, and it goes on all the same.
    moving = moving or bool(judged.opened and judged.opened.following)
    return _phase_forward(judged, target, rules, moving=moving)


def _phase_forward(judged: Judgement, target: RevisionState, rules: Rules, *, moving: bool) -> RolloutPhase:
    variant = judged.variant
    if target.completed and _all_served(variant, target, rules.unavailable(len(variant.nodes))):
        return RolloutPhase.COMPLETE
    if judged.instead and any(_is_awaited_back(judged, node, target) for node in variant.nodes):
        return RolloutPhase.ROLLING_BACK
    hold = None if judged.instead else hold_for(judged, rules)
    given = variant.on(target.revision)
    if hold and (len(given) < len(variant.nodes) or any(node.staged for node in given)):
        return hold.phase
    if not target.proven:
        able = any(node.movable and not node.no_room(target.revision) for node in variant.nodes)
        if not able and all(node.no_room(target.revision) for node in given):
            return RolloutPhase.WAITING
        return RolloutPhase.CANARY if target.steps == 0 else RolloutPhase.ROLLING_OUT
    # A node that only waits for another variant's share of the budget is not in trouble.
    failed = any(
        node.movable and (node.server is ServerState.FAILED or target.revision in node.failures)
        for node in variant.unwell
    )
    return RolloutPhase.DEGRADED if failed and not moving else RolloutPhase.ROLLING_OUT


def _is_awaited_back(judged: Judgement, node: NodeState, target: RevisionState) -> bool:
    """Whether a node is yet to be given what rollbackTo asks for."""
    if node.label == judged.variant.left:
        return judged.leaves(node)
    other = node.runs in judged.revisions and node.runs != target.revision
    return other and node.movable and target.revision not in node.failures and not node.no_room(target.revision)


def _all_served(variant: Variant, target: RevisionState, tolerated: int) -> bool:
    """Whether a completed revision serves wherever it can.

    As many servers as may be down in a rollout may restart, and as many nodes may have just joined, without the whole
    EdgeModel ceasing to be ready. A node that makes the revision ready beside another one does not serve it yet.
    """
    joining = {ServerState.STARTING, ServerState.NONE}
    revision = target.revision
    others = [
        node for node in variant.nodes if node.movable and not node.serves(revision) and not node.no_room(revision)
    ]
    return (
        len(others) <= tolerated
        and all(
            not node.beside and (node.server is ServerState.NONE or (node.label == revision and node.server in joining))
            for node in others
            if revision not in node.failures
        )
        and not any(revision in node.failures for node in others)
    )


def _look_again(
    judged: Judgement, chosen: Chosen, rules: Rules, now: datetime, leaving: Sequence[NodeState]
) -> float | None:
    """Seconds until a bake or a deadline ends, a place or a node's turn is free, or a window opens or closes."""
    target = judged.target
    ends: list[datetime] = [node.deadline for node in judged.variant.unwell if node.deadline]
    ends += given_back((*judged.variant.unwell, *leaving), rules)
    ends += [time for time in (rules.opening.edge, chosen.turn) if time]
    asked = {one.revision for one in (target, judged.stable) if one}
    ends += [node.full.again for node in judged.variant.unwell if node.full and node.full.revision in asked]
    ends += [judged.opened.until] if judged.opened and judged.opened.until else []
    if target and not target.proven and not target.rolled_back:
        ends += _ends(judged, judged.variant.on(target.revision), rules)
    first = min((end for end in ends if end > now), default=None)
    return (first - now).total_seconds() if first else None


def _ends(judged: Judgement, own: Sequence[NodeState], rules: Rules) -> list[datetime]:
    bakes = [judged.step.bake] if judged.step else [step.bake for step in rules.steps]
    ends = [node.since + bake + rules.grace for node in own if node.since and node.ready for bake in bakes]
    ends += [node.unsteady + rules.deadline + bake + rules.grace for node in own if node.unsteady for bake in bakes]
    return ends + [node.away + rules.deadline for node in own if node.away]
