"""A fleet as a dictionary: what the planner decides is applied to it, and nothing but the fleet is remembered."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from edgesmith.decide.rollout import (
    Course,
    Health,
    NodeState,
    Phase,
    RevisionState,
    Rules,
    Variant,
    plan_rollout,
)

START = datetime(2030, 1, 1, tzinfo=UTC)
SETTLED = {Phase.COMPLETE, Phase.ROLLED_BACK, Phase.NONE_LEFT, Phase.DEGRADED, Phase.NO_NODES, Phase.WAITING}


@dataclass
class Device:
    """A node, and the pod on it."""

    profile: str
    online: bool = True
    broken: bool = False
    label: str | None = None
    pod: str | None = None
    started: datetime = START
    delay: float = 10.0
    """Seconds its pods take to become ready, or to fail."""


@dataclass
class World:
    """A fleet, its revisions, and a clock."""

    rules: Rules
    devices: dict[str, Device] = field(default_factory=dict)
    revisions: dict[str, dict[str, RevisionState]] = field(default_factory=dict)
    """Profile to revision to state."""
    targets: dict[str, str | None] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    """Revisions that fail everywhere."""
    fragile: set[str] = field(default_factory=set)
    """Revisions that fail on every third device only."""
    now: datetime = START

    def fails(self, device: Device, name: str, revision: str) -> bool:
        """Whether a revision fails on a device."""
        return device.broken or revision in self.bad or (revision in self.fragile and int(name[1:]) % 3 == 0)

    def publish(self, profile: str, revision: str) -> None:
        """Make a revision, or one that was there before, what the spec asks for."""
        self.targets[profile] = revision

    def tick(self, seconds: float) -> None:
        """Let time pass: where the label of a reachable node changed, its pod is replaced."""
        self.now += timedelta(seconds=seconds)
        for device in self.devices.values():
            if device.online and device.pod != device.label:
                device.pod, device.started = device.label, self.now

    def state(self, name: str) -> NodeState:
        """A node as the planner sees it."""
        device = self.devices[name]
        known = {*self.revisions.get(device.profile, {}), self.targets.get(device.profile)}
        if device.label is None or device.label not in known:
            return NodeState(name, device.online, device.label, Health.IDLE)
        ready = device.started + timedelta(seconds=device.delay)
        if device.pod != device.label or self.now < ready:
            return NodeState(name, device.online, device.label, Health.STARTING, note="is starting")
        if self.fails(device, name, device.label):
            return NodeState(name, device.online, device.label, Health.FAILED, note="failed")
        return NodeState(name, device.online, device.label, Health.SERVING, since=ready)

    def variants(self) -> tuple[Variant, ...]:
        """What is known, and nothing else."""
        found = []
        for profile in sorted(self.targets):
            target = self.targets[profile]
            states = dict(self.revisions.get(profile, {}))
            if target and target not in states:
                states[target] = RevisionState(target, self.now)
            ordered = tuple(sorted(states.values(), key=lambda one: (one.created, one.revision)))
            nodes = tuple(self.state(name) for name in sorted(self.devices) if self.devices[name].profile == profile)
            found.append(Variant(profile, target, ordered, nodes))
        return tuple(found)

    def plan(self) -> tuple[Course, ...]:
        """Plan one pass."""
        return plan_rollout(self.variants(), self.rules, self.now)

    def writes(self, courses: Iterable[Course]) -> Iterator[tuple[str, str, RevisionState | str | None]]:
        """What a plan writes, in the order of the calls."""
        listed = list(courses)
        for course in listed:
            for revision in course.revisions:
                yield course.profile, revision.revision, revision
        for course in listed:
            for move in course.moves:
                yield "", move.node, move.revision

    def apply(self, courses: Iterable[Course], calls: int | None = None) -> None:
        """Apply a plan, or its first calls where the operator is killed on the way."""
        for done, (profile, name, value) in enumerate(self.writes(courses)):
            if calls is not None and done >= calls:
                return
            if isinstance(value, RevisionState):
                self.revisions.setdefault(profile, {})[name] = replace(
                    value,
                    proven=value.proven and value.proven.replace(microsecond=0),
                    completed=value.completed and value.completed.replace(microsecond=0),
                )
            else:
                self.devices[name].label = value

    def settle(self, passes: int = 400) -> tuple[Course, ...]:
        """Run until nothing moves and nothing is awaited any more.

        Raises:
            AssertionError: That takes more passes than it may.
        """
        for _ in range(passes):
            courses = self.plan()
            check(self, courses)
            self.apply(courses)
            if all(course.phase in SETTLED and not course.moves for course in courses) and not self.starting():
                again = self.plan()
                if not any(course.moves for course in again):
                    return again
            self.tick(7)
        raise AssertionError(f"it does not end: {[(course.profile, course.phase) for course in courses]}")

    def starting(self) -> bool:
        """Whether a reachable node is on its way."""
        return any(self.state(name).health is Health.STARTING and self.devices[name].online for name in self.devices)


def check(world: World, courses: tuple[Course, ...]) -> None:
    """What must hold of every plan, counted here in another way than in the planner."""
    assert world.plan() == courses, "the same snapshot gives the same plan"
    states = {name: world.state(name) for name in world.devices}
    withdrawn = {one.revision for course in courses for one in course.revisions if one.withdrawn}
    moves = [(course, move) for course in courses for move in course.moves]
    assert len({move.node for _, move in moves}) == len(moves), "a node is moved once"
    for course, move in moves:
        state = states[move.node]
        assert move.revision not in withdrawn, "never to a withdrawn revision"
        assert move.revision != state.label, "a move changes something"
        assert state.online or state.label in withdrawn or (state.health is Health.IDLE and move.revision is None), (
            "an offline node is left alone"
        )
        assert move.reason
        if course.target and course.target.withdrawn and not world.revisions.get(course.profile):
            assert move.revision is None
    forward = [(course, move) for course, move in moves if states[move.node].label not in withdrawn]
    waiting = sum(
        one.online and one.health is Health.STARTING and one.label not in withdrawn for one in states.values()
    )
    taken = [move for _, move in forward if move.revision and states[move.node].health is not Health.STARTING]
    assert not taken or waiting + len(taken) <= world.rules.budget, "the budget holds"
    for course in courses:
        _check_variant(world, course, states, withdrawn, waiting + len(taken))


def _check_variant(
    world: World, course: Course, states: dict[str, NodeState], withdrawn: set[str], on_their_way: int
) -> None:
    own = [one for name, one in states.items() if world.devices[name].profile == course.profile and one.online]
    after = {one.name: one.label for one in own} | {move.node: move.revision for move in course.moves}
    assert not set(after.values()) & withdrawn, "nobody stays on a withdrawn revision"
    served = [move for move in course.moves if states[move.node].health is Health.SERVING]
    served = [move for move in served if states[move.node].label not in withdrawn]
    target = course.target
    if served and target:
        failed = sum(one.health is Health.FAILED and one.label == served[0].revision for one in own)
        assert on_their_way + failed <= world.rules.budget, "nodes that failed on a revision count for those that serve"
    if target and not target.withdrawn and not target.proven:
        before = sum(one.label == target.revision for one in own)
        now = sum(after[one.name] == target.revision for one in own)
        assert now <= max(before, world.rules.canary_nodes), "no more canaries than asked for"
    if target and target.withdrawn and not target.proven:
        for move in course.moves:
            current = states[move.node]
            known = {one.revision: one for one in course.revisions}
            stray = current.label in withdrawn or (current.label in known and not known[current.label].proven)
            assert stray or current.health is Health.IDLE, "who runs a proven revision is not touched by a failure"


def random_world(seed: int) -> tuple[World, random.Random]:
    """A fleet of one or two device classes."""
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again, not a secret
    rules = Rules(rng.choice((1, 1, 2, 3)), timedelta(seconds=rng.choice((0, 5, 30))), rng.choice((1, 1, 2, 5)))
    world = World(rules)
    profiles = ["p", "q"][: rng.choice((1, 1, 2))]
    for index in range(rng.randrange(13)):
        world.devices[f"n{index}"] = Device(
            rng.choice(profiles), rng.random() < 0.8, rng.random() < 0.06, delay=rng.choice((1.0, 10.0, 25.0))
        )
    for profile in profiles:
        world.targets[profile] = None
    return world, rng
