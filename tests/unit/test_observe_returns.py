"""How a node does that went and came back, and what of its server and its machine is held against it."""

from __future__ import annotations

from typing import Any

import pytest
from observations import (
    COMPLETED,
    DEADLINE,
    FAILED,
    SERVING,
    STARTING,
    TAINTED,
    observed,
    record,
    seconds,
    see,
    starting,
)
from snapshots import NOW, pod


@pytest.mark.parametrize("away", [{"ready": False}, {"taints": TAINTED}])
def test_the_deadline_starts_anew_when_a_node_is_back(away: dict[str, Any]) -> None:
    kept = observed(starting(), kept=record(ago=200))
    gone = see(starting(), kept=kept, after=10, **away)
    assert (gone.state.server, gone.state.deadline) == (STARTING, None)
    later = see(starting(), kept=gone.record, after=5000, **away)
    assert later.state.server is STARTING
    assert later.record == gone.record, "nothing is written while it is away"
    assert gone.record is not None
    assert gone.record.away == NOW + seconds(10)
    back = see(starting(), kept=gone.record, after=5010)
    assert back.state.deadline == NOW + seconds(5010) + DEADLINE
    assert (back.state.moved, back.state.since) == (NOW + seconds(5010),) * 2
    assert back.record is not None
    assert back.record.away is None


def test_a_node_that_failed_gets_another_chance_when_it_comes_back() -> None:
    failed = observed(starting(), kept=record(ago=300))
    assert failed.state is FAILED
    assert observed(starting(), kept=failed, after=9).state is FAILED
    assert observed(starting(name="other"), kept=failed, after=9).state is STARTING
    gone = observed(starting(), kept=failed, after=20, ready=False)
    assert gone.state is FAILED
    assert observed(starting(), kept=gone, after=25, ready=False) == gone
    back = see(starting(), kept=gone, after=30)
    assert (back.state.server, back.state.since) == (STARTING, NOW + seconds(30))
    assert "r" in back.state.failures, "it is still known that it failed"
    serves = see(pod("n", "r"), kept=back.record, after=40)
    assert serves.state.failures == {}, "until it serves"


def test_a_node_that_is_not_ready_keeps_what_its_containers_are() -> None:
    kept = record(SERVING, ago=50)
    gone = see(pod("n", "r"), kept=kept, ready=False, unheard=NOW)
    assert (gone.state.server, gone.state.ready, gone.state.since) == (SERVING, False, NOW - seconds(50))
    assert gone.state.away == NOW
    later = see(pod("n", "r"), kept=gone.record, ready=False, after=400)
    assert later.state.away == NOW
    assert later.record == gone.record
    back = see(pod("n", "r"), kept=later.record, after=410)
    assert (back.state.server, back.state.away) == (SERVING, None)
    assert (back.state.since, back.state.moved) == (NOW + seconds(410),) * 2, "its bake begins anew"


def test_a_node_went_when_the_node_controller_says_so_however_late_it_is_looked_at() -> None:
    kept = record(SERVING, ago=600)
    unheard = NOW - seconds(500)
    gone = see(pod("n", "r"), kept=kept, ready=False, unheard=unheard)
    assert (gone.state.since, gone.state.away) == (NOW - seconds(600), unheard)
    later = see(pod("n", "r"), kept=gone.record, ready=False, unheard=NOW, after=10)
    assert later.record == gone.record, "what was seen first stands"
    early = see(pod("n", "r"), kept=kept, ready=False, unheard=NOW - seconds(9000))
    assert early.state.away == kept.moved, "it got the revision no later than it left"
    assert see(pod("n", "r"), kept=kept, ready=False, unheard=NOW + seconds(60)).state.away == NOW


def test_where_nobody_can_say_when_a_node_went_its_bake_proves_nothing() -> None:
    gone = see(pod("n", "r"), kept=record(SERVING, ago=600), ready=False)
    assert (gone.state.since, gone.state.away) == (NOW, NOW)
    later = see(pod("n", "r"), kept=gone.record, ready=False, after=400)
    assert (later.state.since, later.state.away) == (NOW, NOW)
    starts = see(starting(), kept=record(STARTING, ago=60), ready=False)
    assert starts.state.since == NOW - seconds(60), "what starts has no bake to lose"


def test_the_last_word_of_a_machine_that_died_proves_nothing_when_it_comes_back() -> None:
    """Until its kubelet reports its pods, the API server has them as they were."""
    gone = observed(pod("n", "r"), kept=record(SERVING, ago=50), ready=False)
    back = see(pod("n", "r"), kept=gone, after=3000)
    assert back.state.since == NOW + seconds(3000)
    anew = observed(pod("n", "r", restarts=1), kept=back.record, after=3020)
    assert anew.deaths == 1
    assert observed(pod("n", "r", restarts=2), kept=anew, after=3040).deaths == 1, "a restart of its own"


