"""Which nodes get another revision now, and why the others do not: the second of the planner's three steps.

Budget: nodes that are without a ready server and nodes that are given another revision in this pass, over all variants,
never exceed `maxUnavailable` where a server that works has to end for it. A node that serves nothing has nothing to
lose; it only waits until fewer nodes than that are on their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgesmith.api.status import PendingReason
from edgesmith.decide.fleet import NodeState, RevisionState, Rules, ServerState
from edgesmith.decide.hold import Hold, hold_of
from edgesmith.decide.judge import Judgement
from edgesmith.decide.plan import Move, Pending
from edgesmith.decide.staging import awaited, place, returns_to, settle

_BROUGHT_DOWN = frozenset({ServerState.STARTING, ServerState.FAILED})
_RANKS = {ServerState.NONE: 2, ServerState.STARTING: 3}


@dataclass(slots=True)
class Budget:
    """Nodes without a server, and nodes on their way to one."""

    limit: int
    starting: int
    """Nodes on their way: those that start, and those moved in this pass."""
    down: int
    """Other nodes that count as unavailable: failed ones, and those that carry what is not completed and are NotReady
    or lost their device and their server."""
    staged: int = 0
    """Of the nodes on their way, those whose old server is ready still."""

    def take(self, node: NodeState, *, back: bool = False) -> bool:
        """Whether a node may be moved; if so, it is counted.

        Args:
            node: The node. One that is on its way already costs nothing more.
            back: Whether it leaves a revision that was rolled back: then only nodes on their way count, since failed
                ones must not keep the others on it.
        """
        if node.server is ServerState.STARTING:
            return True
        ends_a_server = node.serving and not back
        if self.starting + (self.down if ends_a_server else 0) >= self.limit:
            return False
        self.restart(node)
        return True

    def switch(self, node: NodeState) -> bool:
        """Whether the old server of a staged node may end before the new one starts; if so, it is counted.

        Nodes that are staged have a place already, but more nodes may have lost their servers since.
        """
        if self.starting - self.staged + self.down >= self.limit:
            return False
        self.staged -= node.beside_serving
        return True

    def restart(self, node: NodeState) -> None:
        """Count a node that is moved, whatever the budget says."""
        if node.server is not ServerState.STARTING:
            self.starting += 1
        if node.server is ServerState.FAILED:
            self.down = max(self.down - 1, 0)


@dataclass(slots=True)
class Chosen:
    """Moves, and nodes that wait, by node."""

    moves: dict[str, Move] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)

    def move(self, node: NodeState, revision: str | None, reason: str, *, urgent: bool = False) -> None:
        """Give a node another revision, or none."""
        if revision != node.label:
            self.moves[node.name] = Move(node.name, revision, reason, urgent=urgent)
        self.pending.pop(node.name, None)

    def switch(self, node: NodeState, reason: str, *, urgent: bool = False) -> None:
        """Let a staged node run what it has made ready."""
        self.moves[node.name] = Move(node.name, node.label, reason, urgent=urgent)
        self.pending.pop(node.name, None)

    def join(self, node: NodeState, reason: str) -> None:
        """Let a staged node start what it has tested beside its server."""
        self.moves[node.name] = Move(node.name, node.label, reason, beside=node.beside)
        self.pending.pop(node.name, None)

    def wait(self, node: NodeState, reason: PendingReason, message: str) -> None:
        """Say why a node is not moved."""
        if node.name not in self.moves:
            self.pending[node.name] = Pending(node.name, reason, message)


def budget_of(judgements: Sequence[Judgement], rules: Rules, leaving: Sequence[NodeState] = ()) -> Budget:
    """Count the nodes of all variants that are without a server.

    Args:
        judgements: The variants.
        rules: The rules.
        leaving: Nodes of no variant that still carry a revision.
    """
    desired = sum(len(one.variant.nodes) for one in judgements)
    starting = sum(_starts(node) for one in judgements for node in one.variant.unwell)
    down = sum(_down(one, rules) for one in judgements)
    revisions = {name: state for one in judgements for name, state in one.revisions.items()}
    down += sum(_lost(node, revisions.get(node.label or ""), rules) for node in leaving)
    staged = sum(_starts(node) and node.beside_serving for one in judgements for node in one.variant.unwell)
    return Budget(rules.unavailable(desired + len(leaving)), starting, down, staged)


def choose(judged: Judgement, rules: Rules, budget: Budget) -> Chosen:
    """Choose one variant's moves: what has to go back first, then the step's nodes, then all others."""
    chosen, hold = Chosen(), hold_of(rules, overridden=judged.variant.overridden)
    _go_back(judged, budget, chosen)
    settle(judged, hold, budget, chosen)
    if hold:
        _join(judged, budget, chosen)
    else:
        if judged.step and judged.target:
            _fill_step(judged, judged.target, budget, chosen)
        _follow(judged, budget, chosen)
    _explain(judged, hold, chosen)
    place(judged, budget, chosen)
    return chosen


def leave(nodes: Sequence[NodeState], rules: Rules, budget: Budget) -> Chosen:
    """Choose which nodes that are of no variant any more lose their label; a server ends only within the budget."""
    chosen, hold = Chosen(), hold_of(rules)
    for node in sorted(nodes, key=lambda node: node.name):
        if hold:
            chosen.wait(node, hold.reason, hold.message)
        elif not node.ready and node.server is not ServerState.NONE:
            chosen.wait(node, PendingReason.NOT_READY, "It is NotReady and keeps its label until it returns.")
        elif node.beside:
            chosen.move(node, node.beside, "It is no longer to run the model.")
        elif node.server in {ServerState.NONE, ServerState.FAILED} or budget.take(node):
            chosen.move(node, None, "It is no longer to run the model.")
        else:
            chosen.wait(node, PendingReason.MAX_UNAVAILABLE, _full(budget))
    return chosen


def _starts(node: NodeState) -> bool:
    return node.movable and node.server is ServerState.STARTING


def _down(judged: Judgement, rules: Rules) -> int:
    """Nodes of a variant that count as unavailable and do not start.

    Devices that are known to be broken, because they failed on one that is completed, or on the revision before as well
    with nothing left to go back to, or went while the node has one that is not completed, are left out as far as
    `maxFailed` goes: one such device must not stop every rollout.
    """
    failed = broken = lost = 0
    for node in judged.variant.unwell:
        revision = judged.revisions.get(node.label or "")
        if not node.ready:
            lost += _lost(node, revision, rules)
        elif node.shortage is not None:
            broken += node.server in _BROUGHT_DOWN and node.unfinished and not node.taint
        elif node.server is ServerState.FAILED and not node.taint:
            one = node.failures.get(node.label or "")
            back = fallback(judged, node)
            stays = back is None or back in node.failures
            known = bool(revision and revision.completed) or bool(one and one.broken and stays)
            broken += known
            failed += not known
    return failed + max(broken - rules.failed(len(judged.variant.nodes)), 0) + lost


def _lost(node: NodeState, revision: RevisionState | None, rules: Rules) -> bool:
    """Whether a node is NotReady with a revision that is not completed.

    One that served the revision when it went away, after that was proven and not soon after it got it, went for a
    reason of its own.
    """
    proven = revision.proven if revision else None
    settled = bool(proven and node.serving and node.away and node.away > proven and not rules.soon(node))
    return not node.ready and node.unfinished and not settled


def fallback(judged: Judgement, node: NodeState) -> str | None:
    """What a node goes back to: what is approved, the revision before, or what it served before where that exists.

    One that failed on it is the last choice.
    """
    choices = [one.revision for one in (judged.approved, judged.stable) if one]
    before = judged.revisions.get(node.previous or "")
    if node.previous and (node.previous in judged.variant.usable or (before and not before.rolled_back)):
        choices.append(node.previous)
    choices = [one for one in choices if one != node.label]
    return next((one for one in choices if one not in node.failures), choices[0] if choices else None)


def _go_back(judged: Judgement, budget: Budget, chosen: Chosen) -> None:
    """Take nodes off what was rolled back or failed on them alone.

    Nodes without a server go at once, NotReady ones too, so that nobody comes back to it. A server that is ready ends
    within the budget, and only where there is something to take its place.
    """
    variant, revisions = judged.variant, judged.revisions
    concerned = [(node, one) for one in revisions.values() if one.rolled_back for node in variant.on(one.revision)]
    concerned += [
        (node, revision)
        for node in variant.unwell
        if node.movable
        and node.server is ServerState.FAILED
        and (revision := revisions.get(node.label or ""))
        and not revision.rolled_back
    ]
    for node, revision in sorted(concerned, key=lambda one: (one[0].serving and one[0].ready, one[0].name)):
        other = returns_to(judged, node) or fallback(judged, node)
        if node.beside is not None:
            _leave_staged(judged, node, revision, other, chosen)
        elif revision.rolled_back:
            _leave_rolled_back(node, revision, other, budget, chosen)
        elif _failed_alone(judged, revision, node, other):
            budget.restart(node)
            chosen.move(node, other, f"It {node.note or 'failed'} on revision {revision.revision}.", urgent=True)


def _leave_staged(
    judged: Judgement, node: NodeState, revision: RevisionState, other: str | None, chosen: Chosen
) -> None:
    """Take a staged node off what was rolled back or failed there. Its old server has not been touched.

    Where that is one that was rolled back itself, it is left for another one only.
    """
    if revision.rolled_back:
        why = f"Revision {revision.revision} was rolled back: {revision.rolled_back}"
        chosen.move(node, other or node.beside or None, why, urgent=True)
    elif returns_to(judged, node) or (other and other not in node.failures):
        chosen.move(node, other, f"It {node.note or 'failed'} on revision {revision.revision}.", urgent=True)


def _leave_rolled_back(
    node: NodeState, revision: RevisionState, other: str | None, budget: Budget, chosen: Chosen
) -> None:
    why = f"Revision {revision.revision} was rolled back: {revision.rolled_back}"
    serves = node.ready and node.serving
    if serves and (other is None or node.taint or node.shortage):
        # Nothing could take its place: there is no other revision, or no new pod may start.
        return
    if serves and not budget.take(node, back=True):
        chosen.wait(node, PendingReason.MAX_UNAVAILABLE, _full(budget))
        return
    if not serves and node.movable and other:
        budget.restart(node)
    chosen.move(node, other, why, urgent=True)


def _failed_alone(judged: Judgement, revision: RevisionState, node: NodeState, other: str | None) -> bool:
    """Whether a node that failed goes back while its revision stays: after completion a failure is the device's."""
    if other is None or revision.completed:
        return False
    return revision == judged.target or other not in node.failures


