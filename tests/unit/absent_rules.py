"""Nodes that are away: how long one may keep the others waiting, and which of them a revision may have taken down.

Counted from the machines. A node that is away holds nobody up for longer than `progressDeadline` from when the node
controller says so, nor does one that comes and goes from when it went first; but where the revision that is rolled out
has held its first step and ran on more nodes that went than `maxFailed` allows, the others wait, since they may have
died of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from budget_rules import parts_of
from late_rules import late as late_nodes
from late_rules import late_before
from machines import GRACE

from edgesmith.api.names import daemon_set_name
from edgesmith.api.status import PendingReason
from edgesmith.api.units import parse_duration, parse_share
from edgesmith.decide.placement import placement
from edgesmith.decide.plan import Plan

if TYPE_CHECKING:
    from rollout_world import World


def died_of_it(world: World, name: str) -> bool:
    """Whether a node is away since its machine died of what it was given, and that is not completed."""
    given, server = placement(world.nodes[name], world.label).label, world.servers[name]
    runs = {server.runs, server.beside and server.beside.revision} & {world.nodes[name].labels.get(world.label), given}
    died = not world.devices[name].power and any(world.kills(one or "") for one in runs)
    return died and not world.reachable(name) and not _completed(world, given)


def counted_lost(world: World, plan: Plan, names: Iterable[str]) -> set[str]:
    """Of nodes that died of what they were given, or come and go, those that have a place of `maxUnavailable`.

    Each has one for `progressDeadline`. Then those have that went with what is rolled out now, but for so many in each
    variant as `maxFailed` says, and one in any case.
    """
    lost, comes_and_goes = list(names), late_before(world, plan)
    dead = {name for name in lost if died_of_it(world, name)}
    fresh = {name for name in dead - comes_and_goes if _awaited(world, name)}
    late = [
        name
        for name in lost
        if name not in fresh and (name in dead or world.reachable(name)) and _ran_target(world, plan, name)
    ]
    return fresh | _beyond_max_failed(world, late)


def check_waits(world: World, plan: Plan) -> None:
    """Nobody waits for `maxUnavailable` while fewer nodes than that can have a place of it."""
    waiting = [one.node for one in plan.pending if one.reason is PendingReason.MAX_UNAVAILABLE]
    if not waiting or world.clock_was_set:
        return
    moved = {move.node for move in plan.moves}
    there = {name for name in world.nodes if world.reachable(name) and _unsettled(world, name)}
    there -= {name for name in there if not world.offers(name) and not _carries_unfinished(world, name)}
    away = {name for name in world.nodes if not world.reachable(name) and _carries_unfinished(world, name)}
    comes_and_goes = late_nodes(world, plan)
    awaited = {name for name in away - comes_and_goes if _awaited(world, name)}
    gone = (away - awaited) | (there & comes_and_goes)
    late = [name for name in sorted(gone) if _ran_target(world, plan, name)]
    places = moved | (there - comes_and_goes) | awaited | _beyond_max_failed(world, late)
    allowed = parse_share(world.edge_model.spec.rollout.max_unavailable, plan.status.nodes.desired)
    for part, limit in parts_of(world, allowed):
        if len(part(places)) >= limit:
            waiting = [name for name in waiting if name not in part(waiting)]
    assert not waiting, (waiting, sorted(places), sorted(away), "wait for nodes that are away")


def _awaited(world: World, name: str) -> bool:
    """Whether a node that is away went less than `progressDeadline` ago, or was given what it has since."""
    heard = world.devices[name].heard + GRACE
    _, got = world.endings.got.get(name, (None, heard))
    return world.now - max(heard, got) < parse_duration(world.edge_model.spec.rollout.progress_deadline)


def _unsettled(world: World, name: str) -> bool:
    """Whether a reachable node does not just serve what its label names, as far as the API server knows."""
    labels, pod = world.nodes[name].labels, world.pods.get(name)
    label = labels.get(world.label)
    if label is None and name not in world.lent and world.next_label not in labels:
        return False
    serves = pod is not None and pod.revision == label and pod.ready and not pod.terminating
    return not serves or world.next_label in labels or not world.offers(name)


def _carries_unfinished(world: World, name: str) -> bool:
    given = placement(world.nodes[name], world.label).label
    return given is not None and not _completed(world, given)


def _ran_target(world: World, plan: Plan, name: str) -> bool:
    """Whether what is rolled out now, after its first step, is known to have run on a node, or took its server."""
    placed = placement(world.nodes[name], world.label)
    targets = {one.revision for one in plan.status.variants}
    spreads = {one.name for one in plan.status.revisions if (one.steps or one.proven_time) and not one.rolled_back}
    if placed.label not in targets & spreads:
        return False
    pod = world.pods.get(name) if placed.beside is None else world.next_pods.get(name)
    shown = pod is not None and pod.revision == placed.label and (pod.pulled or pod.ready)
    return shown or placed.beside is None


def _beyond_max_failed(world: World, names: Iterable[str]) -> set[str]:
    """Nodes without the first few of each variant: as many as `maxFailed` says, and one in any case."""
    left_out: Counter[str] = Counter()
    kept = set()
    for name in names:
        profile = world.nodes[name].labels["device"]
        own = sum(one.labels["device"] == profile for one in world.nodes.values())
        left_out[profile] += 1
        if left_out[profile] > max(parse_share(world.edge_model.spec.rollout.max_failed, own), 1):
            kept.add(name)
    return kept


def _completed(world: World, revision: str | None) -> bool:
    """Whether a revision is known to be completed, or nobody knows it."""
    if daemon_set_name(world.name, revision or "") not in world.revisions:
        return True
    known = world.edge_model.status["revisions"]
    return any(one["name"] == revision and one.get("completedTime") for one in known)
