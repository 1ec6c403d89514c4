"""Several EdgeModels on the same simulated nodes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fleet_life import disturb, publish_the_last
from fleets import Made
from rollout_world import World, pass_time
from simulated_kubelets import BAD, DEADLY
from snapshots import model, profile

from edgesmith.decide.plan import Plan


def passes_at_once(worlds: Sequence[World], calls: Sequence[int | None]) -> list[Plan]:
    """Passes about several EdgeModels that one operator runs at the same time: all decide before the first one writes.

    Args:
        worlds: One for each EdgeModel, in the order in which they decide.
        calls: After how many calls each pass is cut short, where the operator is killed.
    """
    plans: list[Plan] = []
    for number, world in enumerate(worlds):
        world.claimed = frozenset().union(*(plan.changed for plan in plans[:number]))
        plans.append(world.decided())
        world.claimed = frozenset()
    for world, plan, cut in zip(worlds, plans, calls, strict=True):
        world.apply(plan, cut)
    return plans


def shared(size: int, rollouts: Mapping[str, dict[str, Any]], *, seed: int = 0) -> list[World]:
    """A fleet on whose nodes several EdgeModels serve source `a`, each with its rollout, by their names."""
    return shared_of(World, size, rollouts, seed=seed)


def shared_of(kind: type[Made], size: int, rollouts: Mapping[str, dict[str, Any]], *, seed: int = 0) -> list[Made]:
    """The same of a kind of world."""
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    worlds: list[Made] = []
    for name, rollout in rollouts.items():
        first = worlds[0] if worlds else None
        more: dict[str, Any] = {"nodes": first.nodes, "devices": first.devices} if first else {}
        worlds.append(kind(edge_model=model(name=name, rollout=rollout), profiles=(profile("amd64"),), **more))
    for world in worlds:
        world.others = [one for one in worlds if one is not world]
    for index in range(size):
        worlds[0].add(f"n{index:04}", delay=rng.choice((5.0, 10.0, 25.0)))
    for world in worlds:
        world.publish("a", rollout=dict(rollouts[world.name]) | {"maxUnavailable": "100%"})
    for _ in range(400):
        plans = [world.pass_() for world in worlds]
        if all(one.state == "Complete" for plan in plans for one in plan.status.variants):
            break
        pass_time(worlds, 20)
    for world in worlds:
        world.publish("a", rollout=rollouts[world.name])
    return worlds


def go_on(
    worlds: Sequence[World], rng: random.Random, passes: int, *, killed: float = 0.0, until: World | None = None
) -> None:
    """Passes in any order, some of them at the same time, until every EdgeModel, or this one, is through.

    Args:
        worlds: One for each EdgeModel.
        rng: What decides.
        passes: How many times at the most.
        killed: How often the operator is killed in a pass; then it goes on for all of these times.
        until: The one that matters.
    """
    for _ in range(passes):
        turn = rng.sample(worlds, len(worlds))
        cuts = [rng.randrange(12) if rng.random() < killed else None for _ in turn]
        if rng.random() < 0.5:
            plans = passes_at_once(turn, cuts)
        else:
            plans = [world.pass_(cut) for world, cut in zip(turn, cuts, strict=True)]
        awaited = [plan for world, plan in zip(turn, plans, strict=True) if until is None or world is until]
        over = all(one.state in {"Complete", "NoNodes"} for plan in awaited for one in plan.status.variants)
        there = until is not None or all(map(_rests, worlds))
        if over and there and not killed and not any(_goes_on(plan) for plan in awaited):
            return
        pass_time(worlds, rng.choice((5.0, 20.0)))


def _rests(world: World) -> bool:
    """Whether every machine is there and serves what it was given: a rollout is complete while a few start."""
    there = all(device.power and device.link for device in world.devices.values())
    return there and all(world.serves(name) for name, one in world.nodes.items() if world.label in one.labels)


def _goes_on(plan: Plan) -> bool:
    """Whether a plan has something to do, or waits for somebody but a node that is away."""
    return bool(plan.moves) or any(one.reason != "NotReady" for one in plan.pending)


def grow_old_together(
    worlds: Sequence[World], rng: random.Random, also: Callable[[World, random.Random], None] | None = None
) -> None:
    """Dozens of things happen to a fleet that several EdgeModels share, and a third of their passes are cut off.

    Args:
        worlds: One for each EdgeModel.
        rng: What decides.
        also: What happens to the nodes each time besides.
    """
    for world in worlds:
        world.outage = rng.choice((60.0, 200.0))
    for serial in range(rng.randrange(10, 40)):
        disturb(rng.choice(worlds), rng, serial)
        if also:
            also(worlds[0], rng)
        for world in worlds:
            # A machine that dies of one EdgeModel is evidence against the others, too: docs/rollout.md says so.
            world.kinds = {digit: BAD if kind == DEADLY else kind for digit, kind in world.kinds.items()}
        go_on(worlds, rng, 1, killed=0.33)


def ends_well_together(worlds: Sequence[World], rng: random.Random, passes: int, seed: int) -> None:
    """Links are back and a good revision of each EdgeModel comes: every node is to serve all within so many passes."""
    for world in worlds:
        publish_the_last(world)
    go_on(worlds, rng, passes)
    for world in worlds:
        message = world.edge_model.status["variants"][0]["message"]
        own = {name for name, one in world.nodes.items() if one.labels["device"] == "amd64"}
        assert own <= world.labelled("9"), (seed, world.name, message)
        assert all(world.serves(name) for name in own), (seed, world.name, message)
