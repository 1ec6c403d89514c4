"""An operator that is killed before any of its writes goes on where it was: a rollout ends as one that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pytest
from fleet_life import FLEETS as MANY
from fleets import fleet_of
from rollout_world import World
from simulated_kubelets import BAD, FRAGILE, GOOD
from test_partition_simulation import ZONE

from edgesmith.decide.plan import Move, Plan


@dataclass
class Killed(World):
    """A fleet that knows what was written to its nodes, and is copied as each write finds it that changes something."""

    writes: dict[str, list[tuple[str | None, str | None]]] = field(default_factory=dict)
    """By node: the two labels that it was given, one after the other."""
    copies: list[Killed] | None = None
    """None: none are made."""

    def apply(self, plan: Plan, calls: int | None = None) -> None:
        """Do what a plan says."""
        if self.copies is None:
            super().apply(plan, calls)
            return
        for call in self.calls(plan):
            kept, self.copies = self.copies, None
            found, before = deepcopy(self), self.snapshot()
            call()
            self.copies = kept if before == self.snapshot() else [*kept, found]

    def _move(self, move: Move) -> None:
        super()._move(move)
        self.writes.setdefault(move.node, []).append((move.label, move.next))

    def come_to_rest(self) -> bool:
        """Passes at one moment, each after what the one before it wrote, until nothing is written; whether that is all.

        So the operator does it, too: what it writes wakes it.
        """
        for _ in range(8):
            before = self.snapshot()
            plan = self.pass_()
            if self.snapshot() == before:
                return plan.look_again is None
        raise AssertionError("it writes and writes")

    def moments(self) -> Iterator[None]:
        """Moment after moment, until nothing happens any more."""
        quiet = 0
        while quiet < 3:
            found = self.snapshot()
            over = self.come_to_rest()
            yield
            quiet = quiet + 1 if over and found == self.snapshot() else 0
            self.tick(20)


class Fleet(NamedTuple):
    """A fleet that a revision comes to."""

    rollout: dict[str, Any]
    kind: str = GOOD
    profiles: tuple[str, ...] = ("amd64",)
    fragile: int = 0
    """How many of its six machines fail what is fragile."""
    ends: str = "Complete"


STEPS = {"steps": [{"nodes": 1, "bake": "10s"}, {"nodes": "50%", "bake": "10s"}], "progressDeadline": "2m"}
SURGE = STEPS | {"strategy": "Surge", "maxUnavailable": 2, "maxFailed": 0}
REPLACE = SURGE | {"strategy": "Replace"}
FLEETS = {
    "surge": Fleet(SURGE),
    "replace": Fleet(REPLACE),
    "partitions": Fleet(SURGE | {"partitions": {"label": ZONE, "order": ["lab", "line"], "bake": "30s"}}),
    "a canary that fails": Fleet(SURGE, BAD, ends="RolledBack"),
    "a canary that fails beside the old server": Fleet(REPLACE, BAD, ends="RolledBack"),
    "too many that fail": Fleet(SURGE, FRAGILE, fragile=3, ends="RolledBack"),
    "one pull at a time": Fleet(REPLACE | {"maxPulling": 1}),
    "two profiles": Fleet(REPLACE | {"maxUnavailable": "50%"}, profiles=("amd64", "amd64", "arm64")),
}
AT_ONCE = FLEETS.keys() - {"one pull at a time"}
"""A node that a killed operator switched counts as one that pulls until its new pod says that the image is there."""
EACH = max(1, round(0.3 / MANY))
"""Of the operators that are killed and started at once, each so many-th is looked at."""


def begun(one: Fleet) -> Killed:
    """A fleet of six nodes to which a revision is to come."""
    world = fleet_of(Killed, 6, one.rollout, profiles=one.profiles)
    for number, (name, node) in enumerate(world.nodes.items()):
        world.nodes[name] = replace(node, labels={**node.labels, ZONE: ("lab", "line")[number % 2]})
        world.devices[name].fragile = number >= len(world.nodes) - one.fragile
    for _ in world.moments():
        pass
    world.writes.clear()
    world.publish("b", one.kind)
    return world


def outcome(world: Killed) -> dict[str, Any]:
    """What a rollout came to, without when that was."""
    times, status = ("provenTime", "partitionTime", "completedTime", "rolledBack"), world.edge_model.status
    return {
        "labels": {name: node.labels for name, node in world.nodes.items()},
        "servers": {name: server.runs for name, server in world.servers.items()},
        "sets": [sorted(world.revisions), sorted(world.staging), sorted(world.holding), sorted(world.jobs)],
        "variants": status["variants"],
        "revisions": [one | {time: bool(one.get(time)) for time in times} for one in status["revisions"]],
        "events": world.events,
    }


@pytest.mark.parametrize("name", sorted(AT_ONCE))
def test_an_operator_that_is_killed_before_any_write_and_started_at_once_writes_the_rest(name: str) -> None:
    """All that it wrote is as it would be: what follows is so as well, since no machine saw a difference."""
    world, killed = begun(FLEETS[name]), 0
    world.copies = []
    for _ in world.moments():
        copies, world.copies = world.copies, None
        for copy in copies:
            killed += 1
            if killed % EACH:
                continue
            copy.come_to_rest()
            assert copy.snapshot() == world.snapshot(), killed
            assert (copy.writes, copy.events) == (world.writes, world.events), killed
        world.copies = []
    assert {one["state"] for one in world.edge_model.status["variants"]} == {FLEETS[name].ends}
    assert killed > 10, "it was to be killed more often"


# Where machines fail one after the other, more of them have failed when it looks again.
@pytest.mark.parametrize("name", sorted(FLEETS.keys() - {"too many that fail"}))
def test_one_that_is_down_for_a_while_comes_to_the_same_end(name: str) -> None:
    """No node is given anything that it was not given there; those that it comes to later may be given less of it."""
    world = begun(FLEETS[name])
    copies = world.copies = []
    for _ in world.moments():
        copies = world.copies
    world.copies = None
    for number, copy in enumerate(copies[:: max(1, round(2 / MANY))]):
        copy.tick(45)
        for _ in copy.moments():
            pass
        assert outcome(copy) == outcome(world), number
        given = {node: writes for node, writes in copy.writes.items() if writes != world.writes.get(node)}
        assert not given, (number, given, world.writes)
        assert copy.writes.keys() == world.writes.keys() or FLEETS[name].ends != "Complete", number
