"""Which nodes get another revision now, and why the others do not: the second of the planner's three steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from edgesmith.api.status import PendingReason
from edgesmith.decide.back import go_back, stop_staging
from edgesmith.decide.budget import BROUGHT_DOWN, Budget
from edgesmith.decide.chosen import Chosen
from edgesmith.decide.fleet import Lent, NodeState, RevisionState, Rules, ServerState
from edgesmith.decide.hold import Hold, hold_for, hold_for_trial, hold_of
from edgesmith.decide.judge import Judgement
from edgesmith.decide.lending import lend
from edgesmith.decide.plan import Pending
from edgesmith.decide.staging import awaited, place, settle
from edgesmith.decide.turn import waits_until

_RANKS = {ServerState.NONE: 2, ServerState.STARTING: 3}


def choose(judged: Judgement, rules: Rules, budget: Budget, now: datetime, left: Mapping[str, str]) -> Chosen:
    """Choose one variant's moves: what has to go back first, then the step's nodes, then all others.

    Args:
        judged: The variant.
        rules: The rules.
        budget: What all variants share.
        now: The hub's time.
        left: Revisions of all variants that were rolled back, with why.
    """
    chosen, hold = Chosen(), hold_for(judged, rules)
    stop_staging((node for node in judged.variant.unwell if node.label not in judged.revisions), left, chosen)
    go_back(judged, rules, budget, chosen)
    settle(judged, hold, budget, chosen)
    lend(judged, hold_for_trial(judged, rules), budget, chosen)
    if hold and not judged.instead:
        _join(judged, budget, chosen, now)
    else:
        if judged.step and judged.target:
            _fill_step(judged, judged.target, budget, chosen, now)
        _follow(judged, rules, budget, chosen, now, held=hold is not None)
    _explain(judged, hold, chosen)
    place(judged, budget, chosen)
    _say_full(judged, chosen)
    return chosen


def leave(nodes: Sequence[NodeState], rules: Rules, budget: Budget, left: Mapping[str, str]) -> Chosen:
    """Choose which nodes that are of no variant any more lose their label; a server ends only within the budget."""
    chosen, hold = Chosen(), hold_of(rules)
    stop_staging(nodes, left, chosen)
    for node in sorted(nodes, key=lambda node: node.name):
        if node.name in chosen.moves:
            continue
        if hold:
            chosen.wait(node, hold.reason, hold.message)
        elif not node.ready and node.server is not ServerState.NONE:
            chosen.wait(node, PendingReason.NOT_READY, "It is NotReady and keeps its label until it returns.")
        elif node.beside:
            chosen.move(node, node.beside, "It is no longer to run the model.")
        elif node.server in {ServerState.NONE, ServerState.FAILED} and not node.answers:
            chosen.move(node, None, "It is no longer to run the model.")
        elif lacks := budget.lacks(node, pulls=False):
            chosen.wait(node, *lacks)
        else:
            budget.end(node)
            chosen.move(node, None, "It is no longer to run the model.")
    return chosen


def _fill_step(judged: Judgement, target: RevisionState, budget: Budget, chosen: Chosen, now: datetime) -> None:
    """Give the target to as many more nodes as its step wants."""
    step = judged.step
    if step is None:
        return
    scope = step.scope(judged.variant.nodes)
    # One that goes back to the target, which it runs still, is one of the step's.
    back = (node for node in scope if node.label != target.revision and node.name in chosen.moves)
    missing = judged.missing - sum(chosen.moves[node.name].revision == target.revision for node in back)
    if missing <= 0:
        return
    candidates = [
        node
        for node in scope
        if node.movable
        and node.label != target.revision
        and node.name not in chosen.moves
        and target.revision not in node.failures
        and node.beside not in node.failures  # it leaves what failed there, and arrives first
        and (step.selector or not judged.closed(node))
        and node.lent is not Lent.LOST
        and not node.rests(target.revision, now)
    ]
    what = "a canary" if target.steps == 0 else f"in step {target.steps + 1} of the rollout"
    for node in sorted(candidates, key=lambda node: _rank(judged, node)):
        if missing <= 0:
            return
        if _takes(judged, node, budget, chosen):
            chosen.move(node, target.revision, f"It is {what} of revision {target.revision}.")
            missing -= 1


def _takes(judged: Judgement, node: NodeState, budget: Budget, chosen: Chosen) -> bool:
    """Whether a node may be moved now; if so, it is counted, and if not, it is said why."""
    if node.name == judged.variant.trying:
        return False
    if lacks := budget.lacks(node):
        chosen.wait(node, *lacks)
    elif busy := judged.variant.busy(node.name):
        chosen.wait(node, PendingReason.NODE_BUSY, busy)
    else:
        budget.restart(node)
        return True
    return False


def _rank(judged: Judgement, node: NodeState) -> tuple[int, int, str]:
    """Best first: one that gave up its server for a trial, those that try another unproven revision, healthy ones.

    A device that has failed on some revision is asked later than others, so that it cannot stop every rollout; and so
    is a machine that went with what it tries, since that may take it down again and look like the next one's doing.
    """
    runs = judged.revisions.get(node.label or "")
    order = (0 if runs and not runs.proven else 1) if node.serving else _RANKS.get(node.server, 4)
    if node.lent:
        order = -1
    return (1 if node.failures or node.shaky else 0), order, node.name


def _follow(
    judged: Judgement, rules: Rules, budget: Budget, chosen: Chosen, now: datetime, *, held: bool = False
) -> None:
    """Move the other nodes to what is approved, those with least to lose first; `held`: not from another profile."""
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
        and not (held and node.foreign)
        and _follows(judged, approved, node)
    ]
    for node in sorted(following, key=lambda node: (order[node.server], node.name)):
        given = _now(judged, approved, node)
        if given is None:
            if judged.opened:
                chosen.wait(node, PendingReason.PARTITION_CLOSED, judged.opened.why(node, approved.revision))
        elif node.rests(given.revision, now):
            continue
        elif given == judged.target and (turn := waits_until(judged, node, rules, now)):
            chosen.wait_until(node, turn)
        elif _takes(judged, node, budget, chosen):
            chosen.move(node, given.revision, f"Revision {given.revision} is approved.")


def _now(judged: Judgement, approved: RevisionState, node: NodeState) -> RevisionState | None:
    """What a node that follows is given, as far as partitions are open: one that serves nothing the revision before."""
    if approved != judged.target or not judged.closed(node):
        return approved
    before = judged.stable
    if before is None or node.server is not ServerState.NONE or before.revision in node.failures:
        return None
    return before


def _join(judged: Judgement, budget: Budget, chosen: Chosen, now: datetime) -> None:
    """While nothing moves forward, give nodes that run nothing what was completed last: they have nothing to lose."""
    served = sorted(
        (one for one in judged.revisions.values() if one.completed and not one.rolled_back),
        key=lambda one: (one == judged.approved, one == judged.stable, one.proven or one.completed, one.revision),
        reverse=True,
    )
    for node in judged.variant.unwell:
        if not node.movable or node.server is not ServerState.NONE or node.name in chosen.moves:
            continue
        known = next((one for one in served if one.revision not in node.failures), None)
        if known is None or known.revision == node.label or node.rests(known.revision, now):
            continue
        if _takes(judged, node, budget, chosen):
            chosen.move(node, known.revision, f"Revision {known.revision} is approved.")


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
            chosen.wait(node, *_staged(node))
            continue
        lacks = node.shortage is not None
        if newest and held and (node.label != newest or lacks):
            chosen.wait(node, *(held if node.well else _trouble(judged, node, newest) or held))


def _staged(node: NodeState) -> tuple[PendingReason, str]:
    """What a node does that makes a revision ready; one that looks again for room on its disk has none until it has."""
    if not node.movable:
        return _unmovable(node)
    return _no_room(node, node.label or "") or (PendingReason.STAGED, awaited(node))


def _no_room(node: NodeState, wanted: str) -> tuple[PendingReason, str] | None:
    """That a node has no room on its disk for a revision; None where nothing says so."""
    note = node.lack_of_room(wanted)
    return (PendingReason.DISK_FULL, f"It does not pull revision {wanted}: {note}; it looks again.") if note else None


def _say_full(judged: Judgement, chosen: Chosen) -> None:
    """Say of nodes that look again for room what is known of them: that does not change while they look.

    Of one that has none for what it is to try that is said, too, whatever else it waits for.
    """
    wanted = {one.revision for one in (judged.target, judged.stable) if one and not one.rolled_back}
    for node in judged.variant.unwell:
        move = chosen.moves.get(node.name)
        if node.untried and move is None and node.movable:
            words = f"It does not pull the candidates of a build to try them: {node.untried}; it looks again."
            chosen.pending[node.name] = Pending(node.name, PendingReason.DISK_FULL, words)
        if move is None or not (node.lacks or move.staging):
            continue
        asked = (node.label if node.lacks else move.revision) or ""
        if asked in wanted and (full := _no_room(node, asked)):
            chosen.pending[node.name] = Pending(node.name, *full)


def _trouble(judged: Judgement, node: NodeState, wanted: str) -> tuple[PendingReason, str] | None:
    """What a node has of its own that keeps it from the newest revision."""
    if not node.movable:
        return _unmovable(node)
    one = node.failures.get(wanted)
    if one:
        return PendingReason.FAILED, f"It {one.note or 'failed'} on revision {wanted}, so it keeps another one."
    before = judged.stable.revision if node.bare and judged.stable else wanted
    return _no_room(node, wanted) or _no_room(node, before)


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
    given = "its server starts" if node.server in BROUGHT_DOWN else "it is given a revision"
    return f", so {given} when a device plugin of the node offers it"
