"""Which nodes of a simulated fleet have no room on their disks for a revision, as far as the cluster shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesmith.decide.record import parse_record

if TYPE_CHECKING:
    from rollout_world import World


def lacks_room(world: World, name: str, revision: str | None) -> bool:
    """Whether a node's disk had no room for a revision when it looked last; it looks again."""
    pod, kept = world.next_pods.get(name), parse_record(world.nodes[name].records.get(world.label), world.now)
    looked = pod is not None and bool(pod.lacks) and pod.revision == revision
    return looked or (kept is not None and kept.full is not None and kept.full.revision == revision)
