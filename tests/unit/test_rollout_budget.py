"""One step of the planner at a time: how many nodes may be without a server at once, and who counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rollout_words import (
    BAD,
    COMPLETED,
    LONG_AGO,
    NEW,
    ODD,
    OLD,
    OPEN,
    PROVEN,
    REPLACE,
    RULES,
    beside,
    fleet,
    moves,
    state_of,
    step,
    variant,
    with_rules,
)
from snapshots import NOW

from edgesmith.api.status import PendingReason
from edgesmith.api.window import Window
from edgesmith.decide.fleet import Failure, RevisionState, RolloutPhase, ServerState
from edgesmith.decide.rollout import Rollout, plan_rollout
from edgesmith.decide.window import opening_of

FULL = "As many nodes as spec.rollout.maxUnavailable allows (2) are without a ready server."
TEN = with_rules(max_unavailable="20%")

COUNTED: dict[str, tuple[str, tuple[RevisionState, ...], set[str]]] = {
    "two at a time": ("new+ old+ old+ old+", (OLD, PROVEN), {"n1", "n2"}),
    "one that starts counts": ("new? old+ old+ old+", (OLD, PROVEN), {"n1"}),
    "two that start count": ("new? new? old+ old+", (OLD, PROVEN), set()),
    "one that starts another revision costs nothing more": ("new+ old? old? old+", (OLD, PROVEN), {"n1", "n2"}),
    "a failed one counts": ("new! new+ old+ old+", (OPEN, PROVEN), {"n0", "n2"}),
    "one that failed on the old revision counts": ("new+ old!/new old+ old+", (OPEN, PROVEN), {"n2"}),
    "three that failed on the old one, one of them is excused": (
        "new+ old!/new! old!/new! old!/new! old+ old+",
        (OLD, PROVEN),
        set(),
    ),
    "one that failed on what is completed is excused": ("new+ old!/new old+ old+", (OLD, PROVEN), {"n2", "n3"}),
    "and so is one that failed on the one before, too": ("new+ old!!/new old+ old+", (OPEN, PROVEN), {"n2", "n3"}),
    "two of those count as one": ("new+ old!/new! old!/new! old+ old+ old+", (OLD, PROVEN), {"n3"}),
    "a tainted one that failed counts, as one that is away": ("new+ #old! #old! old+ old+", (OPEN, PROVEN), set()),
    "so does a tainted one that starts": ("new+ #new? #new? old+ old+", (OLD, PROVEN), set()),
    "one that lost its device on what is not completed counts where more of them than maxFailed did": (
        "new+ %new? %new? old+ old+ old+",
        (OLD, PROVEN),
        {"n3"},
    ),
    "one of them does not": ("new+ %new? old+ old+ old+", (OLD, PROVEN), {"n2", "n3"}),
    "nor does one of what is completed, one whose server goes on, or one that has none": (
        "new+ %old? %old? %new+ %. %. old+ old+ old+",
        (OLD, PROVEN),
        {"n6", "n7"},
    ),
    "a NotReady one of what is completed does not count": ("new+ ~old+ ~old? old+ old+", (OLD, PROVEN), {"n3", "n4"}),
    "a NotReady one of what is not proven does": ("new+ ~odd+ ~odd? old+ old+", (OLD, ODD, PROVEN), set()),
    "one that starts on what is not completed and went away does": ("new+ ~new? old+ old+", (OLD, PROVEN), {"n2"}),
    "one that served what was proven and then went away does not": (
        "new+ ~new+ old+ old+",
        (OLD, PROVEN),
        {"n2", "n3"},
    ),
    "one that is excused and moved takes nothing off those that count": (
        "new+ old! ~odd? old+ old+",
        (OLD, ODD, PROVEN),
        {"n1"},
    ),
    "one that counts and is moved does": ("new+ old! ~odd? old+ old+", (OPEN, ODD, PROVEN), {"n1"}),
    "one that failed and answers has a server": ("new+ old*/new old+ old+", (OPEN, PROVEN), {"n2", "n3"}),
    "one that failed and answers takes a place to go back": ("new+ new* old+ old+", (OLD, PROVEN), {"n1", "n2"}),
    "and was not down before": ("new+ new* ~odd? old+ old+", (OLD, ODD, PROVEN), {"n1"}),
    "and does not wait for those that are down": ("new+ new* ~odd? ~odd? old+", (OLD, ODD, PROVEN), {"n1"}),
    "but for those that start": ("new? new? new* old+", (OLD, PROVEN), set()),
    "one that failed and does not answer goes back at once": ("new? new? new! old+", (OLD, PROVEN), {"n2"}),
    "and comes before one that answers": ("new? new* new!! old+", (OLD, PROVEN), {"n2"}),
    "nodes that serve nothing wait only for those on their way": ("new? new! . .", (OLD, COMPLETED), {"n2"}),
    "and come before those that serve": ("old+ . .", (OLD, PROVEN), {"n1", "n2"}),
    "a node that is moved after it failed is on its way and no longer down": (
        "new+ old! old+ old+",
        (OLD, PROVEN),
        {"n1", "n2"},
    ),
}


@pytest.mark.parametrize("case", COUNTED)
def test_who_is_moved_where_two_may_be_down(case: str) -> None:
    text, revisions, expected = COUNTED[case]
    course = step(text, *revisions)
    assert set(moves(course)) == expected
    for one in course.pending:
        if one.reason is PendingReason.MAX_UNAVAILABLE:
            assert one.message == FULL


def test_a_node_that_went_away_before_the_revision_was_proven_counts() -> None:
    proven = NOW - timedelta(minutes=4)
    for early, moved in ((1, {"n2"}), (-1, {"n2", "n3"})):
        gone = {"n1": {"away": proven - timedelta(seconds=early), "moved": NOW - timedelta(hours=1)}}
        nodes = fleet("new+ ~new+ old+ old+", **gone)
        assert set(moves(step(nodes, OLD, replace(PROVEN, proven=proven)))) == moved


def test_a_node_that_went_away_soon_after_it_got_the_revision_counts_though_it_was_proven() -> None:
    rules = with_rules(steps=[(1, 30), (2, 60), (3, 30)])
    for soon, moved in ((359, {"n2"}), (360, {"n2", "n3"})):
        gone = {"n1": {"moved": NOW - timedelta(seconds=60 + soon)}}
        long_proven = replace(PROVEN, proven=NOW - timedelta(hours=1))
        assert set(moves(step(fleet("new+ ~new+ old+ old+", **gone), OLD, long_proven, rules=rules))) == moved


def test_a_percentage_is_of_all_desired_nodes_rounded_down_and_never_less_than_one() -> None:
    assert len(moves(step("new+" + " old+" * 9, OLD, PROVEN, rules=TEN))) == 2
    assert len(moves(step("new+" + " old+" * 13, OLD, PROVEN, rules=TEN))) == 2
    assert len(moves(step("new+ old+ old+", OLD, PROVEN, rules=TEN))) == 1
    assert len(moves(step("new+" + " ~old+" * 5 + " old+" * 4, OLD, PROVEN, rules=TEN))) == 2, "NotReady ones count"


def test_ten_nodes_three_of_them_down_and_two_allowed() -> None:
    text = "new+ old+ old+ old+ old+ old+ old+ old!/new old!/new old!/new"
    assert moves(step(text, OPEN, PROVEN, rules=with_rules(max_failed=3))) == {}


def variants(*parts: Any, rules: Any = RULES, leaving: Any = ()) -> Rollout:
    return plan_rollout(parts, rules, NOW, leaving)


def test_variants_share_the_budget() -> None:
    one, other = (
        variant("new+ old+ old+ old+", OLD, PROVEN),
        variant(fleet("new+ old+", 7), OLD, PROVEN, name="q"),
    )
    first, second = variants(one, other).courses
    assert (len(first.moves), len(second.moves)) == (2, 0)
    assert second.phase is RolloutPhase.ROLLING_OUT
    assert [(one.node, one.message) for one in second.pending] == [("n8", FULL)]
    first, second = variants(one, other, rules=with_rules(max_unavailable="50%")).courses
    assert (len(first.moves), len(second.moves)) == (2, 1), "half of all six, of four and of two"
    first, second = variants(one, other, rules=with_rules(max_unavailable="20%")).courses
    assert (len(first.moves), len(second.moves)) == (1, 0), "a fifth of all six, which one profile has"


def test_broken_devices_of_one_variant_are_excused_by_its_own_size() -> None:
    broken = variant("new!! new!! new+ new+", OLD, COMPLETED)
    other = variant(fleet("new+ old+ old+ old+", 7), OLD, PROVEN, name="q")
    assert len(variants(broken, other).courses[1].moves) == 1
    assert len(variants(broken, other, rules=with_rules(max_failed="50%")).courses[1].moves) == 2


def test_nodes_that_go_back_take_their_place_in_the_budget_of_others() -> None:
    failing = variant("new! old+", OLD, NEW)
    other = variant(fleet("new+ old+ old+ old+", 7), OLD, PROVEN, name="q")
    back, onward = variants(failing, other).courses
    assert (len(back.moves), len(onward.moves)) == (1, 1)


def test_the_canary_waits_for_the_budget_too() -> None:
    course = step(
        "odd! odd! old+ old+", replace(OPEN, steps=1), ODD, NEW, rules=with_rules(max_unavailable=1, max_failed=0)
    )
    assert set(moves(course).values()) == {"old"}
    assert [one.node for one in course.pending if one.reason is PendingReason.MAX_UNAVAILABLE] == ["n2", "n3"]
    assert state_of(course, "new") == NEW


def test_failed_nodes_do_not_keep_the_others_on_what_was_rolled_back() -> None:
    bad = replace(PROVEN, rolled_back="It failed.")
    assert set(moves(step("new+ new+ old! old! old!", OPEN, bad))) == {"n0", "n1"}
    assert set(moves(step("new+ new+ old? old!", OPEN, bad))) == {"n0"}


def test_another_profiles_revision_is_kept_until_the_nodes_own_is_approved() -> None:
    """All nodes became those of another profile; what they run is not one of its revisions."""
    theirs = {f"n{number}": {"foreign": True} for number in range(4)}
    started = step(fleet("their+ their+ their+ their+", **theirs), NEW)
    assert moves(started) == {"n0": "new"}
    assert step(fleet("their+ their+", **theirs), target=None).moves == ()
    failed = step(fleet("new!<their their+ their+", n1=theirs["n1"], n2=theirs["n2"]), NEW, usable=frozenset({"their"}))
    assert moves(failed) == {"n0": "their"}
    assert step(fleet("their+ their+ their+", **theirs), BAD).moves == ()
    onward = step(fleet("new+ their+ their+ their+", **(theirs | {"n0": {}})), PROVEN)
    assert moves(onward) == {"n1": "new", "n2": "new"}
    stays = step(fleet("old+ their+", n1=theirs["n1"]), OLD, target=None)
    assert moves(stays) == {"n1": "old"}, "its profile's approved revision, though the newest is not known"


HELD = ({"paused": True}, {"opening": opening_of((Window(start="01:00", end="02:00"),), NOW)})


@pytest.mark.parametrize("limit", [1, "10%"])
@pytest.mark.parametrize("hold", HELD)
def test_nodes_that_wait_for_a_window_keep_nobody_on_what_was_rolled_back(
    limit: int | str, hold: dict[str, Any]
) -> None:
    rules = with_rules(max_unavailable=limit, **hold)
    waits = beside("new? old+ old+", staged=True)
    waiting = variant(waits, OLD, PROVEN, strategy=REPLACE, stageable=frozenset({"new"}), name="a")
    past, bad = replace(OLD, revision="past"), replace(PROVEN, revision="bad", rolled_back="It failed.")
    text = "bad+<past bad+<past bad+<past"
    left = variant(fleet(text, 7), past, bad, target="bad", strategy=REPLACE, name="b")
    first, second = variants(waiting, left, rules=rules).courses
    assert (moves(first), moves(second)) == ({}, {"n7": "past"})
    assert {one.reason for one in first.pending} <= {PendingReason.PAUSED, PendingReason.WINDOW_CLOSED}
    starts = variant(fleet("new? old+ old+"), OLD, PROVEN, strategy=REPLACE, name="a")
    assert moves(variants(starts, left, rules=rules).courses[1]) == {}, "that is without a server"
    onward = variants(waiting, left, rules=with_rules(max_unavailable=limit)).courses
    assert [moves(one) for one in onward] == [{"n0": "new"}, {}], "it takes its place when it goes on"


def test_a_node_that_waits_for_a_window_keeps_no_failed_one_and_no_new_one_from_its_place() -> None:
    old = {"beside": "old", "beside_serving": True, "staged": True}
    nodes = fleet("new*<old new+<old old+ new?", n3=old)
    more: dict[str, Any] = {"strategy": REPLACE, "stageable": frozenset({"new", "old"})}
    paused = with_rules(max_unavailable=1, paused=True)
    assert moves(step(nodes, OLD, PROVEN, rules=paused, **more)) == {"n0": "old"}
    assert moves(step((*nodes[1:], *fleet(".", 4)), OLD, PROVEN, rules=paused, **more)) == {"n4": "old"}
    gone = fleet("new*<old new+<old old+ new?", n3=old | {"beside_serving": False})
    assert moves(step(gone, OLD, PROVEN, rules=paused, **more)) == {}, "it is without a server"
    back = fleet("new+<bad bad+ bad+ new?", n3=old | {"beside": "bad"})
    bad = replace(PROVEN, revision="bad", proven=LONG_AGO, rolled_back="It failed.")
    assert set(moves(step(back, OLD, bad, PROVEN, rules=paused, **more))) == {"n3"}, "it goes back, which nothing holds"


def test_nodes_that_failed_and_then_lost_their_device_keep_the_others_for_the_deadline_alone() -> None:
    lost = {"unsteady": NOW, "away": NOW}
    rules = with_rules(max_unavailable=1)
    text = "old+ old+ old+ old+ old+ old+ %old! %old!"
    assert moves(step(fleet(text, n6=lost, n7=lost), OPEN, NEW, rules=rules)) == {}
    late = fleet(text, n6=lost | {"late": True}, n7=lost | {"late": True})
    assert moves(step(late, OPEN, NEW, rules=rules, after=86400)) == {"n0": "new"}


LEAVING: dict[str, tuple[str, set[str], dict[str, str]]] = {
    "two at a time, those without a server at once": (
        "old+ old+ old+ old! what.",
        {"n0", "n1", "n3", "n4"},
        {"n2": "MaxUnavailable"},
    ),
    "one that failed and answers has a server": ("old+ old+ old*", {"n0", "n1"}, {"n2": "MaxUnavailable"}),
    "a NotReady one keeps its label": ("~old+ ~old?", set(), {"n0": "NotReady", "n1": "NotReady"}),
    "unless that names nothing": ("~what.", {"n0"}, {}),
    "a tainted one goes": ("#old+", {"n0"}, {}),
    "one that starts goes": ("old? old? old?", {"n0", "n1", "n2"}, {}),
}


@pytest.mark.parametrize("case", LEAVING)
def test_nodes_that_are_no_longer_to_run_the_model(case: str) -> None:
    text, gone, waiting = LEAVING[case]
    found = variants(variant("", OLD, target="old"), leaving=fleet(text))
    assert {move.node for move in found.leaving} == gone
    assert {move.revision for move in found.leaving} <= {None}
    assert {one.node: str(one.reason) for one in found.pending} == waiting


def test_leaving_nodes_share_the_budget_and_add_to_the_fleet_it_is_a_share_of() -> None:
    found = variants(variant("new+ old+ old+", OLD, PROVEN), leaving=fleet("old+ old+", 7))
    assert (len(found.courses[0].moves), found.leaving) == (2, ())
    half = with_rules(max_unavailable="50%")
    found = variants(variant("old+ old+", OLD, target="old"), rules=half, leaving=fleet("old+ old+ old+", 7))
    assert len(found.leaving) == 2
    found = variants(variant("new? new? old+", OLD, PROVEN), leaving=fleet("old+", 7))
    assert [one.message for one in found.pending] == [FULL]


def test_a_leaving_node_that_was_lost_with_an_unproven_revision_counts() -> None:
    lost = tuple(replace(node, unfinished=True) for node in fleet("~odd? ~odd?", 7))
    one = variant("new+ old+ old+ old+", OLD, ODD, PROVEN)
    assert len(variants(one, leaving=lost[:1]).courses[0].moves) == 1
    assert len(variants(one, leaving=lost).courses[0].moves) == 0
    assert len(variants(one, leaving=fleet("~old+ ~old+", 7)).courses[0].moves) == 2
    there = tuple(replace(node, unfinished=True) for node in fleet("odd+ odd+", 7))
    assert len(variants(one, leaving=there).courses[0].moves) == 2


def test_paused_moves_nobody_forward_and_nobody_away() -> None:
    rules = with_rules(paused=True)
    course = step("new+ old+ . what.", OLD, PROVEN, rules=rules)
    assert (moves(course), course.phase) == ({"n2": "old", "n3": "old"}, RolloutPhase.PAUSED), "they have nothing yet"
    assert {one.node: str(one.reason) for one in course.pending} == {"n1": "Paused"}
    assert moves(step(". old+/new", OPEN, NEW, rules=rules)) == {}, "nothing was completed"
    assert step("old+ old+", OLD, NEW, rules=rules).moves == ()
    found = variants(variant("", OLD, target="old"), rules=rules, leaving=fleet("old+ what."))
    assert (found.leaving, {str(one.reason) for one in found.pending}) == ((), {"Paused"})


def test_paused_still_takes_what_is_bad_off_its_nodes() -> None:
    rules = with_rules(paused=True)
    course = step("new! old+", OLD, NEW, rules=rules)
    assert (moves(course), course.phase) == ({"n0": "old"}, RolloutPhase.ROLLING_BACK)
    assert moves(step("new+ new! old+ old+", OLD, PROVEN, rules=rules)) == {"n1": "old"}


def test_a_known_failure_is_one_of_the_revision_that_the_label_names() -> None:
    nodes = fleet(
        "new+ old! old+ old+", n1={"failures": {"old": Failure(), "new": Failure(), "odd": Failure(broken=True)}}
    )
    assert set(moves(step(nodes, OPEN, PROVEN))) == {"n2"}
    assert nodes[1].server is ServerState.FAILED


def test_the_revision_that_a_node_carries_decides_whether_its_failure_is_known() -> None:
    early = replace(OPEN, proven=LONG_AGO - timedelta(days=1))
    assert set(moves(step("new+ old!/new old+ old+", early, PROVEN))) == {"n2"}
