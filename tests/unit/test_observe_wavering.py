"""Since when a node comes and goes, and from when on nobody waits for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from observations import (
    BAKE,
    BAKING,
    COMPLETED,
    DEADLINE,
    SERVING,
    STAGED,
    STARTING,
    TAINTED,
    observed,
    record,
    seconds,
    see,
    starting,
)
from snapshots import NOW, pod

from edgesmith.decide.record import Record, parse_record

SLOW = replace(BAKING, grace=seconds(50))


def after(count: float) -> datetime:
    return NOW + seconds(count)


def flapped(kept: Record, *passes: tuple[float, bool], **more: Any) -> Record:
    """What is kept of a node that starts, after passes in which it was there or not."""
    for when, ready in passes:
        kept = observed(starting(), kept=kept, after=when, ready=ready, **more)
    return kept


@pytest.mark.parametrize("away", [{"ready": False}, {"taints": TAINTED}])
def test_it_is_kept_when_a_node_went_first_whatever_comes_after(away: dict[str, Any]) -> None:
    kept = observed(starting(), kept=record(), after=10, **away)
    assert kept.unsteady == kept.away == after(10)
    back = observed(starting(), kept=kept, after=20)
    assert (back.unsteady, back.away, back.since) == (after(10), None, after(20))
    again = observed(starting(), kept=back, after=30, **away)
    assert (again.unsteady, again.away) == (after(10), after(30))
    serves = observed(pod("n", "r"), kept=observed(starting(), kept=again, after=40), after=50)
    assert (serves.state, serves.unsteady) == (SERVING, after(10))


def test_it_went_when_the_node_controller_says_so() -> None:
    kept = observed(pod("n", "r"), kept=record(SERVING, ago=600), ready=False, unheard=NOW - seconds(200))
    assert kept.unsteady == NOW - seconds(200)


def test_a_start_of_the_machine_that_nobody_saw_it_go_for_counts_too() -> None:
    first = observed(starting(), boot="a")
    assert first.unsteady is None
    kept = observed(starting(), kept=first, after=10, boot="b")
    assert (kept.unsteady, kept.since) == (after(10), after(10))
    assert observed(starting(), kept=kept, after=20, boot="c").unsteady == after(10)


def test_what_an_older_operator_kept_of_an_absence_counts() -> None:
    kept = record(away=NOW - seconds(90))
    assert observed(starting(), kept=kept).unsteady == NOW - seconds(90)


@pytest.mark.parametrize(("ready", "first"), [(True, 300), (False, 300)])
def test_a_node_that_comes_and_goes_is_late_at_the_deadline_and_not_before(*, ready: bool, first: float) -> None:
    kept = flapped(record(), (0, False), (100, True), (150, False), (250, True))
    for when, late in ((first - 1, False), (first, True)):
        found = see(starting(), kept=kept, after=when, ready=ready).state
        assert (found.unsteady, found.late) == (NOW, late)
    assert not see(pod("n", "r"), kept=kept, after=9000).state.late, "what serves is awaited by nobody"
    assert see(pod("n", "r"), kept=kept, after=9000, ready=False).state.late


def test_a_node_that_stays_is_judged_by_its_deadline_alone() -> None:
    found = see(starting(), kept=record(ago=299)).state
    assert (found.unsteady, found.late) == (None, False)


@pytest.mark.parametrize(
    ("allowed", "enough"),
    [(SLOW, DEADLINE + BAKE + seconds(50)), (COMPLETED, DEADLINE)],
)
def test_what_was_is_forgotten_once_it_served_for_the_deadline_the_bake_and_the_grace_period(
    allowed: Any, enough: Any
) -> None:
    for served, expected in ((enough - seconds(1), NOW - seconds(9000)), (enough, None)):
        kept = record(SERVING, ago=served.total_seconds(), unsteady=NOW - seconds(9000))
        found = observed(starting(), kept=kept, allowed=allowed)
        assert found.unsteady == expected, "it starts anew"
        gone = observed(starting(), kept=kept, allowed=allowed, ready=False)
        assert gone.unsteady == (expected or NOW)
        assert observed(starting(), kept=gone, allowed=allowed, after=9000).unsteady == gone.unsteady


def test_nothing_is_written_for_it_alone() -> None:
    kept = record(SERVING, ago=9000, unsteady=NOW - seconds(9500))
    assert observed(pod("n", "r"), kept=kept) is kept
    assert see(pod("n", "r"), kept=kept).state.unsteady == kept.unsteady, "in the shorter way, too"


def test_another_revision_and_a_place_that_was_taken_anew_begin_anew() -> None:
    kept = record(STAGED, unsteady=NOW - seconds(90))
    assert kept.moved_to("s", "r", NOW).unsteady is None
    assert kept.switched(NOW, alone=True).unsteady is None
    assert kept.switched(NOW, alone=False).unsteady == kept.unsteady, "its old server goes on, it took no place"
    assert replace(kept, state=SERVING).switched(NOW, alone=True).unsteady == kept.unsteady
    assert observed(starting(), kept=replace(kept, revision="q")).unsteady is None


def test_it_outlives_a_restart_and_a_clock_that_was_set_back() -> None:
    kept = record(STARTING, unsteady=NOW)
    assert parse_record(kept.to_json(), NOW) == kept
    earlier = parse_record(kept.to_json(), NOW - seconds(60))
    assert earlier is not None
    assert earlier.unsteady == NOW - seconds(60)


def test_a_node_of_which_nothing_is_kept_went_when_the_node_controller_says_so() -> None:
    for unheard, expected in ((NOW - seconds(500), NOW - seconds(500)), (None, NOW), (NOW + seconds(9), NOW)):
        found = see(pod("n", "r"), allowed=COMPLETED, kept=record(SERVING), ready=False, unheard=unheard)
        assert found.state.away == expected
