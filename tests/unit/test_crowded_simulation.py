"""Whole rollouts over simulated fleets to which everything happens at once: trials, full disks, pressure, crashes.

Links and power come and go so often that nodes are late and canaries are lost beside many others, servers end by
themselves, disks are full or under pressure, and the API server refuses some of what the operator writes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from fleet_life import crash, ends_well, flap, grow_old, press, seeds_of
from fleets import fleet_of
from rollout_world import World
from room_world import RoomWorld
from shared_fleet import ends_well_together, grow_old_together, profiles_of, shared_of
from test_combined_simulation import combined, zoned
from test_device_simulation import unplug
from test_room_simulation import fill
from test_trial_simulation import FINALISTS, another_fast_one

FOUND = (51, 56, 73, 77, 79, 86, 100, 103, 112, 126, 163, 179)
"""Seeds with which longer runs showed a fault."""
Trouble = Callable[[World, random.Random], None]


def all_of(*troubles: Trouble) -> Trouble:
    """Everything that happens between two passes."""

    def happen(world: World, rng: random.Random) -> None:
        for trouble in troubles:
            trouble(world, rng)

    return happen


def often(share: float) -> Trouble:
    """Nodes come and go so that about this share of them is away."""
    return lambda world, rng: flap(world, rng, share)


def troubles(rng: random.Random, *, asking: bool, trying: bool) -> Trouble:
    """Some of what can happen."""
    chosen: list[Trouble] = [zoned]
    chosen += [often(rng.choice((0.1, 0.4)))] if rng.random() < 0.6 else []
    chosen += [one for one in (press, crash, fill) if rng.random() < 0.5]
    chosen += [unplug] if asking and rng.random() < 0.5 else []
    chosen += [another_fast_one] if trying else []
    return all_of(*chosen)


def calm(worlds: list[RoomWorld]) -> None:
    """Nothing happens any more."""
    for world in worlds:
        assert not world.pulled
        world.spotty, world.deadly = None, set()
        world.full.clear()
    for name, one in worlds[0].nodes.items():
        worlds[0].nodes[name] = type(one)(name, one.labels, one.ready, (), one.records)
    for device in worlds[0].devices.values():
        device.device = True


def crowded(seed: int, sizes: range = range(1, 13), rollout: Mapping[str, Any] = MappingProxyType({})) -> None:
    """The life of a fleet of one EdgeModel."""
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    asking, trying = rng.random() < 0.3, rng.random() < 0.5
    profiles = rng.choice((("amd64",), ("amd64", "arm64")))
    size, chosen = rng.choice(sizes), {**combined(rng), **rollout}
    world = fleet_of(RoomWorld, size, chosen, profiles=profiles, seed=seed, asking=asking)
    world.outage, world.dies_staged = rng.choice((60.0, 200.0)), seed % 3 == 0
    world.latencies = dict(FINALISTS[0]) if trying else {}
    world.spotty = rng if seed % 2 else None
    grow_old(world, rng, troubles(rng, asking=asking, trying=trying))
    calm([world])
    ends_well(world, 700, seed)


def crowded_at_size(seed: int) -> None:
    """The same of a fleet in which a percentage is more than one node, and not a whole number of them."""
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    rollout = {
        "maxUnavailable": rng.choice(("7%", "15%", "34%")),
        "maxFailed": rng.choice(("3%", "10%")),
        "maxPulling": rng.choice(("5%", "20%", None)),
    }
    crowded(seed, range(40, 101), rollout)


def crowded_together(seed: int) -> None:
    """The life of a fleet that several EdgeModels share."""
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    names = ("parts", "anomaly", "counter")[: rng.choice((2, 3))]
    rollouts = {name: combined(rng) | {"priority": rng.choice((0, 0, 5))} for name in names}
    worlds = shared_of(RoomWorld, rng.randrange(2, 13), rollouts, seed=seed, profiles=profiles_of(rng, names))
    for world in worlds:
        world.full = worlds[0].full
        world.latencies = dict(FINALISTS[0]) if rng.random() < 0.4 else {}
        world.spotty = rng if seed % 2 else None
    zoned(worlds[0], rng)
    grow_old_together(worlds, rng, troubles(rng, asking=False, trying=False))
    calm(worlds)
    ends_well_together(worlds, rng, 1000, seed)


@pytest.mark.parametrize("batch", range(3))
def test_any_fleet_keeps_the_rules_whatever_happens_at_once(batch: int) -> None:
    for seed in seeds_of(6, batch):
        crowded(seed)


def test_so_do_those_that_once_showed_a_fault() -> None:
    for seed in FOUND:
        crowded(seed)


def test_so_does_a_fleet_of_dozens_of_nodes() -> None:
    for seed in seeds_of(4):
        crowded_at_size(seed)


@pytest.mark.parametrize("batch", range(2))
def test_so_do_several_edge_models(batch: int) -> None:
    for seed in seeds_of(3, batch):
        crowded_together(seed)
