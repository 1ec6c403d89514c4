"""Site by site: which nodes a revision may go to yet, by a label of theirs.

The first partition is open from the beginning. The next one opens when every reachable node that is to run the revision
serves it in the one that was opened last, and that one's bake is over. A node that is NotReady, has a taint or lacks a
device is not waited for, and one that failed is not either; where a partition has none but such, the one after it is
open at once. What was opened stays open: it is kept with the revision, so that a node that returns closes nothing. One
that neither the order nor a node knows any more is forgotten: the first one is opened again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from edgesmith.decide.fleet import NodeState, Partitions, RevisionState, ServerState


@dataclass(frozen=True, slots=True)
class Opened:
    """How far a revision may go."""

    by: Partitions
    last: str
    """The partition that was opened last; empty: the nodes without the label."""
    following: int
    """How many partitions come after it."""
    until: datetime | None = None
    """When its bake is over; None where it has not begun."""

    def has(self, node: NodeState) -> bool:
        """Whether the revision may go to a node."""
        return self.by.place(self.by.of(node.labels)) <= self.by.place(self.last)

    def words(self) -> str:
        """How far that is, as a clause."""
        if not self.following:
            return "all partitions are open"
        last = self.by.called(self.last)
        verb = "is open" if self.last else "are open"
        return f"{last} {verb} and {self.following} {'follows' if self.following == 1 else 'follow'}"

    def why(self, node: NodeState, revision: str) -> str:
        """Why a node waits, in one sentence."""
        own, last = self.by.called(self.by.of(node.labels)), self.by.called(self.last)
        return f"It is of {own}, which opens after {last} has served revision {revision}."


def advance(
    by: Partitions, target: RevisionState, nodes: Iterable[NodeState], grace: timedelta, now: datetime
) -> tuple[RevisionState, Opened | None]:
    """Open as many partitions as may be.

    Args:
        by: How nodes are parted.
        target: The revision that goes through them.
        nodes: The variant's.
        grace: How long a node that went is still taken for ready.
        now: The hub's time.

    Returns:
        The revision with what is to be kept, and how far it may go; None where there are no nodes.
    """
    groups = _groups(by, nodes)
    names = sorted(groups, key=by.place)
    if not names:
        return target, None
    # What neither the order nor a node knows is of another label: where it stood says nothing of these.
    known = target.partition in groups or target.partition in by.order
    kept = target if known else replace(target, partition=names[0], opened=now, served=None)
    at, until = kept, None
    while True:
        group = groups.get(at.partition or "", [])
        lacking = any(_lacks(node, target) for node in group)
        serving = any(node.ready and node.serving and node.label == target.revision for node in group)
        if lacking or serving or at.served:
            # Where nobody was ever reached, going on is not kept: all of them may be back at once. Where somebody
            # served, the bake goes on: they may have gone for what they serve.
            at = kept = at if lacking or at.served else replace(at, served=now)
            until = at.served + by.bake + (grace if by.bake else timedelta(0)) if at.served else None
            if lacking or (until and until > now):
                break
        after = next((name for name in names if by.place(name) > by.place(at.partition or "")), None)
        if after is None:
            break
        at, until = replace(at, partition=after, opened=now, served=None), None
    last = at.partition or ""
    return kept, Opened(by, last, sum(by.place(name) > by.place(last) for name in names), until)


def _groups(by: Partitions, nodes: Iterable[NodeState]) -> Mapping[str, list[NodeState]]:
    groups: dict[str, list[NodeState]] = defaultdict(list)
    for node in nodes:
        groups[by.of(node.labels)].append(node)
    return groups


def _lacks(node: NodeState, target: RevisionState) -> bool:
    """Whether a node can be given a revision, or was, and does not serve it yet; one that is late is not waited for."""
    if not node.movable or target.revision in node.failures or node.no_room(target.revision):
        return False
    if node.label != target.revision:
        return True
    return node.server is not ServerState.FAILED and not (node.late or (node.serving and node.beside is None))
