"""What must hold where several EdgeModels share nodes, counted from the machines: one pull and one switch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from trial_rules import goes_on, tried_at
from wall_clock import open_by_the_clock

from edgesmith.api.names import parse_next
from edgesmith.api.units import parse_duration
from edgesmith.decide.fleet import ServerState
from edgesmith.decide.placement import placement
from edgesmith.decide.plan import Move, Plan, StartTrial
from edgesmith.decide.record import parse_record

if TYPE_CHECKING:
    from rollout_world import World


@dataclass
class Begun:
    """What an EdgeModel began on a node last."""

    labels: tuple[str | None, str | None]
    """The node's two labels of the EdgeModel then."""
    at: datetime
    over: bool = False
    """Whether it was seen to be ready, or to have failed."""


def check_shared_nodes(world: World, plan: Plan) -> None:
    """Nothing but going back begins on a node on which another EdgeModel is at work, or comes first."""
    if not world.others:
        return
    for one in (world, *world.others):
        _look(one)
    for move in plan.moves:
        if not _begins(world, move):
            continue
        if move.urgent or _leaves_rolled_back(world, plan, move):
            continue
        _check_alone(world, move.node, move)
        for other in world.others:
            assert not _comes_first(other, world, move.node), (move, other.name, "has a higher priority")
    for start in plan.trials:
        _check_alone(world, start.node, start)
        began = start.node in tried_at(world.edge_model.status, start.profile.metadata.name)
        for other in () if began else world.others:
            assert not _comes_first(other, world, start.node), (start, other.name, "has a higher priority")


def _check_alone(world: World, name: str, what: Move | StartTrial) -> None:
    """Nobody else is at work on a node, or begins there in a pass that goes on."""
    assert name not in world.claimed, (what, "another pass changes it")
    for other in world.others:
        deadline = parse_duration(other.edge_model.spec.rollout.progress_deadline)
        found = other.begun.get(name)
        at_work = found is not None and not found.over and world.now - found.at < deadline
        assert world.clock_was_set or not at_work, (what, other.name, found, "is at work there")
        tries = [pod for pod in other.trial_pods.values() if pod.node == name and goes_on(other, pod)]
        fresh = [pod.name for pod in tries if world.now - other.tried[pod.name] < deadline]
        assert world.clock_was_set or not fresh, (what, other.name, fresh, "tries candidates there")


def _begins(world: World, move: Move) -> bool:
    """Whether a move makes a node pull, test or start something."""
    if move.revision is None:
        return False
    node = world.nodes[move.node]
    label, (upcoming, staging) = node.labels.get(world.label), parse_next(node.labels.get(world.next_label))
    wanted, stages = parse_next(move.next)
    if wanted is not None:
        return (wanted, stages) != (upcoming, staging)
    # It is the only one from now on: a server that is ready beside the old one goes on, and so does the old one.
    return move.label != label and (upcoming != move.label or staging)


def _leaves_rolled_back(world: World, plan: Plan, move: Move) -> bool:
    rolled_back = {one.name for one in plan.status.revisions if one.rolled_back}
    placed = placement(world.nodes[move.node], world.label)
    return bool({placed.label, placed.beside} & rolled_back)


def _look(world: World) -> None:
    """Take note of what has begun and of what is over."""
    began = tried_at(world.edge_model.status)
    for name, pod in world.trial_pods.items():
        at = world.tried.setdefault(name, min(began.get(pod.node, world.now), world.now))
        world.tried[name] = min(at, world.now)  # the clock may have been set back
    for name, node in world.nodes.items():
        labels = node.labels.get(world.label), node.labels.get(world.next_label)
        found = world.begun.get(name)
        if labels == (None, None):
            world.begun.pop(name, None)
            continue
        if found is None or found.labels != labels:
            ends = found is not None and labels[1] is None and labels[0] in (found.labels[0], found.labels[1])
            # It began when the operator wrote so, which may be some time before anybody looks here.
            record = parse_record(node.records.get(world.label), world.now)
            told = record is not None and record.revision == placement(node, world.label).label
            found = world.begun[name] = Begun(labels, record.moved if record and told else world.now, over=ends)
        found.at = min(found.at, world.now)  # the clock may have been set back
        found.over = found.over or _is_over(world, name)


def _is_over(world: World, name: str) -> bool:
    node = world.nodes[name]
    upcoming, staging = parse_next(node.labels.get(world.next_label))
    pod = world.next_pods.get(name) if upcoming else world.pods.get(name)
    record = parse_record(node.records.get(world.label), world.now)
    if record and record.state is ServerState.FAILED:
        return True
    own = pod and (pod.revision, pod.staging) == (upcoming or node.labels.get(world.label), staging)
    return bool(pod and own and (pod.ready or (pod.selftest and not pod.selftest.passed)))


def _comes_first(other: World, world: World, name: str) -> bool:
    """Whether another EdgeModel of a higher priority has yet to come to a node, and goes forward."""
    rollout = other.edge_model.spec.rollout
    held = rollout.paused or (rollout.windows and not open_by_the_clock(rollout.windows, other.now))
    if held or rollout.priority <= world.edge_model.spec.rollout.priority:
        return False
    known = {one["name"]: one for one in other.edge_model.status["revisions"]}
    label = placement(other.nodes[name], other.label).label
    if label not in known:
        return False
    proven = [one for one in known.values() if one.get("provenTime") and not one.get("rolledBack")]
    marks = [one for one in proven if one["profile"] == known[label]["profile"]]
    if not marks:
        return False
    newest = max(marks, key=lambda one: one["provenTime"])
    record = parse_record(other.nodes[name].records.get(other.label), other.now)
    failed = record is not None and newest["name"] in record.failures
    since = datetime.fromisoformat(newest["provenTime"])
    fresh = timedelta(0) <= other.now - since < parse_duration(rollout.progress_deadline)
    return fresh and not newest.get("completedTime") and label != newest["name"] and not failed
