"""Which nodes of a profile can try the finalists of a build."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.decide.devices import devices_of, shortage
from edgesmith.decide.snapshot import Node, Pod, Snapshot
from edgesmith.decide.taints import keeping_taint


class TrialNodes:
    """The nodes of one profile, as a trial sees them."""

    def __init__(
        self,
        snapshot: Snapshot,
        profile: DeviceProfile,
        profile_of: Mapping[str, str],
        servers: Mapping[str, Sequence[Pod]],
    ) -> None:
        self._nodes, self._profile, self._profile_of, self._servers = snapshot.nodes, profile, profile_of, servers
        self._first = snapshot.model.spec.rollout.steps[0].node_selector
        self.devices = devices_of(profile, snapshot.model)
        """What a server takes of a node, resource to count."""

    def free(self, lost: Collection[str]) -> list[Node]:
        """Nodes that can try: those of the first step, best first; one that did not finish before comes last."""
        able = [node for node in self._nodes if self._can_run(node)]
        canaries = [node for node in able if self._first.items() <= node.labels.items()]
        return sorted(canaries or able, key=lambda node: (node.name in lost, node.name))

    def idle(self, free: Sequence[Node]) -> Sequence[Node]:
        """Those of some nodes on which no server holds what a trial pod would wait for."""
        return [node for node in free if not self._serves(node)] if self.devices else free

    def held(self, free: Sequence[Node], *, rolled_out: bool) -> bool:
        """Whether no trial is to be awaited, since the servers hold the devices that it needs.

        Args:
            free: The nodes that can try.
            rolled_out: Whether a revision of this build is rolled out.
        """
        return bool(self.devices) and (rolled_out or (bool(free) and not self.idle(free)))

    def _can_run(self, node: Node) -> bool:
        return (
            self._profile_of.get(node.name) == self._profile.metadata.name
            and node.ready
            and keeping_taint(node.taints, self._profile.spec.runtime.tolerations) is None
            and shortage(self.devices, node.offers) is None
        )

    def _serves(self, node: Node) -> bool:
        return bool(self._servers.get(node.name))
