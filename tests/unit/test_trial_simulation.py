"""Whole rollouts over simulated fleets whose builds have several finalists and whose servers hold the device."""

from __future__ import annotations

import random
from typing import Any

import pytest
from fleet_life import ROLLOUT, ends_well, grow_old, seeds_of
from fleets import fleet
from rollout_world import World

FINALISTS = ({"int8": 9.0, "fp32": 3.0}, {"int8": 2.0, "fp32": 8.0})


def tried(size: int, rollout: dict[str, Any], *, profiles: tuple[str, ...], seed: int) -> World:
    """A fleet that serves one source; from the next one on, builds have several finalists."""
    world = fleet(size, rollout, profiles=profiles, seed=seed, asking=True)
    world.latencies = dict(FINALISTS[0])
    return world


def another_fast_one(world: World, rng: random.Random) -> None:
    """Now and then the devices measure something else, or a finalist dies there."""
    if rng.random() < 0.2:
        world.latencies = dict(rng.choice(FINALISTS))
        world.deadly = {rng.choice(sorted(world.latencies))} if rng.random() < 0.3 else set()


@pytest.mark.parametrize("batch", range(3))
def test_any_fleet_with_trials_keeps_the_rules_and_ends_on_a_good_revision(batch: int) -> None:
    tries = 0
    seeds = seeds_of(6, batch)
    for seed in seeds:
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = ROLLOUT | {"maxUnavailable": rng.choice((1, 2, "50%"))}
        world = tried(rng.randrange(1, 13), rollout, profiles=rng.choice((("amd64",), ("amd64", "arm64"))), seed=seed)
        world.outage = rng.choice((60.0, 200.0))
        grow_old(world, rng, another_fast_one)
        world.deadly = set()
        for device in world.devices.values():
            device.device = True
        ends_well(world, 500, seed)
        tries += world.started
        own = {one.metadata.name for one in world.profiles}
        for name in {one.name for one in world.nodes.values() if one.labels["device"] in own}:
            assert world.label in world.nodes[name].labels, (seed, name, "it was left without a server")
    assert tries * 6 > len(seeds), "trials took place"


def of_two_profiles(seed: int) -> None:
    """Trials of two profiles, and then two rollouts, of which one node may pull at a time."""
    rollout = ROLLOUT | {"steps": [{"nodes": 1, "bake": "0s"}], "maxUnavailable": "50%", "maxPulling": 1}
    world = fleet(8, rollout, profiles=("amd64", "arm64"), seed=seed)
    world.latencies = dict(FINALISTS[seed % 2])
    world.publish("b")
    for _ in range(120):
        world.pass_()
        world.tick(5)
    assert world.labelled("b") == set(world.nodes), seed
    assert world.started == 2, seed


def test_trials_and_rollouts_of_two_profiles_pull_one_after_the_other() -> None:
    for seed in seeds_of(4):
        of_two_profiles(seed)


def test_a_trial_costs_one_server_at_a_time() -> None:
    for seed in seeds_of(4):
        world = tried(8, ROLLOUT | {"maxUnavailable": 3}, profiles=("amd64",), seed=seed)
        world.publish("b")
        most = 0
        for _ in range(60):
            plan = world.pass_()
            world.tick(10)
            if plan.status.variants[0].state == "Trial":
                most = max(most, sum(not world.serves(name) for name in world.nodes))
        assert (most, world.started) == (1, 1)
        assert world.labelled("b") == set(world.nodes)
