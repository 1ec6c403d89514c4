"""A node that gives up its server for a trial, one step of the planner at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rollout_words import NEW, ODD, OLD, PROVEN, fleet, moves, step, with_rules

from edgesmith.api.status import PendingReason
from edgesmith.decide.fleet import Lent, NodeState

ONE = with_rules(max_unavailable=1)


def lent(text: str, how: Lent, **changes: Any) -> tuple[NodeState, ...]:
    """Nodes of which the first gave up its server."""
    first, *others = fleet(text, **changes)
    return (replace(first, lent=how), *others)


def test_the_node_that_a_trial_waits_for_gives_up_its_server() -> None:
    found = step("old+ old+", OLD, target=None, trying="n1")
    assert moves(found) == {"n1": None}
    assert found.moves[0].reason == "It gives up its server, which holds the device that a trial needs."


@pytest.mark.parametrize(
    ("text", "more", "reason"),
    [
        ("old+ old!", {"rules": ONE}, PendingReason.MAX_UNAVAILABLE),
        ("old+ old?", {"rules": ONE}, PendingReason.MAX_UNAVAILABLE),
        ("old+ old+", {"rules": replace(ONE, paused=True)}, PendingReason.PAUSED),
        ("old+ old+", {"busy": lambda _: "Another one."}, PendingReason.NODE_BUSY),
        (". old+", {}, PendingReason.TRIAL),
    ],
)
def test_it_waits_for_its_turn_and_is_pending_until_the_trial_ends(
    text: str, more: dict[str, Any], reason: PendingReason
) -> None:
    open_ = replace(OLD, completed=None) if "!" in text else OLD
    found = step(text, open_, target=None, trying="n0", **more)
    assert "n0" not in moves(found)
    assert [(one.node, one.reason) for one in found.pending if one.node == "n0"] == [("n0", reason)]


def test_no_other_server_ends_in_the_pass_in_which_it_does() -> None:
    assert moves(step("old+ old+ old+", OLD, PROVEN, rules=ONE, trying="n2")) == {"n2": None}


def test_one_that_makes_a_revision_ready_is_left_to_that() -> None:
    nodes = fleet("new? old+", n0={"beside": "old", "beside_serving": True})
    assert "n0" not in moves(step(nodes, OLD, NEW, trying="n0"))
    assert "n0" not in moves(step("~old+ old+", OLD, target=None, trying="n0")), "nor one that is NotReady"


@pytest.mark.parametrize("how", list(Lent))
def test_it_counts_as_one_without_a_server_until_it_has_one(how: Lent) -> None:
    trying = "n0" if how is Lent.TRIES else None
    found = step(lent(". old+ old+", how), OLD, NEW, rules=ONE, trying=trying)
    assert {one for one in moves(found) if one != "n0"} == set(), "no other server ends"
    bad = replace(ODD, rolled_back="n9 failed.", reason="CanaryFailed")
    found = step(lent(". odd+ odd+", how), OLD, bad, target="odd", rules=ONE, trying=trying)
    assert {one for one in moves(found) if one != "n0"} == set(), "nor one that goes back"


def test_the_one_that_has_tried_is_the_canary_and_one_that_did_not_finish_gets_what_it_ran() -> None:
    wide = with_rules(max_unavailable=3)
    assert moves(step(lent(". old+ old+", Lent.TRIED), OLD, NEW, rules=wide)) == {"n0": "new"}
    assert moves(step(lent(". old+ old+", Lent.LOST), OLD, NEW, rules=ONE)) == {"n0": "old"}
