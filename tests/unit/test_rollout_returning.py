"""Nodes that are NotReady while what they run is rolled back: what ends their servers, and when."""

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
    PROVEN,
    REPLACE,
    SURGE,
    beside,
    fleet,
    moves,
    step,
    with_rules,
    writes,
)
from snapshots import NOW

from edgesmith.decide.fleet import Failure
from edgesmith.decide.strategy import Strategy

SERVED = {
    "went soon after it got it": (120, False, True),
    "just within the deadline and the longest bake": (60 + 329, False, True),
    "served for the deadline and the longest bake": (60 + 330, False, False),
    "went soon after it got what was completed": (120, True, False),
}


@pytest.mark.parametrize("case", SERVED)
def test_a_server_out_of_reach_ends_once_it_is_back_unless_its_machine_may_have_died_of_it(case: str) -> None:
    seconds, completed, moved = SERVED[case]
    bad = replace(PROVEN, completed=PROVEN.proven if completed else None, rolled_back="It failed.")
    nodes = fleet("~new+ old+", n0={"moved": NOW - timedelta(seconds=seconds)})
    course = step(nodes, OLD, bad)
    assert moves(course) == ({"n0": "old"} if moved else {})
    assert {one.node: one.reason for one in course.pending} == ({} if moved else {"n0": "NotReady"})


def test_so_does_one_that_was_found_against_and_is_ready_again_unless_the_machine_had_gone_before() -> None:
    assert moves(step("~new* old+", OLD, BAD)) == {}
    assert moves(step("~new! old+", OLD, BAD)) == {"n0": "old"}, "nothing answers"
    assert moves(step(fleet("~new* old+", n0={"shaky": True}), OLD, BAD)) == {"n0": "old"}


@pytest.mark.parametrize("strategy", [SURGE, REPLACE])
def test_a_node_that_goes_while_it_goes_back_is_switched_at_once_from_what_its_machine_may_have_died_of(
    strategy: Strategy,
) -> None:
    nodes = tuple(replace(one, ready=False, away=NOW) for one in beside("new? new?", old="bad", staged=True))
    nodes = (*nodes, *fleet("new+", 2))
    bad = replace(BAD, revision="bad", created=LONG_AGO)
    assert writes(step(nodes, bad, COMPLETED, strategy=strategy)) == {"n0": ("new", None), "n1": ("new", None)}
    known = replace(bad, proven=LONG_AGO, completed=LONG_AGO)
    assert writes(step(nodes, known, COMPLETED, strategy=strategy)) == {}, "it goes on when it is back"
    dark = tuple(replace(one, beside_serving=False) for one in nodes)
    assert len(writes(step(dark, known, COMPLETED, strategy=strategy))) == 2, "nothing ends"


def test_a_node_that_is_away_keeps_the_server_of_what_was_rolled_back_and_makes_nothing_else_ready() -> None:
    known = replace(
        ODD, proven=LONG_AGO, completed=LONG_AGO, rolled_back="It is asked for.", reason="RollbackRequested"
    )
    nodes = tuple(replace(one, ready=False, away=NOW) for one in beside("new?", old="odd"))
    for strategy in (SURGE, REPLACE):
        assert writes(step((*nodes, *fleet("old+", 1)), OLD, known, BAD, strategy=strategy)) == {"n0": ("odd", None)}


def test_held_a_node_that_serves_nothing_gets_what_was_completed_last_though_newer_ones_were_not() -> None:
    paused = with_rules(paused=True)
    mid = replace(PROVEN, revision="mid", proven=NOW - timedelta(hours=5))
    older = replace(OLD, revision="older", proven=LONG_AGO - timedelta(days=1))
    assert moves(step("old+ old+ mid+ mid+ .", OLD, mid, NEW, rules=paused)) == {"n4": "old"}
    assert moves(step("old+ old+ mid+ mid+ .", older, OLD, mid, NEW, rules=paused)) == {"n4": "old"}
    failed = fleet("old+ old+ mid+ mid+ .", n4={"failures": {"old": Failure()}})
    assert moves(step(failed, OLD, mid, NEW, rules=paused)) == {}
    assert moves(step(failed, older, OLD, mid, NEW, rules=paused)) == {"n4": "older"}
    left = replace(OLD, rolled_back="spec.rollout.rollbackTo asks for revision older.")
    assert moves(step("older+ older+ mid+ mid+ .", older, left, mid, NEW, rules=paused)) == {"n4": "older"}
    assert moves(step("old+ old+ mid+ mid+ .", OLD, replace(mid, completed=NOW), NEW, rules=paused)) == {"n4": "mid"}
