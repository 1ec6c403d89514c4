"""One step of the planner at a time: how a revision goes from its canary to the whole fleet."""

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
    OLDEST,
    OPEN,
    PROVEN,
    fleet,
    moves,
    state_of,
    step,
    variant,
    with_rules,
)
from snapshots import NOW

from edgesmith.api.status import PendingReason
from edgesmith.decide.fleet import RevisionState, RolloutPhase, Rules, Step
from edgesmith.decide.rollout import plan_rollout

WIDE = with_rules(max_unavailable=5)
CANARY, ROLLING_OUT = RolloutPhase.CANARY, RolloutPhase.ROLLING_OUT

Row = tuple[str, tuple[RevisionState, ...], dict[str, str | None], RolloutPhase]
STEPS: dict[str, Row] = {
    "the first revision has a canary": (". . .", (NEW,), {"n0": "new"}, CANARY),
    "the canary is a node that serves": (
        "old! old? . old+ old+",
        (OLD, NEW),
        {"n2": "old", "n3": "new"},
        CANARY,
    ),
    "then one that serves nothing": ("old! old? . #old+", (OLD, NEW), {"n2": "new"}, CANARY),
    "then one that starts": ("old! old? #old+", (OLD, NEW), {"n1": "new"}, CANARY),
    "at last one that failed": ("old! ~old+", (OLD, NEW), {"n0": "new"}, CANARY),
    "best of all, one that tries another unproven revision": ("old+ odd+", (OLD, ODD, NEW), {"n1": "new"}, CANARY),
    "a node that failed on any revision comes after those that did not": (
        "old+/odd old+",
        (OLD, NEW),
        {"n1": "new"},
        CANARY,
    ),
    "a node that failed on it is never its canary again": ("old+/new ~old+", (OLD, NEW), {}, CANARY),
    "while the canary starts the others wait": ("new? old+ old+", (OLD, NEW), {}, CANARY),
    "a node that joins meanwhile gets what is approved": ("new? old+ .", (OLD, NEW), {"n2": "old"}, CANARY),
    "a node that is NotReady keeps its place as canary": ("~new? old+ old+", (OLD, NEW), {}, CANARY),
    "a canary that held goes on holding while it is NotReady": ("~new+ old+", (OLD, NEW), {"n1": "new"}, ROLLING_OUT),
    "a proven revision goes on": (
        "new+ old+ old+ old+ old+ old+ old+",
        (OLD, PROVEN),
        {f"n{number}": "new" for number in range(1, 6)},
        ROLLING_OUT,
    ),
    "nodes with least to lose go first": (
        "old+ old+ old+ old+ old! . old?",
        (OLD, PROVEN),
        {"n6": "new", "n5": "new", "n4": "new", "n0": "new", "n1": "new"},
        ROLLING_OUT,
    ),
    "NotReady and tainted nodes are not moved": (
        "new+ ~old+ #old+ ~. ~old+ ~old+ ~old+ ~old+",
        (OLD, PROVEN),
        {},
        ROLLING_OUT,
    ),
    "a node that failed on it keeps another": ("new+ old+/new", (OLD, PROVEN), {}, RolloutPhase.DEGRADED),
    "a label that names nothing goes": ("what. ~what.", (NEW,), {"n0": "new", "n1": None}, CANARY),
    "one that was rolled back is not tried again": ("old+ old+", (OLD, BAD), {}, RolloutPhase.ROLLED_BACK),
    "a revision that held before needs no canary": (
        "new+ new+ new+",
        (COMPLETED, OLD),
        {},
        RolloutPhase.COMPLETE,
    ),
    "what only starts of a superseded unproven revision stays until the next is proven": (
        "odd? new? old+",
        (OLD, ODD, NEW),
        {},
        CANARY,
    ),
    "with the target rolled back other unproven revisions end too": (
        "odd+ old+",
        (OLD, ODD, BAD),
        {"n0": "old"},
        RolloutPhase.ROLLING_BACK,
    ),
    "every node NotReady": ("~. ~.", (NEW,), {}, RolloutPhase.WAITING),
    "no node at all": ("", (NEW,), {}, RolloutPhase.NO_NODES),
}


@pytest.mark.parametrize("case", STEPS)
def test_one_step(case: str) -> None:
    text, revisions, expected, phase = STEPS[case]
    course = step(text, *revisions, rules=WIDE)
    assert (moves(course), course.phase) == (expected, phase)
    assert all(move.reason for move in course.moves)


