"""A node that gives up its server for a while, so that a trial has the device that this holds."""

from __future__ import annotations

from edgesmith.api.status import PendingReason
from edgesmith.decide.budget import Budget
from edgesmith.decide.chosen import Chosen
from edgesmith.decide.fleet import NodeState
from edgesmith.decide.hold import Hold
from edgesmith.decide.judge import Judgement


def lend(judged: Judgement, hold: Hold | None, budget: Budget, chosen: Chosen) -> None:
    """Take its server off the node that a trial waits for, within the budget, and keep it free of one until it ends."""
    node = next((one for one in judged.variant.nodes if one.name == judged.variant.trying), None)
    if node is None or node.name in chosen.moves:
        return
    if node.label is None:
        chosen.wait(node, PendingReason.TRIAL, "It has no server while it tries the candidates of a build.")
    elif not node.movable or node.beside is not None:
        # It is on its way to another revision, or waits for what `choose` says of it.
        return
    elif hold:
        chosen.wait(node, hold.reason, hold.message)
    elif (lacks := _lacks(judged, node, budget)) is not None:
        chosen.wait(node, *lacks)
    else:
        budget.end(node)
        chosen.move(node, None, "It gives up its server, which holds the device that a trial needs.")


def _lacks(judged: Judgement, node: NodeState, budget: Budget) -> tuple[PendingReason, str] | None:
    """Why it may not give up its server now; None where it may."""
    if lacks := budget.lacks(node, pulls=False):
        return lacks
    busy = judged.variant.busy(node.name)
    return (PendingReason.NODE_BUSY, busy) if busy else None
