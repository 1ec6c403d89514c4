"""The first large image of a node that serves nothing: it looks for room first, and has nothing to go back to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rollout_words import (
    BAD,
    COMPLETED,
    NEW,
    OLD,
    PROVEN,
    REPLACE,
    SURGE,
    fleet,
    state_of,
    step,
    with_rules,
    writes,
)
from room_world import LACKS, RoomWorld
from snapshots import LABEL, NEXT, NOW, model, said, sentence

from edgesmith.decide.fleet import Lent, NodeState, RolloutPhase
from edgesmith.decide.plan import Move, Plan
from edgesmith.decide.room import AGAIN, NoRoom
from edgesmith.decide.strategy import Strategy

FULL = NoRoom("new", NOW, LACKS)
LOOKING: dict[str, Any] = {"strategy": SURGE, "large": True}
FRESH = (None, "new.staging")
ROLLOUT: dict[str, Any] = {"steps": [{"nodes": 1, "bake": "30s"}], "maxUnavailable": 2, "progressDeadline": "5m"}


def staged(words: str, **more: Any) -> tuple[NodeState, ...]:
    """Nodes that serve nothing and make their revision ready."""
    return tuple(replace(one, **{"beside": ""} | more) for one in fleet(words))


def test_the_labels_of_a_node_that_serves_nothing_say_only_what_it_makes_ready() -> None:
    move = Move("n0", "new", "why", beside="", staging=True)
    assert (move.label, move.next) == FRESH
    assert (Move("n0", "new", "why").label, Move("n0", "new", "why", beside="old").label) == ("new", "old")
    assert Move("n0", None, "why").label is None


@pytest.mark.parametrize("strategy", [SURGE, REPLACE, Strategy("Replace", "why", tests=False)])
@pytest.mark.parametrize(("target", "words"), [(NEW, "."), (PROVEN, "."), (COMPLETED, "new+ ."), (NEW, "gone.")])
def test_it_looks_before_it_pulls(strategy: Strategy, target: Any, words: str) -> None:
    course = step(words, target, strategy=strategy, large=True)
    assert list(writes(course).values()) == [FRESH]
    assert list(writes(step(words, target, strategy=strategy)).values()) == [("new", None)], "a small one needs no look"


def test_a_server_that_is_not_ready_at_that_moment_is_no_reason_to_pull_without_a_look() -> None:
    assert writes(step("old?", OLD, PROVEN, **LOOKING)) == {"n0": ("old", "new.staging")}
    assert writes(step("old!", OLD, PROVEN, **LOOKING)) == {"n0": ("new", None)}, "it leaves what failed there"


def test_once_it_is_pulled_the_server_starts_whatever_holds_the_rollout() -> None:
    nodes = staged("new?", staged=True)
    for rules in (with_rules(), with_rules(paused=True), with_rules(max_unavailable=1)):
        assert writes(step(nodes, NEW, rules=rules, **LOOKING)) == {"n0": ("new", None)}
    kept = step(nodes, NEW, busy=lambda _: "Another EdgeModel pulls there.", **LOOKING)
    assert (writes(kept), [one.reason.value for one in kept.pending]) == ({}, ["NodeBusy"])


def test_without_room_it_is_left_without_a_label_and_another_one_is_the_canary() -> None:
    nodes = (*staged("new?", lacks=LACKS), *fleet(". .", 1))
    course = step(nodes, NEW, rules=with_rules(max_unavailable=1), **LOOKING)
    assert writes(course) == {"n0": (None, None)}
    assert not state_of(course, "new").rolled_back
    assert [(one.node, one.reason.value) for one in course.pending if LACKS in one.message] == [("n0", "DiskFull")]
    nodes = fleet(". . .", n0={"full": FULL})
    course = step(nodes, NEW, rules=with_rules(max_unavailable=1), **LOOKING)
    assert writes(course) == {"n1": FRESH}
    assert {one.node: one.reason.value for one in course.pending} == {"n0": "DiskFull", "n2": "StepNotHeld"}


@pytest.mark.parametrize("held", [False, True])
def test_it_is_asked_again_after_a_while(held: bool) -> None:  # noqa: FBT001 - a parameter
    nodes = fleet("new+ .", n1={"full": FULL})
    rules, wait = with_rules(paused=held), AGAIN.total_seconds()
    course = step(nodes, COMPLETED, rules=rules, **LOOKING, looking=frozenset({"new"}))
    assert (writes(course), course.look_again) == ({}, wait)
    later = step(nodes, COMPLETED, rules=rules, after=wait, **LOOKING, looking=frozenset({"new"}))
    assert writes(later) == {"n1": FRESH}


def test_one_that_joins_while_a_revision_is_tried_looks_for_the_one_before() -> None:
    looking: dict[str, Any] = {"looking": frozenset({"old", "new"})}
    course = step("new? .", OLD, NEW, **LOOKING, **looking)
    assert writes(course) == {"n1": (None, "old.staging")}
    assert writes(step("new? .", OLD, NEW, **LOOKING)) == {"n1": ("old", None)}, "that one is small"
    full: dict[str, Any] = {"n1": {"full": FULL._replace(revision="old")}}
    course = step(fleet("new? .", **full), OLD, NEW, **LOOKING, **looking)
    assert writes(course) == {}
    assert {one.node: one.reason.value for one in course.pending} == {"n1": "DiskFull"}
    assert course.look_again
    again = step(fleet("new? .", **full), OLD, NEW, after=AGAIN.total_seconds(), **LOOKING, **looking)
    assert writes(again) == {"n1": (None, "old.staging")}
    assert [(one.node, one.reason.value) for one in again.pending] == [("n1", "DiskFull")], (
        "that it looks changes nothing"
    )


def test_what_is_rolled_back_is_left_by_one_that_had_nothing_before() -> None:
    assert writes(step(staged("new?"), BAD, **LOOKING)) == {"n0": (None, None)}
    looking: dict[str, Any] = {"looking": frozenset({"old", "new"})}
    assert writes(step(staged("new?"), OLD, BAD, **LOOKING, **looking)) == {"n0": (None, "old.staging")}
    assert writes(step("new!", OLD, BAD, **LOOKING, **looking)) == {"n0": ("old", None)}


def test_what_is_no_longer_asked_for_is_left_in_a_pause_too() -> None:
    for paused in (False, True):
        course = step(
            staged("odd?"), OLD, NEW, replace(NEW, revision="odd"), rules=with_rules(paused=paused), **LOOKING
        )
        assert writes(course) == {"n0": (None, None)}


def test_who_has_the_image_from_a_trial_does_not_look() -> None:
    assert writes(step(".", NEW, tried="n0", **LOOKING)) == {"n0": ("new", None)}
    assert writes(step("old+", OLD, NEW, tried="n0", **LOOKING)) == {"n0": ("old", "new")}
    replaced = step("old+", OLD, NEW, tried="n0", strategy=REPLACE, large=True)
    assert writes(replaced) == {"n0": ("old", "new.staging")}, "no server ends before it is ready"
    assert writes(step(".", NEW, tried="n0", strategy=REPLACE, large=True)) == {"n0": ("new", None)}, "none has to end"
    other: dict[str, Any] = {"looking": frozenset({"old", "new"})}
    assert writes(step("new? .", OLD, NEW, tried="n1", **LOOKING, **other)) == {"n1": (None, "old.staging")}
    for lent in (Lent.TRIED, Lent.LOST):
        nodes = fleet(".", n0={"lent": lent})
        looking: dict[str, Any] = {"looking": frozenset({"old", "new"})}
        assert writes(step(nodes, OLD, PROVEN, **LOOKING, **looking)) == {"n0": ("new", None)}


def test_where_nobody_has_room_the_rollout_waits_for_a_node() -> None:
    course = step(fleet(". .", n0={"full": FULL}, n1={"full": FULL}), NEW, **LOOKING)
    assert course.phase is RolloutPhase.WAITING
    looking = (replace(staged("new?")[0], full=FULL), *fleet(".", 1, n1={"full": FULL}))
    assert step(looking, NEW, **LOOKING).phase is RolloutPhase.WAITING, "that it looks again changes nothing"
    assert step(fleet(". .", n0={"full": FULL}), NEW, **LOOKING).phase is RolloutPhase.CANARY
    away = fleet("~new? .", n1={"full": FULL})
    assert step(away, NEW, **LOOKING).phase is RolloutPhase.CANARY, "one is awaited"


def test_a_node_that_joins_makes_no_fleet_unready_while_it_looks() -> None:
    nodes = (*fleet("new+ new+ new+"), replace(staged("new?")[0], name="n3"))
    assert step(nodes, COMPLETED, **LOOKING).phase is RolloutPhase.COMPLETE
    beside = (*nodes[:3], replace(nodes[3], beside="old"))
    assert step(beside, OLD, COMPLETED, **LOOKING).phase is not RolloutPhase.COMPLETE


def world(*full: str, size: int = 3, **rollout: Any) -> RoomWorld:
    """Nodes that serve nothing, some of them without room for the image."""
    found = RoomWorld(edge_model=model(rollout=ROLLOUT | rollout))
    for number in range(size):
        found.add(f"n{number}")
    found.full = set(full)
    return found


def after(of: RoomWorld, passes: int, every: float = 20) -> Plan:
    for _ in range(passes):
        plan = of.pass_()
        of.tick(every)
    return plan


@pytest.mark.parametrize("strategy", ["Surge", "Replace"])
def test_a_first_rollout_goes_round_a_full_disk_and_comes_back_to_it(strategy: str) -> None:
    here = world("n0", strategy=strategy)
    plan = after(here, 45)
    assert {name for name in here.nodes if here.serves(name)} == {"n1", "n2"}
    assert (plan.status.nodes.disk_full, plan.status.nodes.failed, plan.status.nodes.ready) == (1, 0, 2)
    assert said(plan)["Ready"] == ("True", "DiskFull")
    assert said(plan)["RolloutComplete"] == ("False", "DiskFull")
    assert "Reconciling" not in said(plan)
    assert not {LABEL, NEXT} & here.nodes["n0"].labels.keys()
    asked = 0
    for _ in range(90):  # half an hour
        asked += any(move.node == "n0" and move.next for move in here.pass_().moves)
        here.tick(20)
    assert 2 <= asked <= 4
    assert here.pulled == []
    here.full.clear()
    after(here, 60)
    assert here.labelled("a") == set(here.nodes)


def test_where_no_disk_has_room_for_the_first_image_the_condition_says_what_is_free() -> None:
    here = world("n0", "n1", "n2")
    plan = after(here, 30)
    assert said(plan)["Reconciling"] == ("True", "DiskFull")
    words = sentence(plan, "RolloutComplete")
    assert "waits for a node: 3 desired, 3 without room on the disk; n0 its disk has 100 MiB free" in words
    assert plan.status.nodes.disk_full == 3
    assert not here.newest("rolledBack").get("a")
    assert here.pulled == []
    here.full = {"n0"}
    here.run_until("Complete", limit=120)
    assert here.labelled("a") == {"n1", "n2"}


def test_a_node_that_joins_looks_while_paused_too() -> None:
    here = world()
    here.run_until("Complete")
    here.publish("b")
    here.ask(paused=True)
    after(here, 3)
    here.add("x0")
    here.add("x1")
    here.full = {"x0"}
    plan = after(here, 12)
    assert here.labelled("a") == {*here.nodes} - {"x0"}
    assert here.serves("x1")
    assert {one.name: one.reason for one in plan.status.pending}["x0"] == "DiskFull"
    assert plan.status.nodes.disk_full == 1
    assert here.pulled == []