def serving(seconds: float, number: int = 0) -> dict[str, Any]:
    """A node that has served for so long."""
    return {f"n{number}": {"since": NOW - timedelta(seconds=seconds)}}


def test_a_canary_is_held_once_its_bake_and_the_nodes_grace_are_over() -> None:
    rules = with_rules(grace=timedelta(seconds=50))
    nodes = fleet("new+ old+", **serving(10))
    course = step(nodes, OLD, NEW, rules=rules)
    assert (course.moves, course.phase, course.look_again) == ((), CANARY, 70.0)
    assert [(one.node, one.reason) for one in course.pending] == [("n1", PendingReason.STEP_NOT_HELD)]
    assert step(nodes, OLD, NEW, rules=rules, after=69).target == NEW
    target = step(nodes, OLD, NEW, rules=rules, after=70).target
    assert target == replace(NEW, steps=1, proven=NOW + timedelta(seconds=70))


def test_what_is_not_heard_of_a_canary_is_no_bake() -> None:
    nodes = fleet("~new+ old+", n0={"since": NOW - timedelta(seconds=89), "away": NOW - timedelta(seconds=60)})
    assert step(nodes, OLD, NEW).phase is CANARY
    nodes = fleet("~new+ old+", n0={"since": NOW - timedelta(seconds=90), "away": NOW - timedelta(seconds=60)})
    assert step(nodes, OLD, NEW).target == replace(PROVEN, proven=NOW)


def test_every_canary_must_hold() -> None:
    rules = with_rules(steps=[(2, 30)])
    assert moves(step("new+ old+ old+", OLD, NEW, rules=rules)) == {"n1": "new"}
    assert step("new+ new? old+", OLD, NEW, rules=rules).phase is CANARY
    assert step("new+ new+ old+", OLD, NEW, rules=rules).phase is ROLLING_OUT
    assert step("new+", OLD, NEW, rules=rules).phase is RolloutPhase.COMPLETE, "where there are no more nodes, one"


THREE = [(1, 30), ("25%", 60), (4, 90)]


def test_a_percentage_is_of_the_desired_nodes_those_that_are_not_ready_among_them() -> None:
    rules = with_rules(steps=THREE, max_unavailable=5)
    tried = replace(NEW, steps=1)
    course = step("new+ old+ old+ old+ ~old+ ~old+ #old+ old+", OLD, tried, rules=rules)
    assert (moves(course), course.phase) == ({"n1": "new"}, ROLLING_OUT)
    assert course.moves[0].reason == "It is in step 2 of the rollout of revision new."


def test_step_after_step() -> None:
    rules = with_rules(steps=THREE, max_unavailable=5)
    words = ["old+"] * 8
    state, seen = NEW, []
    for number in range(6):
        course = step(" ".join(words), OLD, state, rules=rules)
        for name, revision in moves(course).items():
            words[int(name[1:])] = f"{revision}+"
        state = state_of(course, "new")
        seen.append((state.steps, bool(state.proven), words.count("new+")))
        if number == 3:
            break
    assert seen == [(0, False, 1), (1, False, 2), (2, False, 4), (3, True, 8)]


def test_each_step_has_its_own_bake() -> None:
    rules = with_rules(steps=THREE)
    nodes = fleet("new+ new+ old+ old+ old+ old+ old+ old+", **serving(59), n1=serving(59)["n0"])
    assert state_of(step(nodes, OLD, NEW, rules=rules), "new").steps == 1
    assert state_of(step(nodes, OLD, NEW, rules=rules, after=1), "new").steps == 2
    assert step(nodes, OLD, NEW, rules=rules).look_again == 1.0


def test_steps_that_add_no_nodes_are_skipped() -> None:
    rules = with_rules(steps=[(2, 30), ("10%", 9000), (1, 9000)])
    course = step("new+ new+ old+ old+", OLD, NEW, rules=rules)
    assert course.target == replace(NEW, steps=1, proven=NOW)
    rules = with_rules(steps=[(3, 30), (2, 9000), (3, 9000)])
    course = step("new+ new+ new+ old+", OLD, NEW, rules=rules)
    assert course.target == replace(NEW, steps=1, proven=NOW)


