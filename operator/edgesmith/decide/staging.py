"""From a revision that a node is to get to one that it runs: made ready beside the old server first, then switched to.

A move gives a node a revision. Where a server of the node would end for it, the node is staged: it goes on serving the
old revision and makes the new one ready beside it, and all that is found out meanwhile is found out about the new one.
Then it is switched to it. With Surge both servers run, and the old one ends when the new one is ready. With Replace the
image is pulled and tested, and the old server ends before the new one starts; that costs a place of `maxUnavailable`.
A node that serves nothing is staged where the image is large, since it looks for room first; its server starts then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Protocol

from edgesmith.api.status import PendingReason
from edgesmith.decide.fleet import NodeState
from edgesmith.decide.hold import Hold
from edgesmith.decide.judge import Judgement
from edgesmith.decide.plan import Move, Pending


class Places(Protocol):
    """The budget, as far as it is needed here."""

    def switch(self, node: NodeState, *, back: bool = False) -> bool:
        """Whether the old server of a staged node may end before the new one starts; if so, it is counted."""


class Moves(Protocol):
    """What was chosen, as far as it is needed here."""

    moves: dict[str, Move]
    pending: dict[str, Pending]

    def move(self, node: NodeState, revision: str | None, reason: str, *, urgent: bool = False) -> None:
        """Give a node another revision, or none."""

    def switch(self, node: NodeState, reason: str, *, urgent: bool = False) -> None:
        """Let a staged node run what it has made ready."""

    def join(self, node: NodeState, reason: str) -> None:
        """Let a staged node start what it has tested beside its server."""

    def wait(self, node: NodeState, reason: PendingReason, message: str) -> None:
        """Say why a node is not moved."""


def returns_to(judged: Judgement, node: NodeState) -> str | None:
    """What a staged node still runs and may go on running, so that nothing has to start; None where there is nothing.

    What was rolled back is nothing to return to, as long as there is anything else: not so on a node where no new pod
    may start, which would be without a server then, or which is away and keeps it until it is back.
    """
    old = judged.revisions.get(node.beside or "")
    keeps = node.beside_serving and not node.movable and (node.ready or bool(old and old.completed))
    if not node.beside or (old and old.rolled_back and judged.stable and not keeps):
        return None
    return node.beside


def settle(judged: Judgement, hold: Hold | None, budget: Places, chosen: Moves) -> None:
    """Switch the staged nodes that are ready for it, and take the others off what is no longer wanted."""
    target = judged.target
    wanted = {one.revision for one in (target, judged.approved, judged.stable) if one and not one.rolled_back}
    _keep_without_room(judged, chosen)
    for node in judged.variant.unwell:
        if node.beside is None or node.name in chosen.moves:
            continue
        left = _left(judged, node)
        if left and left.at_once:
            chosen.switch(node, left.why, urgent=True)
        elif node.label not in wanted and not left and (node.beside_serving or not node.has_server):
            if node.ready and not (hold and node.beside):
                chosen.move(node, node.beside or None, f"Revision {node.label} is no longer to be rolled out.")
        elif node.serving and node.ready:
            chosen.switch(node, f"Revision {node.label} is ready beside the old server, which ends.")
        elif node.staged and node.movable:
            held = None if left or node.bare or node.label == judged.instead else hold
            busy = "" if left or held else judged.variant.busy(node.name)
            if busy:
                chosen.wait(node, PendingReason.NODE_BUSY, busy)
            elif _surges(judged) and node.beside_serving and not held:
                chosen.join(node, f"Revision {node.label} is tested, so its server starts beside the old one.")
            else:
                _replace(node, held, budget, chosen, back=left is not None)


def _keep_without_room(judged: Judgement, chosen: Moves) -> None:
    """Take nodes off what their disks have no room for, so that it keeps no place; no hold keeps them there."""
    for node in judged.variant.unwell:
        if node.lacks and node.ready and node.beside is not None and node.name not in chosen.moves:
            chosen.move(node, node.beside or None, f"It does not pull revision {node.label}: {node.lacks}.")


def only_held(judged: Judgement, node: NodeState, hold: Hold | None) -> bool:
    """Whether a staged node waits for a hold to end and for nothing else: until then its old server goes on."""
    waits = node.staged and node.movable and node.beside_serving and node.label != judged.instead
    return hold is not None and waits and node.label not in judged.rolled_back and _left(judged, node) is None


class _Left(NamedTuple):
    """What a staged node runs and goes back from: no pause and no other EdgeModel keeps it there."""

    why: str
    at_once: bool
    """Whether there is nothing to lose."""


def _left(judged: Judgement, node: NodeState) -> _Left | None:
    """What a staged node leaves since it was rolled back, or failed on that node alone; None where it goes forward."""
    old, target = judged.revisions.get(node.beside or ""), judged.target
    if old and old.rolled_back:
        # Nobody comes back to what the machine may have died of, which is not known of a server before the last move.
        why = f"Revision {old.revision} was rolled back: {old.rolled_back}"
        return _Left(why, at_once=not (node.beside_serving and (node.ready or old.completed)))
    failed = node.failures.get(node.beside or "")
    if failed is None or (target and target.revision == node.label):
        return None
    why = f"It {failed.note or 'failed'} on revision {node.beside}."
    return _Left(why, at_once=node.movable and not node.beside_serving)


def _surges(judged: Judgement) -> bool:
    """Whether both servers of a node may run; not so before, where a node was only to test the next revision."""
    strategy = judged.variant.strategy
    return strategy is not None and strategy.name == "Surge"


def _replace(node: NodeState, hold: Hold | None, budget: Places, chosen: Moves, *, back: bool) -> None:
    """Let the old server of a node end, after which the new one starts."""
    if hold:
        chosen.wait(node, hold.reason, hold.message)
    elif budget.switch(node, back=back):
        chosen.switch(node, f"Revision {node.label} is pulled and tested, so the old server ends.")
    else:
        message = "As many nodes as spec.rollout.maxUnavailable allows are without a ready server."
        chosen.wait(node, PendingReason.MAX_UNAVAILABLE, message)


def place(judged: Judgement, budget: Places, chosen: Moves) -> None:
    """Say of every move whether the node keeps its server meanwhile."""
    nodes = {node.name: node for node in judged.variant.nodes if node.name in chosen.moves}
    for name, node in nodes.items():
        move = chosen.moves[name]
        staged = _staged(judged, node, move)
        if staged is None and node.beside_serving and move.revision not in (node.beside, node.label):
            # It was counted as one that keeps its server.
            if move.revision is None or budget.switch(node):
                continue
            del chosen.moves[name]
            chosen.wait(node, PendingReason.MAX_UNAVAILABLE, "It keeps what it runs until more nodes serve.")
        elif staged is not None:
            chosen.moves[name] = staged


def _staged(judged: Judgement, node: NodeState, move: Move) -> Move | None:
    """A move after which the node goes on as it does; None where no server would end for it, or one has to.

    A device or a taint that keeps new pods away keeps staged ones away, too.
    """
    strategy, wanted = judged.variant.strategy, move.revision
    old = "" if node.bare else node.label if node.beside is None else node.beside
    switches = node.beside is not None and wanted == node.label
    if strategy is None or not wanted or old is None or wanted == old or switches or not node.movable:
        return None
    if _looks(judged, node, wanted, old):
        return replace(move, beside=old, staging=True)
    target = _asked(judged)
    if not old or not (node.has_server if node.beside is None else node.beside_serving):
        return None
    large = wanted == target and judged.variant.large
    if not _surges(judged) and not large and (wanted == target or wanted in judged.variant.stageable):
        return replace(move, beside=old, staging=True)
    return replace(move, beside=old) if _surges(judged) else None


def _asked(judged: Judgement) -> str | None:
    """The revision that the spec asks for, where nodes do not go back to it."""
    return judged.target.revision if judged.target and not judged.variant.left else None


def _looks(judged: Judgement, node: NodeState, wanted: str, old: str) -> bool:
    """Whether a node looks for room before it pulls a revision, whatever it runs.

    Nobody looks who goes back: that image is held. One that runs nothing has none to go back to, but for what it gave
    up for a trial. One that leaves neither what was rolled back nor what failed on it does not go back, though others
    do: what is approved may be new to it. What has the image already, alone on its disk, may have no room for it a
    second time.
    """
    asked = _asked(judged)
    if not (judged.variant.large if wanted == asked else wanted in judged.variant.looking):
        return False
    held = node.previous == wanted != asked
    if goes_back(judged, node, old) or node.lent or held:
        return False
    has = (node.name == judged.variant.tried and wanted == asked) or _runs_image(judged, node, wanted, old)
    return not (has and (node.bare or _surges(judged)))


def _runs_image(judged: Judgement, node: NodeState, wanted: str, old: str) -> bool:
    """Whether the server of a node has the image of a revision already, with another configuration."""
    images, serves = judged.variant.images, node.has_server if node.beside is None else node.beside_serving
    return serves and old in images and images[old] == images.get(wanted)


def goes_back(judged: Judgement, node: NodeState, old: str) -> bool:
    """Whether a node leaves what was rolled back or failed on it: no room on its disk keeps it there."""
    runs = judged.revisions.get(old)
    return old in node.failures or bool(runs and runs.rolled_back)


def awaited(node: NodeState) -> str:
    """What a staged node does, in one sentence."""
    beside = f"beside its server of revision {node.beside}" if node.beside else "before its server starts"
    what = f"It makes revision {node.label} ready {beside}"
    return f"{what}; it {node.note.rstrip('.')}." if node.note else f"{what}."
