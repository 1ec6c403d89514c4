"""Which nodes the passes that run now change, and who waits for a node that another EdgeModel changes.

Passes run at the same time. The check is sound because looking at the nodes, deciding and claiming happen without an
`await` between them: no other pass can take the same node in between. A claim ends with its pass; by then the node's
labels are among the objects. Nothing of it outlives the operator: the next one reads the nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgesmith.api.status import PendingReason
from edgesmith.api.trial_status import TrialStatus
from edgesmith.cluster.table import ObjectKey
from edgesmith.decide.plan import Plan


class NodeTurns:
    """Who changes which nodes, and who waits for which."""

    def __init__(self) -> None:
        self._claimed: dict[ObjectKey, frozenset[str]] = {}
        self._waiting: dict[ObjectKey, frozenset[str]] = {}
        self._trials: dict[ObjectKey, tuple[TrialStatus, ...]] = {}

    def claimed(self, key: ObjectKey) -> frozenset[str]:
        """The nodes that passes about other EdgeModels than one are moving, or begin a trial on."""
        return frozenset().union(*(nodes for other, nodes in self._claimed.items() if other != key))

    @contextmanager
    def held(self, key: ObjectKey, plan: Plan) -> Iterator[None]:
        """Claim the nodes that a plan changes until that is done, and take note of those that it waits for."""
        self._claimed[key] = plan.changed
        busy = frozenset(one.node for one in plan.pending if one.reason is PendingReason.NODE_BUSY)
        self._waiting[key] = busy | plan.awaited
        try:
            yield
        finally:
            del self._claimed[key]

    def settle(self, key: ObjectKey, plan: Plan | None = None) -> list[ObjectKey]:
        """The EdgeModels to look at once a pass has ended: those that wait for a node that it did something about.

        That is a node that it wrote to, or one of a trial of which something else is known now.

        Args:
            key: The EdgeModel that the pass was about.
            plan: What was done; None where the EdgeModel is gone, and with it all that it was doing.
        """
        waiting = {other: nodes for other, nodes in self._waiting.items() if other != key and nodes}
        if plan is None:
            self._waiting.pop(key, None)
            self._trials.pop(key, None)
            return sorted(waiting)
        before, trials = self._trials.get(key, ()), plan.status.trials
        self._trials[key] = trials
        written = {move.node for move in plan.moves} | {kept.node for kept in plan.records}
        for these, those in ((before, trials), (trials, before)):
            written |= {one.node for one in these if one.node and one not in those}
        return sorted(other for other, nodes in waiting.items() if nodes & written)