def test_a_step_that_was_held_is_not_asked_for_again() -> None:
    rules = with_rules(steps=[(1, 600), (3, 30)], max_unavailable=5)
    nodes = fleet("new+ old+ old+ old+", **serving(0))
    assert moves(step(nodes, OLD, replace(NEW, steps=1), rules=rules)) == {"n1": "new", "n2": "new"}


def site(*names: str) -> dict[str, dict[str, Any]]:
    """Nodes n0, n1, … of sites."""
    return {f"n{number}": {"labels": {"site": name}} for number, name in enumerate(names)}


def test_sites_come_in_the_order_of_the_steps() -> None:
    lab, plant = Step(1, timedelta(0), {"site": "lab"}), Step("100%", timedelta(0), {"site": "plant"})
    rules = with_rules(steps=[lab, plant], max_unavailable=9)
    places = site("plant", "plant", "lab", "hall", "lab")
    assert moves(step(fleet("old+ old+ old+ old+ old+", **places), OLD, NEW, rules=rules)) == {"n2": "new"}
    course = step(fleet("old+ old+ new+ old+ old+", **places), OLD, NEW, rules=rules)
    assert moves(course) == {"n0": "new", "n1": "new"}
    assert (course.phase, state_of(course, "new").steps) == (ROLLING_OUT, 1)
    course = step(fleet("new+ new+ new+ old+ old+", **places), OLD, replace(NEW, steps=1), rules=rules)
    assert moves(course) == {"n3": "new", "n4": "new"}


def test_a_site_is_a_step_however_few_its_nodes_are() -> None:
    lab, plant = Step(2, timedelta(0), {"site": "lab"}), Step(1, timedelta(0), {"site": "plant"})
    rules = with_rules(steps=[lab, plant], max_unavailable=9)
    course = step(fleet("new+ new+ old+ old+", **site("lab", "lab", "plant", "plant")), OLD, NEW, rules=rules)
    assert moves(course) == {"n2": "new"}


def test_a_canary_is_one_of_its_steps_site() -> None:
    rules = with_rules(steps=[Step(1, timedelta(0), {"site": "lab"})])
    course = step(fleet("new+ old+ old+", **site("plant", "lab", "lab")), OLD, NEW, rules=rules)
    assert not state_of(course, "new").proven
    wide = with_rules(steps=[Step(2, timedelta(0), {"site": "lab"})])
    course = step(fleet("new+ old+ old+", **site("plant", "lab", "lab")), OLD, NEW, rules=wide)
    assert moves(course) == {"n1": "new", "n2": "new"}


def test_a_step_whose_selector_picks_no_node_is_skipped_and_a_canary_there_is_all_the_same() -> None:
    nowhere = Step(3, timedelta(seconds=60), {"site": "nowhere"})
    rules = with_rules(steps=[nowhere, (2, 30)])
    assert moves(step("old+ old+ old+ old+", OLD, NEW, rules=rules)) == {"n0": "new", "n1": "new"}
    rules = with_rules(steps=[nowhere])
    assert moves(step("old+ old+ old+", OLD, NEW, rules=rules)) == {"n0": "new"}
    assert step(fleet("new+ old+", **serving(59)), OLD, NEW, rules=rules).phase is CANARY
    assert step(fleet("new+ old+", **serving(60)), OLD, NEW, rules=rules).phase is ROLLING_OUT
    rules = with_rules(steps=[])
    assert moves(step("old+ old+", OLD, NEW, rules=rules)) == {"n0": "new"}


def ten(text: str) -> str:
    """Ten nodes: these, and others that serve the old revision."""
    words = text.split()
    return " ".join(words + ["old+"] * (10 - len(words)))


LATER: dict[str, tuple[str, Rules, int, bool]] = {
    "all of it must hold": ("new+ new+ new+ new?", with_rules(), 0, False),
    "and then it does": ("new+ new+ new+ new+", with_rules(), 0, True),
    "one that is NotReady is excused within maxUnavailable": ("new+ new+ new+ ~new?", with_rules(), 0, True),
    "two of them": ("new+ new+ ~new? ~new?", with_rules(), 0, True),
    "not three, and they are all that may be down": ("new+ ~new? ~new? ~new?", with_rules(), 0, False),
    "a percentage is of the step's nodes": ("new+ new+ ~new? ~new?", with_rules(max_unavailable="30%"), 1, False),
    "and at least one": ("new+ new+ new+ ~new?", with_rules(max_unavailable="10%"), 0, True),
    "one that failed and went back is replaced": ("new+ new+ new+ old+/new", with_rules(), 1, False),
    "one that failed and is not back yet is replaced": ("new+ new+ new+ new!", with_rules(), 1, False),
    "a tainted one that serves holds": ("new+ new+ new+ #new+", with_rules(), 0, True),
}


