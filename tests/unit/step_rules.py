"""What must hold of the steps of a simulated rollout: how many nodes try a revision, for how long, and what ends them.

The steps are read from the spec by the words of docs/rollout.md; how long a server worked is counted from its machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from late_rules import wavering

from edgesmith.api.revision_status import RevisionStatus
from edgesmith.api.rollout import Step
from edgesmith.api.units import parse_duration, parse_share
from edgesmith.decide.fleet import ServerState
from edgesmith.decide.placement import placement
from edgesmith.decide.plan import ApplyRevision, Move, Plan
from edgesmith.decide.record import Record, parse_record
from edgesmith.decide.turn import turn_of

if TYPE_CHECKING:
    from rollout_world import World


@dataclass
class Served:
    """What was seen of servers that try a revision."""

    longest: dict[tuple[str, str], timedelta] = field(default_factory=dict)
    """Node and revision to for how long its machine served it without a break, at the most."""


class _Wanted(NamedTuple):
    """One step that wants nodes."""

    number: int
    step: Step
    scope: frozenset[str]
    quota: int


def check_steps(world: World, plan: Plan) -> None:
    """Each revision that is tried keeps to its steps."""
    before = {one["name"]: one for one in world.edge_model.status.get("revisions", [])}
    marks = {one.name: one for one in plan.status.revisions}
    classes = {one.labels["device"] for one in world.nodes.values()}
    for applied in plan.revisions:
        mark, profile = marks[applied.revision], applied.profile.metadata.name
        was = before.get(mark.name, {})
        if profile not in classes or mark.rolled_back or mark.completed_time:
            continue
        if not was.get("provenTime"):
            _take_note(world, mark.name)
            if was.get("steps", 0) <= mark.steps and (mark.proven_time or mark.steps > was.get("steps", 0)):
                _check_held_steps(world, plan, applied, mark, was)
        if not mark.proven_time:
            _check_count(world, plan, mark, profile)
        _check_failures(world, plan, mark, profile)
        _check_turns(world, plan, mark)


def current_step(world: World, mark: RevisionStatus, profile: str) -> _Wanted | None:
    """The step that a revision is in; None where it has held all of them."""
    return next((one for one in _steps(world, profile) if one.number >= mark.steps), None)


def _steps(world: World, profile: str) -> Iterator[_Wanted]:
    """The steps that pick nodes of a variant and add some."""
    own = {name: one.labels for name, one in world.nodes.items() if one.labels["device"] == profile}
    steps, most, found = world.edge_model.spec.rollout.steps, 0, False
    for number, step in enumerate(steps):
        wanted = step.node_selector.items()
        scope = frozenset(name for name, labels in own.items() if all(labels.get(k) == v for k, v in wanted))
        quota = min(parse_share(step.nodes, len(scope)), len(scope))
        if scope:
            found = True
            if wanted or quota > most:
                yield _Wanted(number, step, scope, quota)
        most = max(most, quota)
    if own and not found:
        yield _Wanted(0, steps[0].model_copy(update={"nodes": 1, "node_selector": {}}), frozenset(own), 1)


def _take_note(world: World, revision: str) -> None:
    """For how long each machine has served a revision; one that is dead did until it was heard of last."""
    for name, node in world.nodes.items():
        if revision not in placement(node, world.label):
            continue
        server, device = world.servers[name], world.devices[name]
        beside = server.beside if server.beside and not server.beside.staging else None
        started = next((one for runs, one in _runs(server.runs, server.started, beside) if runs == revision), None)
        if started is not None and not world.fails(name, revision):
            lasted = (world.now if device.power else device.heard) - started - timedelta(seconds=device.delay)
            key = name, revision
            world.served.longest[key] = max(lasted, world.served.longest.get(key, lasted))


def _runs(runs: str | None, started: datetime, beside: Any) -> Iterator[tuple[str | None, datetime]]:
    yield runs, started
    if beside:
        yield beside.revision, beside.started


def _tries(world: World, plan: Plan, revision: str) -> set[str]:
    """The nodes that can be judged, were given a revision and have not failed on it."""
    told = _records(world, plan)
    return {
        name
        for name, one in world.nodes.items()
        if placement(one, world.label).label == revision
        and world.reachable(name)
        and world.offers(name)
        and not ((record := told.get(name)) and revision in record.failures)
    }


def _absent(world: World, count: int) -> int:
    """How many of so many nodes may be missing after the first step."""
    return max(parse_share(world.edge_model.spec.rollout.max_unavailable, count), parse_share("10%", count))


def _check_held_steps(
    world: World, plan: Plan, applied: ApplyRevision, mark: RevisionStatus, was: dict[str, Any]
) -> None:
    """Steps that were held in this pass had enough nodes, each of them for the bake, or somebody promoted them."""
    profile, names = applied.profile.metadata.name, {mark.name, applied.build.key, applied.image.partition("@")[2]}
    promoted = [one.steps for one in world.edge_model.spec.rollout.promote if one.revision in names]
    early, first = mark.promoted or 0, was.get("steps", 0) == 0
    for number, step, scope, quota in _steps(world, profile):
        if was.get("provenTime") or not was.get("steps", 0) <= number < mark.steps:
            continue
        if any(steps is None or number < steps for steps in promoted):
            early, first = early - 1, False
            continue
        bake = parse_duration(step.bake)
        held = {name for name in scope if world.served.longest.get((name, mark.name), timedelta(-1)) >= bake}
        needed = min(quota, len(scope) - _absent(world, len(scope))) - _absent(world, quota)
        needed, first = (quota - 1, False) if first else (needed, False)
        assert world.clock_was_set or len(held) >= max(needed, 1), (mark.name, number, held, quota, "held by too few")
        there = (_tries(world, plan, mark.name) & scope) - wavering(world, plan)
        assert world.clock_was_set or there <= held, (mark.name, number, there - held, "have not held it")
    assert early <= was.get("promoted", 0), (mark.name, "nobody promoted it")
    left = [one.number for one in _steps(world, profile) if one.number >= mark.steps]
    assert was.get("provenTime") or not mark.proven_time or not left, (mark.name, left, "proven before it held them")


def _check_count(world: World, plan: Plan, mark: RevisionStatus, profile: str) -> None:
    """No node is given a revision that its step does not want."""
    wanted = current_step(world, mark, profile)
    given = {name: placement(one, world.label).label for name, one in world.nodes.items()}
    fresh = [one.node for one in plan.moves if one.revision == mark.name != given[one.node] and not one.urgent]
    if not fresh:
        return
    assert wanted is not None, (fresh, "no step wants them")
    moved = {move.node: move.revision for move in plan.moves}
    carriers = [name for name in wanted.scope if moved.get(name, given[name]) == mark.name]
    comes_and_goes = wavering(world, plan)
    lost = [name for name in carriers if name in comes_and_goes or not (world.reachable(name) and world.offers(name))]
    told = _records(world, plan)
    failed = [name for name in carriers if (one := told.get(name)) and one.state is ServerState.FAILED]
    spare = len({*lost, *failed})
    if mark.steps == 0 and not (len(fresh) == 1 and {*carriers} - {*fresh} <= {*lost}):
        spare = min(len(lost), 1)  # once none of them is left that may hold it, one more is tried after the other
    assert set(fresh) <= wanted.scope, (fresh, wanted.step, "are not what the step is about")
    assert len(carriers) <= wanted.quota + spare, (carriers, lost, failed, wanted.quota, "try it at once")


def _records(world: World, plan: Plan, about: str = "") -> dict[str, Record | None]:
    """What is kept of each node after a pass; of those alone whose records name a revision."""
    told = {name: one.records.get(world.label) for name, one in world.nodes.items()}
    told |= {one.node: one.record for one in plan.records} | {one.node: one.record for one in plan.moves}
    return {name: parse_record(text, world.now) for name, text in told.items() if text and about in text}


def _check_failures(world: World, plan: Plan, mark: RevisionStatus, profile: str) -> None:
    """After the first step no revision stays that failed on more nodes than may be, where there is one before it."""
    if not (mark.steps or mark.proven_time):
        return
    there = {one.revision for one in world.revisions.values() if one.profile == profile}
    before = [
        one for one in plan.status.revisions
        if one.name in there - {mark.name} and one.proven_time and not one.rolled_back
    ]  # fmt: skip
    own = sum(one.labels["device"] == profile for one in world.nodes.values())
    failed = [
        name
        for name, record in _records(world, plan, mark.name).items()
        if record and world.nodes[name].labels["device"] == profile
        if mark.name in record.failures and not record.failures[mark.name].broken
    ]
    allowed = world.edge_model.spec.rollout.max_failed
    most = allowed if isinstance(allowed, int) else parse_share(allowed, own)
    assert not before or len(failed) <= most, (mark.name, failed, most, "failed, and it stays")


def _check_turns(world: World, plan: Plan, mark: RevisionStatus) -> None:
    """Nobody follows before its turn."""
    rollout = world.edge_model.spec.rollout
    jitter = parse_duration(rollout.jitter)
    if not (jitter and mark.proven_time) or world.clock_was_set:
        return
    since = datetime.fromisoformat(mark.proven_time)
    for move in plan.moves:
        if _begins(world, move, mark.name) and not move.urgent:
            turn = since + turn_of(move.node, mark.name, jitter)
            assert world.now >= turn, (move, turn, "before its turn")


def _begins(world: World, move: Move, revision: str) -> bool:
    found = placement(world.nodes[move.node], world.label)
    return move.revision == revision and revision not in (found.label, found.beside)
