"""What the operator may end: servers that work on machines, those out of reach among them, counted from the machines.

A machine that cannot be reached hears of a new label when it is back, with all others behind the same link. So what was
written while nobody could hear it counts when it is heard, and not when it is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from machines import GRACE

from edgesmith.api.names import daemon_set_name
from edgesmith.api.units import parse_duration
from edgesmith.decide.placement import placement
from edgesmith.decide.plan import Move, Plan
from edgesmith.decide.snapshot import Node

if TYPE_CHECKING:
    from rollout_world import World


@dataclass
class Endings:
    """What was seen of servers that ended since the operator wrote so."""

    limits: list[int] = field(default_factory=list)
    """`maxUnavailable` as a count, in the last two passes: a label that one wrote is heard of after it."""
    dark: set[str] = field(default_factory=set)
    """Machines whose server works no more for a label's sake, until another one does."""
    got: dict[str, tuple[str | None, datetime]] = field(default_factory=dict)
    """What each node was given, and when it was, or came back with it."""
    unheard: set[str] = field(default_factory=set)
    """Nodes that are out of reach, or were between the last write to them and the moment in which they hear of it."""
    idle: set[str] = field(default_factory=set)
    """Nodes that were moved last when nobody knew of a ready server on them: it may be ready before they hear of it."""
    returned: set[str] = field(default_factory=set)
    """Nodes that were out of reach, or started anew, since they got what they were given last."""
    boots: dict[str, int] = field(default_factory=dict)
    looked: dict[str, Node] = field(default_factory=dict)
    """Each node as it was looked at last: most are as they were."""


def check_endings(world: World, plan: Plan, limit: int) -> None:
    """Take note of a pass, and see that it takes nothing from nodes out of reach but what they may have died of."""
    seen = world.endings
    seen.limits = [*seen.limits, limit][-2:]
    for name, node in world.nodes.items():
        device = world.devices[name]
        if seen.looked.get(name) is node and seen.boots[name] == device.told and name not in seen.unheard:
            if not world.reachable(name):
                seen.unheard.add(name)
            continue
        seen.looked[name], given = node, placement(node, world.label).label
        reachable = world.reachable(name)
        back = reachable and name in seen.unheard
        anew = seen.boots.get(name) != device.told
        if back or anew:
            seen.returned.add(name)
        if seen.got.get(name, (None, world.now))[0] != given:
            seen.returned.discard(name)
        if name not in seen.got or seen.got[name][0] != given or back or anew:
            seen.got[name] = given, world.now
        seen.boots[name] = device.told
        (seen.unheard.discard if reachable else seen.unheard.add)(name)
    _prune(world)
    seen.dark -= {name for name in seen.dark if world.label not in world.nodes[name].labels}
    for move in plan.moves:
        (seen.idle.discard if _known(world, move.node) else seen.idle.add)(move.node)
        if not world.reachable(move.node):
            assert _may_end(world, move), (move, "its server worked when it was last heard of")


def note_end(world: World, name: str) -> None:
    """A kubelet hears of a label, and the server that worked on its machine ends."""
    seen = world.endings
    if name in seen.unheard | seen.idle:
        # Its link went in the moment in which it was moved, or what was written may be; see docs/rollout.md.
        return
    _prune(world)
    seen.dark.add(name)
    assert len(seen.dark) <= max(seen.limits), (seen.dark, seen.limits, "end together")


def _prune(world: World) -> None:
    """Leave out what serves again, or does not for a reason of its own."""
    seen = world.endings
    seen.dark = {
        name
        for name in seen.dark
        if name in world.nodes
        and world.devices[name].power
        and not world.serves(name)
        and not world.fails(name, world.servers[name].runs or "")
    }


def _known(world: World, name: str) -> bool:
    """Whether a node's server was ready when its kubelet was last heard of."""
    pod = world.pods.get(name)
    found = pod is not None and pod.ready and not pod.terminating
    return found and pod is not None and pod.revision == world.nodes[name].labels.get(world.label)


def _may_end(world: World, move: Move) -> bool:
    """Whether what a node runs that is out of reach may end when it is back."""
    labels = world.nodes[move.node].labels
    runs, upcoming = labels.get(world.label), world.next_pods.get(move.node)
    if move.label == runs or not _known(world, move.node):
        return True
    if upcoming and upcoming.ready and not upcoming.staging and upcoming.revision == move.label:
        return True
    if daemon_set_name(world.name, runs or "") not in world.revisions:
        return True
    known = {one["name"] for one in world.edge_model.status["revisions"] if one.get("completedTime")}
    if runs in known:
        return False
    # It was to go back, or is away so soon after it got what it runs that its machine may have died of it.
    rollout, (_, got) = world.edge_model.spec.rollout, world.endings.got[move.node]
    soon = parse_duration(rollout.progress_deadline) + max(
        (parse_duration(step.bake) for step in rollout.steps), default=timedelta(0)
    )
    went = world.devices[move.node].heard + GRACE
    failed = world.servers[move.node].ended > 0 and move.node in world.endings.returned
    return world.next_label in labels or world.clock_was_set or went - got < soon or failed
