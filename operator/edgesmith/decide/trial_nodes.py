"""Which nodes of a profile can try the finalists of a build."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Protocol

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.decide.devices import devices_of, shortage
from edgesmith.decide.fleet import Partitions
from edgesmith.decide.placement import Placement, placement
from edgesmith.decide.snapshot import Node, Pod, Snapshot
from edgesmith.decide.taints import keeping_taint


class Turns(Protocol):
    """The other EdgeModels on the same nodes, as far as a trial asks for them."""

    def keep(self, name: str) -> str:
        """Why nothing is to begin on a node now, in one sentence; empty where it may."""

    def at_work(self, name: str) -> str:
        """The same, whoever would come first: what another one has begun there."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a trial reads of the nodes."""

    profile_of: Mapping[str, str]
    """Node to profile."""
    servers: Mapping[str, Sequence[Pod]]
    """Node to its serving pods of the EdgeModel."""
    label_key: str
    """The EdgeModel's label on nodes."""
    turns: Turns
    """Who else changes them."""


class TrialNodes:
    """The nodes of one profile, as a trial sees them."""

    def __init__(
        self, snapshot: Snapshot, profile: DeviceProfile, profile_of: Mapping[str, str], label_key: str
    ) -> None:
        self._nodes, self._profile, self._profile_of = snapshot.nodes, profile, profile_of
        self._label_key, self._revisions = label_key, snapshot.revisions
        rollout = snapshot.model.spec.rollout
        self._first = rollout.steps[0].node_selector
        parted = rollout.partitions
        self._parted = Partitions(parted.label, parted.order, timedelta(0)) if parted else None
        self.devices = devices_of(profile, snapshot.model)
        """What a server takes of a node, resource to count."""

    def able(self, lost: Collection[str], full: Collection[str] = ()) -> list[Node]:
        """Nodes that can try, best first.

        They are of the first step and, as far as there is a choice, did not fail to finish before, had room on their
        disk when they looked last, have no server that would have to end, and are of the partition that comes first.

        Args:
            lost: Those that did not finish.
            full: Those that had no room.
        """
        able = [node for node in self._nodes if self._can_run(node)]
        canaries = [node for node in able if self._first.items() <= node.labels.items()]
        return sorted(
            canaries or able,
            key=lambda node: (*(node.name in lost, node.name in full), *self._costs(node), node.name),
        )

    def alike(self, able: Sequence[Node], lost: Collection[str]) -> list[str]:
        """The names of those that are as good as the best, be there room or not: whose turn it is first may try.

        Args:
            able: Some that can try, best first.
            lost: Those that did not finish.
        """
        first = able[0]
        best = (first.name in lost, self._costs(first))
        return [one.name for one in able if (one.name in lost, self._costs(one)) == best]

    def borrows(self, name: str) -> bool:
        """Whether a node runs something that holds what a trial pod would wait for."""
        return bool(self.devices) and self._placed(name).label is not None

    def image(self, name: str, otherwise: Mapping[str, str]) -> str:
        """The image of a node's server; where that is not known, the last of some others."""
        placed = self._placed(name)
        runs = placed.beside or placed.label
        known = (one.image for one in self._revisions if one.revision == runs)
        return next(known, [*otherwise.values()][-1])

    def _placed(self, name: str) -> Placement:
        node = self._named.get(name)
        return placement(node, self._label_key) if node else Placement(None)

    @cached_property
    def _named(self) -> Mapping[str, Node]:
        return {node.name: node for node in self._nodes}

    def _costs(self, node: Node) -> tuple[bool, tuple[int, int, str]]:
        """What a trial on a node costs: a server, and to go before a partition that comes first."""
        return self.borrows(node.name), self._place(node)

    def _place(self, node: Node) -> tuple[int, int, str]:
        return self._parted.place(self._parted.of(node.labels)) if self._parted else (0, 0, "")

    def _can_run(self, node: Node) -> bool:
        return (
            self._profile_of.get(node.name) == self._profile.metadata.name
            and node.ready
            and keeping_taint(node.taints, self._profile.spec.runtime.tolerations) is None
            and shortage(self.devices, node.offers) is None
        )
