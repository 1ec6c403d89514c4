"""One step of the planner at a time: what a failed node says of a revision, and where nodes go back to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from rollout_words import (
    BAD,
    COMPLETED,
    LONG_AGO,
    NEW,
    ODD,
    OLD,
    OLDEST,
    OPEN,
    PART,
    PROVEN,
    TWO,
    WIDE,
    fleet,
    moves,
    state_of,
    step,
    variant,
    why,
    with_rules,
)
from snapshots import NOW

from edgesmith.decide.fleet import Failure, RevisionState, RolloutPhase
from edgesmith.decide.rollout import plan_rollout

ROLLING_BACK = RolloutPhase.ROLLING_BACK
STEPPED = with_rules(steps=[(1, 0), (3, 30)], max_unavailable=5)


def test_a_failed_canary_sends_its_nodes_back_and_touches_nobody_else() -> None:
    course = step("new! old+ old+", OLD, NEW)
    assert (moves(course), course.phase) == ({"n0": "old"}, ROLLING_BACK)
    assert why(course) == ("CanaryFailed", "n0 failed.")
    assert course.moves[0].urgent
    assert course.moves[0].reason == "Revision new was rolled back: n0 failed."
    assert course.stable == OLD


def test_with_no_revision_before_it_a_failed_canarys_label_goes() -> None:
    course = step("new! . .", NEW)
    assert (moves(course), course.phase) == ({"n0": None}, ROLLING_BACK)
    assert step(". . .", BAD).phase is RolloutPhase.NONE_LEFT


def test_one_failing_canary_of_two_is_enough_and_nothing_else_is_an_excuse() -> None:
    assert why(step("new+ new! old+ old+", OLD, NEW, rules=TWO)) == ("CanaryFailed", "n1 failed.")
    assert why(step("new!! old+", OLD, NEW))[0] == "CanaryFailed", "a canary that failed before, too"
    assert why(step("~new! old+", OLD, NEW))[0] == "", "what failed and is NotReady is judged when it is back"


def test_the_sentence_is_that_of_the_failure() -> None:
    nodes = fleet("new! old+", n0={"failures": {"new": Failure(note="failed with GoldenMismatch: 3 differ.")}})
    assert why(step(nodes, OLD, NEW))[1] == "n0 failed with GoldenMismatch: 3 differ."
    nodes = fleet("new! old+", n0={"failures": {}, "note": "restarts"})
    assert why(step(nodes, OLD, NEW))[1] == "n0 restarts."


FAILED_LATER: dict[str, tuple[str, RevisionState, int | str, dict[str, str | None], str]] = {
    "as many as maxFailed go back alone": ("new+ new+ new! old+", PART, 1, {"n2": "old", "n3": "new"}, ""),
    "one more rolls it back": ("new+ new! new! old+", PART, 1, {f"n{n}": "old" for n in range(3)}, "NodesFailed"),
    "those that went back before count": (
        "new+ old+/new new! old+",
        PART,
        1,
        {"n0": "old", "n2": "old"},
        "NodesFailed",
    ),
    "with maxFailed 0 the first one does": (
        "new+ new+ new! old+",
        PART,
        0,
        {f"n{n}": "old" for n in range(3)},
        "NodesFailed",
    ),
    "a percentage is of the variant's nodes": (
        "new+ new! new! old+",
        PART,
        "50%",
        {"n1": "old", "n2": "old", "n3": "new"},
        "",
    ),
    "and never less than one": ("new+ new+ new! old+", PART, "1%", {"n2": "old", "n3": "new"}, ""),
    "the same once it is proven": ("new+ new! new! old+", PROVEN, 1, {f"n{n}": "old" for n in range(3)}, "NodesFailed"),
    "one that had failed before as well says nothing": (
        "new+ new! new!! old+",
        PROVEN,
        1,
        {"n1": "old", "n2": "old", "n3": "new"},
        "",
    ),
    "once it is completed a failure is the device's": ("new+ new! new! new!", COMPLETED, 1, {}, ""),
}


@pytest.mark.parametrize("case", FAILED_LATER)
def test_failures_after_the_first_step(case: str) -> None:
    text, target, allowed, expected, reason = FAILED_LATER[case]
    course = step(text, OLD, target, rules=replace(STEPPED, max_failed=allowed))
    assert (moves(course), why(course)[0]) == (expected, reason)
    assert all(move.urgent == (move.revision == "old") for move in course.moves)


def test_the_sentence_counts_and_names_the_first() -> None:
    said = "2 nodes failed and spec.rollout.maxFailed allows 1: n1 failed."
    assert why(step("new+ new! new! old+", OLD, PART, rules=STEPPED))[1] == said


def test_a_failed_node_that_went_back_is_not_tried_again_and_one_of_the_others_is() -> None:
    course = step("new+ new+ old+/new old+", OLD, PART, rules=STEPPED)
    assert moves(course) == {"n3": "new"}
    assert [(one.node, one.reason) for one in course.pending] == [("n2", "Failed")]
    assert course.pending[0].message == "It failed there on revision new, so it keeps another one."


def test_a_node_goes_back_to_what_it_failed_on_where_there_is_nothing_else() -> None:
    assert moves(step("new+ new!/old! new+ old+", OLD, PROVEN, rules=STEPPED))["n1"] == "old"


def test_with_no_revision_before_it_nothing_is_taken_from_nodes_that_serve() -> None:
    course = step("new+ new! new! new! .", PROVEN, rules=WIDE)
    assert (why(course)[0], moves(course)) == ("", {"n4": "new"})
    bad = replace(PROVEN, rolled_back="It failed.")
    assert moves(step("new+ new! ~new+ .", bad, rules=WIDE)) == {"n1": None}


def test_one_broken_device_rolls_no_older_revision_back_for_a_newer_one() -> None:
    """The old revision never was completed; the new one is proven on its canary."""
    nodes = "new+" + " old+" * 98 + " old!"
    first = step(nodes, OPEN, NEW)
    assert state_of(first, "old") == OPEN
    assert state_of(first, "new").proven == NOW
    assert first.stable == OPEN
    second = step(nodes, *first.revisions)
    assert state_of(second, "old") == OPEN
    assert len(second.moves) == 2
    back = step("new+ new! new!" + " old+" * 96 + " old!", OPEN, state_of(first, "new"), rules=with_rules(max_failed=0))
    assert why(back)[0] == "NodesFailed"
    assert set(moves(back).values()) == {"old"}


def test_one_failure_at_4999_of_5000_moves_one_node_back() -> None:
    nodes = fleet("new+ " * 4999 + "old+", n4321={"server": fleet("new!")[0].server, "failures": {"new": Failure()}})
    course = step(nodes, OLD, PROVEN, rules=with_rules(max_unavailable=1000))
    assert (moves(course), why(course)[0]) == ({"n4321": "old", "n4999": "new"}, "")


def test_a_superseded_revision_is_never_rolled_back_and_its_failed_nodes_go_to_what_is_approved() -> None:
    odd = replace(ODD, steps=1, proven=LONG_AGO + timedelta(hours=1))
    course = step("new+ odd! odd! odd! odd+", OLD, odd, PROVEN, rules=with_rules(max_unavailable=9))
    assert why(course, "odd") == ("", None)
    assert {moves(course)[name] for name in ("n1", "n2", "n3")} == {"new"}
    waits = step("odd! odd! new? old+", OLD, ODD, NEW, rules=WIDE)
    assert moves(waits) == {"n0": "old", "n1": "old"}, "to the one before, while the newest is not proven"
    assert why(waits, "odd") == ("", None)


def test_a_node_that_failed_on_a_superseded_revision_while_nothing_is_asked_for_goes_back_too() -> None:
    course = step("odd! old+", OLD, ODD, target=None)
    assert moves(course) == {"n0": "old"}
    assert why(course, "odd") == ("", None)


def test_a_node_that_failed_on_both_stays_where_it_is_while_neither_is_rolled_back() -> None:
    assert moves(step("odd!/old new? old+", OLD, ODD, NEW)) == {}
    assert moves(step("odd!/old<oldest new? old+", OLDEST, OLD, ODD, NEW)) == {"n0": "oldest"}


BACK: dict[str, tuple[str, tuple[RevisionState, ...], str | None]] = {
    "to what is approved": ("new!", (OLDEST, OLD, BAD), "old"),
    "rather than to what it ran": ("new!<oldest", (OLDEST, OLD, BAD), "old"),
    "to what it ran where it failed on that": ("new!/old<oldest", (OLDEST, OLD, BAD), "oldest"),
    "to what it failed on where there is no other": ("new!/old", (OLD, BAD), "old"),
    "to what it ran where nothing is proven": ("new!<odd", (ODD, BAD), "odd"),
    "not to what was rolled back": ("new!<odd", (replace(ODD, rolled_back="It failed."), BAD), None),
    "not to what is gone": ("new!<gone", (BAD,), None),
    "not to itself": ("new!<new", (BAD,), None),
}


@pytest.mark.parametrize("case", BACK)
def test_where_a_node_goes_back_to(case: str) -> None:
    text, revisions, expected = BACK[case]
    assert moves(step(text, *revisions)) == {"n0": expected}


def test_a_node_may_go_back_to_another_profiles_revision() -> None:
    course = step("new!<theirs old+", NEW, OLD, usable=frozenset({"theirs"}))
    assert moves(course) == {"n0": "old"}
    assert moves(step("new!<theirs", NEW, usable=frozenset({"theirs"}))) == {"n0": "theirs"}


def test_off_what_was_rolled_back_serving_nodes_go_within_the_budget_and_the_others_at_once() -> None:
    bad = replace(PROVEN, rolled_back="It failed.")
    nodes = fleet("new+ new+ new+ new! new? ~new+ ~new? #new+ #new!", n5={"moved": NOW - timedelta(minutes=2)})
    course = step(nodes, OLD, bad, rules=with_rules(max_unavailable=4))
    assert moves(course) == dict.fromkeys(("n3", "n4", "n5", "n6", "n8", "n0", "n1"), "old")
    assert {one.node: one.reason for one in course.pending} == {"n2": "MaxUnavailable", "n7": "Tainted"}
    assert course.phase is ROLLING_BACK
    assert all(move.urgent for move in course.moves)


def test_a_revision_without_a_node_is_not_judged_by_what_is_remembered_of_old_nodes() -> None:
    assert why(step("old+/new old+/new old+/new", OLD, NEW))[0] == ""
    assert why(step("old+/new old+/new old+/new", OLD, PART))[0] == "NodesFailed"


def test_variants_fail_alone() -> None:
    bad = variant("new! old+", OLD, NEW)
    good = variant(fleet("new+ old+", 5), OLD, PROVEN, name="q")
    one, other = plan_rollout([bad, good], WIDE, NOW).courses
    assert (one.phase, other.phase) == (ROLLING_BACK, RolloutPhase.ROLLING_OUT)
    assert why(other)[0] == ""
