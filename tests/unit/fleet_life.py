"""What happens in the life of a simulated fleet: links, power, new sources, people who edit the spec, clocks."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rollout_world import World
from simulated_kubelets import BAD, DEADLY, FAULTY, FRAGILE, GOOD
from wall_clock import ZONES

from edgesmith.api.window import DAYS
from edgesmith.decide.taints import NO_SCHEDULE, PRESSURES, Taint

FLEETS = float(os.environ.get("EDGESMITH_FLEETS", "1"))
"""How many times as many fleets as `make test-all` runs: `make simulate` runs more, `make test` fewer."""
ROLLOUT = {
    "steps": [{"nodes": 1, "bake": "1m"}, {"nodes": "10%", "bake": "1m"}],
    "maxUnavailable": "10%",
    "maxFailed": "5%",
    "progressDeadline": "5m",
}


_PRESSURE = Taint(PRESSURES["DiskPressure"], "", NO_SCHEDULE)


def seeds_of(number: int, batch: int = 0) -> range:
    """The seeds of a batch of so many fleets, more or fewer as EDGESMITH_FLEETS says, and at least two: an even one
    and an odd one, since `fleet` gives these another strategy.
    """
    many = max(2, round(number * FLEETS))
    return range(batch * many, (batch + 1) * many)


def any_rollout(rng: random.Random, bake: str = "30s") -> dict[str, Any]:
    """A rollout in one step or two, with few or many nodes that may be away or fail."""
    return ROLLOUT | {
        "steps": rng.choice(([{"nodes": 1, "bake": bake}], [{"nodes": 2, "bake": bake}, {"nodes": "50%"}])),
        "maxUnavailable": rng.choice((1, 2, "50%")),
        "maxFailed": rng.choice((0, 1, "20%")),
    }


def flap(world: World, rng: random.Random, share: float, *, power: float = 0.3) -> None:
    """Links and power go and come back so that about this share of the nodes is away, each for some minutes.

    Args:
        world: The fleet.
        rng: What decides.
        share: How many nodes are away at a time.
        power: How many of them lose their power and not their link. Twice so on one revision is a failure of it.
    """
    for device in world.devices.values():
        if device.link and device.power and rng.random() < share / (1 - share) / 15:
            if rng.random() < power:
                device.power, device.back = False, world.now + timedelta(seconds=rng.expovariate(1 / 300))
            else:
                device.link = False
        elif not device.link and rng.random() < 1 / 15:
            device.link = True


def disturb(world: World, rng: random.Random, serial: int) -> None:
    """Something that happens in the life of a fleet."""
    event = rng.random()
    names = sorted(world.devices)
    if event < 0.35 and names:
        device = world.devices[rng.choice(names)]
        device.link = not device.link
    elif event < 0.40 and names:
        device = world.devices[rng.choice(names)]
        device.power, device.back = False, world.now + timedelta(seconds=rng.choice((30, 300)))
    elif event < 0.50:
        digit = "bcdef"[serial % 5]
        world.publish(digit, world.kinds.get(digit) or rng.choice((GOOD, GOOD, BAD, FRAGILE, DEADLY, FAULTY)))
    elif event < 0.55 and len(names) < 20:
        world.add(f"x{serial:04}", rng.choice(("amd64", "arm64")), fragile=rng.random() < 0.3)
    elif event < 0.58 and names:
        world.remove(rng.choice(names))
    elif event < 0.62 and names:
        name = rng.choice(names)
        labels = dict(world.nodes[name].labels) | {"device": rng.choice(("amd64", "arm64"))}
        world.nodes[name] = type(world.nodes[name])(name, labels, True, (), world.nodes[name].records)
    elif event < 0.75:
        interfere(world, rng)
    elif event < 0.77:
        set_clock(world, timedelta(seconds=rng.choice((-600, 3600, -90_000_000, 90_000_000))))


def set_clock(world: World, jump: timedelta) -> None:
    """Somebody sets the hub's clock, which is that of every EdgeModel."""
    worlds = (world, *world.others)
    for one in worlds:
        one.now += jump
        one.clock_was_set = True
    for device in world.devices.values():
        device.back = device.back + jump if device.back else None
        device.heard = world.now if device.link and device.power else world.now - timedelta(hours=2)
    for server in (server for one in worlds for server in one.servers.values()):
        server.started = min(server.started, world.now)
        if server.beside:
            server.beside.started = min(server.beside.started, world.now)


