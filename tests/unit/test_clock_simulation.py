"""The hub's clock, and that of Kubernetes beside it, set forward and back while files are looked at and builds fail.

Whatever the clocks did: a change is in the status an interval later, a build that can help is tried again after the
longest pause, and nobody is asked more often than that but once for each time that a clock was set.
"""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from source_world import FIELDS, INTERVAL, JOB, STEP, World, step, worlds

from edgesmith.decide.retry import LONGEST_PAUSE

SET = (timedelta(minutes=4), timedelta(hours=7), timedelta(days=1500))
LATE = INTERVAL + 2 * JOB + 4 * STEP
"""A pass starts the Job, one sees its end; another may be in the way."""


def set_clocks(everybody: list[World], dice: random.Random) -> None:
    """Set the hub's clock forward or back, and Kubernetes' to something near it, or not."""
    by = dice.choice(SET) * dice.choice((-1, 1))
    ahead = dice.choice((timedelta(0), timedelta(seconds=3), timedelta(hours=2))) * dice.choice((-1, 1))
    for world in everybody:
        world.now, world.ahead = world.now + by, ahead


@pytest.mark.parametrize("seed", range(4))
def test_whatever_clocks_do_a_change_is_in_the_status_after_an_interval(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same dice for the same seed
    everybody = worlds(dice, 2)
    times, last = 0, timedelta(0)
    for _ in range(200):
        if dice.random() < 0.02:
            set_clocks(everybody, dice)
            times, last = times + 1, everybody[0].passed
        if dice.random() < 0.03:
            dice.choice(everybody).put(dice.choice(FIELDS))
        step(everybody, dice, killed=0.0)
        for world in everybody:
            for name in FIELDS:
                known = world.known().get(name) == world.lies[name]
                assert known or world.passed - max(world.since[name], last) <= LATE
    assert times
    for world in everybody:
        due = world.passed // INTERVAL + 1
        assert world.looks <= due + times + world.mismatches, "nobody looks again and again"


@pytest.mark.parametrize("back", SET)
@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=2)])
def test_what_failed_is_tried_again_in_time_and_not_all_the_time(back: timedelta, ahead: timedelta) -> None:
    dice = random.Random(1)  # noqa: S311 - as above
    (world,) = worlds(dice, 1, failing=0.0)
    world.ahead = ahead
    while not world.jobs:
        step([world], dice, killed=0.0)
    world.failing = 1.0
    began = world.passed
    while world.passed - began < timedelta(minutes=45):
        step([world], dice, killed=0.0)
    tries = max(job.tries for job in world.jobs.values())
    # Pauses double up to the longest one: the first eight tries take a quarter of an hour, the others ten minutes each.
    assert 8 <= tries <= 8 + (world.passed - began).total_seconds() / LONGEST_PAUSE
    world.now -= back
    set_at, world.failing = world.passed, 0.0
    while not world.registry:
        step([world], dice, killed=0.0)
    assert world.passed - set_at <= timedelta(seconds=LONGEST_PAUSE) + JOB + 3 * STEP