def _fill_step(judged: Judgement, target: RevisionState, budget: Budget, chosen: Chosen) -> None:
    """Give the target to as many more nodes as its step wants."""
    step, missing = judged.step, judged.missing
    if step is None or missing <= 0:
        return
    candidates = [
        node
        for node in step.scope(judged.variant.nodes)
        if node.movable
        and node.label != target.revision
        and node.name not in chosen.moves
        and target.revision not in node.failures
    ]
    full = _full(budget)
    what = "a canary" if target.steps == 0 else f"in step {target.steps + 1} of the rollout"
    for node in sorted(candidates, key=lambda node: _rank(judged, node)):
        if missing <= 0:
            return
        if budget.take(node):
            chosen.move(node, target.revision, f"It is {what} of revision {target.revision}.")
            missing -= 1
        else:
            chosen.wait(node, PendingReason.MAX_UNAVAILABLE, full)


def _rank(judged: Judgement, node: NodeState) -> tuple[int, int, str]:
    """Best first: nodes that try another unproven revision, then healthy ones; those that failed before come last.

    A device that has failed on some revision is asked later than others, so that it cannot stop every rollout.
    """
    runs = judged.revisions.get(node.label or "")
    order = (0 if runs and not runs.proven else 1) if node.serving else _RANKS.get(node.server, 4)
    return (1 if node.failures else 0), order, node.name


