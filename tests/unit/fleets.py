"""Simulated fleets of so many nodes that serve something already."""

from __future__ import annotations

import random
from typing import Any, TypeVar

from rollout_world import DEVICE, World
from snapshots import model, profile

ASKING = {"runtime": {"resources": {"limits": {DEVICE: 1}}}}
"""What a profile has whose servers ask for a device."""
Made = TypeVar("Made", bound=World)


def fleet(
    size: int,
    rollout: dict[str, Any],
    *,
    profiles: tuple[str, ...] = ("amd64",),
    seed: int = 0,
    asking: bool = False,
) -> World:
    """A fleet that serves source `a` on every node; its servers ask for a device where `asking`.

    Nodes are of the profiles in turn; one that is named several times has so many more. Fleets with an odd seed have
    the strategy Replace, where `rollout` says nothing of it.
    """
    return fleet_of(World, size, rollout, profiles=profiles, seed=seed, asking=asking)


def fleet_of(
    kind: type[Made],
    size: int,
    rollout: dict[str, Any],
    *,
    profiles: tuple[str, ...] = ("amd64",),
    seed: int = 0,
    asking: bool = False,
) -> Made:
    """The same of a kind of world."""
    more = ASKING if asking else {}
    rollout = {"strategy": ("Surge", "Replace")[seed % 2]} | rollout
    world = kind(
        edge_model=model(rollout=rollout), profiles=tuple(profile(name, **more) for name in dict.fromkeys(profiles))
    )
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again, not a secret
    for index in range(size):
        world.add(f"n{index:04}", profiles[index % len(profiles)], delay=rng.choice((5.0, 10.0, 25.0)))
    world.publish("a", rollout=rollout | {"maxUnavailable": "100%"})
    world.run_until("Complete", "NoNodes")
    world.publish("a", rollout=rollout)
    return world
