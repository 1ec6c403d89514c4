"""Whole rollouts over simulated fleets whose servers ask for a device."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from fleet_life import ROLLOUT, any_rollout, ends_well, grow_old, seeds_of
from fleets import ASKING, fleet
from rollout_world import World
from simulated_kubelets import UNPLUGS
from snapshots import LABEL, model, profile


def test_devices_that_come_and_go_roll_nothing_back_and_hold_nobody_up() -> None:
    """Some nodes never have the device, and a few lose and gain it all the time."""
    for seed in seeds_of(8):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = ROLLOUT | {"maxUnavailable": rng.choice((2, "20%")), "maxFailed": rng.choice((1, "10%"))}
        world = fleet(rng.choice((10, 40)), rollout, seed=seed, asking=True)
        never = set(rng.sample(sorted(world.devices), len(world.devices) // 10))
        for name in never:
            world.devices[name].device = False
        world.tick(20)
        before = {name: world.nodes[name].labels[LABEL] for name in never}
        world.publish("b")
        flaky = [name for name in sorted(world.devices) if name not in never]
        for _ in range(150):
            plan = world.pass_(rng.randrange(12) if rng.random() < 0.2 else None)
            name = rng.choice(flaky)
            world.devices[name].device = not world.devices[name].device if rng.random() < 0.1 else True
            world.tick(rng.choice((5.0, 20.0)))
            assert not world.newest("rolledBack").get("b"), (seed, world.newest("message"))
        for name in flaky:
            world.devices[name].device = True
        plan = world.settle(60)
        message = plan.status.variants[0].message
        assert {name: world.nodes[name].labels[LABEL] for name in never} == before, "what has no device is not moved"
        assert set(flaky) <= world.labelled("b"), (seed, message)
        assert all(world.serves(name) for name in flaky), (seed, message)
        assert {one.name for one in plan.status.pending} == never
        assert plan.status.nodes.device_missing == len(never)
        for name in never:
            world.devices[name].device = True
        world.tick(20)
        world.run_until("Complete")
        assert world.labelled("b") == set(world.nodes)


def test_a_revision_that_takes_its_devices_away_touches_one_more_than_its_canaries() -> None:
    for seed in seeds_of(5):
        world = fleet(20, ROLLOUT | {"maxUnavailable": 2}, seed=seed, asking=True)
        world.publish("b", UNPLUGS)
        plan = world.run_until("RolledBack", "RollingBack", limit=100)
        assert len(world.touched["b"]) == 2, (seed, world.touched["b"])
        assert world.newest("reason")["b"] == "CanaryLost"
        assert "lost squat.ai/edgetpu" in plan.status.variants[0].message


def test_sticks_with_another_address_after_their_first_use_roll_nothing_back() -> None:
    """The self-test is the first use, of the first revision and when a machine comes back: one more pod for each."""
    for seed in seeds_of(4):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = ROLLOUT | {"maxUnavailable": rng.choice((2, "20%"))}
        world = World(edge_model=model(rollout=rollout), profiles=(profile("amd64", **ASKING),))
        for number in range(rng.choice((5, 20))):
            world.add(f"n{number:02}", delay=rng.choice((5.0, 25.0)), stick=True, unused=True)
        world.publish("a")
        world.run_until("Complete")
        assert world.remade == len(world.devices), (seed, world.newest("message"))
        cut = rng.sample(sorted(world.devices), len(world.devices) // 5)
        for name in cut:
            device = world.devices[name]
            device.power, device.back = False, world.now + timedelta(seconds=200)
        world.settle(60)
        world.publish("b")
        world.run_until("Complete")
        assert all(world.serves(name) for name in world.nodes), seed
        assert world.labelled("b") == set(world.nodes), (seed, world.newest("message"))
        assert not any(world.newest("rolledBack").values()), (seed, world.newest("message"))
        assert world.remade == len(world.devices) + len(cut), seed


def unplug(world: World, rng: random.Random) -> None:
    """A device comes or goes, now and then."""
    if world.devices and rng.random() < 0.4:
        device = world.devices[rng.choice(sorted(world.devices))]
        device.device = not device.device


@pytest.mark.parametrize("batch", range(8, 12))
def test_any_fleet_whose_servers_ask_for_a_device_keeps_the_rules_and_ends_on_a_good_revision(batch: int) -> None:
    for seed in seeds_of(6, batch):
        _any_fleet(seed)


def test_a_node_that_lost_its_device_long_ago_holds_nobody_up() -> None:
    """It went NotReady meanwhile and is back; `maxFailed` is 0."""
    _any_fleet(62)


def _any_fleet(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    rollout = any_rollout(rng)
    world = fleet(rng.randrange(1, 13), rollout, seed=seed, asking=True)
    world.outage = rng.choice((60.0, 200.0))
    grow_old(world, rng, unplug)
    for device in world.devices.values():
        device.device = True
    ends_well(world, 200, seed)
