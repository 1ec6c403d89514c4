"""Whole rollouts over simulated fleets that go line by line and site by site."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from fleet_life import ROLLOUT, ends_well, flap, grow_old, seeds_of
from fleets import fleet
from rollout_world import World
from simulated_kubelets import BAD, FRAGILE, GOOD

ZONE = "zone"
ZONES = ("lab", "line-1", "line-2", "")


def parted(world: World, rng: random.Random) -> None:
    """Every node that is new gets a zone, or none."""
    for name, one in world.nodes.items():
        if ZONE not in one.labels:
            world.nodes[name] = replace(one, labels={**one.labels, ZONE: rng.choice(ZONES)})


def rollout(rng: random.Random) -> dict[str, Any]:
    order = rng.sample(ZONES[:3], rng.randrange(4))
    parting = {"label": ZONE, "order": order, "bake": rng.choice(("0s", "30s", "5m"))}
    pulling: dict[str, Any] = {"maxPulling": rng.choice((1, 2, None)), "jitter": rng.choice(("0s", "1m", "4m"))}
    return ROLLOUT | {"maxUnavailable": rng.choice((1, 2, "50%")), "partitions": parting} | pulling


def by_partitions(seed: int) -> None:
    """The life of a fleet of any shape that goes by partitions."""
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    world = fleet(rng.randrange(1, 13), rollout(rng), profiles=rng.choice((("amd64",), ("amd64", "arm64"))), seed=seed)
    world.outage, world.dies_staged = rng.choice((60.0, 200.0)), seed % 3 == 0
    grow_old(world, rng, parted)
    ends_well(world, 300, seed)


@pytest.mark.parametrize("kind", [GOOD, FRAGILE])
def test_a_fleet_is_gone_through_site_by_site_while_links_flap(kind: str) -> None:
    for seed in seeds_of(4):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        world = fleet(rng.choice((20, 60)), rollout(rng) | {"maxUnavailable": "10%"}, seed=seed)
        parted(world, rng)
        for name in rng.sample(sorted(world.devices), 2):
            world.devices[name].fragile = True
        world.publish("b", kind)
        for _ in range(300):
            calls = rng.randrange(12) if rng.random() < 0.2 else None
            plan = world.pass_(calls)
            flap(world, rng, 0.1, power=0)
            world.tick(20)
            if calls is None and plan.status.variants[0].state in {"Complete", "RolledBack", "Degraded"}:
                break
        assert plan.status.variants[0].state != "RollingOut", (seed, plan.status.variants[0].message)
        if kind == GOOD:
            assert world.newest("completedTime").get("b"), (seed, plan.status.variants[0].message)


def test_sites_that_cannot_be_reached_block_nobody_and_are_gone_through_when_they_return() -> None:
    for seed in seeds_of(4):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        world = fleet(20, rollout(rng), seed=seed)
        parted(world, rng)
        away = {name for name, one in world.nodes.items() if one.labels[ZONE] in rng.sample(ZONES, 2)}
        for name in away:
            world.devices[name].link = False
        world.tick(60)
        world.publish("b")
        for _ in range(200):
            world.pass_()
            world.tick(20)
            if world.labelled("b") == set(world.nodes) - away:
                break
        assert world.labelled("b") == set(world.nodes) - away, seed
        for name in away:
            world.devices[name].link = True
        world.tick(20)
        world.run_until("Complete")
        assert world.labelled("b") == set(world.nodes)


def test_a_bad_revision_is_found_in_the_first_site() -> None:
    for seed in seeds_of(4):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        world = fleet(30, ROLLOUT | {"partitions": {"label": ZONE, "order": ["lab"]}}, seed=seed)
        parted(world, rng)
        world.publish("b", BAD)
        world.run_until("RolledBack")
        assert {world.nodes[name].labels[ZONE] for name in world.touched["b"]} == {"lab"}


@pytest.mark.parametrize("batch", range(2))
def test_any_fleet_goes_by_partitions_and_ends_on_a_good_revision(batch: int) -> None:
    for seed in seeds_of(8, batch):
        by_partitions(seed)