@pytest.mark.parametrize("case", LATER)
def test_a_later_step_of_four_of_ten_nodes(case: str) -> None:
    text, rules, added, held = LATER[case]
    rules = replace(rules, steps=(Step(1, timedelta(0)), Step(4, timedelta(seconds=30))))
    course = step(ten(text), OLD, replace(NEW, steps=1), rules=replace(rules, max_failed=3))
    assert (bool(state_of(course, "new").proven), course.target and course.target.rolled_back) == (held, None)
    if not held:
        assert sum(revision == "new" for revision in moves(course).values()) == added


def test_a_step_that_nobody_holds_is_not_held() -> None:
    rules = with_rules(steps=[(1, 0), (2, 30)], max_unavailable="100%")
    course = step("~new? ~new? ~old+", OLD, replace(NEW, steps=1), rules=rules)
    assert state_of(course, "new").steps == 1


def test_where_more_nodes_are_away_than_the_step_needs_the_others_are_enough() -> None:
    rules = with_rules(steps=[(1, 0), ("100%", 30)], max_unavailable="50%")
    course = step("new+ new+ ~old+ ~old+", OLD, replace(NEW, steps=1), rules=rules)
    assert state_of(course, "new").proven


COMPLETION: dict[str, tuple[str, bool]] = {
    "all serve it": ("new+ new+ new+ new+ new+", True),
    "one is NotReady with the old one": ("new+ new+ new+ new+ ~old+", True),
    "as many as maxUnavailable are NotReady": ("new+ new+ new+ ~old+ ~old+", True),
    "more are": ("new+ new+ ~old+ ~old+ ~old+", False),
    "NotReady nodes that serve it count": ("~new+ ~new+ ~new+ ~new+ ~new+", True),
    "one is tainted": ("new+ new+ new+ new+ #old+", True),
    "one still starts": ("new+ new+ new+ new+ new?", False),
    "one has the old one": ("new+ new+ new+ new+ old+", False),
    "it failed on one": ("new+ new+ new+ new+ old+/new", True),
    "nobody carries it": ("~old+ ~old+ ~old+ ~old+ ~old+", False),
}


@pytest.mark.parametrize("case", COMPLETION)
def test_completion(case: str) -> None:
    text, expected = COMPLETION[case]
    target = step(text, OLD, PROVEN).target
    assert target
    assert target.completed == (NOW if expected else None)


def test_one_node_of_a_thousand_proves_and_does_not_complete() -> None:
    course = step("new+" + " ~old+" * 999, OLD, NEW)
    target = state_of(course, "new")
    assert (target.proven, target.completed, course.phase, course.moves) == (NOW, None, ROLLING_OUT, ())


def test_completion_and_proof_stay_what_they_were() -> None:
    assert state_of(step("new? old+ old+ old+", OLD, COMPLETED), "new") == COMPLETED
    assert state_of(step("old+ old+", OLD, PROVEN), "new") == PROVEN


def test_a_revision_that_nobody_carries_is_not_proven_though_its_steps_are_held() -> None:
    assert step("~old+ ~old+", OLD, replace(NEW, steps=1)).target == replace(NEW, steps=0)


@pytest.mark.parametrize(
    ("words", "steps", "held", "expected"),
    [
        ("old+ " * 7, [(1, 2), ("5%", 5), ("25%", 5)], 1, 0),
        ("old+ old+", [(1, 2), (2, 5), (3, 5)], 2, 1),
        ("old+", [(1, 0), (2, 0)], 2, 0),
        ("old+ " * 20, [(1, 2), ("25%", 5)], 2, 1),
    ],
)
def test_where_all_that_held_a_step_have_left_it_is_held_again_by_others(
    words: str, steps: list[tuple[int | str, float]], held: int, expected: int
) -> None:
    """The fleet became smaller, so that no step after the last one that was held adds a node."""
    rules = with_rules(steps=steps, max_unavailable=1)
    course = step(words, OLD, replace(NEW, steps=held), rules=rules)
    assert course.target == replace(NEW, steps=expected)
    assert moves(course) == {"n0": "new"}
    (serving, *others) = fleet("new+" + words.removeprefix("old+"))
    fresh = (replace(serving, since=NOW), *others)
    if steps[expected][1]:
        assert state_of(step(fresh, OLD, replace(NEW, steps=expected), rules=rules), "new").proven is None, "its bake"


