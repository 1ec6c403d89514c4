"""Simulated fleets with many nodes of one profile and few of others: a percentage holds for the few as well."""

from __future__ import annotations

import random

import pytest
from fleet_life import ROLLOUT, ends_well, grow_old, seeds_of
from fleets import fleet
from simulated_kubelets import BAD, GOOD

PROFILES = ("amd64",) * 6 + ("arm64", "coral")
"""Of eight nodes one is of each of the small profiles."""


@pytest.mark.parametrize("kind", [GOOD, BAD])
def test_a_profile_of_four_nodes_is_without_one_server_at_most_while_a_large_one_is_without_more(kind: str) -> None:
    """Asked of the machines: a quarter of four nodes is one, and a quarter of 32 is eight."""
    for seed in seeds_of(2):
        rollout = {"steps": [{"nodes": 1}], "maxUnavailable": "25%", "maxFailed": 0, "strategy": "Replace"}
        world = fleet(32, ROLLOUT | rollout, profiles=PROFILES, seed=seed)
        world.publish("b", kind)
        most = dict.fromkeys(PROFILES, 0)
        for _ in range(150):
            world.pass_()
            for _ in range(4):
                world.tick(5.0)
                for profile in most:
                    own = [name for name, node in world.nodes.items() if node.labels["device"] == profile]
                    most[profile] = max(most[profile], sum(not world.serves(name) for name in own))
        large = most.pop("amd64")
        assert most == dict.fromkeys(("arm64", "coral"), int(kind == GOOD))
        assert 3 <= large <= 6 if kind == GOOD else large == 0
        assert len(world.labelled("b" if kind == GOOD else "a")) == 32


def test_what_a_node_waits_for_is_said_of_its_profile() -> None:
    world = fleet(32, ROLLOUT | {"maxUnavailable": "25%", "strategy": "Surge"}, profiles=PROFILES)
    world.publish("b")
    words = "As many nodes of DeviceProfile arm64 as spec.rollout.maxUnavailable allows (1) are without a ready server."
    for _ in range(100):
        plan = world.pass_()
        world.tick(5.0)
        if words in {one.message for one in plan.pending}:
            return
    pytest.fail("no node of the profile waited")


@pytest.mark.parametrize("batch", range(3))
def test_any_fleet_keeps_the_rules_and_ends_on_a_good_revision(batch: int) -> None:
    for seed in seeds_of(4, batch):
        of_small_profiles(seed)


def of_small_profiles(seed: int) -> None:
    """The life of a fleet."""
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    rollout = ROLLOUT | {
        "steps": [{"nodes": rng.choice((1, "50%")), "bake": "30s"}],
        "maxUnavailable": rng.choice(("20%", "30%", "50%")),
        "maxFailed": rng.choice((0, 1, "20%")),
    }
    world = fleet(rng.choice((9, 16, 24)), rollout, profiles=PROFILES, seed=seed)
    world.outage = rng.choice((60.0, 200.0))
    grow_old(world, rng)
    ends_well(world, 500, seed)