def _follow(judged: Judgement, budget: Budget, chosen: Chosen) -> None:
    """Move the other nodes to what is approved, those with least to lose first."""
    approved = judged.approved
    if approved is None:
        return
    order = {ServerState.STARTING: 0, ServerState.NONE: 1, ServerState.FAILED: 2, ServerState.SERVING: 3}
    following = [
        node
        for node in judged.variant.nodes
        if node.label != approved.revision
        and node.movable
        and node.name not in chosen.moves
        and _follows(judged, approved, node)
    ]
    approval, full = f"Revision {approved.revision} is approved.", _full(budget)
    for node in sorted(following, key=lambda node: (order[node.server], node.name)):
        if budget.take(node):
            chosen.move(node, approved.revision, approval)
        else:
            chosen.wait(node, PendingReason.MAX_UNAVAILABLE, full)


def _join(judged: Judgement, budget: Budget, chosen: Chosen) -> None:
    """While nothing moves forward, give nodes that run nothing what the others have run: they have nothing to lose."""
    known = next((one for one in (judged.approved, judged.stable) if one and one.completed), None)
    if known is None:
        return
    for node in judged.variant.unwell:
        idle = node.movable and node.server is ServerState.NONE and node.label != known.revision
        if not idle or node.name in chosen.moves or known.revision in node.failures:
            continue
        if budget.take(node):
            chosen.move(node, known.revision, f"Revision {known.revision} is approved.")
        else:
            chosen.wait(node, PendingReason.MAX_UNAVAILABLE, _full(budget))


