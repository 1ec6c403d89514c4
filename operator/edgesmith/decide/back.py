"""Which nodes go back: off what was rolled back, and off what failed on them alone. No rollout keeps them waiting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgesmith.decide.budget import Budget
from edgesmith.decide.chosen import Chosen
from edgesmith.decide.fleet import NodeState, RevisionState, Rules, ServerState
from edgesmith.decide.judge import Judgement
from edgesmith.decide.staging import returns_to


def stop_staging(nodes: Iterable[NodeState], left: Mapping[str, str], chosen: Chosen) -> None:
    """Take what was rolled back off nodes that make it ready beside their server, NotReady ones too.

    Args:
        nodes: Those that are of no variant of that revision any more; of its own, `go_back` takes care.
        left: Revisions of all variants that were rolled back, with why.
        chosen: What is chosen.
    """
    for node in nodes:
        why = left.get(node.label or "") if node.beside is not None else None
        if why:
            said = f"Revision {node.label} was rolled back: {why}"
            chosen.move(node, node.beside or None, said, urgent=True)


def go_back(judged: Judgement, rules: Rules, budget: Budget, chosen: Chosen) -> None:
    """Take nodes off what was rolled back or failed on them alone.

    Nodes without a server go at once, NotReady ones too, so that nobody comes back to it. A server that is ready ends
    within the budget, and only where there is something to take its place, whatever was found against it. One that is
    out of reach ends when its kubelet hears of it, together with all others behind the same link: so it goes once it
    is back, unless its machine may have died of it.
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
    for node, revision in sorted(concerned, key=lambda one: (one[0].has_server and one[0].ready, one[0].name)):
        other = returns_to(judged, node) or judged.fallback(node)
        if node.beside is not None:
            _leave_staged(judged, node, revision, other, chosen)
        elif revision.rolled_back and not _keeps(node, revision, rules):
            _leave_rolled_back(node, revision, other, budget, chosen)
        elif not revision.rolled_back and _failed_alone(judged, revision, node, other):
            _leave_failed(node, revision, other, budget, chosen)


def _keeps(node: NodeState, revision: RevisionState, rules: Rules) -> bool:
    """Whether a NotReady node keeps what was rolled back until it returns: its server was ready when it went.

    A machine that went soon after it got a revision that is not completed may have died of it, and so may one that
    failed on it and had gone before.
    """
    served = node.serving or (node.answers and not node.shaky)
    return not node.ready and served and (revision.completed is not None or not rules.soon(node))


def _leave_staged(
    judged: Judgement, node: NodeState, revision: RevisionState, other: str | None, chosen: Chosen
) -> None:
    """Take a staged node off what was rolled back or failed there. Its old server has not been touched.

    Where that is one that was rolled back itself, it is left for another one only, and kept where all others failed on
    the node. What failed and answers goes on as long as the old server does not answer.
    """
    fails = other is None or (other in node.failures and other != returns_to(judged, node))
    kept = node.beside if fails and node.beside_serving else other
    if revision.rolled_back:
        why = f"Revision {revision.revision} was rolled back: {revision.rolled_back}"
        chosen.move(node, kept or node.beside or None, why, urgent=True)
    elif (not fails or node.beside_serving) and not (node.answers and not node.beside_serving):
        chosen.move(node, kept, f"It {node.note or 'failed'} on revision {revision.revision}.", urgent=True)


def _leave_rolled_back(
    node: NodeState, revision: RevisionState, other: str | None, budget: Budget, chosen: Chosen
) -> None:
    why = f"Revision {revision.revision} was rolled back: {revision.rolled_back}"
    serves = node.ready and node.has_server
    if serves and (other is None or other in node.failures or node.taint or node.shortage):
        # Nothing could take its place: there is no other revision, all others failed here, or no new pod may start.
        return
    if serves and (lacks := budget.lacks(node, back=True)):
        chosen.wait(node, *lacks)
        return
    if serves or (node.movable and other):
        budget.restart(node)
    chosen.move(node, other, why, urgent=True)


def _leave_failed(node: NodeState, revision: RevisionState, other: str | None, budget: Budget, chosen: Chosen) -> None:
    """Take a node off what failed there: at once where nothing answers, else within the budget."""
    why = f"It {node.note or 'failed'} on revision {revision.revision}."
    if node.answers and (lacks := budget.lacks(node, back=True)):
        chosen.wait(node, *lacks)
        return
    budget.restart(node)
    chosen.move(node, other, why, urgent=True)


def _failed_alone(judged: Judgement, revision: RevisionState, node: NodeState, other: str | None) -> bool:
    """Whether a node that failed goes back while its revision stays: after completion a failure is the device's."""
    if other is None or revision.completed:
        return False
    if judged.closed(node) and judged.target and other == judged.target.revision:
        # That is no way back: the target has yet to come to its partition.
        return False
    # A server that answers is not given up for what failed here as well.
    return other not in node.failures or (revision == judged.target and not node.answers)
