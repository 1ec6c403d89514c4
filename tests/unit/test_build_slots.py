"""The bound on builds at once, as decisions see it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from snapshots import NOW, SETTINGS, failed_job, key_of, model, profile, snapshot

from edgesmith.decide import decide
from edgesmith.decide.build_jobs import attempt_of
from edgesmith.decide.build_slots import RECHECK, admitted
from edgesmith.decide.builds import build_for
from edgesmith.decide.plan import StartBuild
from edgesmith.decide.settings import Settings
from edgesmith.decide.snapshot import Snapshot

NAMES = ("a", "b", "c")
LIMITED: Settings = replace(SETTINGS, max_concurrent_builds=4)


def three_missing(running: int) -> Snapshot:
    """Three variants to build, with so many builds of all EdgeModels at work."""
    of = model(deviceProfiles={"names": list(NAMES)})
    profiles = tuple(profile(name, platform={"architecture": "amd64", "variant": name}) for name in NAMES)
    missing = {key_of(of, one): None for one in profiles}
    return snapshot(of, settings=LIMITED, profiles=profiles, images=missing, builds_running=running)


@pytest.mark.parametrize(("running", "count"), [(0, 3), (1, 3), (2, 2), (3, 1), (4, 0), (99, 0)])
def test_as_many_as_fit_are_started_and_the_others_wait_and_say_why(running: int, count: int) -> None:
    plan = decide(three_missing(running), NOW)
    assert [start.profile.metadata.name for start in plan.builds] == list(NAMES[:count])
    waiting = [variant for variant in plan.status.variants if variant.state == "Waiting"]
    assert [variant.message for variant in waiting] == [
        f"The build for {name} waits: 4 builds run already (builder.maxConcurrent)." for name in NAMES[count:]
    ]
    assert plan.builds_wait is bool(waiting)
    assert plan.look_again == (RECHECK if waiting else None)
    assert "Stalled" not in {condition.type for condition in plan.status.conditions}


def test_a_build_that_failed_keeps_its_words_while_its_next_try_waits() -> None:
    seen = snapshot(
        settings=LIMITED,
        images={key_of(model()): None},
        jobs=(failed_job(model(), "SourceNotFound", ago=3600),),
        builds_running=4,
    )
    plan = decide(seen, NOW)
    assert (plan.builds, plan.builds_wait) == ((), True)
    assert (plan.status.variants[0].state, plan.status.variants[0].message) == ("BuildFailed", "SourceNotFound it is.")


def test_the_first_are_admitted_in_their_order() -> None:
    starts = [
        StartBuild(one, build_for(model(), one, SETTINGS), attempt_of(model()), (), NOW, 1)
        for one in (profile("a"), profile("b"))
    ]
    assert admitted(starts, 1, 2) == (starts[0],)
    assert admitted(starts, 5, 2) == ()