def _follows(judged: Judgement, approved: RevisionState, node: NodeState) -> bool:
    """Whether a node is to leave what it runs for what is approved, which is something else.

    While the target goes through its steps, a node keeps what it has, be it the target or another revision. With the
    target rolled back or not known, a node goes to what is approved where that is completed: only the target is
    watched by `maxFailed`. A node that tries an unproven revision goes back with the target rolled back, and stays with
    it not known: what is being built would move it again.
    """
    target = judged.target
    if approved.revision in node.failures:
        return False
    if node.server is ServerState.NONE or node.foreign or (target and approved.revision == target.revision):
        return True
    if target and not target.rolled_back:
        return False
    current = judged.revisions.get(node.label or "")
    if target is None:
        return bool(approved.completed and current and current.proven)
    return bool(approved.completed or (current and not current.proven))


def _explain(judged: Judgement, hold: Hold | None, chosen: Chosen) -> None:
    """Say of every other node that does not run the newest revision why that is so; drop labels that name nothing."""
    target, approved = judged.target, judged.approved
    wanted = target if target and not target.rolled_back else approved
    newest, held = (wanted.revision, _held(wanted, hold)) if wanted else (None, None)
    for node in judged.variant.nodes:
        if node.well and node.label == newest:
            continue
        if node.name in chosen.moves or node.name in chosen.pending:
            continue
        if node.label is not None and node.server is ServerState.NONE and hold is None:
            reason = f"No revision {node.label} exists for profile {judged.variant.profile}."
            chosen.move(node, node.beside or None, reason)
            continue
        if node.beside is not None:
            chosen.wait(node, *((PendingReason.STAGED, awaited(node)) if node.movable else _unmovable(node)))
            continue
        lacks = node.shortage is not None
        if newest and held and (node.label != newest or lacks):
            chosen.wait(node, *(held if node.well else _trouble(node, newest) or held))


def _trouble(node: NodeState, wanted: str) -> tuple[PendingReason, str] | None:
    """What a node has of its own that keeps it from the newest revision."""
    if not node.movable:
        return _unmovable(node)
    one = node.failures.get(wanted)
    if one:
        return PendingReason.FAILED, f"It {one.note or 'failed'} on revision {wanted}, so it keeps another one."
    return None


def _held(wanted: RevisionState, hold: Hold | None) -> tuple[PendingReason, str]:
    """What keeps every other node from the newest revision."""
    if hold:
        return hold.reason, hold.message
    if wanted.proven:
        return PendingReason.STEP_NOT_HELD, "It keeps what it runs until a newer revision has held its steps."
    return PendingReason.STEP_NOT_HELD, f"It waits until revision {wanted.revision} has held its step of the rollout."


def _unmovable(node: NodeState) -> tuple[PendingReason, str]:
    """Why a node cannot be given any revision."""
    if not node.ready:
        return PendingReason.NOT_READY, "It is NotReady and is updated when it returns."
    if node.taint:
        left_out = "which the tolerations of its DeviceProfile leave out"
        return PendingReason.TAINTED, f"It has taint {node.taint}, {left_out}; it is updated when the taint is removed."
    return PendingReason.DEVICE_MISSING, f"It {node.shortage}{_without(node)}."


def _without(node: NodeState) -> str:
    """What a node does that does not offer a device, as the end of a sentence."""
    if node.serving:
        return "; its server goes on with what it was given, and it is updated when the device is offered again"
    given = "its server starts" if node.server in _BROUGHT_DOWN else "it is given a revision"
    return f", so {given} when a device plugin of the node offers it"


def _full(budget: Budget) -> str:
    return f"As many nodes as spec.rollout.maxUnavailable allows ({budget.limit}) are without a ready server."