def test_a_machine_that_started_anew_between_two_looks_came_back_though_it_was_never_seen_to_go() -> None:
    first = observed(pod("n", "r"), boot="a")
    assert observed(pod("n", "r"), kept=first, after=5, boot="a") is first
    back = observed(pod("n", "r"), kept=first, after=10, boot="b")
    assert (back.deaths, back.returned, back.since) == (0, NOW + seconds(10), NOW + seconds(10)), "its bake begins anew"
    assert observed(pod("n", "r", restarts=1), kept=back, after=20, boot="b").deaths == 1
    assert observed(pod("n", "r", restarts=1), kept=first, after=10, boot="b").deaths == 1, "both in one look"
    assert observed(pod("n", "r", restarts=1), kept=first, after=10, boot="a").deaths == 0, "a restart of its own"
    assert observed(pod("n", "r"), kept=first, after=10).boot == first.boot, "a node that does not say it"


def test_a_start_of_the_machine_that_ends_an_absence_is_one_return() -> None:
    first = observed(pod("n", "r"), boot="a")
    gone = observed(pod("n", "r"), kept=first, ready=False, after=10, boot="b")
    assert (gone.boot, gone.returned) == (first.boot, None)
    back = observed(pod("n", "r", restarts=1), kept=gone, after=20, boot="b")
    assert back.deaths == 1
    assert observed(pod("n", "r", restarts=1), kept=back, after=30, boot="b") is back


def test_a_server_that_serves_for_good_is_told_from_one_whose_machine_started_anew() -> None:
    first = observed(pod("n", "r"), boot="a")
    settled = see(pod("n", "r"), kept=first, allowed=COMPLETED, after=10, boot="a").record
    assert settled is first
    assert observed(pod("n", "r"), kept=first, allowed=COMPLETED, after=10, boot="b").since == NOW + seconds(10)


def test_a_restart_long_after_a_return_is_no_death() -> None:
    back = observed(pod("n", "r"), kept=record(SERVING, away=NOW - seconds(5)))
    assert observed(pod("n", "r", restarts=1), kept=back, after=DEADLINE.total_seconds()).deaths == 0
    assert observed(pod("n", "r", restarts=1), kept=back, after=DEADLINE.total_seconds() - 1).deaths == 1


def test_a_canary_that_was_without_power_for_long_gets_its_whole_time_again() -> None:
    gone = observed(pod("n", "r"), kept=record(SERVING, ago=50), ready=False)
    back = observed(pod("n", "r"), kept=gone, after=9000)
    anew = see(starting(restarts=1), kept=back, after=9010)
    assert anew.state.server is STARTING
    serves = see(pod("n", "r", restarts=1), kept=anew.record, after=9030)
    assert serves.state.server is SERVING


def test_a_node_that_returns_twice_with_its_server_started_anew_has_failed_while_it_is_tried() -> None:
    kept = record(SERVING, ago=50)
    for times, server in ((1, SERVING), (2, FAILED)):
        gone = observed(pod("n", "r", restarts=times - 1), kept=kept, ready=False, after=100 * times)
        kept = observed(pod("n", "r", restarts=times), kept=gone, after=100 * times + 50)
        assert (kept.deaths, kept.state) == (times, server)
        assert see(pod("n", "r", restarts=times), kept=kept, after=100 * times + 50).state.shaky
    gone = observed(pod("n", "r"), kept=record(SERVING, ago=50), ready=False)
    back = see(pod("n", "r"), kept=gone, after=50)
    assert back.state.shaky
    assert see(pod("n", "r"), kept=back.record, after=60).state.shaky, "in the shorter way, too"
    assert not see(pod("n", "r"), kept=back.record, after=60, allowed=COMPLETED).state.shaky
    assert not see(pod("n", "r"), kept=record(SERVING, deaths=1), allowed=COMPLETED).state.shaky
    assert not see(pod("n", "r"), kept=record(SERVING)).state.shaky
    assert kept.failures["r"].note == "went down and came back with its server started anew 2 times"
    assert see(pod("n", "r", restarts=2), kept=record(SERVING, deaths=2), allowed=COMPLETED).state.server is SERVING
    assert see(pod("n", "r"), kept=record(SERVING, deaths=2)).state.server is FAILED, "it is tried again"


def test_a_restart_without_the_node_going_away_is_no_death() -> None:
    assert observed(pod("n", "r", restarts=1), kept=record(SERVING)).deaths == 0
    back = record(SERVING, away=NOW - seconds(5))
    assert observed(pod("n", "r"), kept=back).deaths == 0
    assert observed(pod("n", "r", name="other", restarts=1), kept=back).deaths == 0, "another pod is another start"
    assert observed(pod("n", "r", restarts=1), kept=back).deaths == 1


def test_a_new_record_of_a_node_that_is_away_says_so() -> None:
    assert observed(pod("n", "r"), ready=False).away == NOW
    assert observed(pod("n", "r"), taints=TAINTED).away == NOW
    assert see(pod("n", "r"), ready=False, allowed=COMPLETED).record is None
