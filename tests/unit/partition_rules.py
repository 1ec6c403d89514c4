"""What must hold of every plan of a rollout that goes by partitions, counted from the machines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from late_rules import late
from room_rules import lacks_room
from step_rules import current_step

from edgesmith.api.partitions import Partitions
from edgesmith.api.units import parse_duration
from edgesmith.decide.placement import placement
from edgesmith.decide.plan import Plan
from edgesmith.decide.record import parse_record

if TYPE_CHECKING:
    from rollout_world import World

Passed = dict[tuple[str, str], tuple[datetime, bool]]
"""Revision and partition to when it was first seen to hold nobody up, and whether that was for a server."""


def check_partitions(world: World, plan: Plan) -> None:
    """Nobody gets a revision before every reachable node of each partition before its own has served it."""
    rollout = world.edge_model.spec.rollout
    parted = rollout.partitions
    if parted is None:
        return
    marks = {one.name: one for one in plan.status.revisions}
    for applied in plan.revisions:
        _note(world, plan, applied.revision, applied.profile.metadata.name)
        mark = marks[applied.revision]
        if mark.partition is not None and not mark.rolled_back:
            # What the status says is open is open, whether a node was moved there or not.
            _check_enters(world, parted, applied.revision, mark.partition)
    for move in plan.moves:
        node = world.nodes[move.node]
        given = placement(node, world.label)
        wanted = next((one for one in plan.revisions if one.revision == move.revision), None)
        if wanted is None or move.revision in (given.label, given.beside) or marks[wanted.revision].completed_time:
            continue
        profile = wanted.profile.metadata.name
        proven = {one.name for one in marks.values() if one.proven_time and not one.rolled_back}
        there = {one.revision for one in world.revisions.values() if one.profile == profile}
        back = any(marks.get(one or "") and marks[one or ""].rolled_back for one in (given.label, given.beside))
        if back and not there & proven - {wanted.revision}:
            continue  # it goes back, and there is nothing else to go back to
        step = current_step(world, marks[wanted.revision], profile)
        if not marks[wanted.revision].proven_time and step and step.step.node_selector and move.node in step.scope:
            continue  # a step with a nodeSelector keeps to no partition
        _check_enters(world, parted, wanted.revision, node.labels.get(parted.label, ""))


def _check_enters(world: World, parted: Partitions, revision: str, own: str) -> None:
    """A revision may go to a partition: each one before it holds nobody up any more."""
    if any(known == revision and own in _open(world, parted, last) for known, last in world.entered):
        return  # what was opened stays open, and all that comes before it is: also what a node joins later
    world.entered.add((revision, own))
    for before in _before(world, parted, own):
        seen = world.passed.get((revision, before))
        assert seen is not None, (revision, own, before, "has not served it yet")
        since, served = seen
        baked = not served or world.clock_was_set or world.now - since >= parse_duration(parted.bake)
        assert baked, (revision, own, before, since, "is baking")


def _before(world: World, parted: Partitions, own: str) -> Sequence[str]:
    """The partitions that come before one, by the words of the documentation."""
    others = sorted({one.labels.get(parted.label, "") for one in world.nodes.values()} - {*parted.order, ""})
    order = [*parted.order, *others, ""]
    return order[: order.index(own)] if own in order else ()


def _open(world: World, parted: Partitions, last: str) -> Sequence[str]:
    """The partitions that are open once one is, by the words of the documentation."""
    return (*_before(world, parted, last), last)


def _note(world: World, plan: Plan, revision: str, profile: str) -> None:
    """Which partitions hold nobody up at this moment."""
    parted = world.edge_model.spec.rollout.partitions
    assert parted is not None
    told = {name: one.records.get(world.label) for name, one in world.nodes.items()}
    told |= {one.node: one.record for one in plan.records} | {one.node: one.record for one in plan.moves}
    names = {*parted.order, "", *(one.labels.get(parted.label, "") for one in world.nodes.values())}
    comes_and_goes = late(world, plan)
    for name in names:
        own = [
            node
            for node, one in world.nodes.items()
            if one.labels.get(parted.label, "") == name and one.labels["device"] == profile
        ]
        reachable = [node for node in own if world.reachable(node) and world.takes_pods(node)]
        reachable = [node for node in reachable if not lacks_room(world, node, revision)]
        reachable = [node for node in reachable if node not in comes_and_goes or _lacks_it(world, node, revision)]
        failed = [node for node in reachable if _failed(world, node, revision, told[node])]
        serving = [node for node in reachable if node not in failed and _serves(world, node, revision)]
        if len(serving) + len(failed) == len(reachable):
            world.passed.setdefault((revision, name), (world.now, bool(serving)))


def _lacks_it(world: World, name: str, revision: str) -> bool:
    """Whether a node was given something else."""
    return placement(world.nodes[name], world.label).label != revision


def _serves(world: World, name: str, revision: str) -> bool:
    """Whether a node runs a revision, and nothing beside that; one that is yet to be switched to it lacks it."""
    if placement(world.nodes[name], world.label) != (revision, None, False):
        return False
    pods = [pod for pod in (world.pods.get(name), world.next_pods.get(name)) if pod and not pod.staging]
    return any(pod.revision == revision and pod.ready for pod in pods)


def _failed(world: World, name: str, revision: str, told: str | None) -> bool:
    record = parse_record(told, world.now)
    pod = world.pods.get(name)
    shown = pod is not None and pod.revision == revision and pod.selftest is not None and not pod.selftest.passed
    return shown or (record is not None and revision in record.failures)
