"""For how long a node that is away keeps its place of `maxUnavailable`; two may be unavailable, and one may fail."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rollout_words import NEW, ODD, OLD, PROVEN, REPLACE, RULES, SURGE, fleet, moves, step, variant, with_rules
from snapshots import NOW

from edgesmith.decide.devices import Shortage
from edgesmith.decide.fleet import NodeState, RevisionState, ServerState
from edgesmith.decide.rollout import plan_rollout

GONE, GOING = RULES.deadline, RULES.deadline - timedelta(seconds=1)
BESIDE: dict[str, Any] = {"beside": "old", "beside_serving": True}
PULLING = BESIDE | {"fetching": True}


def away(words: str, since: timedelta = GONE, **more: Any) -> tuple[NodeState, ...]:
    """Nodes, of which those that are NotReady went so long ago, soon after they got what they have."""
    return tuple(
        one if one.ready else replace(one, away=NOW - since, moved=NOW - since, since=NOW - since, **more)
        for one in fleet(words)
    )


OTHERS = "old+ old+ old+"
MOVED: dict[str, tuple[tuple[NodeState, ...], int]] = {
    "one that has been away for the deadline has no place": (away(f"new+ ~new? {OTHERS}"), 2),
    "nor has one with a server of an older revision beside it": (away(f"new+ ~new? {OTHERS}", **BESIDE), 2),
    "it has until then": (away(f"new+ ~new? {OTHERS}", GOING, **PULLING), 1),
    "two on which the revision ran: one of them has": (away(f"new+ ~new+ ~new+ {OTHERS}"), 1),
    "three on which it ran: two of them have": (away(f"new+ ~new+ ~new? ~new! {OTHERS}"), 0),
    "on which its self-test ran, beside the old server, too": (away(f"new+ ~new? ~new? ~new? {OTHERS}", **BESIDE), 0),
    "three that only pulled have none": (away(f"new+ ~new? ~new? ~new? {OTHERS}", **PULLING), 2),
    "nor have three that waited for the old server to end": (
        away(f"new+ ~new? ~new? ~new? {OTHERS}", staged=True, **BESIDE),
        2,
    ),
    "nor three that pulled and had served nothing": (away(f"new+ ~new? ~new? ~new? {OTHERS}", fetching=True), 2),
    "but three that gave up a server for it have": (
        away(f"new+ ~new? ~new? ~new? {OTHERS}", fetching=True, previous="old"),
        0,
    ),
    "and so have three whose old server was not ready": (
        away(f"new+ ~new? ~new? ~new? {OTHERS}", fetching=True, beside="old", previous="old"),
        0,
    ),
    "what is not rolled out any more is given to nobody, so nobody is kept from it": (
        away(f"new+ ~odd+ ~odd? ~odd! {OTHERS}"),
        2,
    ),
    "one that went before that, and two that go now": (
        (*away("new+ ~odd+"), *fleet(f"~new? {OTHERS}", 2)),
        1,
    ),
}


def late(words: str, **more: Any) -> tuple[NodeState, ...]:
    """Nodes, of which those that start have come and gone for the deadline."""
    return tuple(
        replace(one, late=True, unsteady=NOW - GONE, **more) if one.label == "new" and one.deadline else one
        for one in fleet(words)
    )


MOVED |= {
    "one that comes and goes for the deadline has no place": (late(f"new+ new? {OTHERS}", **PULLING), 2),
    "nor has one that is away again, and not for long": (
        away(f"new+ ~new? {OTHERS}", GOING, late=True, unsteady=NOW - GONE),
        2,
    ),
    "nor have three that only pull": (late(f"new+ new? new? new? {OTHERS}", **PULLING), 2),
    "nor one on which it ran": (late(f"new+ new? {OTHERS}"), 2),
    "two on which it ran and that come and go: one of them has": (late(f"new+ new? new? {OTHERS}"), 1),
    "one that is away, and one that comes and goes: one of them has": (
        (*late("new+ new?"), *(replace(one, name=f"m{one.name}") for one in away(f"~new+ {OTHERS}"))),
        1,
    ),
    "one that comes and goes and fails has until it goes back": (late(f"new+ new! {OTHERS}"), 2),
}


def tainted(words: str, since: timedelta, **more: Any) -> tuple[NodeState, ...]:
    """Nodes, of which those with a taint that serve nothing have had it for so long."""
    return tuple(
        replace(one, unsteady=NOW - since, late=since >= GONE and not one.failures, **more)
        if one.taint and not one.serving
        else one
        for one in fleet(words)
    )


MOVED |= {
    "one with a taint that lost its server has a place": (tainted(f"new+ #new? {OTHERS}", GOING), 1),
    "until the deadline": (tainted(f"new+ #new? {OTHERS}", GONE), 2),
    "nor has one that serves": (tainted(f"new+ #new+ #old+ {OTHERS}", GOING), 2),
    "one that failed has no more than that": (tainted(f"new+ #new! {OTHERS}", GONE), 2),
    "and no less": (tainted(f"new+ #new! {OTHERS}", GOING), 1),
    "two tainted ones that it was given to: one of them has": (tainted(f"new+ #new? #new? {OTHERS}", GONE), 1),
    "three: two of them have, so it goes no further": (tainted(f"new+ #new? #new? #new? {OTHERS}", GONE), 0),
    "three whose old servers go on have none": (tainted(f"new+ #new? #new? #new? {OTHERS}", GOING, **BESIDE), 2),
    "nor have three with what is not rolled out any more": (tainted(f"new+ #odd? #odd? #odd? {OTHERS}", GONE), 2),
}


def test_one_that_comes_and_goes_does_not_keep_a_revision_from_being_completed() -> None:
    for late_for, expected in ((GOING, None), (GONE, NOW)):
        nodes = fleet("new+ new+ new? new+", n2={"unsteady": NOW - late_for, "late": late_for == GONE})
        found = step(nodes, OLD, PROVEN).target
        assert found is not None
        assert found.completed == expected
    other = step(fleet("new+ new+ old? new+", n2={"late": True}), OLD, PROVEN).target
    assert other is not None
    assert other.completed is None, "it has yet to get it"


def test_one_that_comes_and_goes_is_looked_at_again_in_time() -> None:
    nodes = tuple(replace(one, unsteady=NOW - GOING, deadline=None) if one.label else one for one in fleet("new? old+"))
    assert step(nodes, OLD, PROVEN).look_again == 1.0


def test_lost_canaries_keep_nobody_after_the_deadline_since_they_are_compared_with_the_others() -> None:
    for steps, expected in ((0, 1), (1, 0)):
        rules = with_rules(max_unavailable=1, steps=[(9, 30), (9, 30)])
        words = f"~new+ ~new+ ~new+ {OTHERS} ~old+ ~old+ ~old+ ~old+"
        course = step(away(words), OLD, replace(NEW, steps=steps), rules=rules)
        assert len(moves(course)) == expected


def test_one_that_is_late_takes_a_place_again_when_its_old_server_ends() -> None:
    words = "new? new? old+"
    waits = tuple(replace(one, late=True, staged=True, **BESIDE) if one.deadline else one for one in fleet(words))
    told: dict[str, Any] = {
        "strategy": REPLACE,
        "stageable": frozenset({"new"}),
        "rules": with_rules(max_unavailable=1),
    }
    assert moves(step(waits, OLD, PROVEN, **told)) == {"n0": "new"}, "one of the two, and nobody else"


def test_what_took_machines_down_goes_no_further_while_the_next_one_is_built() -> None:
    nodes = away("new+ ~new+ ~new+ ~new+ new? new?")
    waits = tuple(replace(one, staged=True, **BESIDE) if one.deadline else one for one in nodes)
    told: dict[str, Any] = {"strategy": REPLACE, "stageable": frozenset({"new"})}
    for target in ("new", None):
        assert not moves(step(waits, OLD, PROVEN, target=target, **told)), "no server ends for it"
    fewer = tuple(one for one in waits if one.name != "n1")
    assert len(moves(step(fewer, OLD, PROVEN, target=None, **told))) == 1, "two went, of which one is left out"


@pytest.mark.parametrize("case", MOVED)
def test_how_many_are_moved_beside_nodes_that_are_away(case: str) -> None:
    nodes, expected = MOVED[case]
    assert len(moves(step(nodes, OLD, ODD, PROVEN))) == expected


def test_one_that_lost_its_device_has_a_place_until_the_deadline_also_where_none_may_fail() -> None:
    rules = with_rules(max_unavailable=1, max_failed=0)
    short = Shortage("squat.ai/edgetpu", 1, 0)
    for words, since, expected in (
        ("new?", GOING, 0),
        ("new?", GONE, 1),
        ("new? new?", GONE, 0),
        ("odd? odd?", GONE, 1),
    ):
        nodes = tuple(
            replace(one, shortage=short, unsteady=NOW - since, late=since >= GONE, unfinished=True)
            if one.server is ServerState.STARTING
            else one
            for one in fleet(f"new+ {words} {OTHERS}")
        )
        found = moves(step(nodes, OLD, ODD, PROVEN, rules=rules))
        assert len(found) == expected, (words, since, found)


@pytest.mark.parametrize("since", [GOING, GONE])
def test_those_that_lost_their_devices_after_all_was_completed_have_none(since: timedelta) -> None:
    completed = replace(PROVEN, completed=NOW)
    nodes = tuple(
        replace(one, shortage=Shortage("squat.ai/edgetpu", 1, 0), unsteady=NOW - since, late=since >= GONE)
        if one.server is ServerState.STARTING
        else one
        for one in fleet("new+ new? new? new? old+")
    )
    one = with_rules(max_unavailable=1)
    assert moves(step(nodes, OLD, completed, rules=one)) == {"n4": "new"}, "it was away until now"
    trying = variant(nodes, OLD, completed, target=None, trying="n0")
    (found,) = plan_rollout([trying], one, NOW).courses
    assert [move.node for move in found.moves if move.revision is None] == ["n0"], (
        "nor do they keep a trial from a device"
    )


@pytest.mark.parametrize(("allowed", "expected"), [(0, 1), (1, 1), (2, 2), ("50%", 2)])
def test_as_many_are_left_out_as_max_failed_says_and_one_in_any_case(allowed: int | str, expected: int) -> None:
    nodes = away(f"new+ ~new+ ~new+ {OTHERS}")
    assert len(moves(step(nodes, OLD, PROVEN, rules=with_rules(max_failed=allowed)))) == expected


def test_a_lost_canary_is_replaced_after_the_deadline_where_one_may_be_unavailable() -> None:
    one = with_rules(max_unavailable=1)
    canary: dict[str, Any] = {"steps": 0}
    trying: RevisionState = replace(NEW, **canary)
    for strategy in (SURGE, REPLACE):
        told: dict[str, Any] = {"rules": one, "strategy": strategy, "stageable": frozenset({"new"})}
        assert moves(step(away(f"~new? {OTHERS}", GOING, **PULLING), OLD, trying, **told)) == {}
        assert len(moves(step(away(f"~new? {OTHERS}", **PULLING), OLD, trying, **told))) == 1


def test_a_node_that_leaves_has_none_either_and_all_are_looked_at_again_in_time() -> None:
    for since, expected in ((GOING, 1), (GONE, 2)):
        leaving = tuple(replace(one, unfinished=True) for one in away("~odd?", since))
        (found,) = plan_rollout([variant(f"new+ {OTHERS}", OLD, PROVEN)], RULES, NOW, leaving).courses
        assert len(found.moves) == expected
        assert found.look_again == (1.0 if since == GOING else None)
    waiting = step(away(f"new+ ~new? ~new? {OTHERS}", GOING, **PULLING), OLD, PROVEN)
    assert (moves(waiting), waiting.look_again) == ({}, 1.0)
