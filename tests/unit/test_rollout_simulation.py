"""Whole rollouts over random fleets: nodes come and go, specs change, the operator is killed between any two calls."""

from __future__ import annotations

import os
import random

import pytest
from rollout_world import Device, World, check, random_world

from edgesmith.decide.rollout import Health, Phase

BATCHES = 10
FLEETS = 70 * int(os.environ.get("EDGESMITH_FLEETS", "1"))
"""Fleets per batch; EDGESMITH_FLEETS=20 is a soak of minutes."""


def disturb(world: World, rng: random.Random, serial: int) -> None:
    """Something that happens in the life of a fleet."""
    event = rng.random()
    names = sorted(world.devices)
    if event < 0.30 and names:
        device = world.devices[rng.choice(names)]
        device.online = not device.online
    elif event < 0.45:
        profile = rng.choice(sorted(world.targets))
        revision = f"{profile}{serial}"
        kind = rng.random()
        if kind < 0.3:
            world.bad.add(revision)
        elif kind < 0.45:
            world.fragile.add(revision)
        earlier = sorted(world.revisions.get(profile, {}))
        world.publish(profile, rng.choice(earlier) if earlier and rng.random() < 0.2 else revision)
    elif event < 0.50:
        world.targets[rng.choice(sorted(world.targets))] = None
    elif event < 0.55:
        world.devices[f"n{100 + serial}"] = Device(rng.choice(sorted(world.targets)))
    elif event < 0.58 and names:
        del world.devices[rng.choice(names)]
    elif event < 0.61 and names:
        world.devices[rng.choice(names)].profile = rng.choice(sorted(world.targets))


def live(world: World, rng: random.Random) -> None:
    """A stretch of a fleet's life; a third of all passes is cut short."""
    for serial in range(rng.randrange(5, 40)):
        disturb(world, rng, serial)
        courses = world.plan()
        check(world, courses)
        calls = sum(1 for _ in world.writes(courses))
        world.apply(courses, rng.randrange(calls + 1) if rng.random() < 0.33 else None)
        world.tick(rng.choice((0.5, 3.0, 12.0, 40.0)))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_any_fleet_keeps_the_rules_and_comes_to_rest(batch: int) -> None:
    for seed in range(batch * FLEETS, (batch + 1) * FLEETS):
        world, rng = random_world(seed)
        live(world, rng)
        world.settle()


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_good_revision_reaches_every_reachable_node_whatever_happened_before(batch: int) -> None:
    for seed in range(batch * FLEETS, (batch + 1) * FLEETS):
        world, rng = random_world(seed)
        for device in world.devices.values():
            device.broken = False
        live(world, rng)
        for profile in world.targets:
            world.publish(profile, f"{profile}-good")
        for course in world.settle():
            own = {name: one for name, one in world.devices.items() if one.profile == course.profile}
            online = [name for name, one in own.items() if one.online]
            labels = [(name, own[name].label, world.state(name).health) for name in online]
            assert all(label == f"{course.profile}-good" for _, label, _ in labels), (seed, labels)
            assert all(health is Health.SERVING for _, _, health in labels)
            assert not online or course.phase is Phase.COMPLETE


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_bad_revision_is_taken_back_and_the_one_before_serves(batch: int) -> None:
    for seed in range(batch * FLEETS, (batch + 1) * FLEETS):
        world, rng = random_world(seed)
        for device in world.devices.values():
            device.broken = False
        for profile in world.targets:
            world.publish(profile, f"{profile}-good")
        world.settle()
        before = {name: device.label for name, device in world.devices.items()}
        for profile in world.targets:
            world.bad.add(f"{profile}-bad")
            world.publish(profile, f"{profile}-bad")
        touched: set[str] = set()
        for _ in range(rng.randrange(30)):
            courses = world.plan()
            check(world, courses)
            touched |= {move.node for course in courses for move in course.moves}
            world.apply(courses)
            world.tick(9)
        for course in world.settle():
            online = [one for one in world.devices.values() if one.profile == course.profile and one.online]
            assert all(one.label == f"{course.profile}-good" for one in online)
            assert not online or course.phase is Phase.ROLLED_BACK
        assert len(touched) <= world.rules.canary_nodes * len(world.targets)
        assert {name: device.label for name, device in world.devices.items()} == before


def test_a_device_that_comes_back_after_a_withdrawal_never_starts_what_was_withdrawn() -> None:
    world = World(random_world(0)[0].rules)
    world.devices = {f"n{index}": Device("p") for index in range(4)}
    world.publish("p", "good")
    world.settle()
    world.bad.add("bad")
    world.publish("p", "bad")
    while world.devices["n0"].label != "bad":
        world.apply(world.plan())
    world.devices["n0"].online = False  # it went away with the label on it
    world.devices["n1"].label = "bad"
    world.tick(1)
    world.tick(60)
    world.apply(world.plan())
    assert world.devices["n0"].label == "good"
