"""Whole rollouts of several EdgeModels over the same simulated nodes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from fleet_life import ROLLOUT, seeds_of
from rollout_world import pass_time
from shared_fleet import ends_well_together, go_on, grow_old_together, profiles_of, shared
from simulated_kubelets import BAD, FRAGILE, GOOD
from test_trial_simulation import FINALISTS

NAMES = ("parts", "anomaly", "counter")


def rollouts(rng: random.Random, count: int) -> dict[str, dict[str, Any]]:
    """Each EdgeModel with a rollout of its own."""
    return {
        name: ROLLOUT
        | {
            "maxUnavailable": rng.choice((1, 2, "50%")),
            "strategy": rng.choice(("Surge", "Replace")),
            "maxPulling": rng.choice((1, 3, None)),
            "jitter": rng.choice(("0s", "0s", "1m")),
            "priority": rng.choice((0, 0, 5, 10)),
        }
        for name in NAMES[:count]
    }


@pytest.mark.parametrize("count", [2, 3])
def test_rollouts_at_once_on_the_same_nodes_all_come_to_an_end(count: int) -> None:
    for seed in seeds_of(5):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        worlds = shared(rng.choice((3, 10, 20)), rollouts(rng, count), seed=seed)
        for world in worlds:
            world.publish("b")
        go_on(worlds, rng, 20, killed=0.3)
        go_on(worlds, rng, 400)
        for world in worlds:
            message = world.edge_model.status["variants"][0]["message"]
            assert world.labelled("b") == set(world.nodes), (seed, world.name, message)
            assert all(world.serves(name) for name in world.nodes)


def test_the_one_with_the_higher_priority_is_through_first() -> None:
    for seed in seeds_of(4):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        chosen = rollouts(rng, 2)
        for name, priority in zip(chosen, rng.sample((0, 10), 2), strict=True):
            chosen[name] |= {"priority": priority, "maxUnavailable": 2, "progressDeadline": "1h"}
        worlds = shared(20, chosen, seed=seed)
        for world in worlds:
            world.publish("b")
        done: list[int] = []
        for _ in range(300):
            for world in rng.sample(worlds, 2):
                world.pass_()
                if world.labelled("b") == set(world.nodes) and world.edge_model.spec.rollout.priority not in done:
                    done.append(world.edge_model.spec.rollout.priority)
            pass_time(worlds, 10)
            if len(done) == 2:
                break
        assert done == [10, 0], seed


@pytest.mark.parametrize("trouble", ["paused", "bad", "away", "broken"])
def test_one_that_stands_still_keeps_another_no_longer_than_its_progress_deadline(trouble: str) -> None:
    for seed in seeds_of(4):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        chosen = rollouts(rng, 2)
        chosen["parts"] |= {"priority": 10, "strategy": rng.choice(("Surge", "Replace"))}
        first, second = worlds = shared(10, chosen, seed=seed)
        first.publish("b", {"bad": BAD, "broken": FRAGILE}.get(trouble, GOOD))
        if trouble == "broken":
            for device in list(first.devices.values())[1:]:
                device.fragile = True
        for _ in range(rng.randrange(1, 30)):
            first.pass_()
            pass_time(worlds, 10)
        if trouble == "paused":
            first.ask(paused=True)
        if trouble == "away":
            for name, one in first.nodes.items():
                first.devices[name].link = first.digit(one.labels[first.label]) != "b"
            pass_time(worlds, 60)
        second.publish("b")
        go_on(worlds, rng, 300, until=second)
        reachable = {name for name in second.nodes if second.reachable(name)}
        message = second.edge_model.status["variants"][0]["message"]
        assert reachable <= second.labelled("b"), (seed, trouble, message)


def together(seed: int) -> None:
    """The life of a fleet that several EdgeModels share."""
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    chosen = rollouts(rng, rng.choice((2, 3)))
    worlds = shared(rng.randrange(1, 13), chosen, seed=seed, profiles=profiles_of(rng, chosen))
    grow_old_together(worlds, rng)
    ends_well_together(worlds, rng, 600, seed)


@pytest.mark.parametrize("batch", range(3))
def test_any_fleet_of_several_edge_models_keeps_the_rules_and_ends_on_good_revisions(batch: int) -> None:
    for seed in seeds_of(5, batch):
        together(seed)


def trying(seed: int, priorities: tuple[int, ...] = (0, 0, 0)) -> int:
    """Three EdgeModels on a few nodes whose builds have several finalists; how many trials took place."""
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    chosen = rollouts(rng, 3)
    for one, priority in zip(chosen.values(), priorities, strict=True):
        one["priority"] = priority
    worlds = shared(rng.choice((1, 2, 5)), chosen, seed=seed)
    for world in worlds:
        world.latencies = dict(rng.choice(FINALISTS))
    for digit in "bcd":
        for world in worlds:
            world.publish(digit)
            go_on(worlds, rng, rng.randrange(3))
        go_on(worlds, rng, 20, killed=0.3)
    go_on(worlds, rng, 400)
    for world in worlds:
        message = world.edge_model.status["variants"][0]["message"]
        assert world.labelled("d") == set(world.nodes), (seed, world.name, message)
    return sum(world.started for world in worlds)


@pytest.mark.parametrize("priorities", [(0, 0, 0), (0, 5, 10)])
def test_trials_of_several_edge_models_take_their_turn_on_a_node(priorities: tuple[int, ...]) -> None:
    assert sum(trying(seed, priorities) for seed in seeds_of(6)) > 0, "trials took place"
