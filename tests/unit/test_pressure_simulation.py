"""Simulated fleets whose disks come under pressure: kubelets end pods and admit none; the others go on with care."""

from __future__ import annotations

import random
from typing import Any

import pytest
from fleet_life import ROLLOUT, press, seeds_of, under_pressure
from fleets import fleet
from rollout_world import World


def fills(world: World, digit: str) -> None:
    """Every server of a source has filled its disk by now."""
    for name in sorted(world.labelled(digit)):
        if world.serves(name) and not world.nodes[name].taints:
            under_pressure(world, name)


@pytest.mark.parametrize("strategy", ["Surge", "Replace"])
def test_a_revision_that_fills_disks_after_its_bakes_does_not_walk_through_the_fleet(strategy: str) -> None:
    for seed in seeds_of(2):
        more: dict[str, Any] = {"maxUnavailable": 2, "maxFailed": 1, "strategy": strategy}
        world = fleet(20, ROLLOUT | more, seed=seed)
        world.publish("b")
        for _ in range(120):
            world.pass_()
            if world.newest("provenTime").get("b"):
                fills(world, "b")
            world.tick(20)
        # Of two that have filled their disks one is left out, and two more start before they have.
        assert sum(map(world.serves, world.nodes)) >= 20 - 5, seed
        assert not world.newest("completedTime").get("b")
        world.publish("c")
        for _ in range(60):
            world.pass_()
            world.tick(20)
        there = {name for name, one in world.nodes.items() if not one.taints}
        assert there <= world.labelled("c"), (seed, "what mends it goes to all others")


@pytest.mark.parametrize("strategy", ["Surge", "Replace"])
def test_pressure_here_and_there_rolls_nothing_back_and_holds_nobody_up(strategy: str) -> None:
    for seed in seeds_of(3):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        world = fleet(rng.choice((10, 30)), ROLLOUT | {"maxUnavailable": "20%", "strategy": strategy}, seed=seed)
        world.publish("b")
        for _ in range(200):
            press(world, rng)
            plan = world.pass_(rng.randrange(12) if rng.random() < 0.2 else None)
            world.tick(20)
            assert not world.newest("rolledBack").get("b"), (seed, world.newest("message"))
        assert world.newest("completedTime").get("b"), (seed, plan.status.variants[0].message)
