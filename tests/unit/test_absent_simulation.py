"""Simulated fleets whose nodes go while they make the next revision ready: the others do not wait for them for long."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from fleet_life import ROLLOUT, seeds_of
from fleets import fleet
from machines import GRACE
from rollout_world import World
from simulated_kubelets import DEADLY

from edgesmith.api.units import parse_share
from edgesmith.decide.placement import placement

DEADLINE = timedelta(minutes=5)


def slow(size: int, strategy: str, seed: int = 0) -> World:
    """A fleet that serves `a` and is to serve `b`, of which one node may be unavailable; each pulls for 12 seconds."""
    rollout = ROLLOUT | {"maxUnavailable": 1, "maxFailed": 1, "strategy": strategy}
    world = fleet(size, rollout, seed=seed)
    for device in world.devices.values():
        device.delay = 25.0
    world.publish("b")
    return world


def pulls(world: World, name: str) -> bool:
    """Whether a reachable node was given another revision and has not said that the image is there."""
    placed, pod = placement(world.nodes[name], world.label), world.next_pods.get(name)
    shown = pod is not None and pod.revision == placed.label and (pod.pulled or pod.ready)
    return placed.beside is not None and world.reachable(name) and not shown


def proven(world: World, digit: str) -> bool:
    return bool(world.newest("provenTime").get(digit))


def loses(world: World, rng: random.Random, most: int, *, power: bool) -> int:
    """While nodes pull, some of them lose their link or their power, for good: how many there were in the end."""
    lost: set[str] = set()
    began = world.now
    while not set(world.nodes) - lost <= world.labelled("b"):
        world.pass_()
        tried = [name for name in sorted(set(world.nodes) - lost) if proven(world, "b") and pulls(world, name)]
        for name in tried[: most - len(lost)]:
            if rng.random() < 0.6:
                lost.add(name)
                world.devices[name].link, world.devices[name].power = power, not power
        world.tick(10)
        assert world.now - began < bound(world, len(lost)), (sorted(lost), "the others wait for them")
    return len(lost)


def loosen(world: World, rng: random.Random, steady: set[str], most: int) -> None:
    """Nodes that are to serve what they were given begin to come and go, each with periods of its own, for good.

    Each is away for less than `progressDeadline` at a time, and never there for so long that it can fail or serve.
    """
    loose = set(world.nodes) - steady
    for name in sorted(steady):
        if len(loose) < most and world.reachable(name) and pulls(world, name):
            loose.add(name)
            steady.discard(name)
    for name in loose:
        device = world.devices[name]
        if device.link and rng.random() < 0.5:
            device.link = False
        elif not device.link and not world.reachable(name) and rng.random() < 0.3:
            device.link = True
            if beside := world.servers[name].beside:
                beside.started = world.now  # what it had pulled of the image was lost with the link


@pytest.mark.parametrize("strategy", ["Surge", "Replace"])
@pytest.mark.parametrize("canaries", [False, True])
def test_nodes_that_come_and_go_while_they_pull_hold_the_others_up_for_the_deadline(
    strategy: str, *, canaries: bool
) -> None:
    for seed in seeds_of(2):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        world = slow(rng.choice((6, 12)), strategy, seed)
        world.ask(maxPulling=1, maxFailed=3)  # some get as far as the self-test, and may be taken to have died of it
        for device in world.devices.values():
            device.delay = 60.0
        steady, most, began = set(world.nodes), 3, world.now
        while not steady <= world.labelled("b"):
            world.pass_()
            loosen(world, rng, steady, most if canaries or proven(world, "b") else 0)
            world.tick(10)
            lost = len(world.nodes) - len(steady)
            slower = len(world.nodes) * timedelta(minutes=2)
            assert world.now - began < bound(world, lost) + slower, (seed, lost, "the others wait for them")
        assert lost == most, seed
        switched = int(strategy == "Replace")
        assert sum(world.serves(name) for name in steady) >= len(steady) - switched, seed
        assert not world.newest("rolledBack").get("b"), seed


def bound(world: World, lost: int) -> timedelta:
    """How long a rollout may take: its steps, a minute for each node in turn, and for each that went the deadline."""
    limit = parse_share(world.edge_model.spec.rollout.max_unavailable, len(world.nodes))
    turns = len(world.nodes) / limit + 2
    return timedelta(minutes=8) + turns * timedelta(minutes=1.5) + lost * (DEADLINE + GRACE + timedelta(seconds=30))


@pytest.mark.parametrize("strategy", ["Surge", "Replace"])
@pytest.mark.parametrize("loss", ["link", "power"])
def test_nodes_that_go_while_they_pull_hold_the_others_up_for_the_deadline(strategy: str, loss: str) -> None:
    power = loss == "power"
    for seed in seeds_of(2):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        size = rng.choice((5, 12))
        world = slow(size, strategy, seed)
        lost = loses(world, rng, size // 2, power=power)
        assert lost, seed
        switched = int(strategy == "Replace")
        serving = sum(world.serves(name) for name in world.nodes)
        assert serving >= len(world.nodes) - switched - (lost if power else 0), seed


@pytest.mark.parametrize("strategy", ["Surge", "Replace"])
def test_when_all_of_them_are_back_at_once_no_more_servers_end_than_max_unavailable_says(strategy: str) -> None:
    for seed in seeds_of(2):
        rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
        world = slow(12, strategy, seed)
        assert loses(world, rng, 6, power=False) > 1
        for device in world.devices.values():
            device.link = True
        least = len(world.nodes)
        for _ in range(120):
            world.tick(5)
            least = min(least, sum(world.serves(name) for name in world.nodes))
            plan = world.pass_()
        assert least >= (12 if strategy == "Surge" else 11), seed
        assert plan.status.variants[0].state == "Complete", plan.status.variants[0].message
        assert world.labelled("b") == set(world.nodes)


def test_a_lost_canary_is_replaced_where_one_node_may_be_unavailable() -> None:
    for strategy in ("Surge", "Replace"):
        world = slow(5, strategy)
        while "b" not in world.touched:
            world.pass_()
            world.tick(5)
        (canary,) = world.touched["b"]
        world.devices[canary].link = False
        began: datetime = world.now
        while len(world.touched["b"]) < 2:
            world.tick(20)
            world.pass_()
            assert world.now - began < DEADLINE + GRACE + timedelta(minutes=1), strategy
        for _ in range(40):
            world.tick(20)
            world.pass_()
        assert set(world.nodes) - {canary} <= world.labelled("b")


@pytest.mark.parametrize("died", [True, False])
@pytest.mark.parametrize("when", ["before", "with two canaries"])
def test_where_most_of_the_others_are_away_lost_canaries_are_judged_all_the_same(when: str, *, died: bool) -> None:
    """They stay away for good: in a store room before it began, or as two sites, one with each of two canaries."""
    for seed in seeds_of(2):
        world = slow(13, "Surge", seed)
        rest = sorted(world.nodes)[5:]
        if when == "before":
            unplug(world, rest)
            world.tick(120)
        if died:
            world.kinds["b"] = DEADLY
        tried: set[str] = set()
        for _ in range(150):
            world.pass_()
            canaries = world.touched.get("b", set())
            if when != "before":
                unplug(world, rest[: 4 * min(len(canaries), 2)])
            if not died and len(tried) < 2:
                tried |= canaries
                unplug(world, tried)
            world.tick(20)
        most = 2 if when == "before" else 3
        if died or when == "before":
            assert world.newest("reason")["b"] == "CanaryLost", seed
            assert len(world.touched["b"]) <= most, (seed, world.touched["b"])
        else:
            assert world.labelled("b") >= set(world.nodes) - {*rest} - tried, (seed, "the third one holds it")


def unplug(world: World, names: Iterable[str]) -> None:
    for name in names:
        world.devices[name].link = False


def test_machines_that_died_of_what_was_replaced_since_keep_nobody_from_what_mends_it() -> None:
    world = slow(8, "Surge")
    world.kinds["b"], world.dies_after = DEADLY, 100.0
    for device in world.devices.values():
        device.delay = 60.0
    for _ in range(60):
        world.pass_()
        world.tick(20)
    dead = {name for name, device in world.devices.items() if not device.power}
    assert 2 <= len(dead) <= 4, "one is nobody's fault, those that follow keep the others from it"
    assert len(world.labelled("a")) == 8 - len(dead)
    world.publish("c")
    for _ in range(60):
        world.pass_()
        world.tick(20)
    assert set(world.nodes) - dead <= world.labelled("c")
