"""Whole rollouts over simulated fleets whose images are large, with disks that are full for a while or for ever."""

from __future__ import annotations

import random

import pytest
from fleet_life import ROLLOUT, any_rollout, ends_well, grow_old, seeds_of
from fleets import fleet_of
from rollout_world import World
from room_world import LACKS, RoomWorld
from simulated_kubelets import BAD
from snapshots import LABEL


def test_full_disks_roll_nothing_back_and_hold_nobody_up() -> None:
    """Some never have room, and a few have it now and then."""
    for seed in seeds_of(4):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = ROLLOUT | {"maxUnavailable": rng.choice((2, "20%")), "maxPulling": rng.choice((None, 1))}
        world = fleet_of(RoomWorld, rng.choice((10, 25)), rollout, seed=seed)
        never = set(rng.sample(sorted(world.devices), len(world.devices) // 10))
        # The canary is the first by its name: its place goes to another one.
        never.add("n0000")
        world.full |= never
        before = {name: world.nodes[name].labels[LABEL] for name in never}
        world.publish("b")
        flaky = [name for name in sorted(world.devices) if name not in never]
        for _ in range(100):
            plan = world.pass_(rng.randrange(12) if rng.random() < 0.2 else None)
            name = rng.choice(flaky)
            (world.full.discard if name in world.full or rng.random() > 0.1 else world.full.add)(name)
            world.tick(rng.choice((5.0, 20.0)))
            assert not world.newest("rolledBack").get("b"), (seed, world.newest("message"))
            assert all(world.serves(name) for name in never), "what has no room keeps its server"
        world.full = set(never)
        for _ in range(90):
            plan = world.pass_()
            world.tick(20)
        message = plan.status.variants[0].message
        assert set(flaky) <= world.labelled("b"), (seed, message)
        assert {name: world.nodes[name].labels[LABEL] for name in never} == before
        assert {(one.name, one.reason) for one in plan.status.pending} == {(name, "DiskFull") for name in never}
        assert all(LACKS in one.message for one in plan.status.pending)
        assert plan.status.nodes.disk_full == len(never)
        assert not world.pulled
        world.full.clear()
        for _ in range(60):
            plan = world.pass_()
            world.tick(20)
        assert world.labelled("b") == set(world.nodes), (seed, plan.status.variants[0].message)
        assert plan.status.variants[0].state == "Complete"


def test_where_every_disk_is_full_the_old_servers_go_on_until_there_is_room() -> None:
    for seed in seeds_of(4):
        world = fleet_of(RoomWorld, 6, ROLLOUT | {"maxUnavailable": 2}, seed=seed)
        world.publish("b")
        world.full = set(world.devices)
        for _ in range(60):
            plan = world.pass_()
            world.tick(20)
            assert all(map(world.serves, world.nodes))
        assert not world.labelled("b")
        assert not world.newest("rolledBack").get("b")
        assert plan.status.nodes.disk_full == 6
        assert world.pulled == []
        world.full.clear()
        world.run_until("Complete")
        assert world.labelled("b") == set(world.nodes)


def test_what_is_rolled_back_is_left_by_nodes_without_room_too() -> None:
    for seed in seeds_of(6):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        world = fleet_of(RoomWorld, 12, ROLLOUT | {"maxUnavailable": 3}, seed=seed)
        world.publish("b", BAD)
        for _ in range(120):
            plan = world.pass_()
            world.tick(20)
            world.full = set(rng.sample(sorted(world.devices), 6))
        assert plan.status.variants[0].state == "RolledBack", (seed, plan.status.variants[0].message)
        assert not world.labelled("b")
        assert all(map(world.serves, world.nodes))


def fill(world: World, rng: random.Random) -> None:
    """A disk gets full, or has room again, now and then."""
    assert isinstance(world, RoomWorld)
    if world.devices and rng.random() < 0.4:
        world.full ^= {rng.choice(sorted(world.devices))}


@pytest.mark.parametrize("batch", range(20, 24))
def test_any_fleet_with_large_images_keeps_the_rules_and_ends_on_a_good_revision(batch: int) -> None:
    for seed in seeds_of(6, batch):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = any_rollout(rng)
        world = fleet_of(RoomWorld, rng.randrange(1, 13), rollout, seed=seed)
        world.outage = rng.choice((60.0, 200.0))
        grow_old(world, rng, fill)
        assert not world.pulled, seed
        world.full.clear()
        ends_well(world, 200, seed)