def press(world: World, rng: random.Random) -> None:
    """Disks come under pressure: no new pod starts there, and some lose their servers; others are well again."""
    for name, one in world.nodes.items():
        device = world.devices[name]
        if one.taints and rng.random() < 0.1:
            world.nodes[name] = replace(one, taints=())
        elif not one.taints and device.power and device.link and rng.random() < 0.01:
            under_pressure(world, name, evicts=rng.random() < 0.5)


def under_pressure(world: World, name: str, *, evicts: bool = True) -> None:
    """A disk is nearly full: its kubelet admits no pod, and ends those that are there where nothing else helps."""
    world.nodes[name] = replace(world.nodes[name], taints=(_PRESSURE,))
    for one in (world, *world.others) if evicts else ():
        server = one.servers[name]
        server.runs, server.beside = None, None
        for pods in (one.pods, one.next_pods):
            pods.pop(name, None)


def crash(world: World, rng: random.Random) -> None:
    """Now and then a server ends, and its kubelet starts it anew."""
    for one in (world, *world.others):
        for name, server in one.servers.items():
            if server.runs and one.devices[name].power and rng.random() < 0.01:
                server.started, server.restarts = one.now, server.restarts + 1


def any_window(about: datetime, minutes: Sequence[int], rng: random.Random, zone: str | None = None) -> dict[str, Any]:
    """A window that begins and ends so many minutes from a time, by the clock of some place and on some days."""
    place = zone or rng.choice(ZONES)
    here = about.astimezone(ZoneInfo(place))
    start, end = ((about + timedelta(minutes=one)).astimezone(here.tzinfo) for one in minutes)
    days = rng.choice(([], [DAYS[here.weekday()]], [DAYS[here.weekday() - 1]], rng.sample(DAYS, 4)))
    return {"start": f"{start:%H:%M}", "end": f"{end:%H:%M}", "days": days, "timeZone": place}


def interfere(world: World, rng: random.Random) -> None:
    """Somebody edits `spec.rollout`."""
    known = sorted(one.revision for one in world.revisions.values())
    event = rng.random()
    if event < 0.2:
        world.ask(paused=not world.edge_model.spec.rollout.paused)
    elif event < 0.45 and known:
        chosen = rng.sample(known, min(len(known), 2))
        world.ask(promote=[{"revision": one, "steps": rng.choice((None, 1, 2))} for one in chosen])
    elif event < 0.7 and len(known) > 1:
        left, to = rng.sample(known, 2)
        newest = world.pass_().status.variants
        left = rng.choice([left, *(one.revision for one in newest if one.revision and one.revision != to)])
        world.ask(rollbackTo=[{"from": left, "revision": to}])
    elif event < 0.9:
        minutes = [rng.randrange(-20, 40) for _ in range(2)]
        # Where it is and on which days has dice of its own, so that all else in the life of a fleet is as without.
        own = random.Random(f"{minutes} {world.now}")  # noqa: S311 -- a fleet that can be made again
        some = [any_window(world.now, minutes, own)]
        world.ask(windows=rng.choice(([], some)))
    elif event < 0.95 and known:
        world.ask(override=[rng.choice(known)])
    else:
        world.ask(strategy={"Surge": "Replace", "Replace": "Surge"}[world.edge_model.spec.rollout.strategy])


def grow_old(world: World, rng: random.Random, also: Callable[[World, random.Random], None] | None = None) -> None:
    """Dozens of things happen to a fleet, and a third of its passes are cut off somewhere.

    Args:
        world: The fleet.
        rng: What decides.
        also: What happens each time besides.
    """
    for serial in range(rng.randrange(10, 60)):
        disturb(world, rng, serial)
        if also:
            also(world, rng)
        world.pass_(rng.randrange(12) if rng.random() < 0.33 else None)
        world.tick(rng.choice((5.0, 15.0, 60.0)))


def publish_the_last(world: World, digit: str = "9") -> None:
    """Links are back and a good revision comes, which nothing holds up."""
    # No clock that was set before excuses what is done with a revision that nobody has seen yet.
    world.clock_was_set = world.clock_was_set and not all(map(world.reachable, world.nodes))
    for device in world.devices.values():
        device.link = True
    world.publish(digit)
    world.ask(paused=False, windows=[])


def ends_well(world: World, passes: int, seed: int) -> None:
    """Links are back and a good revision comes: every node of a profile is to serve it within so many passes."""
    publish_the_last(world)
    plan = world.settle(passes)
    own = {one.metadata.name for one in world.profiles}
    for name, one in world.nodes.items():
        if one.labels["device"] in own:
            assert name in world.labelled("9"), (seed, name, [v.message for v in plan.status.variants])
            assert world.serves(name)
    assert all(one.state in {"Complete", "NoNodes"} for one in plan.status.variants), seed
