"""How long a server has to serve, and what is made of one that is started anew meanwhile."""

from __future__ import annotations

from dataclasses import replace

from observations import (
    ALLOWED,
    BAKE,
    BAKING,
    DEADLINE,
    FAILED,
    SERVING,
    STARTING,
    observed,
    record,
    seconds,
    see,
    starting,
)
from snapshots import NOW, pod

from edgesmith.decide.allowance import RESTARTS


def test_a_restart_and_another_pod_start_the_bake_anew() -> None:
    kept = record(SERVING, ago=50)
    assert see(pod("n", "r"), kept=kept).state.since == NOW - seconds(50)
    assert see(pod("n", "r", restarts=1), kept=kept).state.since == NOW
    assert see(pod("n", "r", name="other"), kept=kept).state.since == NOW
    assert see(pod("n", "r"), kept=replace(kept, run="")).state.since == NOW - seconds(50)
    moved = see(pod("n", "r", restarts=1), kept=kept).state.moved
    assert moved == NOW - seconds(50)


def test_a_server_that_stops_being_ready_starts_again_and_then_bakes_again() -> None:
    stopped = observed(starting(), kept=record(SERVING, ago=9000))
    assert (stopped.state, stopped.since) == (STARTING, NOW)
    serves = observed(pod("n", "r"), kept=stopped, after=20)
    assert (serves.state, serves.since, serves.moved) == (SERVING, NOW + seconds(20), NOW - seconds(9000))


def test_a_server_that_became_ready_while_nobody_looked_has_its_whole_bake() -> None:
    found = see(pod("n", "r"), kept=record(STARTING, ago=3600), allowed=BAKING)
    assert (found.state.server, found.state.since, found.state.moved) == (SERVING, NOW, NOW)
    later = see(pod("n", "r"), kept=found.record, allowed=BAKING, after=60)
    assert (later.state.server, later.state.since) == (SERVING, NOW)
    in_time = see(pod("n", "r"), kept=record(STARTING, ago=299), allowed=BAKING)
    assert in_time.state.moved == NOW - seconds(299)


def test_a_server_that_restarts_for_ever_does_not_bake_for_ever() -> None:
    note = "restarted its server so often that it did not serve for the bake of the rollout's step"
    kept = record(SERVING, ago=20, moved=NOW - DEADLINE - BAKE)
    assert see(pod("n", "r"), kept=kept, allowed=BAKING).state.note == note
    assert see(pod("n", "r"), kept=kept, allowed=BAKING).state.answers
    assert see(pod("n", "r"), kept=kept, allowed=ALLOWED).state.server is SERVING
    assert see(pod("n", "r"), kept=replace(kept, moved=kept.moved + seconds(1)), allowed=BAKING).state.server is SERVING
    assert see(pod("n", "r"), kept=replace(kept, since=NOW - BAKE), allowed=BAKING).state.server is SERVING
    away = see(pod("n", "r"), kept=kept, allowed=BAKING, ready=False)
    assert away.state.server is SERVING


def test_a_server_that_has_served_for_the_bake_has_its_time_again_when_it_is_started_anew_twice() -> None:
    long = record(SERVING, ago=3 * 3600, moved=NOW - seconds(3 * 3600), run=observed(pod("n", "r")).run)
    for restarts in range(RESTARTS):
        anew = see(pod("n", "r", restarts=1), kept=replace(long, restarts=restarts), allowed=BAKING)
        assert anew.state.server is SERVING
        assert anew.record is not None
        assert (anew.record.since, anew.record.moved, anew.record.restarts) == (NOW, NOW, restarts + 1)
        down = see(pod("n", "r", ready=False), kept=replace(long, restarts=restarts), allowed=BAKING)
        assert down.record is not None
        assert (down.record.state, down.record.moved, down.record.restarts) == (STARTING, NOW, restarts + 1)
    often = see(pod("n", "r", restarts=1), kept=replace(long, restarts=RESTARTS), allowed=BAKING)
    assert often.state.server is FAILED
    assert often.record is not None
    assert often.record.restarts == RESTARTS


def test_only_a_server_that_had_served_for_the_bake_has_its_time_again() -> None:
    long = record(SERVING, ago=3 * 3600, moved=NOW - seconds(3 * 3600), run=observed(pod("n", "r")).run)
    short = replace(long, since=NOW - BAKE + seconds(1))
    assert see(pod("n", "r", restarts=1), kept=short, allowed=BAKING).state.server is FAILED
    gone = see(pod("n", "r", ready=False), kept=long, allowed=BAKING, ready=False)
    assert gone.record is not None
    assert (gone.record.moved, gone.record.restarts) == (long.moved, 0), "it has it when it is back"
    back = see(pod("n", "r", restarts=1), kept=replace(long, away=NOW - seconds(60)), allowed=BAKING)
    assert back.record is not None
    assert (back.record.moved, back.record.restarts) == (NOW, 0)
    proven = see(pod("n", "r", restarts=1), kept=long, allowed=ALLOWED)
    assert proven.record is not None
    assert (proven.record.moved, proven.record.restarts) == (long.moved, 0)
