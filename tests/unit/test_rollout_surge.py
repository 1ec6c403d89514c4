"""Simulated rollouts with Surge and Replace, asked of the machines and not of what the API server knows of them."""

from __future__ import annotations

import random

import pytest
from fleet_life import ROLLOUT, seeds_of
from fleets import fleet
from simulated_kubelets import BAD, FRAGILE, GOOD
from snapshots import NEXT


@pytest.mark.parametrize("kind", [GOOD, BAD, FRAGILE])
def test_with_surge_no_machine_is_ever_without_a_server(kind: str) -> None:
    """Asked of the machines, not of what the API server knows: links flap, and the operator is killed."""
    for seed in seeds_of(2):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        rollout = {"maxUnavailable": rng.choice((1, "20%")), "strategy": "Surge"}
        world = fleet(20, ROLLOUT | rollout, seed=seed)
        for name in sorted(world.devices)[::3]:
            world.devices[name].fragile = True
        world.publish("b", kind)
        for _ in range(120):
            plan = world.pass_(rng.randrange(9) if rng.random() < 0.3 else None)
            for device in world.devices.values():
                device.link = device.link if rng.random() < 0.97 else not device.link
            for _ in range(rng.choice((1, 4))):
                world.tick(5.0)
                dark = [name for name in world.nodes if not world.serves(name)]
                assert not dark, (seed, dark, [one.message for one in plan.status.variants])
        for device in world.devices.values():
            device.link = True
        world.tick(20)
        world.run_until("Complete" if kind == GOOD else "RolledBack")
        assert len(world.labelled("b" if kind == GOOD else "a")) == 20


def test_with_replace_no_more_machines_are_without_a_server_than_may_be() -> None:
    """A server ends once the next one is tested, so a revision that fails its self-test ends none."""
    for seed in seeds_of(3):
        for kind in (GOOD, BAD):
            world = fleet(20, ROLLOUT | {"maxUnavailable": 3, "strategy": "Replace"}, seed=seed)
            world.publish("b", kind)
            most = 0
            for _ in range(120):
                world.pass_()
                for _ in range(4):
                    world.tick(5.0)
                    most = max(most, sum(not world.serves(name) for name in world.nodes))
            assert most == (3 if kind == GOOD else 0)
            assert len(world.labelled("b" if kind == GOOD else "a")) == 20


@pytest.mark.parametrize("away", [30.0, 600.0])
def test_a_node_that_goes_between_staging_and_switching_blocks_nobody(away: float) -> None:
    for seed in range(2):
        world = fleet(20, ROLLOUT, seed=seed)
        world.publish("b")
        while not any(NEXT in one.labels for one in world.nodes.values()):
            world.pass_()
            world.tick(5.0)
        (staged,) = (name for name, one in world.nodes.items() if NEXT in one.labels)
        world.devices[staged].link = False
        world.tick(away)
        plan = world.pass_()
        if away > 40:
            assert staged not in {move.node for move in plan.moves}, "it is NotReady"
        world.run_until("Complete", "RollingOut")
        for _ in range(120):
            world.pass_()
            world.tick(20)
        assert world.labelled("b") >= set(world.nodes) - {staged}
        world.devices[staged].link = True
        world.tick(20)
        world.run_until("Complete")
        assert world.labelled("b") == set(world.nodes)
