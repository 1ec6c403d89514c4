"""The nodes of one EdgeModel that could not be written to: they keep no others out, and the status still says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from edgesmith.cluster.refusals import Refusal
from edgesmith.decide.plan import Keep, Move

Write = TypeVar("Write", Move, Keep)


class RefusedNodes:
    """What was said against writes to nodes that are still wanted."""

    def __init__(self) -> None:
        """Know of none yet."""
        self._refusals: dict[str, Refusal] = {}
        """By node, the one that was refused longest ago first."""

    def last(self, writes: Iterable[Write]) -> list[Write]:
        """Writes in their order, but for those to nodes that were refused, which come last and in turn."""
        turn = {node: number for number, node in enumerate(self._refusals, 1)}
        return sorted(writes, key=lambda one: turn.get(one.node, 0))

    def after(
        self, wanted: Iterable[Move | Keep], tried: Iterable[Move | Keep], refusals: Mapping[str, Refusal]
    ) -> None:
        """Take note of a pass.

        Args:
            wanted: Every write of its plan: other nodes are forgotten.
            tried: Those that were tried.
            refusals: What was said against these, by node.
        """
        left = {one.node for one in wanted} - {one.node for one in tried}
        kept = {node: refusal for node, refusal in self._refusals.items() if node in left}
        self._refusals = {**kept, **refusals}

    @property
    def refusals(self) -> list[Refusal]:
        """By the node's name, so that they read alike whichever were tried last, and whichever was answered first."""
        return [self._refusals[node] for node in sorted(self._refusals)]
