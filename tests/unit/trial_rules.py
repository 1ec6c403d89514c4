"""What must hold of trials in a simulated fleet whose servers hold the device that a trial needs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgesmith.api.names import trial_pod_name
from edgesmith.api.trial_status import TrialStatus
from edgesmith.decide.devices import devices_of
from edgesmith.decide.entries import time_of
from edgesmith.decide.fleet import ServerState
from edgesmith.decide.plan import Move, Plan, StartTrial
from edgesmith.decide.record import parse_record
from edgesmith.decide.room import AGAIN
from edgesmith.decide.snapshot import TrialPod

if TYPE_CHECKING:
    from rollout_world import World


def gives_up(world: World, plan: Plan, name: str) -> bool:
    """Whether a node is to lose its server for a trial, which has pulled all that it is to try there."""
    going = [one for one in plan.status.trials if one.node == name and not one.completed_time]
    pulled = [pod for pod in world.trial_pods.values() if pod.node == name and pod.name in world.pulling]
    return any(name in (one.lent or ()) and any(_left(one) <= pod.ended.keys() for pod in pulled) for one in going)


def goes_on(world: World, pod: TrialPod) -> bool:
    """Whether a pod pulls or tries something still."""
    return not (pod.over or pod.terminating or set(world.trying[pod.name]) <= pod.ended.keys())


def tried_at(status: Mapping[str, Any], profile: str | None = None) -> dict[str, datetime]:
    """The nodes of the trials that go on, of one profile or of all, with when each began."""
    found = [one for one in status.get("trials") or [] if one.get("node") and not one.get("completedTime")]
    return {
        one["node"]: time_of(one["startedTime"])
        for one in found
        if one.get("startedTime") and profile in (None, one["profile"])
    }


def pulls_to_try(world: World, plan: Plan) -> set[str]:
    """Nodes that pull what they are to try, or may do so, and are not given up in this pass."""
    gone = {one.name for one in plan.deletes}
    going = [one for one in world.trial_pods.values() if goes_on(world, one) and one.name not in gone]
    return {one.node for one in going if world.reachable(one.node) and not _has_pulled(world, one.node, one.name)}


def begins_to_pull(world: World, plan: Plan) -> list[str]:
    """Nodes that are given candidates in this pass which they have yet to pull."""
    return [start.node for start in plan.trials if not _has_pulled(world, start.node, _called(world, start))]


def _called(world: World, start: StartTrial) -> str:
    return trial_pod_name(world.name, start.trial, start.node, list(start.images))


def _has_pulled(world: World, name: str, pod: str) -> bool:
    """Whether a node has a pod, not this one, that has pulled all that it was to pull."""
    before = [one for one in world.trial_pods.values() if one.node == name and one.name in world.pulling - {pod}]
    return any(not goes_on(world, one) for one in before)


def _left(record: TrialStatus) -> set[str]:
    return {one.container for one in record.finalists if one.reason is None}


def _trials(world: World) -> list[dict[str, Any]]:
    """Those that go on, as the status had them."""
    found = world.edge_model.status.get("trials") or []
    return [one for one in found if not one.get("completedTime")]


def check_trials(world: World, plan: Plan) -> None:
    """A trial begins on a node whose device is free, which has no server until it ends."""
    moved = {move.node: move for move in plan.moves}
    _check_ways_back(world, moved)
    world.lent = {name for name in world.lent & world.nodes.keys() if world.nodes[name].labels.get(world.label) is None}
    served = {one.metadata.name for one in world.profiles}
    world.lent |= {
        name
        for name, move in moved.items()
        if move.label is None and world.nodes[name].labels["device"] in served and gives_up(world, plan, name)
    }
    for name in world.lent & moved.keys() - world.gave_up.keys():
        world.gave_up[name] = gave_up = world.nodes[name].labels[world.label]
        kept = parse_record(moved[name].record, world.now)
        assert (kept.revision if kept else None) == gave_up, f"that {name} served {gave_up} is forgotten"
    # What a disk had no room for says nothing of another build.
    looked = {
        (trial["profile"], trial["buildKey"], one["node"]): one["time"]
        for trial in _trials(world)
        for one in trial.get("full") or ()
    }
    builds = {one.profile: one.build_key for one in plan.status.trials if one.completed_time is None}
    for start in plan.trials:
        profile = start.profile.metadata.name
        at = looked.get((profile, builds[profile], start.node))
        assert at is None or world.now - time_of(at) >= AGAIN, f"{start.node} has looked at {at}"
        if start.keeps is None and devices_of(start.profile, world.edge_model):
            assert world.nodes[start.node].labels.get(world.label) is None, f"{start.node} serves and is to try"
            assert moved.get(start.node) is None, f"{start.node} is to try and is given a revision"


def _check_ways_back(world: World, moved: Mapping[str, Move]) -> None:
    """From what a node gets after a trial it goes back to what it served when it gave up its server for that."""
    bare = {name for name, one in world.nodes.items() if one.labels.get(world.label) is None}
    world.gave_up = {name: one for name, one in world.gave_up.items() if name in bare & world.lent}
    for name, gave_up in world.gave_up.items():
        kept, move = parse_record(world.nodes[name].records.get(world.label), world.now), moved.get(name)
        if kept is None or move is None or move.label is None:
            continue  # it joined again meanwhile, or its trial goes on
        after = parse_record(move.record, world.now)
        served = gave_up if kept.state is ServerState.SERVING else kept.previous
        expected = kept.previous if served == move.label else served
        assert after is not None
        assert after.previous == expected, f"{name} is to go back to {expected}, which is forgotten"
        world.ways_back += 1
