"""Whole sites of a simulated fleet that lose their uplink, and return after what they run was rolled back."""

from __future__ import annotations

import random

import pytest
from fleet_life import ROLLOUT, seeds_of
from fleets import fleet
from rollout_world import World
from simulated_kubelets import FRAGILE


def cut_off(world: World, share: float) -> list[str]:
    """A site loses its uplink; its servers go on."""
    site = sorted(world.devices)[: int(len(world.devices) * share)]
    for name in site:
        world.devices[name].link = False
    world.tick(60)
    world.pass_()
    assert all(world.serves(name) for name in world.nodes)
    return site


def returns(world: World, site: list[str]) -> int:
    """The uplink is back: the least machines that serve from then on."""
    for name in site:
        world.devices[name].link = True
    least = len(world.nodes)
    for _ in range(200):
        world.tick(5)
        least = min(least, sum(world.serves(name) for name in world.nodes))
        plan = world.pass_()
    assert all(one.state in {"Complete", "RolledBack"} for one in plan.status.variants)
    assert world.labelled("a") == set(world.nodes)
    assert all(world.serves(name) for name in world.nodes)
    return least


@pytest.mark.parametrize("strategy", ["Surge", "Replace"])
def test_a_site_that_returns_after_a_rollback_goes_back_within_max_unavailable(strategy: str) -> None:
    for seed in seeds_of(2):
        world = fleet(20, ROLLOUT | {"maxUnavailable": 2, "strategy": strategy}, seed=seed)
        world.publish("b")
        world.run_until("Complete")
        site = cut_off(world, 0.5)
        world.ask(rollbackTo=[{"from": world.asked("b")[0], "revision": world.asked("a")[0]}])
        for _ in range(40):
            world.pass_()
            world.tick(20)
        assert returns(world, site) >= (20 if strategy == "Surge" else 18), seed


@pytest.mark.parametrize("strategy", ["Surge", "Replace"])
def test_so_does_one_whose_revision_was_rolled_back_for_failures_elsewhere(strategy: str) -> None:
    for seed in seeds_of(2):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = ROLLOUT | {"maxUnavailable": 2, "strategy": strategy}
        world = fleet(40, rollout, seed=seed)
        bad = rng.sample(sorted(world.devices)[20:], 6)
        for name in bad:
            world.devices[name].fragile = True
        world.publish("b", FRAGILE)
        while len(world.labelled("b")) < 20:
            world.pass_()
            world.tick(20)
        # The rest waits, so that the site has served the revision for long.
        world.ask(paused=True)
        for _ in range(40):
            world.pass_()
            world.tick(20)
        site = cut_off(world, 0.5)
        world.ask(paused=False)
        world.run_until("RolledBack")
        assert world.newest("reason")["b"] == "NodesFailed", seed
        assert returns(world, site) >= (40 if strategy == "Surge" else 38), seed
