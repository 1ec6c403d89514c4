"""Whole rollouts over simulated fleets whose windows are on the clocks of places that change them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from fleet_life import ROLLOUT, any_window, seeds_of
from fleets import fleet
from rollout_world import World
from wall_clock import MINUTE, ZONES, open_by_the_clock

_HOUR = timedelta(hours=1)
_YEAR = datetime(2030, 2, 1, tzinfo=UTC)


@cache
def changes_of(zone: str) -> list[datetime]:
    """The hours after which a clock is changed within a year from when a fleet is made; UTC's is not, so any hour."""
    name, hours = ZoneInfo(zone), [_YEAR + _HOUR * number for number in range(300 * 24)]
    offsets = [one.astimezone(name).utcoffset() for one in hours]
    return [one for one, is_now, then in zip(hours, offsets, offsets[1:], strict=False) if is_now != then] or hours[:1]


def sleep(world: World, seconds: float) -> None:
    """Time passes for a fleet that is at rest: nothing happens to its machines."""
    world.now += timedelta(seconds=seconds)
    for device in world.devices.values():
        device.heard = world.now


def at_rest(world: World) -> bool:
    return all(world.rests(name, device) for name, device in world.devices.items())


def first_open(world: World) -> datetime:
    """The first minute from now on in which a window is open."""
    minutes = (world.now + MINUTE * number for number in range(30 * 24 * 60))
    return next(one for one in minutes if open_by_the_clock(world.edge_model.spec.rollout.windows, one))


def across_a_change(seed: int, zone: str) -> bool:
    """A rollout that waits for its windows about the time in which a clock is changed; whether it waited.

    Time passes as the plan says that it is to be looked at again: one that looks too late begins too late.
    """
    rng = random.Random(seed)  # noqa: S311 -- a fleet that can be made again
    world = fleet(rng.choice((2, 5)), ROLLOUT | {"steps": [{"nodes": 1, "bake": "30s"}]}, seed=seed)
    change = rng.choice(changes_of(zone))
    sleep(world, (change - world.now).total_seconds() - 60 * rng.randrange(40 * 60))
    times = [rng.choices(range(-240, 240), k=2) for _ in range(rng.choice((1, 1, 2)))]
    many = [any_window(change, minutes, rng, zone) for minutes in times]
    world.publish("b", rollout=world.edge_model.spec.rollout.model_dump(by_alias=True) | {"windows": many})
    opens, began = first_open(world), None
    waits = opens > world.now
    for _ in range(600):
        plan = world.pass_()
        if plan.moves and began is None:
            began = world.now
        if plan.status.variants[0].state == "Complete" and not plan.moves:
            break
        closed = not open_by_the_clock(world.edge_model.spec.rollout.windows, world.now)
        if closed and at_rest(world) and plan.look_again and not plan.builds:
            sleep(world, plan.look_again)
        else:
            world.tick(20)
    assert began is not None
    assert began - opens <= timedelta(seconds=60), (seed, zone, many, opens, began, "begins late")
    assert world.labelled("b") == set(world.nodes), (seed, zone, many, plan.status.variants[0].message)
    return waits


@pytest.mark.parametrize("zone", ZONES)
def test_a_rollout_begins_with_its_window_whatever_is_done_to_the_clock(zone: str) -> None:
    assert sum(across_a_change(seed, zone) for seed in seeds_of(6)) > 0, "some wait for theirs"
