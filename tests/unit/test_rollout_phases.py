"""One step of the planner at a time: where a variant stands, why nodes wait, and when to look again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rollout_words import BAD, COMPLETED, NEW, OLD, OLDEST, PROVEN, fleet, moves, step, variant, with_rules
from snapshots import NOW

from edgesmith.decide.fleet import Failure, RevisionState, RolloutPhase, Rules
from edgesmith.decide.rollout import plan_rollout
from edgesmith.decide.window import Opening

GONE = replace(PROVEN, rolled_back="It failed.", reason="NodesFailed")
PAUSED = with_rules(paused=True)

PHASES: dict[str, tuple[str, tuple[RevisionState, ...], Rules, RolloutPhase]] = {
    "complete": ("new+ new+ new+", (OLD, COMPLETED), with_rules(), RolloutPhase.COMPLETE),
    "complete in the pass that finds it so": ("new+ new+ new+", (OLD, PROVEN), with_rules(), RolloutPhase.COMPLETE),
    "complete with some NotReady": ("new+ ~new+ ~old+", (OLD, COMPLETED), with_rules(), RolloutPhase.COMPLETE),
    "complete with all NotReady": ("~new+ ~old+", (OLD, COMPLETED), with_rules(), RolloutPhase.COMPLETE),
    "complete while one that served starts again": ("new? new+", (OLD, COMPLETED), with_rules(), RolloutPhase.COMPLETE),
    "complete while one joins": (". new+", (OLD, COMPLETED), with_rules(), RolloutPhase.COMPLETE),
    "complete while a label names nothing": ("what. new+", (OLD, COMPLETED), with_rules(), RolloutPhase.COMPLETE),
    "not while more start than may": ("new? new? new? new+", (OLD, COMPLETED), with_rules(), RolloutPhase.ROLLING_OUT),
    "nor while one that returned has the old one": (
        "old+ new+",
        (OLD, COMPLETED),
        with_rules(),
        RolloutPhase.ROLLING_OUT,
    ),
    "nor while one starts the old one": ("old? new+", (OLD, COMPLETED), with_rules(), RolloutPhase.ROLLING_OUT),
    "degraded with a node that failed": ("new! new+", (OLD, COMPLETED), with_rules(), RolloutPhase.DEGRADED),
    "degraded with one that failed and went back": (
        "old+/new new+",
        (OLD, COMPLETED),
        with_rules(),
        RolloutPhase.DEGRADED,
    ),
    "degraded with one that failed and lost its label": (
        "./new new+ new+ new+",
        (COMPLETED,),
        with_rules(),
        RolloutPhase.DEGRADED,
    ),
    "not degraded while it goes on": (
        "new! new+ old+ old+",
        (OLD, PROVEN),
        with_rules(max_failed=2),
        RolloutPhase.ROLLING_OUT,
    ),
    "nor while another one starts": (
        "new! new? new? new? new+",
        (OLD, COMPLETED),
        with_rules(),
        RolloutPhase.ROLLING_OUT,
    ),
    "nor for a NotReady one": ("~new! new+ #old+/new", (OLD, COMPLETED), with_rules(), RolloutPhase.COMPLETE),
    "canary": ("new? old+", (OLD, NEW), with_rules(), RolloutPhase.CANARY),
    "canary though it is NotReady and no other can be": ("~new? ~old+", (OLD, NEW), with_rules(), RolloutPhase.CANARY),
    "a later step": (
        "new+ new? old+",
        (OLD, replace(NEW, steps=1)),
        with_rules(steps=[(1, 0), (2, 0)]),
        RolloutPhase.ROLLING_OUT,
    ),
    "waiting for a node that can be moved": ("~old+ #old+", (OLD, NEW), with_rules(), RolloutPhase.WAITING),
    "paused": ("old+ old+", (OLD, NEW), PAUSED, RolloutPhase.PAUSED),
    "not paused where there is nothing to do": ("new+ new+", (OLD, COMPLETED), PAUSED, RolloutPhase.COMPLETE),
    "nor where every node has it": ("new+", (NEW,), PAUSED, RolloutPhase.COMPLETE),
    "nor while every node has it and must hold": ("new? new?", (NEW,), PAUSED, RolloutPhase.CANARY),
    "rolling back": ("new+ old+", (OLD, GONE), with_rules(), RolloutPhase.ROLLING_BACK),
    "rolling back while one starts": ("old? old+", (OLD, GONE), with_rules(), RolloutPhase.ROLLING_BACK),
    "rolled back": ("old+ old+", (OLD, GONE), with_rules(), RolloutPhase.ROLLED_BACK),
    "rolled back though a NotReady node starts": ("~old? old+", (OLD, GONE), with_rules(), RolloutPhase.ROLLED_BACK),
    "none left": (". .", (BAD,), with_rules(), RolloutPhase.NONE_LEFT),
    "none left, and it serves where it did": ("new+ .", (GONE,), with_rules(), RolloutPhase.NONE_LEFT),
}


@pytest.mark.parametrize("case", PHASES)
def test_where_a_variant_stands(case: str) -> None:
    text, revisions, rules, expected = PHASES[case]
    assert step(text, *revisions, rules=rules).phase is expected


def test_without_an_image_it_waits() -> None:
    assert step("old+ old+", OLD, target=None).phase is RolloutPhase.WAITING
    assert step("old+ old+", OLD, target="unheard-of").phase is RolloutPhase.WAITING


def test_every_node_that_waits_is_told_why() -> None:
    text = "new+ old+ old+ old+ ~old+ #old+ old+/new ~old+/new"
    course = step(text, OLD, PROVEN, rules=with_rules(max_failed=3))
    assert {one.node: (str(one.reason), one.message) for one in course.pending} == {
        "n3": (
            "MaxUnavailable",
            "As many nodes as spec.rollout.maxUnavailable allows (2) are without a ready server.",
        ),
        "n4": ("NotReady", "It is NotReady and is updated when it returns."),
        "n5": (
            "Tainted",
            (
                "It has taint maintenance:NoSchedule, which the tolerations of its DeviceProfile leave out; "
                "it is updated when the taint is removed."
            ),
        ),
        "n6": ("Failed", "It failed there on revision new, so it keeps another one."),
        "n7": ("NotReady", "It is NotReady and is updated when it returns."),
    }
    assert [one.node for one in course.pending] == sorted(one.node for one in course.pending)


def test_with_the_newest_rolled_back_only_those_wait_that_have_not_got_the_one_before() -> None:
    course = step("old+ ~. ~old+", OLD, BAD)
    assert [one.node for one in course.pending] == ["n1"]
    assert step(". .", BAD).pending == ()


def test_moves_come_in_the_order_of_the_nodes_names() -> None:
    course = step("old+ old? . old! new+", OLD, PROVEN, rules=with_rules(max_unavailable=9))
    assert [move.node for move in course.moves] == sorted(moves(course))


def test_it_is_looked_at_again_when_the_first_deadline_or_bake_ends() -> None:
    def again(
        text: str, *revisions: RevisionState, after: float = 0, rules: Rules | None = None, **changes: Any
    ) -> float | None:
        return step(fleet(text, **changes), *revisions, after=after, rules=rules or with_rules()).look_again

    young = {"since": NOW - timedelta(seconds=10)}
    assert again("new+ old+", OLD, COMPLETED) is None
    assert again("new+ old?", OLD, COMPLETED) == 60.0
    assert again("new+ old?", OLD, COMPLETED, after=60) is None, "what is over is not awaited"
    assert again("new+ old+", OLD, NEW, n0=young) == 20.0
    assert again("new+ old?", OLD, NEW, n0=young) == 20.0
    assert again("new+ old+", OLD, NEW, rules=with_rules(grace=timedelta(seconds=50)), n0=young) == 70.0
    assert again("~new+ old+", OLD, NEW, n0=young | {"away": NOW - timedelta(seconds=5)}) == 295.0
    assert again("new+ old+", OLD, BAD, n0=young) is None
    assert again("new+ old+", OLD, PROVEN, n0=young) is None
    paused = with_rules(paused=True, steps=[(1, 0), (2, 60)])
    assert again("new+ new+ old+", OLD, replace(NEW, steps=1), rules=paused, n1=young) == 50.0


def test_revisions_come_in_the_order_of_their_names() -> None:
    assert [one.revision for one in step("new+ old+", OLD, NEW).revisions] == ["new", "old"]


def test_a_retried_failure_is_no_failure() -> None:
    """The record is asked with the retry word; here none is left of it."""
    nodes = fleet("new+ old+", n1={"failures": {}})
    assert moves(step(nodes, OLD, PROVEN)) == {"n1": "new"}
    nodes = fleet("new+ old+", n1={"failures": {"new": Failure()}})
    assert moves(step(nodes, OLD, PROVEN)) == {}


def test_no_variant_no_course() -> None:
    found = plan_rollout([], with_rules(), NOW, fleet("old+"))
    assert (found.courses, [move.node for move in found.leaving]) == ((), ["n0"])
    one = variant("old+", OLD, target="old")
    assert plan_rollout([one], with_rules(), NOW).leaving == ()


def test_an_override_is_for_the_target_and_not_for_what_takes_its_place_when_it_was_rolled_back() -> None:
    closed = with_rules(opening=Opening(False, NOW + timedelta(hours=1), "The next window opens at noon."))
    revisions = (OLDEST, OLD, BAD)
    assert moves(step("oldest+ old+ old+", *revisions)) == {"n0": "old"}
    held = step("oldest+ old+ old+", *revisions, rules=closed, overridden=True)
    assert moves(held) == {}
    assert {one.node: one.reason.value for one in held.pending}["n0"] == "WindowClosed"
    assert moves(step("new+ old+ old+", *revisions, rules=closed, overridden=True)) == {"n0": "old"}, "it goes back"
