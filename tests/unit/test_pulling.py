"""How many nodes pull at once, and when each node's turn begins."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fleet_life import ROLLOUT, set_clock
from fleets import fleet as simulated
from observations import FAILED, SERVING, STAGED, STARTING, record, see
from rollout_words import COMPLETED, NEW, OLD, OLDEST, PROVEN, fleet, step, variant, with_rules
from snapshots import NOW, pod

from edgesmith.api.rollout import Rollout
from edgesmith.api.window import Window
from edgesmith.decide.entries import time_of
from edgesmith.decide.fleet import NodeState, Partitions, RevisionState, Rules
from edgesmith.decide.rollout import Course, plan_rollout
from edgesmith.decide.turn import SLOTS, turn_of
from edgesmith.decide.window import opening_of

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
RULES = with_rules(max_unavailable=9, max_pulling=2)


def fetching(text: str, *names: str) -> tuple[NodeState, ...]:
    return tuple(replace(one, fetching=one.name in names) for one in fleet(text))


def course(nodes: tuple[NodeState, ...], *revisions: RevisionState, rules: Rules = RULES, **more: Any) -> Course:
    return plan_rollout([variant(nodes, *revisions, **more)], rules, NOW).courses[0]


def moved(found: Course) -> dict[str, str | None]:
    return {move.node: move.revision for move in found.moves}


def test_one_that_is_late_does_not_count_until_it_is_given_something_else() -> None:
    late: dict[str, Any] = {name: {"fetching": True, "late": True} for name in ("n0", "n1")}
    found = course(fleet("new? odd? old+ old+ old+", **late), OLD, PROVEN)
    assert moved(found) == {"n1": "new", "n2": "new"}, "n0 keeps nobody, and n1 begins anew"
    assert [one.node for one in found.pending if one.reason == "MaxPulling"] == ["n3", "n4"]


def test_as_many_nodes_pull_at_once_as_max_pulling_says() -> None:
    found = course(fetching("new? old+ old+ old+", "n0"), OLD, PROVEN)
    assert moved(found) == {"n1": "new"}
    assert [(one.node, one.reason) for one in found.pending] == [("n2", "MaxPulling"), ("n3", "MaxPulling")]
    assert found.pending[0].message == "As many nodes as spec.rollout.maxPulling allows (2) pull an image."


def test_a_node_whose_image_is_there_takes_no_place_of_it() -> None:
    assert moved(course(fetching("new? old+ old+ old+"), OLD, PROVEN)) == {"n1": "new", "n2": "new"}


def test_one_that_cannot_be_reached_takes_none_either() -> None:
    found = course(fetching("~new? #new? old+ old+ old+", "n0", "n1"), OLD, PROVEN)
    assert moved(found) == {"n2": "new", "n3": "new"}


def test_one_that_pulls_begins_no_other_image_while_more_pull_than_may() -> None:
    """One of them came back while the other had its place."""
    nodes = tuple(replace(one, beside="oldest", beside_serving=True) for one in fetching("old? old?", "n0", "n1"))
    one = replace(RULES, max_pulling=1)
    assert moved(course(nodes, OLDEST, OLD, NEW, rules=one)) == {}
    assert moved(course(nodes[:1], OLDEST, OLD, NEW, rules=one)) == {"n0": "new"}


def test_it_bounds_steps_and_all_variants_together_and_max_unavailable_bounds_it() -> None:
    first = variant(fetching("new? old+", "n0"), OLD, PROVEN)
    more = replace(OLD, revision="far"), replace(PROVEN, revision="next")
    second = variant(tuple(replace(one, label="far") for one in fleet("old+ old+", 5)), *more, target="next", name="q")
    planned = plan_rollout([first, second], RULES, NOW)
    assert [moved(one) for one in planned.courses] == [{"n1": "new"}, {}]
    tight = replace(RULES, max_unavailable=1)
    assert [one.reason for one in course(fleet("new? old+"), OLD, PROVEN, rules=tight).pending] == ["MaxUnavailable"]
    canaries = with_rules(steps=((3, 60),), max_unavailable=9, max_pulling=2)
    assert len(course(fleet("old+ old+ old+"), OLD, NEW, rules=canaries).moves) == 2


def test_what_goes_back_is_not_bound_by_it() -> None:
    bad = RevisionState("bad", NOW, rolled_back="n9 failed.", reason="CanaryFailed")
    found = course(fetching("bad? bad? bad!", "n0", "n1"), OLD, bad, target="bad", rules=replace(RULES, max_pulling=1))
    assert moved(found) == {"n0": "old", "n1": "old", "n2": "old"}
    serving = fetching("bad? bad+ bad+", "n0")
    assert len(course(serving, OLD, bad, target="bad", rules=replace(RULES, max_pulling=1)).moves) == 3


def test_nor_is_what_pulls_nothing() -> None:
    """A node that leaves, or lends its device, is given no image."""
    one = replace(RULES, max_pulling=1)
    full = variant(fetching("new? new+", "n0"), OLD, PROVEN)
    assert moved(course(fetching("new? old+ old+", "n0"), OLD, PROVEN, rules=one, trying="n1"))["n1"] is None
    leaving = tuple(replace(node, name=f"x{node.name}") for node in fleet("old+ old?"))
    gone = plan_rollout([full], one, NOW, leaving)
    assert [(move.node, move.revision) for move in gone.leaving] == [("xn0", None), ("xn1", None)]
    # Nor does one that lends its device keep the others from what they pull.
    found = course(fetching("old+ old+ old+"), OLD, PROVEN, rules=one, trying="n0")
    assert moved(found) == {"n0": None, "n1": "new"}
    assert [(one.node, one.reason) for one in found.pending] == [("n2", "MaxPulling")]


def test_who_leaves_waits_for_max_unavailable_alone_and_says_so() -> None:
    both = with_rules(max_unavailable=1, max_pulling=1)
    leaving = tuple(replace(node, name=f"x{node.name}") for node in fleet("old+ old+"))
    gone = plan_rollout([variant(fleet("new+"), OLD, PROVEN)], both, NOW, leaving)
    assert [(move.node, move.revision) for move in gone.leaving] == [("xn0", None)]
    words = "As many nodes as spec.rollout.maxUnavailable allows (1) are without a ready server."
    assert [(one.node, one.reason, one.message) for one in gone.pending] == [("xn1", "MaxUnavailable", words)]


def test_a_percentage_is_of_the_nodes_that_are_to_run_the_model() -> None:
    ten = " ".join(["old+"] * 10)
    assert len(course(fleet(ten), OLD, PROVEN, rules=replace(RULES, max_pulling="30%")).moves) == 3
    for wrong in (0, "0%", "half"):
        with pytest.raises(ValueError, match="maxPulling"):
            Rollout.model_validate({"maxPulling": wrong})


def test_an_image_is_there_once_a_container_of_its_pod_was_made() -> None:
    waits = pod("n", "r", ready=False)
    assert see(waits, kept=record(STARTING)).state.fetching
    assert see(kept=record(STARTING, run="")).state.fetching
    assert not see(replace(waits, pulled=True), kept=record(STARTING)).state.fetching
    assert not see(pod("n", "r"), kept=record(SERVING)).state.fetching
    assert not see(waits, kept=record(FAILED)).state.fetching
    assert STAGED is not STARTING


JITTERED = with_rules(max_unavailable=99, jitter=64 * MINUTE)
FRESH = replace(PROVEN, proven=NOW)


def test_a_turn_is_within_the_jitter_the_same_in_every_pass_and_another_one_for_another_revision() -> None:
    turns = [turn_of(f"n{number}", "new", 64 * MINUTE) for number in range(400)]
    assert min(turns) >= timedelta(0)
    assert max(turns) < 64 * MINUTE
    assert len(set(turns)) == SLOTS, "all slots are used"
    assert turns == [turn_of(f"n{number}", "new", 64 * MINUTE) for number in range(400)]
    assert turns != [turn_of(f"n{number}", "next", 64 * MINUTE) for number in range(400)]


def test_a_node_is_moved_when_its_turn_begins_and_says_when_that_is() -> None:
    turn = turn_of("n0", "new", 64 * MINUTE)
    assert turn > timedelta(0)
    early = step("old+", OLD, FRESH, rules=JITTERED, after=turn.total_seconds() - 1)
    assert not early.moves
    begins = (NOW + turn).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert [(one.reason, one.message) for one in early.pending] == [
        ("Jitter", f"Its turn within spec.rollout.jitter begins at {begins}.")
    ]
    assert early.look_again == 1
    assert moved(step("old+", OLD, FRESH, rules=JITTERED, after=turn.total_seconds())) == {"n0": "new"}


def test_where_the_clock_was_set_back_turns_are_kept_and_nobody_waits_until_it_is_there_again() -> None:
    bake = {"label": "zone", "bake": "1m"}
    rollout = ROLLOUT | {"maxUnavailable": "100%", "jitter": "10m", "partitions": bake}
    world = simulated(12, rollout)
    years = timedelta(days=900)
    world.publish("b")
    set_clock(world, years)
    world.run_until("Complete")
    set_clock(world, -years)
    world.clock_was_set = False  # nothing that is done with what comes now is excused
    world.publish("c")
    reasons: set[str] = set()
    for _ in range(60):
        plan = world.pass_()
        reasons |= {one.reason.value for one in plan.pending}
        world.tick(20)
        marks = [one for one in plan.status.revisions if one.proven_time]
        assert all(time_of(one.proven_time or "") <= world.now for one in marks)
    assert "Jitter" in reasons
    assert (plan.status.variants[0].state, world.labelled("c")) == ("Complete", set(world.nodes))
    newest = sorted(marks, key=lambda one: one.proven_time or "")
    assert [world.digit(one.name) for one in newest] == ["a", "b", "c"]


def test_nodes_of_steps_and_nodes_that_go_back_wait_for_no_turn() -> None:
    twenty = " ".join(["old+"] * 20)
    canary = replace(JITTERED, steps=with_rules(steps=((20, 60),)).steps)
    assert len(step(twenty, OLD, NEW, rules=canary).moves) == 20
    bad = RevisionState("bad", NOW, rolled_back="n9 failed.", reason="CanaryFailed")
    serving = " ".join(["bad+"] * 20)
    assert len(step(serving, OLD, bad, target="bad", rules=JITTERED).moves) == 20
    left = replace(NEW, rolled_back="spec.rollout.rollbackTo asks for revision old.")
    again = replace(OLD, proven=NOW, completed=None)
    asked = step(" ".join(["new+"] * 20), again, left, target="old", left="new", rules=JITTERED)
    assert len(asked.moves) == 20
    others = step(" ".join(["oldest+"] * 20), OLDEST, again, left, target="old", left="new", rules=JITTERED)
    assert len(others.moves) == 20
    assert len(step(twenty, OLD, replace(COMPLETED, proven=NOW), rules=JITTERED).moves) == 20


def test_a_turn_counts_from_the_last_of_the_steps_the_partition_and_the_window() -> None:
    text, far = "old+", replace(PROVEN, proven=NOW - timedelta(days=2))
    assert len(step(text, OLD, far, rules=JITTERED).moves) == 1
    parted = replace(JITTERED, partitions=Partitions("zone", (), timedelta(0)))
    assert not step(text, OLD, replace(far, partition="", opened=NOW), rules=parted).moves
    window = opening_of((Window(start="12:00", end="18:00"),), NOW)
    assert (window.open, window.since) == (True, NOW)
    assert not step(text, OLD, far, rules=replace(JITTERED, opening=window)).moves


def test_an_override_makes_turns_count_without_windows() -> None:
    text, far = "old+ old+ old+", replace(PROVEN, proven=NOW - timedelta(hours=2))
    for start in ("12:00", "14:00"):
        window = opening_of((Window(start=start, end="18:00"),), NOW)
        rules = replace(JITTERED, opening=window)
        assert len(step(text, OLD, far, rules=rules, overridden=True).moves) == 3, start


@pytest.mark.parametrize(
    ("windows", "jitter", "most"),
    [
        ((Window(start="22:00", end="04:00"),), timedelta(hours=12), timedelta(hours=16)),
        ((Window(start="00:00", end="00:00"),), 4 * DAY, 4 * DAY),
        ((Window(start="06:00", end="18:00"), Window(start="18:00", end="06:00")), 20 * DAY, 20 * DAY),
        ((Window(days=("Mon", "Tue", "Wed", "Thu", "Fri"), start="00:00", end="00:00"),), 4 * DAY, 10 * DAY),
    ],
    ids=["longer than the window", "always open", "always open by two windows", "open for days"],
)
def test_every_node_has_its_turn_within_one_window_or_one_jitter(
    windows: tuple[Window, ...], jitter: timedelta, most: timedelta
) -> None:
    names = [f"n{number}" for number in range(12)]
    waiting, passed = {*names}, timedelta(0)
    while waiting and passed <= most:
        now = NOW + passed
        nodes = tuple(replace(one, label="old" if one.name in waiting else "new") for one in fleet("old+ " * 12))
        rules = with_rules(max_unavailable=99, jitter=jitter, opening=opening_of(windows, now))
        waiting -= moved(plan_rollout([variant(nodes, OLD, FRESH)], rules, now).courses[0]).keys()
        passed += timedelta(minutes=15)
    assert not waiting
