"""Several EdgeModels on the same simulated nodes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fleet_life import disturb, publish_the_last
from fleets import Made
from rollout_world import World, pass_time
from snapshots import model, profile

from edgesmith.api.names import parse_next
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


PROFILES = ("amd64", "arm64", "coral")
ONE_FOR_ALL: Mapping[str, Sequence[str]] = {}
"""All EdgeModels are for the nodes of one profile."""


def profiles_of(rng: random.Random, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Which profiles each EdgeModel is for: one of them, or several. The first one has nodes in common with each."""
    chosen = {name: tuple(sorted(rng.sample(PROFILES, rng.choice((1, 2, 2, 3))))) for name in names}
    first = next(iter(chosen))
    return chosen | {first: tuple(sorted({one[0] for one in chosen.values()} | {*chosen[first]}))}


def shared(
    size: int,
    rollouts: Mapping[str, dict[str, Any]],
    *,
    seed: int = 0,
    profiles: Mapping[str, Sequence[str]] = ONE_FOR_ALL,
) -> list[World]:
    """A fleet on whose nodes several EdgeModels serve source `a`, each with its rollout, by their names."""
    return shared_of(World, size, rollouts, seed=seed, profiles=profiles)


def shared_of(
    kind: type[Made],
    size: int,
    rollouts: Mapping[str, dict[str, Any]],
    *,
    seed: int = 0,
    profiles: Mapping[str, Sequence[str]] = ONE_FOR_ALL,
) -> list[Made]:
    """The same of a kind of world.

    Args:
        kind: Which.
        size: How many nodes, of all profiles in turn.
        rollouts: By the name of the EdgeModel.
        seed: What decides how fast machines are.
        profiles: By that name: those that it is for.
    """
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    classes = sorted({one for named in profiles.values() for one in named}) or PROFILES[:1]
    worlds: list[Made] = []
    for name, rollout in rollouts.items():
        first = worlds[0] if worlds else None
        more: dict[str, Any] = {"nodes": first.nodes, "devices": first.devices} if first else {}
        own = tuple(map(profile, profiles.get(name, classes)))
        worlds.append(kind(edge_model=model(name=name, rollout=rollout), profiles=own, **more))
    for world in worlds:
        world.others = [one for one in worlds if one is not world]
    for index in range(size):
        worlds[0].add(f"n{index:04}", classes[index % len(classes)], delay=rng.choice((5.0, 10.0, 25.0)))
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
        world.outage, world.dies_staged = rng.choice((60.0, 200.0)), rng.random() < 0.3
    for serial in range(rng.randrange(10, 40)):
        disturb(rng.choice(worlds), rng, serial)
        if also:
            also(worlds[0], rng)
        go_on(worlds, rng, 1, killed=0.33)


def ends_well_together(worlds: Sequence[World], rng: random.Random, passes: int, seed: int) -> None:
    """Links are back and a good revision of each EdgeModel comes: every node is to serve all within so many passes.

    Machines that die of one EdgeModel speak against the revisions of the others that they carry (docs/rollout.md). So
    those come once nothing is left that a machine dies of.
    """
    if any(map(_kills, worlds)):
        for world in worlds:
            publish_the_last(world, "8")
        for _ in range(passes):
            go_on(worlds, rng, 1)
            if not any(map(_kills, worlds)):
                break
        assert not any(map(_kills, worlds)), (seed, [_messages(world) for world in worlds])
    for world in worlds:
        publish_the_last(world)
    go_on(worlds, rng, passes)
    for world in worlds:
        served = {one.metadata.name for one in world.profiles}
        own = {name for name, one in world.nodes.items() if one.labels["device"] in served}
        assert own <= world.labelled("9"), (seed, world.name, own - world.labelled("9"), _messages(world))
        assert all(world.serves(name) for name in own), (seed, world.name, _messages(world))


def _kills(world: World) -> bool:
    """Whether a machine runs, or is given, what it dies of."""
    given = {one.labels.get(world.label) for one in world.nodes.values()}
    given |= {parse_next(one.labels.get(world.next_label))[0] for one in world.nodes.values()}
    given |= {one.runs for one in world.servers.values()}
    given |= {one.beside.revision for one in world.servers.values() if one.beside}
    return any(world.kills(one) for one in given if one)


def _messages(world: World) -> list[str]:
    return [one["message"] for one in world.edge_model.status["variants"]]
