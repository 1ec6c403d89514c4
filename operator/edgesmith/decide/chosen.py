"""What one pass chose for the nodes of a variant: who moves, and who waits for what."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from edgesmith.api.status import PendingReason
from edgesmith.decide.fleet import NodeState
from edgesmith.decide.plan import Move, Pending


@dataclass(slots=True)
class Chosen:
    """Moves, and nodes that wait, by node."""

    moves: dict[str, Move] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    turn: datetime | None = None
    """When the first node's turn begins that waits for it."""

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

    def wait_until(self, node: NodeState, turn: datetime) -> None:
        """Say that a node is moved when its turn begins."""
        self.turn = min(self.turn or turn, turn)
        begins = turn.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self.wait(node, PendingReason.JITTER, f"Its turn within spec.rollout.jitter begins at {begins}.")

    def wait(self, node: NodeState, reason: PendingReason, message: str) -> None:
        """Say why a node is not moved."""
        if node.name not in self.moves:
            self.pending[node.name] = Pending(node.name, reason, message)
