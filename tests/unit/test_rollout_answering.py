"""One step of the planner at a time: nodes that failed on what they run while its server is ready again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rollout_words import (
    BAD,
    COMPLETED,
    MINUTE,
    NEW,
    ODD,
    OLD,
    OLDEST,
    PROVEN,
    REPLACE,
    SURGE,
    fleet,
    step,
    with_rules,
    writes,
)

from edgesmith.decide.fleet import Failure, NodeState, RolloutPhase
from edgesmith.decide.rollout import Course
from edgesmith.decide.strategy import Strategy

STAGEABLE = frozenset({"old"})
LOST = " ~odd? ~odd?"
"""Two nodes that are down, as many as may be."""
FULL = "MaxUnavailable"


def waits(course: Course) -> dict[str, str]:
    """Node to why it waits."""
    return {one.node: str(one.reason) for one in course.pending}


def returning(word: str, *, serving: bool, **more: Any) -> NodeState:
    """A node on its way from what failed there to another revision."""
    (node,) = fleet(word)
    failures = {"new": Failure(note="went down twice"), **node.failures}
    return replace(node, beside="new", beside_serving=serving, failures=failures, **more)


@pytest.mark.parametrize(
    ("strategy", "stageable", "expected"),
    [
        (SURGE, frozenset(), ("new", "old")),
        (REPLACE, STAGEABLE, ("new", "old.staging")),
        (REPLACE, frozenset(), ("old", None)),
    ],
)
def test_a_server_that_answers_goes_on_until_the_way_back_is_ready(
    strategy: Strategy, stageable: frozenset[str], expected: tuple[str | None, str | None]
) -> None:
    course = step("new+ new* old+", OLD, PROVEN, strategy=strategy, stageable=stageable)
    assert writes(course)["n1"] == expected
    assert [move.urgent for move in course.moves if move.node == "n1"] == [True]
    rolled_back = step("new* new+", OLD, BAD, strategy=strategy, stageable=stageable)
    assert writes(rolled_back) == {"n0": expected, "n1": expected}
    silent = step("new+ new! old+", OLD, PROVEN, strategy=strategy, stageable=stageable)
    assert writes(silent)["n1"] == ("old", None), "it has nothing to lose"


@pytest.mark.parametrize(
    ("strategy", "stageable"), [(SURGE, frozenset()), (REPLACE, STAGEABLE), (REPLACE, frozenset())]
)
def test_it_waits_for_nodes_on_their_way_and_not_for_those_that_are_down(
    strategy: Strategy, stageable: frozenset[str]
) -> None:
    """What broke some nodes must not keep others on it."""
    more: dict[str, Any] = {"strategy": strategy, "stageable": stageable}
    assert set(writes(step("new+ new*" + LOST, OLD, ODD, PROVEN, **more))) == {"n1"}
    full = step("new? new? new*", OLD, PROVEN, **more)
    assert (writes(full), waits(full)) == ({}, {"n2": FULL})
    pulling = fleet("new? new* old+", n0={"fetching": True})
    course = step(pulling, OLD, PROVEN, rules=with_rules(max_pulling=1, max_unavailable=3), **more)
    assert set(writes(course)) == {"n1"}, "what goes back waits for no pull"
    assert waits(course)["n2"] == "MaxPulling"


def test_a_machine_that_went_with_what_it_tries_is_no_canary_of_the_next_one_while_there_is_another() -> None:
    for nodes, canary in (("odd+ odd+ old+", "n1"), ("odd+ old+", "n1"), ("odd+ odd!", "n0"), ("odd+", "n0")):
        course = step(fleet(nodes, n0={"shaky": True}), OLD, ODD, NEW, strategy=SURGE)
        assert [move.node for move in course.moves if move.revision == "new"] == [canary], nodes


def test_off_what_was_rolled_back_it_ends_within_the_budget() -> None:
    course = step("new* new* new* new!", OLD, BAD, strategy=REPLACE)
    assert (set(writes(course)), waits(course)) == ({"n0", "n3"}, {"n1": FULL, "n2": FULL})
    assert writes(step("#new* old+", OLD, BAD, strategy=SURGE)) == {}, "no new pod may start there"
    assert writes(step("new*", BAD, strategy=SURGE)) == {}, "there is nothing to go back to"


def test_what_is_approved_takes_its_place_as_that_of_any_server() -> None:
    for word, moved in (("old*", set()), ("old!", {"n1"})):
        assert set(writes(step(f"new+ {word}" + LOST, OLD, ODD, PROVEN, strategy=REPLACE))) == moved
    assert writes(step("new+ old*", OLD, PROVEN, strategy=SURGE)) == {"n1": ("old", "new")}


def test_it_is_not_given_up_for_what_failed_there_too() -> None:
    revisions = (OLD, ODD, PROVEN)
    assert writes(step("new+ new*/old" + LOST, *revisions, strategy=SURGE)) == {}
    assert writes(step("new+ new!/old" + LOST, *revisions, strategy=SURGE)) == {"n1": ("old", None)}


@pytest.mark.parametrize("strategy", [SURGE, REPLACE])
def test_what_stops_answering_meanwhile_is_left_at_once(strategy: Strategy) -> None:
    others = fleet("new+ ~odd? ~odd?", 1)
    for rules in (with_rules(), with_rules(paused=True)):
        gone = (returning("old?", serving=False), *others)
        course = step(gone, OLD, ODD, PROVEN, strategy=strategy, rules=rules)
        assert writes(course) == {"n0": ("old", None)}
        assert (course.moves[0].reason, course.moves[0].urgent) == ("It went down twice on revision new.", True)
    away = (returning("~old?", serving=False), *others)
    assert writes(step(away, OLD, ODD, PROVEN, strategy=strategy)) == {}, "it is NotReady"
    tainted = (returning("#old?", serving=False), *others)
    assert writes(step(tainted, OLD, ODD, PROVEN, strategy=strategy)) == {}, "no pod may start there"


def test_a_node_on_its_way_back_arrives_before_it_tries_anything_else() -> None:
    """It has a place of the budget already, so it would be taken where all others have to wait."""
    newer = replace(NEW, revision="newer", created=NEW.created + MINUTE)
    node, one_place = returning("old?", serving=True), with_rules(max_unavailable=1)
    more: dict[str, Any] = {"target": "newer", "strategy": SURGE, "rules": one_place}
    for one, canary in ((node, []), (replace(node, failures={}), ["n0"])):
        course = step((one, *fleet("new+ new+", 1)), OLD, NEW, newer, **more)
        assert [move.node for move in course.moves if move.revision == "newer"] == canary


def test_it_ends_when_the_way_back_is_ready() -> None:
    ready = (returning("old+", serving=True), *fleet("new+ ~odd? ~odd?", 1))
    assert writes(step(ready, OLD, ODD, PROVEN, strategy=SURGE)) == {"n0": ("old", None)}


def test_with_replace_it_ends_within_the_budget_and_no_pause_or_neighbour_holds_it_up() -> None:
    node = returning("old?", serving=True, staged=True)
    held: dict[str, Any] = {"rules": with_rules(paused=True), "busy": lambda _: "Another EdgeModel moves it."}
    for others in ("new+", "new+" + LOST):
        for more in ({}, held):
            course = step((node, *fleet(others, 1)), OLD, ODD, PROVEN, strategy=REPLACE, **more)
            assert writes(course) == {"n0": ("old", None)}, "what broke others must not keep it"
    course = step((node, *fleet("new? new?", 1)), OLD, PROVEN, strategy=REPLACE)
    assert (writes(course), waits(course)["n0"]) == ({}, FULL)
    (forward,) = fleet("new?")
    forward = replace(forward, beside="old", beside_serving=True, staged=True)
    assert writes(step((forward, *fleet("new+" + LOST, 1)), OLD, ODD, PROVEN, strategy=REPLACE)) == {}


def test_on_its_way_to_the_newest_revision_it_goes_forward_and_a_pause_holds_it_up() -> None:
    (node,) = fleet("new?")
    node = replace(node, beside="old", beside_serving=True, staged=True, failures={"old": Failure()})
    paused = with_rules(paused=True)
    assert writes(step((node,), OLD, PROVEN, strategy=REPLACE)) == {"n0": ("new", None)}
    course = step((node,), OLD, PROVEN, strategy=REPLACE, rules=paused)
    assert (writes(course), waits(course)) == ({}, {"n0": "Paused"})
    gone = replace(node, staged=False, beside_serving=False)
    assert writes(step((gone,), OLD, PROVEN, strategy=REPLACE)) == {}, "what it tests is not tested yet"


def test_what_it_ran_before_is_made_ready_though_it_is_neither_approved_nor_the_newest() -> None:
    node = returning("odd?", serving=True)
    assert writes(step((node, *fleet("new+", 1)), OLDEST, ODD, PROVEN, strategy=SURGE)) == {}
    nobodys = replace(node, failures={})
    assert writes(step((nobodys, *fleet("new+", 1)), OLDEST, ODD, PROVEN, strategy=SURGE)) == {"n0": ("new", None)}


def test_what_fails_on_the_way_back_leaves_the_node_with_the_server_that_answers() -> None:
    node = returning("old!", serving=True)
    assert writes(step((node, *fleet("new+", 1)), OLD, PROVEN, strategy=SURGE)) == {"n0": ("new", None)}


def test_beside_a_server_that_does_not_answer_the_one_that_does_goes_on() -> None:
    def beside(word: str, *, serving: bool) -> tuple[NodeState, ...]:
        (node,) = fleet(word)
        return replace(node, beside="old", beside_serving=serving), *fleet("new+ old+", 1)

    assert writes(step(beside("new*", serving=True), OLD, PROVEN, strategy=SURGE))["n0"] == ("old", None)
    assert "n0" not in writes(step(beside("new*", serving=False), OLD, PROVEN, strategy=SURGE))
    assert writes(step(beside("new!", serving=False), OLD, PROVEN, strategy=SURGE))["n0"] == ("old", None)
    newer = replace(NEW, revision="newer", created=NEW.created + MINUTE)
    unwanted: dict[str, Any] = {"target": "newer", "strategy": SURGE}
    assert writes(step(beside("new+", serving=True), OLD, NEW, newer, **unwanted))["n0"] == ("old", None)
    assert writes(step(beside("new+", serving=False), OLD, NEW, newer, **unwanted))["n0"] == ("new", None)
    assert "n0" not in writes(step(beside("new*", serving=False), OLD, NEW, newer, **unwanted))


@pytest.mark.parametrize("strategy", [SURGE, REPLACE])
def test_what_was_rolled_back_is_kept_where_all_else_failed_on_the_node(strategy: Strategy) -> None:
    """The way back is no longer made ready there, so it takes no place, and it is not tried again and again."""
    (failed,) = fleet("old!")
    failed = replace(failed, beside="new", beside_serving=True)
    more: dict[str, Any] = {"strategy": strategy, "stageable": STAGEABLE}
    assert writes(step((failed, *fleet("old+", 1)), OLD, BAD, **more)) == {"n0": ("new", None)}
    for word in ("new+/old", "new*/old"):
        course = step(f"{word} old+", OLD, BAD, **more)
        assert (writes(course), waits(course)) == ({}, {"n0": "Failed"})
        assert course.phase is RolloutPhase.ROLLED_BACK
    assert writes(step("new!/old old+", OLD, BAD, **more)) == {"n0": ("old", None)}, "it has nothing to lose"
    dark = replace(failed, beside_serving=False)
    assert writes(step((dark, *fleet("old+", 1)), OLD, BAD, **more)) == {"n0": ("old", None)}
    left_alone = replace(OLD, rolled_back="It is asked for.", reason="RollbackRequested")
    left = step("old+/new new+", left_alone, COMPLETED, left="old", **more)
    assert (writes(left), left.phase) == ({}, RolloutPhase.DEGRADED)
    newer = replace(NEW, revision="newer", created=NEW.created + MINUTE)
    course = step("new+/old new+/old", OLD, BAD, newer, target="newer", **more)
    assert [move.revision for move in course.moves] == ["newer"], "another revision is tried"
