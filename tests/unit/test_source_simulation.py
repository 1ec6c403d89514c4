"""Many passes over EdgeModels whose files change under them: with failures, killed operators and few slots.

Whatever happens: no build is made of bytes that the status does not have, there are never more Jobs than slots, and a
change is in the status at the latest an interval and a Job's time after it was made, where a look is possible.
"""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from snapshots import NOW
from source_world import FIELDS, INTERVAL, JOB, STEP, step, worlds

from edgesmith.decide.retry import LONGEST_PAUSE


@pytest.mark.parametrize("seed", range(3))
def test_a_change_is_in_the_status_after_an_interval_and_a_job(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - the same dice for the same seed
    everybody = worlds(dice, 2)
    # A pass starts the Job, one sees its end; another may be in the way, and one may have been cut off before.
    late = INTERVAL + 2 * JOB + 4 * STEP
    for _ in range(150):
        if dice.random() < 0.03:
            dice.choice(everybody).put(dice.choice(FIELDS))
        step(everybody, dice, killed=0.0)
        for world in everybody:
            for name in FIELDS:
                assert world.known().get(name) == world.lies[name] or world.passed - world.since[name] <= late
    for world in everybody:
        assert world.registry, "something was built"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_fails_the_last_change_is_built_in_the_end(seed: int) -> None:
    dice = random.Random(1000 + seed)  # noqa: S311 - as above
    everybody = worlds(dice, 3, failing=0.3)
    for _ in range(120):
        if dice.random() < 0.05:
            dice.choice(everybody).put(dice.choice(FIELDS))
        step(everybody, dice, killed=0.3)
    for world in everybody:
        world.failing = 0.0
    end = everybody[0].now + INTERVAL + timedelta(seconds=LONGEST_PAUSE) + 6 * (JOB + STEP)
    while everybody[0].now < end:
        step(everybody, dice, killed=0.0)
    for world in everybody:
        assert world.known() == world.lies
        built = [(one.build["source"]["sha256"], one.build["evaluation"]["sha256"]) for one in world.revisions.values()]
        assert (world.lies["source"], world.lies["evaluation"]) in built
        assert len(world.resolve_jobs) <= 1, "what was recorded is cleared away"


def test_files_that_change_between_look_and_build_are_met_and_looked_at_at_once() -> None:
    dice = random.Random(7)  # noqa: S311 - as above
    (world,) = worlds(dice, 1)
    for _ in range(30):
        step([world], dice, killed=0.0)
        if any(not job.finished for job in world.jobs.values()):
            world.put("source")
            changed = world.now
            break
    while world.known()["source"] != world.lies["source"]:
        step([world], dice, killed=0.0)
    assert world.mismatches == 1
    assert world.now - changed < 2 * JOB + 4 * STEP < INTERVAL
    assert changed > NOW
