"""Nodes that are away, or come and go, with what they were given: how long each keeps its place of `maxUnavailable`.

Such a node may have lost its link, or its machine died of the revision. One with a taint that has no server is away as
well: no pod may start there, and a disk under pressure may be what the revision filled. Until `progressDeadline` is
over it is awaited, as a node is that can be reached; a node that comes and goes has that time once, from when it went
first. After that it keeps nobody, but for one thing: where the revision that is rolled out ran on it and has held its
first step, more of them than `maxFailed` keep the others from what may have taken them down. Canaries are compared with
the other nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from edgesmith.decide.fleet import NodeState, RevisionState, Rules
from edgesmith.decide.judge import Judgement


def kept_places(judged: Judgement, rules: Rules, now: datetime) -> int:
    """How many nodes of a variant have a place though they are NotReady, tainted without a server, or late."""
    # While the next one is built, nodes that were on their way still arrive at the one before it.
    spread = judged.target or judged.stable
    tried = spread.revision if spread and not spread.rolled_back and (spread.steps or spread.proven) else None
    awaited = suspected = 0
    for node in judged.variant.unwell:
        lacking = node.ready and node.shortage is not None and node.unfinished
        comes_and_goes = node.late and (node.movable or lacking)
        if not (comes_and_goes or _is_lost(node, judged.revisions.get(node.label or ""), rules)):
            continue
        if not comes_and_goes and _is_awaited(node, rules, now):
            awaited += 1
        elif node.label == tried and not _is_harmless(node):
            suspected += 1
    # One that goes says nothing, as with canaries, so one is left out in any case.
    allowed = max(rules.failed(len(judged.variant.nodes)), 1)
    return awaited + max(suspected - allowed, 0)


def kept_by_leaving(
    nodes: Iterable[NodeState], revisions: dict[str, RevisionState], rules: Rules, now: datetime
) -> int:
    """The same of nodes of no variant, which nobody is given a revision like."""
    return sum(
        _is_lost(node, revisions.get(node.label or ""), rules) and _is_awaited(node, rules, now) for node in nodes
    )


def given_back(nodes: Iterable[NodeState], rules: Rules) -> list[datetime]:
    """When nodes that are away, or come and go, give their places back."""
    waiting = [node for node in nodes if node.movable or node.unfinished]
    times = [node.unsteady or (None if node.ready else node.away) for node in waiting]
    return [time + rules.deadline for time in times if time]


def _is_lost(node: NodeState, revision: RevisionState | None, rules: Rules) -> bool:
    """Whether a node is NotReady, or tainted and without a server, with a revision that is not completed.

    One that served the revision when it went away, after that was proven and not soon after it got it, went for a
    reason of its own.
    """
    if not node.unfinished:
        return False
    if node.ready:
        return bool(node.taint) and not (node.has_server or node.beside_serving)
    proven = revision.proven if revision else None
    return not (proven and node.serving and node.away and node.away > proven and not rules.soon(node))


def _is_awaited(node: NodeState, rules: Rules, now: datetime) -> bool:
    went = node.away or (node.unsteady if node.ready else None)
    return not node.late and (went is None or now - went < rules.deadline)


def _is_harmless(node: NodeState) -> bool:
    """Whether a revision neither ran on a node when that went, as far as is known, nor took a server from it.

    It pulled the image, or had passed the self-test and waited for its turn; its old server goes on, or it had none.
    """
    if node.beside_serving:
        return node.fetching or node.staged
    return (node.fetching or (node.staged and node.bare)) and node.previous is None