def test_going_back_to_a_revision_makes_it_the_newest_approved_one() -> None:
    course = step("new+ new+ new+", OLD, COMPLETED, target="old")
    assert state_of(course, "old").proven == NOW
    assert course.stable == COMPLETED
    assert (moves(course), course.phase) == ({"n0": "old", "n1": "old"}, ROLLING_OUT)
    behind = step("new+ new+", OLD, replace(COMPLETED, proven=NOW + timedelta(hours=1)), target="old")
    assert state_of(behind, "old").proven == NOW + timedelta(hours=1, seconds=1), "whatever the hub's clock says"
    bad = replace(COMPLETED, rolled_back="It failed.")
    assert state_of(step("old+", OLD, bad, target="old"), "old").proven == LONG_AGO


def test_before_means_proven_earlier() -> None:
    assert step("old+ old+ new+", OLD, OLDEST, NEW).stable == OLD
    assert step("old+ old+ new+", OLD, OLDEST, PROVEN).stable == OLD
    assert step("new+ old+", replace(OLD, rolled_back="It failed."), OLDEST, NEW).stable == OLDEST
    assert step("old+ new+", ODD, NEW).stable is None


def test_a_revision_that_is_known_to_be_bad_gives_way_to_what_was_proven_last() -> None:
    """The spec names it again after another one took its place."""
    latest = replace(COMPLETED, revision="latest", proven=NOW, completed=NOW)
    bad = replace(PROVEN, rolled_back="3 nodes failed.", reason="NodesFailed")
    course = step("latest+ . latest+", OLD, bad, latest)
    assert course.stable == latest
    assert (moves(course), course.phase) == ({"n1": "latest"}, RolloutPhase.ROLLING_BACK)


def test_without_a_target_nodes_keep_what_they_have() -> None:
    course = step("new+ old+ . #.", OPEN, PROVEN, target=None)
    assert (moves(course), course.phase) == ({"n2": "new"}, RolloutPhase.WAITING)


@pytest.mark.parametrize(("revisions", "target"), [((OLDEST, OLD, BAD), "new"), ((OLDEST, OLD), None)])
def test_a_node_that_returns_with_an_older_revision_goes_to_what_was_completed(
    revisions: tuple[RevisionState, ...], target: str | None
) -> None:
    """The newest one was rolled back, or its image is not known yet; that may last."""
    assert moves(step("oldest+ old+ oldest! oldest? ~oldest+", *revisions, target=target, rules=WIDE)) == {
        "n0": "old",
        "n2": "old",
        "n3": "old",
    }
    assert moves(step("oldest+ old+ new?", OLDEST, OLD, NEW)) == {}, "not while the newest may still be proven"
    course = step("oldest+ old+ oldest+", OLDEST, OPEN, *revisions[2:], target=target, rules=WIDE)
    assert moves(course) == {}, "nobody watches how many nodes fail on it"
    assert {one.message for one in course.pending} == {
        "It keeps what it runs until a newer revision has held its steps."
    }


def test_a_node_on_another_unproven_revision_goes_back_once_the_newest_is_rolled_back() -> None:
    assert moves(step("odd+ old+", OPEN, ODD, BAD)) == {"n0": "old"}
    assert moves(step("odd+ old+", OPEN, ODD, target=None)) == {}


def test_it_is_not_completed_before_it_is_proven() -> None:
    rules = with_rules(steps=[(1, 30), ("100%", 60)])
    nodes = fleet("new+ new+ new+", n1=serving(10)["n0"])
    assert step(nodes, OLD, replace(NEW, steps=1), rules=rules).target == replace(NEW, steps=1)


def test_variants_go_on_alone() -> None:
    first = variant("new! old+", OLD, NEW)
    second = variant(fleet("new+ old+", 5), OLD, NEW, name="q")
    one, other = plan_rollout([first, second], WIDE, NOW).courses
    assert (one.phase, other.phase) == (RolloutPhase.ROLLING_BACK, ROLLING_OUT)
