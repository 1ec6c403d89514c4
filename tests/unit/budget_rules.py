"""What `maxUnavailable` is a number of: the nodes of all profiles, and those of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from wall_clock import open_by_the_clock

from edgesmith.api.names import parse_next
from edgesmith.api.units import parse_share

if TYPE_CHECKING:
    from rollout_world import World


def limit_of(world: World, desired: int, moved: Mapping[str, str | None]) -> int:
    """`maxUnavailable` as a count. Nodes that are no longer to run the model but still do are part of the fleet."""
    served = {one.metadata.name for one in world.profiles}
    leaving = sum(
        found.labels["device"] not in served and (name in moved or world.label in found.labels)
        for name, found in world.nodes.items()
    )
    return parse_share(world.edge_model.spec.rollout.max_unavailable, desired + leaving)


def parts_of(world: World, limit: int) -> Iterator[tuple[Callable[[Iterable[str]], list[str]], int]]:
    """What picks nodes that `maxUnavailable` is for, and its number: all, and of a percentage those of each profile."""
    yield list, limit
    allowed = world.edge_model.spec.rollout.max_unavailable
    for one in world.profiles if isinstance(allowed, str) else ():
        own = {name for name, node in world.nodes.items() if node.labels["device"] == one.metadata.name}
        yield partial(_picked, own), parse_share(allowed, len(own))


def _picked(own: set[str], names: Iterable[str]) -> list[str]:
    return [name for name in names if name in own]


def only_held(world: World, name: str) -> bool:
    """Whether a node has made ready what it was given while a pause or a closed window keeps its old server there."""
    rollout = world.edge_model.spec.rollout
    closed = bool(rollout.windows) and not open_by_the_clock(rollout.windows, world.now)
    given, staging = parse_next(world.nodes[name].labels.get(world.next_label))
    pod = world.next_pods.get(name)
    if not staging or pod is None or pod.revision != given or not (rollout.paused or closed):
        return False
    return pod.pulled and (pod.selftest is not None or world.staging.get(given) == "Pull")
