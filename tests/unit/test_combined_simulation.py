"""Whole rollouts over simulated fleets with what the other simulations have one at a time, and several EdgeModels."""

from __future__ import annotations

import random
from typing import Any

import pytest
from fleet_life import ROLLOUT, ends_well, grow_old, seeds_of
from fleets import fleet
from rollout_world import World
from shared_fleet import ends_well_together, grow_old_together, profiles_of, shared
from test_partition_simulation import ZONE, ZONES, parted


def zoned(world: World, rng: random.Random) -> None:
    """Every node that is new gets a zone, or none; a part of the machines fail what is fragile."""
    new = [name for name, one in world.nodes.items() if ZONE not in one.labels]
    parted(world, rng)
    for name in new:
        world.devices[name].fragile = rng.random() < 0.3


def combined(rng: random.Random) -> dict[str, Any]:
    """A rollout with some of all there is."""
    lab = {"nodes": rng.choice((1, 2, "50%")), "bake": "30s", "nodeSelector": {ZONE: "lab"}}
    plain = {"nodes": rng.choice((1, "30%")), "bake": rng.choice(("0s", "30s"))}
    found: dict[str, Any] = ROLLOUT | {
        "steps": rng.choice(([lab, plain], [plain, lab], [lab], [plain, {"nodes": "60%", "bake": "30s"}])),
        "maxUnavailable": rng.choice((1, 2, "50%")),
        "maxFailed": rng.choice((0, 1, "20%")),
        "maxPulling": rng.choice((1, 3, None)),
        "jitter": rng.choice(("0s", "0s", "1m")),
        "strategy": rng.choice(("Surge", "Replace")),
        "holdPrevious": rng.random() < 0.7,
    }
    if rng.random() < 0.6:
        order = rng.sample(ZONES[:3], rng.randrange(4))
        found["partitions"] = {"label": ZONE, "order": order, "bake": rng.choice(("0s", "30s", "5m"))}
    return found


@pytest.mark.parametrize("batch", range(2))
def test_any_fleet_keeps_the_rules_whatever_is_combined(batch: int) -> None:
    for seed in seeds_of(6, batch):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        profiles = rng.choice((("amd64",), ("amd64", "arm64")))
        world = fleet(rng.randrange(1, 13), combined(rng), profiles=profiles, seed=seed)
        world.outage, world.dies_staged = rng.choice((60.0, 200.0)), seed % 3 == 0
        grow_old(world, rng, zoned)
        ends_well(world, 400, seed)


@pytest.mark.parametrize("batch", range(2))
def test_several_edge_models_keep_them_too(batch: int) -> None:
    for seed in seeds_of(3, batch):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        names = ("parts", "anomaly", "counter")[: rng.choice((2, 3))]
        worlds = shared(
            rng.randrange(2, 10),
            {name: combined(rng) | {"priority": rng.choice((0, 0, 5))} for name in names},
            seed=seed,
            profiles=profiles_of(rng, names),
        )
        zoned(worlds[0], rng)
        grow_old_together(worlds, rng, zoned)
        ends_well_together(worlds, rng, 800, seed)
